//! One exchange played by the engine of the data plane, with a real stream to the processor.

mod log;
mod processor;
pub(crate) mod story;
pub(crate) mod words;

use std::sync::Arc;
use std::time::{Duration, Instant};

use extproc::testing::{Exchange, Play, ToDo};
use extproc_core::Config;
use extproc_core::filter::{GrpcStatus, StreamEvent};
use extproc_proto::{ProcessingRequest, ProcessingResponse};
use tokio::sync::mpsc;
use tonic::Status;
use tonic::metadata::MetadataMap;

pub(crate) use self::log::Log;
use self::processor::Inbox;
pub(crate) use self::processor::Processor;

/// What a proxy reads of a body at a time, in bytes.
pub(crate) const CHUNK: usize = 16 << 10;

/// How long a processor may take to end the stream when nothing more is sent. What it says then is counted.
const LINGER: Duration = Duration::from_secs(1);

/// Looks on while an exchange is played, and may hold it up; time stands still meanwhile.
pub(crate) trait Watch: Send {
    /// Before a message goes out; false ends the exchange.
    fn before(&mut self, message: &ProcessingRequest) -> anyhow::Result<bool>;
    /// After a message came.
    fn after(&mut self, message: &ProcessingResponse);
}

/// Plays an exchange through one filter to its end. `metadata` is sent at the start of the gRPC stream.
///
/// # Errors
/// Only those of `watch`; whatever the processor does is part of the log.
pub(crate) async fn play(
    config: &Arc<Config>,
    exchange: &Exchange,
    processor: &Processor,
    metadata: &MetadataMap,
    watch: Option<Box<dyn Watch>>,
) -> anyhow::Result<Log> {
    let clock = Clock { began: Instant::now(), paused: Duration::ZERO };
    let play = Play::new(clock.began, [Arc::clone(config)], exchange);
    let mode_override_allowed = config.options().allow_mode_override;
    let dialogue = Dialogue { processor, metadata, watch, clock, outbox: None, inbox: Inbox::Idle, quit: false };
    let log = dialogue.run(play).await?;
    Ok(Log { mode_override_allowed, ..log })
}

/// The transport of an exchange that is under way.
struct Dialogue<'a> {
    processor: &'a Processor,
    metadata: &'a MetadataMap,
    watch: Option<Box<dyn Watch>>,
    clock: Clock,
    outbox: Option<mpsc::UnboundedSender<ProcessingRequest>>,
    inbox: Inbox,
    quit: bool,
}

/// Time without the pauses.
#[derive(Clone, Copy, Debug)]
struct Clock {
    began: Instant,
    paused: Duration,
}

impl Clock {
    fn now(&self) -> Instant {
        Instant::now().checked_sub(self.paused).unwrap_or(self.began)
    }
}

impl Dialogue<'_> {
    async fn run(mut self, mut play: Play) -> anyhow::Result<Log> {
        loop {
            while let Some(todo) = play.poll() {
                self.obey(todo)?;
            }
            let Some(deadline) = play.deadline().filter(|_| !self.quit) else { break };
            // Parts that are due are there before any answer; only the engine's own deadlines race with answers, and lose.
            let now = self.clock.now();
            let owed = play.chain().poll_timeout().is_some_and(|(at, ..)| at <= now);
            if deadline <= now && !owed {
                play.handle_time(now);
                continue;
            }
            tokio::select! {
                biased;
                event = self.inbox.next() => {
                    let event = self.hear(event);
                    play.handle_stream(self.clock.now(), 0, event);
                }
                () = tokio::time::sleep_until((deadline + self.clock.paused).into()) => {
                    play.handle_time(self.clock.now());
                }
            }
        }
        let effective = play.finish(self.clock.now());
        let mut log =
            Log { effective, late: Vec::new(), left_open: false, mode_override_allowed: false, quit: self.quit };
        if self.quit {
            return Ok(log);
        }
        self.linger(&mut log).await;
        Ok(log)
    }

    fn obey(&mut self, todo: ToDo) -> anyhow::Result<()> {
        match todo {
            ToDo::Open(_) => {
                let (outbox, messages) = mpsc::unbounded_channel();
                self.outbox = Some(outbox);
                self.inbox = Inbox::Opening(self.processor.open(messages, self.metadata.clone()));
            }
            ToDo::Send(_, message) => self.send(*message)?,
            ToDo::HalfClose(_) => self.outbox = None,
            ToDo::Reset(_) => (self.outbox, self.inbox) = (None, Inbox::Idle),
        }
        Ok(())
    }

    fn send(&mut self, message: ProcessingRequest) -> anyhow::Result<()> {
        if self.quit {
            return Ok(());
        }
        if let Some(watch) = &mut self.watch {
            let paused = Instant::now();
            // It may wait for a person.
            self.quit = !tokio::task::block_in_place(|| watch.before(&message))?;
            self.clock.paused += paused.elapsed();
        }
        if let Some(outbox) = self.outbox.as_ref().filter(|_| !self.quit) {
            // A stream that is already over takes nothing; that it is over comes through the inbox.
            let _ = outbox.send(message);
        }
        Ok(())
    }

    fn hear(&mut self, event: Result<Option<ProcessingResponse>, Status>) -> StreamEvent {
        let end = match event {
            Ok(Some(response)) => {
                if let Some(watch) = &mut self.watch {
                    watch.after(&response);
                }
                return StreamEvent::Reply(Box::new(response));
            }
            Ok(None) => Ok(()),
            Err(status) => {
                let code = u8::try_from(i32::from(status.code())).unwrap_or(2);
                Err(GrpcStatus { code, message: status.message().to_owned() })
            }
        };
        self.inbox = Inbox::Idle;
        StreamEvent::Closed(end)
    }

    /// Hears what comes after all is said, until the processor ends the stream too.
    async fn linger(&mut self, log: &mut Log) {
        if matches!(self.inbox, Inbox::Idle) {
            return;
        }
        self.outbox = None;
        let end = tokio::time::Instant::now() + LINGER;
        while let Ok(event) = tokio::time::timeout_at(end, self.inbox.next()).await {
            match self.hear(event) {
                StreamEvent::Reply(reply) => log.late.push(*reply),
                // It is over; how does not matter to anybody any more.
                StreamEvent::Closed(_) => return,
            }
        }
        log.left_open = true;
    }
}
