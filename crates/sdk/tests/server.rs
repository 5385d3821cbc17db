//! A real client against the server: sockets, health, shutdown, ends of streams.
#![allow(clippy::unwrap_used, reason = "test code")]

use std::future::pending;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use extproc::proto::external_processor_client::ExternalProcessorClient;
use extproc::proto::grpc::health::v1::HealthCheckRequest;
use extproc::proto::grpc::health::v1::health_check_response::ServingStatus;
use extproc::proto::grpc::health::v1::health_client::HealthClient;
use extproc::proto::{ProcessingRequest, ProcessingResponse};
use extproc::testing::{Script, Transcript};
use extproc::{
    Abort, Address, BodyMode, BodyModes, Bound, BoxProcessor, Chain, ChunkIo, End, Noop, Open, Processor, RequestHead,
    Response, Reveal, ServeError, Server, Skip, Start, Stop, Stream,
};
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status, Streaming};

const LIMIT: Duration = Duration::from_secs(10);
const GET: [(&str, &str); 2] = [(":method", "GET"), (":path", "/a")];

/// Marks requests; `/slow` waits for the gate, `/panic` panics. Tells how each exchange ended.
struct Probe {
    entered: Arc<Notify>,
    gate: Arc<Notify>,
    ends: mpsc::UnboundedSender<End>,
}

impl Processor for Probe {
    type Ctx = ();
    type RequestBody = Skip;
    type ResponseBody = Skip;

    fn open(&self, open: &Open) {
        assert!(!open.observing());
    }

    async fn request_headers(&self, (): &mut (), req: &mut Start<RequestHead>) -> Result<(), Stop> {
        match req.path() {
            "/slow" => {
                self.entered.notify_one();
                self.gate.notified().await;
            }
            "/panic" => panic!("on purpose"),
            "/long" => {
                assert!(req.extend(Duration::from_secs(3)));
                assert!(!req.extend(Duration::from_secs(4)), "once for each message");
                self.gate.notified().await;
            }
            "/fail" => return Err("a secret of the implementation".into()),
            _ => {}
        }
        req.set("x-probe", "1");
        Ok(())
    }

    fn close(&self, (): (), end: End) {
        // The test may be over.
        let _ = self.ends.send(end);
    }
}

struct Rig {
    address: Address,
    entered: Arc<Notify>,
    gate: Arc<Notify>,
    ends: mpsc::UnboundedReceiver<End>,
    stop: Option<oneshot::Sender<()>>,
    served: JoinHandle<Result<(), ServeError>>,
}

impl Rig {
    async fn start(listen: &str) -> Self {
        Self::with_grace(listen, Duration::from_secs(5)).await
    }

    async fn with_grace(listen: &str, grace: Duration) -> Self {
        let (ends, receiver) = mpsc::unbounded_channel();
        let (entered, gate) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let probe = Probe { entered: Arc::clone(&entered), gate: Arc::clone(&gate), ends };
        let bound = Server::new(probe).listen(listen).grace(grace).bind().await.unwrap();
        let address = bound.address().clone();
        let (stop, stopped) = oneshot::channel::<()>();
        let served = tokio::spawn(bound.serve_with_shutdown(async {
            let _ = stopped.await;
        }));
        Self { address, entered, gate, ends: receiver, stop: Some(stop), served }
    }

    async fn channel(&self) -> Channel {
        connect(&self.address).await.unwrap()
    }

    fn stop(&mut self) {
        self.stop.take().unwrap().send(()).unwrap();
    }

    async fn end(&mut self) -> End {
        timeout(LIMIT, self.ends.recv()).await.unwrap().unwrap()
    }

    async fn served(self) {
        timeout(LIMIT, self.served).await.unwrap().unwrap().unwrap();
    }
}

async fn connect(address: &Address) -> Result<Channel, tonic::transport::Error> {
    let uri = match address {
        Address::Tcp(address) => format!("http://{address}"),
        unix => unix.to_string(),
    };
    Endpoint::from_shared(uri)?.connect().await
}

