//! `slow` and `throwing`: processors that misbehave as told, to try timeouts and failure modes with.

use std::str::FromStr;
use std::time::Duration;

use extproc::{
    Abort, BoxProcessor, ChunkIo, LocalReply, Processor, Request, RequestHead, Response, ResponseHead, Start, Stop,
    Stream, processor,
};

use super::reveal::Reveal;
use super::settings::{Key, Settings, key};
use crate::failure::Outcome;

const PHASE: Key = key(
    "phase",
    "request_headers, request_body, response_headers or response_body [default: request_headers]",
    "where it happens",
);

/// `slow`: waits.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Slow {
    delay: Duration,
    extend: bool,
}

/// `throwing`: fails.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Throwing {
    Error,
    Panic,
    Reply,
}

/// What both do in their phase.
trait Trouble: Copy + Send + Sync + 'static {
    /// Whether to ask the data plane for more time first.
    fn extend(&self) -> Option<Duration> {
        None
    }

    fn happen(&self) -> impl Future<Output = Result<(), Stop>> + Send;
}

impl Slow {
    pub(super) const KEYS: &[Key] = &[
        PHASE,
        key("delay", "TIME [default: 250ms]", "how long it waits; data planes give 200 ms by default"),
        key("extend", "true [default: false]", "in header phases, ask the data plane for that much more time first"),
    ];

    pub(super) fn boxed(settings: &Settings, reveal: &Reveal) -> Outcome<BoxProcessor> {
        let delay = settings.duration("delay", Duration::from_millis(250))?;
        build("Slow", Self { delay, extend: settings.get("extend")?.unwrap_or(false) }, settings, reveal)
    }
}

impl Throwing {
    pub(super) const KEYS: &[Key] =
        &[PHASE, key("how", "error, panic or reply [default: error]", "reply answers the client with 503")];

    pub(super) fn boxed(settings: &Settings, reveal: &Reveal) -> Outcome<BoxProcessor> {
        build("Throwing", settings.get("how")?.unwrap_or(Self::Error), settings, reveal)
    }
}

impl FromStr for Throwing {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "error" => Ok(Self::Error),
            "panic" => Ok(Self::Panic),
            "reply" => Ok(Self::Reply),
            _ => Err("write error, panic or reply"),
        }
    }
}

impl Trouble for Slow {
    fn extend(&self) -> Option<Duration> {
        self.extend.then_some(self.delay * 2)
    }

    async fn happen(&self) -> Result<(), Stop> {
        tokio::time::sleep(self.delay).await;
        Ok(())
    }
}

impl Trouble for Throwing {
    async fn happen(&self) -> Result<(), Stop> {
        match self {
            Self::Error => Err("thrown as told".into()),
            Self::Panic => panic!("thrown as told"),
            Self::Reply => Err(LocalReply::unavailable().details("thrown_as_told").into()),
        }
    }
}

/// One function for the phase that is asked for; the body kind follows from it.
fn build<T: Trouble>(name: &str, trouble: T, settings: &Settings, reveal: &Reveal) -> Outcome<BoxProcessor> {
    let plain = processor::<T, ()>(name, trouble);
    Ok(match settings.text("phase")?.unwrap_or("request_headers") {
        "request_headers" => boxed(reveal, plain.request_headers(request_headers)),
        "request_body" => boxed(reveal, plain.request_body(Stream, request_body)),
        "response_headers" => boxed(reveal, plain.response_headers(response_headers)),
        "response_body" => boxed(reveal, plain.response_body(Stream, response_body)),
        other => return Err(settings.wrong("phase", format_args!("{other:?} must be {}", PHASE.value))),
    })
}

fn boxed(reveal: &Reveal, processor: impl Processor) -> BoxProcessor {
    BoxProcessor::new(reveal.wrap(processor))
}

async fn request_headers<T: Trouble>(trouble: &T, _: &mut (), req: &mut Start<RequestHead>) -> Result<(), Stop> {
    if let Some(more) = trouble.extend() {
        req.extend(more);
    }
    trouble.happen().await
}

async fn response_headers<T: Trouble>(trouble: &T, _: &mut (), rsp: &mut Start<ResponseHead>) -> Result<(), Stop> {
    if let Some(more) = trouble.extend() {
        rsp.extend(more);
    }
    trouble.happen().await
}

async fn request_body<T: Trouble>(trouble: &T, _: &mut (), io: &mut ChunkIo<Request>) -> Result<(), Stop> {
    io.out.pass();
    trouble.happen().await
}

/// The client has the response's head: a reply comes too late, and the response is cut.
async fn response_body<T: Trouble>(trouble: &T, _: &mut (), io: &mut ChunkIo<Response>) -> Result<(), Abort> {
    io.out.pass();
    trouble.happen().await.map_err(|stop| match stop {
        Stop::Reply(_) => Abort::Reset,
        Stop::Fail(error) => Abort::Fail(error),
    })
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use extproc::BodyMode;
    use extproc::testing::Script;

    use super::*;

    fn script() -> Script {
        let script = Script::new().modes(BodyMode::Streamed, BodyMode::Streamed);
        let script = script.request_headers([(":method", "POST")]).request_body("a", true);
        script.response_headers([(":status", "200")]).response_body("b", true)
    }

    const PASSED: [&str; 4] = ["request_headers", "request_body", "response_headers", "response_body"];

    #[tokio::test]
    async fn it_waits_in_the_phase_that_is_asked_for() {
        for phase in PASSED {
            let settings = Settings::test(&[&format!("phase={phase}"), "delay=5ms", "extend=true"]);
            let began = Instant::now();
            let lines = script().run(Slow::boxed(&settings, &Reveal::off()).expect("valid")).await.lines();
            assert!(began.elapsed() >= Duration::from_millis(5), "{phase}");
            let extended = lines.iter().position(|line| line.starts_with("timeout"));
            let expected = PASSED.iter().position(|p| *p == phase).filter(|_| phase.ends_with("headers"));
            assert_eq!(extended, expected, "{phase}: {lines:?}");
            assert_eq!(lines.iter().filter(|line| !line.starts_with("timeout")).collect::<Vec<_>>(), PASSED, "{phase}");
        }
    }

    #[tokio::test]
    async fn it_fails_in_the_phase_that_is_asked_for() {
        for (index, phase) in PASSED.into_iter().enumerate() {
            for how in ["error", "panic", "reply"] {
                let settings = Settings::test(&[&format!("phase={phase}"), &format!("how={how}")]);
                let lines = script().run(Throwing::boxed(&settings, &Reveal::off()).expect("valid")).await.lines();
                let last = match (how, phase) {
                    ("reply", "response_body") => "immediate 500 details=processor_cut",
                    ("reply", _) => "immediate 503 details=thrown_as_told",
                    _ => "error ",
                };
                assert!(
                    lines[index].starts_with(last) && lines[..index] == PASSED[..index],
                    "{phase} {how}: {lines:?}"
                );
            }
        }
    }

    #[test]
    fn settings_are_checked() {
        for settings in [["phase=body", "how=error"], ["phase=request_body", "how=shout"]] {
            assert!(Throwing::boxed(&Settings::test(&settings), &Reveal::off()).is_err(), "{settings:?}");
        }
    }
}
