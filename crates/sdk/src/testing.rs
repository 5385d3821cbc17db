//! Runs processors in memory, message by message: no port, no task, no clock.
//!
//! ```
//! use extproc::testing::Script;
//! use extproc::{BodyMode, Request, Whole, WholeIo, Stop, processor};
//!
//! let shout = processor::<(), ()>("Shout", ()).request_body(
//!     Whole::<1024>,
//!     async |_: &(), _: &mut (), io: &mut WholeIo<Request>| -> Result<(), Stop> {
//!         let loud = io.body.text()?.to_uppercase();
//!         io.body.replace(loud);
//!         io.head.set("x-loud", "yes");
//!         Ok(())
//!     },
//! );
//! # let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
//! # runtime.block_on(async {
//! let said = Script::new()
//!     .modes(BodyMode::Buffered, BodyMode::None)
//!     .request_headers([(":method", "POST"), ("content-length", "5")])
//!     .request_body("hello", true)
//!     .run(shout)
//!     .await;
//! assert_eq!(said.lines(), [
//!     "request_headers",
//!     r#"request_body x-loud=yes content-length=5 body="HELLO""#,
//! ]);
//! # });
//! ```

mod body;
mod cycle;
mod effective;
mod entry;
mod exchange;
mod golden;
mod harness;
mod hop;
mod in_memory;
mod plan;
mod play;
mod print;
mod read;
mod redacted;
mod seen;
mod view;

use std::sync::Arc;

use extproc_proto::processing_request::Request;
use extproc_proto::{
    BodySendMode, HttpBody, HttpHeaders, HttpTrailers, ProcessingRequest, ProcessingResponse, ProtocolConfiguration,
};
use tokio_stream::StreamExt;
use tonic::Status;

pub use extproc_core::{Options, ProcessingMode, Profile};

pub use self::body::IntoBody;
pub use self::effective::{Effective, Ending};
pub use self::entry::{Entry, Event};
pub use self::exchange::Exchange;
pub use self::golden::golden;
pub use self::harness::{Fault, Harness};
pub use self::hop::Hop;
pub use self::in_memory::InMemory;
pub use self::plan::Plan;
pub use self::play::{Play, ToDo};
pub use self::read::{ReadReply, head};
pub use self::seen::Seen;
use crate::blocked::{Observer, Recorder, Settings};
use crate::service::Service;
use crate::{Blocked, BodyMode, Difference, LocalReplyScope, Metrics, Mismatch, Open, Stages};

/// The messages that a data plane sends in one exchange. It can be run many times.
#[derive(Clone, Default)]
pub struct Script {
    messages: Vec<ProcessingRequest>,
    protocol: Option<ProtocolConfiguration>,
    observing: bool,
    scope: LocalReplyScope,
    metrics: Metrics,
}

/// What came back.
#[derive(Clone)]
pub struct Transcript {
    /// The messages, in order.
    pub replies: Vec<ProcessingResponse>,
    /// How the stream ended: OK or an error.
    pub status: Result<(), Status>,
    /// What the processors wrote and the data plane did not get.
    pub blocked: Vec<Blocked>,
    /// Where their body kinds did not go with the body modes.
    pub mismatches: Vec<Mismatch>,
    /// How the data plane's declaration differs from what the processors need.
    pub differences: Vec<Difference>,
}

impl Script {
    /// No messages, no declared modes.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// All six messages, once each, with nothing in them, in the order of an exchange. Body modes are BUFFERED.
    #[must_use]
    pub fn six() -> Self {
        let none: [(&str, &str); 0] = [];
        Self::new()
            .modes(BodyMode::Buffered, BodyMode::Buffered)
            .request_headers(none)
            .request_body("", false)
            .request_trailers(none)
            .response_headers(none)
            .response_body("", false)
            .response_trailers(none)
    }

    /// Declares the body modes on the first message, as Envoy does.
    #[must_use]
    pub fn modes(mut self, request: BodyMode, response: BodyMode) -> Self {
        self.protocol = Some(ProtocolConfiguration {
            request_body_mode: send_mode(request).into(),
            response_body_mode: send_mode(response).into(),
            send_body_without_waiting_for_header_response: false,
        });
        self
    }

    /// Marks every message as observability mode.
    #[must_use]
    pub fn observing(mut self) -> Self {
        self.observing = true;
        self
    }

    /// Whose response phases local replies pass.
    #[must_use]
    pub fn local_reply_scope(mut self, scope: LocalReplyScope) -> Self {
        self.scope = scope;
        self
    }

    /// Counts into these metrics. Default: into metrics of its own.
    #[must_use]
    pub fn metrics(mut self, metrics: &Metrics) -> Self {
        self.metrics = metrics.clone();
        self
    }

    /// Request headers, with something to follow.
    #[must_use]
    pub fn request_headers<N: AsRef<[u8]>, V: AsRef<[u8]>>(self, headers: impl IntoIterator<Item = (N, V)>) -> Self {
        self.push(Request::RequestHeaders(message_head(headers, false)))
    }

    /// Request headers of a message without body and trailers.
    #[must_use]
    pub fn request_only<N: AsRef<[u8]>, V: AsRef<[u8]>>(self, headers: impl IntoIterator<Item = (N, V)>) -> Self {
        self.push(Request::RequestHeaders(message_head(headers, true)))
    }