/// One exchange that the test holds open.
struct Call {
    send: mpsc::Sender<ProcessingRequest>,
    replies: Streaming<ProcessingResponse>,
}

impl Call {
    async fn open(channel: Channel) -> Self {
        let (send, requests) = mpsc::channel(8);
        let replies =
            ExternalProcessorClient::new(channel).process(ReceiverStream::new(requests)).await.unwrap().into_inner();
        Self { send, replies }
    }

    async fn send(&self, script: Script) {
        for message in script.messages() {
            self.send.send(message).await.unwrap();
        }
    }

    async fn reply(&mut self) -> Result<Option<ProcessingResponse>, Status> {
        timeout(LIMIT, self.replies.message()).await.unwrap()
    }
}

fn line(reply: ProcessingResponse) -> String {
    Transcript { replies: vec![reply], ..Transcript::default() }.lines().remove(0)
}

fn get(path: &str) -> Script {
    Script::new().modes(BodyMode::None, BodyMode::None).request_only([(":method", "GET"), (":path", path)])
}

#[tokio::test]
async fn tcp_with_a_free_port() {
    let rig = Rig::start("127.0.0.1:0").await;
    let Address::Tcp(address) = &rig.address else { panic!("not TCP") };
    assert!(!address.ends_with(":0"), "{address}");
    let mut call = Call::open(rig.channel().await).await;
    call.send(get("/a")).await;
    assert_eq!(line(call.reply().await.unwrap().unwrap()), "request_headers x-probe=1");
}

#[tokio::test]
async fn unix_socket_replaces_a_stale_file_and_cleans_up() {
    let directory = tempfile::tempdir().unwrap();
    let path: PathBuf = directory.path().join("p.sock");
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    assert!(path.exists(), "a dead process leaves its file");

    let listen = format!("unix:{}", path.display());
    let mut rig = Rig::start(&listen).await;
    assert_eq!(rig.address.to_string(), listen);
    let mut call = Call::open(rig.channel().await).await;
    call.send(get("/a")).await;
    assert_eq!(line(call.reply().await.unwrap().unwrap()), "request_headers x-probe=1");

    let taken = Server::new(Noop).listen(listen.as_str()).bind().await.unwrap_err().to_string();
    assert_eq!(taken, format!("cannot listen on {listen}: another process listens on this socket"));

    drop(call);
    rig.stop();
    rig.served().await;
    assert!(!path.exists());
}

#[tokio::test]
async fn a_file_that_is_no_socket_is_left_alone() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let listen = format!("unix:{}", file.path().display());
    let error = Server::new(Noop).listen(listen.as_str()).bind().await.unwrap_err().to_string();
    assert_eq!(error, format!("cannot listen on {listen}: the path exists and is not a socket"));
    assert!(file.path().exists());
}

#[tokio::test]
async fn a_bad_address_says_which() {
    let error = Server::new(Noop).listen("nonsense").bind().await.unwrap_err().to_string();
    assert!(error.starts_with("cannot listen on nonsense: "), "{error}");
}

#[tokio::test]
async fn py_012_errors_are_internal_and_redacted_and_others_go_on() {
    let mut rig = Rig::start("127.0.0.1:0").await;
    let channel = rig.channel().await;
    let mut other = Call::open(channel.clone()).await;
    for (path, end) in [("/fail", End::Failed), ("/panic", End::Panicked)] {
        let mut call = Call::open(channel.clone()).await;
        call.send(get(path)).await;
        let status = call.reply().await.unwrap_err();
        assert_eq!((status.code(), status.message()), (Code::Internal, "processor Probe failed"), "{path}");
        assert_eq!(rig.end().await, end, "{path}");
    }
    other.send(get("/a")).await;
    assert_eq!(line(other.reply().await.unwrap().unwrap()), "request_headers x-probe=1");
}

#[tokio::test]
async fn py_016_an_unset_message_is_legal() {
    let rig = Rig::start("127.0.0.1:0").await;
    let mut call = Call::open(rig.channel().await).await;
    call.send(Script::new().message(ProcessingRequest::default())).await;
    call.send(get("/a")).await;
    assert_eq!(line(call.reply().await.unwrap().unwrap()), "request_headers x-probe=1");
}

