//! The scripted processor.

mod http_service;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use extproc_proto::external_processor_server::{ExternalProcessor, ExternalProcessorServer};
use extproc_proto::{ProcessingRequest, ProcessingResponse};
use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};
use tokio_stream::StreamExt;
use tokio_stream::wrappers::{TcpListenerStream, UnboundedReceiverStream};
use tonic::metadata::{KeyAndValueRef, MetadataMap};
use tonic::{Code, Response, Status, Streaming};

use super::answer;
use super::upstream::reserve;
use crate::scenario::{Failure, Kind, Script};
use crate::transcript::{Message, Moment, StreamEnd};

/// A processor that listens, answers by script and takes down what it sees.
#[derive(Debug)]
pub struct ProcessorPeer {
    address: SocketAddr,
    record: Arc<Record>,
    /// Holds the port when nothing is to listen there.
    _reserved: Option<TcpSocket>,
    serving: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Record {
    messages: Mutex<Vec<Message>>,
    /// The metadata of the last call.
    call: Mutex<BTreeMap<String, String>>,
    /// How many streams are being read.
    open: watch::Sender<usize>,
    /// How many streams there were.
    streams: AtomicUsize,
    /// How many streams the data plane or the script have not ended altogether.
    playing: watch::Sender<usize>,
    /// How the first stream ended.
    closing: Mutex<Closing>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Closing {
    half_closed: Option<Instant>,
    reset: Option<Instant>,
}

impl Record {
    fn new() -> Arc<Self> {
        Arc::default()
    }

    fn closing(&self) -> MutexGuard<'_, Closing> {
        self.closing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ProcessorPeer {
    /// Starts to listen on a free port of loopback.
    ///
    /// # Errors
    /// When no port can be had.
    pub async fn start(script: Script) -> std::io::Result<Self> {
        let record = Record::new();
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let service = ExternalProcessorServer::new(Scripted { script: Arc::new(script), record: Arc::clone(&record) });
        let serving = tokio::spawn(async move {
            // Small answers must not wait for the acknowledgement of earlier ones.
            let incoming = TcpListenerStream::new(listener).map(|stream| {
                let stream = stream?;
                stream.set_nodelay(true)?;
                Ok::<_, std::io::Error>(stream)
            });
            let router = tonic::transport::Server::builder().add_service(service);
            // It ends when the peer is dropped; whatever goes wrong before shows in the transcript.
            let _ = router.serve_with_incoming(incoming).await;
        });
        Ok(Self { address, record, _reserved: None, serving: Some(serving) })
    }

    /// The same as an HTTP service.
    ///
    /// # Errors
    /// When no port can be had.
    pub async fn start_http(script: Script) -> std::io::Result<Self> {
        let record = Record::new();
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let serving = tokio::spawn(http_service::serve(listener, script, Arc::clone(&record)));
        Ok(Self { address, record, _reserved: None, serving: Some(serving) })
    }

    /// A port where nothing listens.
    ///
    /// # Errors
    /// When no port can be had.
    pub fn unreachable() -> std::io::Result<Self> {
        let record = Record::new();
        let socket = reserve()?;
        Ok(Self { address: socket.local_addr()?, record, _reserved: Some(socket), serving: None })
    }

    /// Where it listens, or where nothing does.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// How the stream ended against `end`, once nothing more can happen to it or the patience has ended. `None` when
    /// there was no stream.
    pub(super) async fn watch(&self, end: Instant, patience: Duration) -> Option<StreamEnd> {
        let (mut open, mut playing) = (self.record.open.subscribe(), self.record.playing.subscribe());
        let over = async {
            let _ = open.wait_for(|open| *open == 0).await;
            let _ = playing.wait_for(|playing| *playing == 0).await;
        };
        let _ = timeout(patience, over).await;
        let Closing { half_closed, reset } = *self.record.closing();
        // Any common beginning will do, before all that is compared.
        let beginning = [half_closed, reset].into_iter().flatten().chain([end]).min()?;
        let moment = |at: Instant| Moment::of(at - beginning, end - beginning);
        let any = !self.record.messages.lock().unwrap_or_else(PoisonError::into_inner).is_empty();
        any.then(|| StreamEnd { half_closed: half_closed.map(moment), reset: reset.map(moment) })
    }

    /// What it saw, once every stream has ended or the patience has: messages, and the metadata of the call.
    pub async fn finish(self, patience: Duration) -> (Vec<Message>, BTreeMap<String, String>) {
        let mut open = self.record.open.subscribe();
        let _ = timeout(patience, open.wait_for(|open| *open == 0)).await;
        let messages = std::mem::take(&mut *self.record.messages.lock().unwrap_or_else(PoisonError::into_inner));
        let call = std::mem::take(&mut *self.record.call.lock().unwrap_or_else(PoisonError::into_inner));
        (messages, call)
    }
}

impl Drop for ProcessorPeer {
    fn drop(&mut self) {
        if let Some(task) = &self.serving {
            task.abort();
        }
    }
}

struct Scripted {
    script: Arc<Script>,
    record: Arc<Record>,
}

#[tonic::async_trait]
impl ExternalProcessor for Scripted {
    type ProcessStream = UnboundedReceiverStream<Result<ProcessingResponse, Status>>;

    async fn process(
        &self,
        request: tonic::Request<Streaming<ProcessingRequest>>,
    ) -> Result<Response<Self::ProcessStream>, Status> {
        let nth = self.record.streams.fetch_add(1, Ordering::Relaxed);
        if let Some(failure) = self.script.refuse.get(nth) {
            return Err(status(failure));
        }
        *self.record.call.lock().unwrap_or_else(PoisonError::into_inner) = configured(request.metadata());
        let (replies, outgoing) = mpsc::unbounded_channel();
        let (kinds, incoming) = mpsc::unbounded_channel();
        self.record.open.send_modify(|open| *open += 1);
        tokio::spawn(read(request.into_inner(), Arc::clone(&self.record), kinds));
        self.record.playing.send_modify(|playing| *playing += 1);
        let (script, record) = (Arc::clone(&self.script), Arc::clone(&self.record));
        tokio::spawn(async move {
            play(&script, incoming, replies, &record).await;
            record.playing.send_modify(|playing| *playing -= 1);
        });
        Ok(Response::new(UnboundedReceiverStream::new(outgoing)))
    }
}

fn status(failure: &Failure) -> Status {
    Status::new(Code::from_i32(failure.code.into()), failure.message.clone())
}

/// What of a call's metadata is not of the data plane itself.
fn configured(metadata: &MetadataMap) -> BTreeMap<String, String> {
    let own = ["x-envoy-", "x-forwarded-", "x-request-id"];
    let entries = metadata.iter().filter_map(|it| match it {
        KeyAndValueRef::Ascii(name, value) => Some((name.as_str().to_owned(), value.to_str().ok()?.to_owned())),
        KeyAndValueRef::Binary(..) => None,
    });
    entries.filter(|(name, _)| name.starts_with("x-") && !own.iter().any(|it| name.starts_with(it))).collect()
}

/// Takes down messages as they come, whatever the script is busy with.
async fn read(mut stream: Streaming<ProcessingRequest>, record: Arc<Record>, kinds: mpsc::UnboundedSender<Kind>) {
    loop {
        let message = match stream.message().await {
            Ok(Some(message)) => message,
            Ok(None) => {
                record.closing().half_closed.get_or_insert_with(Instant::now);
                break;
            }
            Err(_) => {
                record.closing().reset.get_or_insert_with(Instant::now);
                break;
            }
        };
        let message = answer::record(&message);
        // The script may have ended the stream.
        let _ = kinds.send(message.kind);
        record.messages.lock().unwrap_or_else(PoisonError::into_inner).push(message);
    }
    record.open.send_modify(|open| *open -= 1);
}

/// Answers one message after the other, each with all its steps.
async fn play(
    script: &Script,
    mut kinds: mpsc::UnboundedReceiver<Kind>,
    replies: mpsc::UnboundedSender<Result<ProcessingResponse, Status>>,
    record: &Record,
) {
    let mut seen: BTreeMap<Kind, usize> = BTreeMap::new();
    while let Some(kind) = kinds.recv().await {
        let nth = seen.entry(kind).or_default();
        for step in script.answer(kind, *nth) {
            if let Some(delay) = step.delay {
                sleep(delay.duration()).await;
            }
            if step.silence {
                continue;
            }
            if step.close {
                return;
            }
            let reply = match &step.error {
                Some(failure) => Err(status(failure)),
                None => answer::build(kind, &step).map_err(|error| Status::unknown(error.to_string())),
            };
            let last = reply.is_err();
            // The data plane may have reset the stream.
            let _ = replies.send(reply);
            if last {
                return;
            }
        }
        *nth += 1;
    }
    for step in script.at_half_close() {
        let wait = async {
            match step.delay {
                Some(delay) => sleep(delay.duration()).await,
                None if step.silence => std::future::pending().await,
                None => {}
            }
        };
        tokio::select! {
            () = wait => {}
            () = replies.closed() => {
                record.closing().reset.get_or_insert_with(Instant::now);
                return;
            }
        }
    }
}