    /// A piece of the request's body, or all of it.
    #[must_use]
    pub fn request_body(self, body: impl IntoBody, end_of_stream: bool) -> Self {
        self.push(Request::RequestBody(HttpBody { body: body.into_body(), end_of_stream, ..HttpBody::default() }))
    }

    /// Request trailers.
    #[must_use]
    pub fn request_trailers<N: AsRef<[u8]>, V: AsRef<[u8]>>(self, trailers: impl IntoIterator<Item = (N, V)>) -> Self {
        self.push(Request::RequestTrailers(HttpTrailers { trailers: Some(head(trailers)) }))
    }

    /// Response headers, with something to follow.
    #[must_use]
    pub fn response_headers<N: AsRef<[u8]>, V: AsRef<[u8]>>(self, headers: impl IntoIterator<Item = (N, V)>) -> Self {
        self.push(Request::ResponseHeaders(message_head(headers, false)))
    }

    /// Response headers of a message without body and trailers.
    #[must_use]
    pub fn response_only<N: AsRef<[u8]>, V: AsRef<[u8]>>(self, headers: impl IntoIterator<Item = (N, V)>) -> Self {
        self.push(Request::ResponseHeaders(message_head(headers, true)))
    }

    /// A piece of the response's body, or all of it.
    #[must_use]
    pub fn response_body(self, body: impl IntoBody, end_of_stream: bool) -> Self {
        self.push(Request::ResponseBody(HttpBody { body: body.into_body(), end_of_stream, ..HttpBody::default() }))
    }

    /// Response trailers.
    #[must_use]
    pub fn response_trailers<N: AsRef<[u8]>, V: AsRef<[u8]>>(self, trailers: impl IntoIterator<Item = (N, V)>) -> Self {
        self.push(Request::ResponseTrailers(HttpTrailers { trailers: Some(head(trailers)) }))
    }

    /// Any message.
    #[must_use]
    pub fn message(mut self, message: ProcessingRequest) -> Self {
        self.messages.push(message);
        self
    }

    /// The messages as they will be sent.
    #[must_use]
    pub fn messages(&self) -> Vec<ProcessingRequest> {
        let mut messages = self.messages.clone();
        if let Some(first) = messages.first_mut()
            && !self.observing
        {
            first.protocol_config = first.protocol_config.or(self.protocol);
        }
        for message in &mut messages {
            message.observability_mode |= self.observing;
        }
        messages
    }

    /// Sends the messages to a processor or chain, then ends the stream.
    pub async fn run(&self, stages: impl Stages) -> Transcript {
        self.run_shared(&Arc::new(stages)).await
    }

    /// As [`run`](Self::run), keeping the processor.
    pub async fn run_shared<S: Stages>(&self, stages: &Arc<S>) -> Transcript {
        let recorder = Arc::new(Recorder::default());
        let observers: Vec<Arc<dyn Observer>> = vec![recorder.clone()];
        let settings = Settings { scope: self.scope, observers, metrics: self.metrics.clone(), ..Settings::default() };
        let service = Service::new(Arc::clone(stages), Arc::new(settings), Arc::default());
        let requests = tokio_stream::iter(self.messages().into_iter().map(Ok));
        let mut stream = service.run(requests, Open::default());
        let (mut replies, mut status) = (Vec::new(), Ok(()));
        while let Some(reply) = stream.next().await {
            match reply {
                Ok(reply) => replies.push(reply),
                Err(error) => status = Err(error),
            }
        }
        Transcript {
            replies,
            status,
            blocked: recorder.blocked(),
            mismatches: recorder.mismatches(),
            differences: recorder.differences(),
        }
    }

    fn push(self, request: Request) -> Self {
        self.message(ProcessingRequest { request: Some(request), ..ProcessingRequest::default() })
    }
}

impl Default for Transcript {
    fn default() -> Self {
        Self {
            replies: Vec::new(),
            status: Ok(()),
            blocked: Vec::new(),
            mismatches: Vec::new(),
            differences: Vec::new(),
        }
    }
}

impl Transcript {
    /// One line for each message, stable enough to compare: its kind, then what it changes.
    ///
    /// `n=v` set, `n+=v` append, `n?=v` add if absent, `n!=v` set if present, `-n` remove, `body=`, `clear`, `chunk=`,
    /// `end`, `replace` for CONTINUE_AND_REPLACE, `route` for a cleared route, `ns.key:v` for dynamic metadata, `ask(…)` for a mode override, `timeout` for a
    /// longer one. A stream
    /// that ends with an error has a last line `error CODE: text`.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        let error = self.status.as_ref().err().map(|status| format!("error {:?}: {}", status.code(), status.message()));
        self.replies.iter().map(print::line).chain(error).collect()
    }
}

fn message_head<N: AsRef<[u8]>, V: AsRef<[u8]>>(
    headers: impl IntoIterator<Item = (N, V)>,
    end_of_stream: bool,
) -> HttpHeaders {
    HttpHeaders { headers: Some(head(headers)), end_of_stream, ..HttpHeaders::default() }
}

const fn send_mode(mode: BodyMode) -> BodySendMode {
    match mode {
        BodyMode::None => BodySendMode::None,
        BodyMode::Streamed => BodySendMode::Streamed,
        BodyMode::Buffered => BodySendMode::Buffered,
        BodyMode::BufferedPartial => BodySendMode::BufferedPartial,
        BodyMode::FullDuplexStreamed => BodySendMode::FullDuplexStreamed,
        BodyMode::Grpc => BodySendMode::Grpc,
    }
}