#[tokio::test]
async fn py_017_half_close_and_cancel_are_normal_ends() {
    let mut rig = Rig::start("127.0.0.1:0").await;
    let channel = rig.channel().await;
    for half_close in [true, false] {
        let mut call = Call::open(channel.clone()).await;
        call.send(get("/a")).await;
        call.reply().await.unwrap().unwrap();
        if half_close {
            drop(call.send);
            assert!(timeout(LIMIT, call.replies.message()).await.unwrap().unwrap().is_none());
        } else {
            drop(call);
        }
        assert_eq!(rig.end().await, End::Ok, "half-close: {half_close}");
    }
}

#[tokio::test]
async fn closing_runs_when_a_handler_is_cut_off() {
    let mut rig = Rig::start("127.0.0.1:0").await;
    let call = Call::open(rig.channel().await).await;
    call.send(get("/slow")).await;
    timeout(LIMIT, rig.entered.notified()).await.unwrap();
    drop(call);
    assert_eq!(rig.end().await, End::Cancelled);
}

#[tokio::test]
async fn messages_above_the_limit_are_refused() {
    let bound = Server::new(Noop).listen("127.0.0.1:0").max_message(1024).bind().await.unwrap();
    let address = bound.address().clone();
    tokio::spawn(bound.serve_with_shutdown(pending()));
    let mut call = Call::open(connect(&address).await.unwrap()).await;
    call.send(Script::new().modes(BodyMode::Buffered, BodyMode::None).request_headers(GET)).await;
    call.reply().await.unwrap().unwrap();
    call.send(Script::new().request_body(vec![0; 2048], true)).await;
    assert_eq!(call.reply().await.unwrap_err().code(), Code::OutOfRange);
}

#[tokio::test]
async fn py_075_health() {
    let mut rig = Rig::start("127.0.0.1:0").await;
    let channel = rig.channel().await;
    let mut health = HealthClient::new(channel.clone());
    let check = |service: &str| HealthCheckRequest { service: service.to_owned() };
    for service in ["", "envoy.service.ext_proc.v3.ExternalProcessor"] {
        let status = health.check(check(service)).await.unwrap().into_inner().status();
        assert_eq!(status, ServingStatus::Serving, "{service:?}");
    }
    assert_eq!(health.check(check("nonsense")).await.unwrap_err().code(), Code::NotFound);

    // A running exchange keeps the server while it drains.
    let mut call = Call::open(channel.clone()).await;
    call.send(get("/slow")).await;
    timeout(LIMIT, rig.entered.notified()).await.unwrap();
    let mut watch = health.watch(check("")).await.unwrap().into_inner();
    assert_eq!(watch.message().await.unwrap().unwrap().status(), ServingStatus::Serving);
    rig.stop();
    let next = timeout(LIMIT, watch.message()).await.unwrap().unwrap().unwrap();
    assert_eq!(next.status(), ServingStatus::NotServing);
    assert!(timeout(LIMIT, watch.message()).await.unwrap().unwrap().is_none(), "a watch does not keep the server");

    // PY-158: what runs is finished, what is new is refused.
    assert!(connect(&rig.address).await.is_err());
    rig.gate.notify_one();
    assert_eq!(line(call.reply().await.unwrap().unwrap()), "request_headers x-probe=1");
    drop(call);
    rig.served().await;
}

#[tokio::test]
async fn the_grace_period_ends() {
    let mut rig = Rig::with_grace("127.0.0.1:0", Duration::from_millis(50)).await;
    let mut call = Call::open(rig.channel().await).await;
    call.send(get("/slow")).await;
    timeout(LIMIT, rig.entered.notified()).await.unwrap();
    rig.stop();
    let status = call.reply().await.unwrap_err();
    assert_eq!((status.code(), status.message()), (Code::Unavailable, "the server is shutting down"));
    assert_eq!(rig.end().await, End::Cancelled);
    rig.served().await;
}

