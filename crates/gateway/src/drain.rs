//! Stopping without losing what is under way.

use std::future::Future;
use std::time::Duration;

use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

/// What all tasks of a gateway listen to.
#[derive(Debug)]
pub(crate) struct Drain {
    stop: CancellationToken,
    kill: CancellationToken,
    tasks: TaskTracker,
    /// When nobody serves any more, nothing must be left behind.
    _guards: [DropGuard; 2],
}

/// A task's view of it.
#[derive(Clone, Debug)]
pub(crate) struct Signal {
    stop: CancellationToken,
    kill: CancellationToken,
    tasks: TaskTracker,
}

impl Drain {
    pub(crate) fn new() -> Self {
        let (stop, kill) = (CancellationToken::new(), CancellationToken::new());
        let guards = [stop.clone().drop_guard(), kill.clone().drop_guard()];
        Self { stop, kill, tasks: TaskTracker::new(), _guards: guards }
    }

    pub(crate) fn signal(&self) -> Signal {
        Signal { stop: self.stop.clone(), kill: self.kill.clone(), tasks: self.tasks.clone() }
    }

    /// Asks all tasks to finish and waits for them; after the timeout ends them. True when that was needed.
    pub(crate) async fn finish(self, timeout: Duration) -> bool {
        self.stop.cancel();
        self.tasks.close();
        let late = tokio::time::timeout(timeout, self.tasks.wait()).await.is_err();
        if late {
            self.kill.cancel();
            self.tasks.wait().await;
        }
        late
    }
}

impl Signal {
    /// Completes when nothing new is to be begun.
    pub(crate) fn stopped(&self) -> impl Future<Output = ()> + '_ {
        self.stop.cancelled()
    }

    /// Completes when all must end at once.
    pub(crate) fn killed(&self) -> impl Future<Output = ()> + '_ {
        self.kill.cancelled()
    }

    /// The tasks that a drain waits for.
    pub(crate) const fn tasks(&self) -> &TaskTracker {
        &self.tasks
    }
}
