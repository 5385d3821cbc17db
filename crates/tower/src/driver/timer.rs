//! One timer for all deadlines of an exchange.

use std::future::Future;
use std::pin::Pin;
use std::task::Context;
use std::time::{Duration, Instant};

use pin_project_lite::pin_project;
use tokio::time::Sleep;

pin_project! {
    pub(super) struct Timer {
        #[pin]
        sleep: Sleep,
        // When `sleep` will fire; none when it has.
        armed: Option<Instant>,
    }
}

impl Timer {
    pub(super) fn new() -> Self {
        Self { sleep: tokio::time::sleep(Duration::ZERO), armed: None }
    }

    /// Whether a deadline may have passed. Else wakes when it has.
    pub(super) fn poll(self: Pin<&mut Self>, deadline: Option<Instant>, cx: &mut Context<'_>) -> bool {
        let Some(deadline) = deadline else { return false };
        let mut timer = self.project();
        // A deadline that moved away is found when the old one fires: cheaper than to register each one anew.
        if timer.armed.is_none_or(|armed| deadline < armed) {
            timer.sleep.as_mut().reset(deadline.into());
            *timer.armed = Some(deadline);
        }
        if timer.sleep.poll(cx).is_pending() {
            return false;
        }
        *timer.armed = None;
        true
    }
}