#[tokio::test]
async fn py_067_the_start_line() {
    let bound: Bound<_> = Server::new(Reveal::new(Noop)).listen("127.0.0.1:0").bind().await.unwrap();
    let port = bound.local_addr().unwrap().port();
    assert_eq!(bound.start_line(), format!("Starting Envoy ExternalProcessor \"Noop\" at 127.0.0.1:{port}"));
}

#[tokio::test]
async fn py_071_the_service_can_be_embedded() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = Address::from(listener.local_addr().unwrap());
    let incoming = tonic::transport::server::TcpIncoming::from(listener);
    let service = Server::new(Noop).into_service();
    tokio::spawn(tonic::transport::Server::builder().add_service(service).serve_with_incoming(incoming));
    let mut call = Call::open(connect(&address).await.unwrap()).await;
    call.send(get("/a")).await;
    assert_eq!(line(call.reply().await.unwrap().unwrap()), "request_headers");
}

#[tokio::test]
async fn more_time_is_asked_for_while_the_handler_runs() {
    let rig = Rig::start("127.0.0.1:0").await;
    let mut call = Call::open(rig.channel().await).await;
    call.send(get("/long")).await;
    assert_eq!(line(call.reply().await.unwrap().unwrap()), "timeout 3s");
    rig.gate.notify_one();
    assert_eq!(line(call.reply().await.unwrap().unwrap()), "request_headers x-probe=1");
}

/// Capitals of responses, chunk by chunk.
struct Flow;

impl Processor for Flow {
    type Ctx = ();
    type RequestBody = Skip;
    type ResponseBody = Stream;

    fn open(&self, _: &Open) {}

    async fn response_body(&self, (): &mut (), io: &mut ChunkIo<Response>) -> Result<(), Abort> {
        io.out.push(io.data.to_ascii_uppercase());
        Ok(())
    }
}

#[tokio::test]
async fn chunks_go_out_as_they_come_in() {
    let bound = Server::new(Flow).listen("127.0.0.1:0").bind().await.unwrap();
    let address = bound.address().clone();
    tokio::spawn(bound.serve_with_shutdown(pending()));
    let mut call = Call::open(connect(&address).await.unwrap()).await;
    let script = Script::new().modes(BodyMode::None, BodyMode::FullDuplexStreamed);
    call.send(script.response_headers([(":status", "200")])).await;
    assert_eq!(line(call.reply().await.unwrap().unwrap()), "response_headers");
    // Each is answered before the next is sent.
    for data in ["ab", "cd"] {
        call.send(Script::new().response_body(data, false)).await;
        let expected = format!("response_body chunk=\"{}\"", data.to_uppercase());
        assert_eq!(line(call.reply().await.unwrap().unwrap()), expected);
    }
    call.send(Script::new().response_body("", true)).await;
    assert_eq!(line(call.reply().await.unwrap().unwrap()), r#"response_body chunk="" end"#);
}

#[test]
fn what_a_server_is_called_and_needs() {
    struct Whole;
    impl Processor for Whole {
        type Ctx = ();
        type RequestBody = Skip;
        type ResponseBody = extproc::Whole<1>;

        fn open(&self, _: &Open) {}
    }
    let needs = |request, response| BodyModes { request, response };
    let plain = Server::new(Chain::new(Noop).then(Reveal::new(Noop)));
    assert_eq!((plain.name(), plain.needs().bodies), ("Noop,Noop".to_owned(), needs(BodyMode::None, BodyMode::None)));
    let boxed = Server::new(vec![BoxProcessor::new(Noop), BoxProcessor::new(Whole)]);
    assert_eq!(
        (boxed.name(), boxed.needs().bodies),
        ("Noop,Whole".to_owned(), needs(BodyMode::None, BodyMode::Buffered))
    );
    assert_eq!(Server::new(Chain::new(Whole).then(Noop)).needs().bodies, needs(BodyMode::None, BodyMode::Buffered));
    let duplex = needs(BodyMode::None, BodyMode::FullDuplexStreamed);
    assert_eq!(Server::new(Flow).needs().bodies, duplex);
    assert_eq!(Server::new(Chain::new(Whole).then(Flow)).needs().bodies, duplex, "the mode that carries both");
}
