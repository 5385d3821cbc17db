//! The scripted processor.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use extproc_proto::external_processor_server::{ExternalProcessor, ExternalProcessorServer};
use extproc_proto::{ProcessingRequest, ProcessingResponse};
use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use tokio_stream::StreamExt;
use tokio_stream::wrappers::{TcpListenerStream, UnboundedReceiverStream};
use tonic::{Code, Response, Status, Streaming};

use super::answer;
use super::upstream::reserve;
use crate::scenario::{Kind, Script};
use crate::transcript::Message;

/// A processor that listens, answers by script and takes down what it sees.
#[derive(Debug)]
pub struct ProcessorPeer {
    address: SocketAddr,
    record: Arc<Record>,
    /// Holds the port when nothing is to listen there.
    _reserved: Option<TcpSocket>,
    serving: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Record {
    messages: Mutex<Vec<Message>>,
    /// How many streams are being read.
    open: watch::Sender<usize>,
}

impl ProcessorPeer {
    /// Starts to listen on a free port of loopback.
    ///
    /// # Errors
    /// When no port can be had.
    pub async fn start(script: Script) -> std::io::Result<Self> {
        let record = Arc::new(Record { messages: Mutex::new(Vec::new()), open: watch::Sender::new(0) });
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

    /// A port where nothing listens.
    ///
    /// # Errors
    /// When no port can be had.
    pub fn unreachable() -> std::io::Result<Self> {
        let record = Arc::new(Record { messages: Mutex::new(Vec::new()), open: watch::Sender::new(0) });
        let socket = reserve()?;
        Ok(Self { address: socket.local_addr()?, record, _reserved: Some(socket), serving: None })
    }

    /// Where it listens, or where nothing does.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// What it saw, once every stream has ended or the patience has.
    pub async fn finish(self, patience: Duration) -> Vec<Message> {
        let mut open = self.record.open.subscribe();
        let _ = timeout(patience, open.wait_for(|open| *open == 0)).await;
        std::mem::take(&mut *self.record.messages.lock().unwrap_or_else(PoisonError::into_inner))
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
        let (replies, outgoing) = mpsc::unbounded_channel();
        let (kinds, incoming) = mpsc::unbounded_channel();
        self.record.open.send_modify(|open| *open += 1);
        tokio::spawn(read(request.into_inner(), Arc::clone(&self.record), kinds));
        tokio::spawn(play(Arc::clone(&self.script), incoming, replies));
        Ok(Response::new(UnboundedReceiverStream::new(outgoing)))
    }
}

/// Takes down messages as they come, whatever the script is busy with.
async fn read(mut stream: Streaming<ProcessingRequest>, record: Arc<Record>, kinds: mpsc::UnboundedSender<Kind>) {
    // How a stream ends is a race in Envoy (half-close, or cancelled): not recorded.
    while let Ok(Some(message)) = stream.message().await {
        let message = answer::record(&message);
        // The script may have ended the stream.
        let _ = kinds.send(message.kind);
        record.messages.lock().unwrap_or_else(PoisonError::into_inner).push(message);
    }
    record.open.send_modify(|open| *open -= 1);
}

/// Answers one message after the other, each with all its steps.
async fn play(
    script: Arc<Script>,
    mut kinds: mpsc::UnboundedReceiver<Kind>,
    replies: mpsc::UnboundedSender<Result<ProcessingResponse, Status>>,
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
                Some(failure) => Err(Status::new(Code::from_i32(failure.code.into()), failure.message.clone())),
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
}
