//! A server whose processor waits where it is told to, and its clients.

use std::sync::Arc;
use std::time::Duration;

use extproc::proto::external_processor_client::ExternalProcessorClient;
use extproc::proto::{ProcessingRequest, ProcessingResponse};
use extproc::testing::{Script, Transcript};
use extproc::{BodyMode, Functions, RequestHead, ServeError, Server, Start, Stop, processor};
use tokio::sync::{Notify, Semaphore, mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::{Channel, Endpoint};
use tonic::{Status, Streaming};

/// Long enough for a busy machine; nothing waits that long when all is well.
pub(crate) const LIMIT: Duration = Duration::from_secs(30);

/// What the processor tells and waits for.
#[derive(Debug)]
pub(crate) struct Gate {
    /// One for each `/slow` that is in its handler.
    pub(crate) entered: Notify,
    /// One permit lets one `/slow` go on.
    pub(crate) open: Semaphore,
}

pub(crate) type Gated = Functions<Arc<Gate>, ()>;

pub(crate) fn gated() -> (Gated, Arc<Gate>) {
    let gate = Arc::new(Gate { entered: Notify::new(), open: Semaphore::new(0) });
    let functions = processor::<Arc<Gate>, ()>("Gated", Arc::clone(&gate)).request_headers(
        async |gate: &Arc<Gate>, (): &mut (), req: &mut Start<RequestHead>| -> Result<(), Stop> {
            if req.path() == "/slow" {
                gate.entered.notify_one();
                gate.open.acquire().await?.forget();
            }
            req.set("x-gated", "1");
            Ok(())
        },
    );
    (functions, gate)
}

pub(crate) struct Rig {
    pub(crate) address: String,
    pub(crate) gate: Arc<Gate>,
    stop: Option<oneshot::Sender<()>>,
    pub(crate) served: JoinHandle<Result<(), ServeError>>,
}

impl Rig {
    pub(crate) async fn start(configure: impl FnOnce(Server<Gated>) -> Server<Gated>) -> Self {
        let (functions, gate) = gated();
        let bound = configure(Server::new(functions).listen("127.0.0.1:0")).bind().await.unwrap();
        let address = bound.local_addr().unwrap().to_string();
        let (stop, stopped) = oneshot::channel::<()>();
        let served = tokio::spawn(bound.serve_with_shutdown(async {
            // A test that does not stop it is over.
            if stopped.await.is_err() {
                std::future::pending().await
            }
        }));
        Self { address, gate, stop: Some(stop), served }
    }

    pub(crate) async fn channel(&self) -> Channel {
        self.connect().await.unwrap()
    }

    pub(crate) async fn connect(&self) -> Result<Channel, tonic::transport::Error> {
        Endpoint::from_shared(format!("http://{}", self.address)).unwrap().connect().await
    }

    pub(crate) async fn entered(&self) {
        timeout(LIMIT, self.gate.entered.notified()).await.unwrap();
    }

    pub(crate) fn stop(&mut self) {
        self.stop.take().unwrap().send(()).unwrap();
    }

    pub(crate) async fn served(self) {
        timeout(LIMIT, self.served).await.unwrap().unwrap().unwrap();
    }
}

/// One exchange that the test holds open.
pub(crate) struct Call {
    send: mpsc::Sender<ProcessingRequest>,
    replies: Streaming<ProcessingResponse>,
}

impl Call {
    pub(crate) async fn open(channel: Channel) -> Result<Self, Status> {
        let (send, requests) = mpsc::channel(8);
        let replies = ExternalProcessorClient::new(channel).process(ReceiverStream::new(requests)).await?.into_inner();
        Ok(Self { send, replies })
    }

    /// Opens one and sends a request's head.
    pub(crate) async fn get(channel: Channel, path: &str) -> Result<Self, Status> {
        let call = Self::open(channel).await?;
        call.send(path).await;
        Ok(call)
    }

    pub(crate) async fn send(&self, path: &str) {
        let script = Script::new().modes(BodyMode::None, BodyMode::None);
        for message in script.request_only([(":method", "GET"), (":path", path)]).messages() {
            self.send.send(message).await.unwrap();
        }
    }

    /// Sends a message again and again, until the client can take no more of them.
    pub(crate) async fn fill(&self, message: ProcessingRequest) {
        while timeout(Duration::from_millis(100), self.send.send(message.clone())).await.is_ok() {}
    }

    pub(crate) async fn reply(&mut self) -> Result<Option<ProcessingResponse>, Status> {
        timeout(LIMIT, self.replies.message()).await.unwrap()
    }

    /// Takes the answer to [`get`](Self::get) and sees that it is what the processor says.
    pub(crate) async fn answered(&mut self) {
        let reply = self.reply().await.unwrap().unwrap();
        let lines = Transcript { replies: vec![reply], ..Transcript::default() }.lines();
        assert_eq!(lines, ["request_headers x-gated=1"]);
    }
}

/// Waits until something holds.
pub(crate) async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let waiting = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    assert!(timeout(LIMIT, waiting).await.is_ok(), "{what}");
}
