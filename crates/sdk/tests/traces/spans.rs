//! Spans and the events of phases.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use extproc::proto::external_processor_client::ExternalProcessorClient;
use extproc::proto::grpc::health::v1::HealthCheckRequest;
use extproc::proto::grpc::health::v1::health_client::HealthClient;
use extproc::testing::Script;
use extproc::{
    BodyMode, Chain, LocalReply, Metrics, Noop, Open, Phase, Processor, Request, RequestHead, ResponseHead, Server,
    Skip, Start, Stop, Whole, WholeIo, processor,
};
use tokio::time::sleep;
use tonic::transport::Endpoint;
use tracing_subscriber::filter::LevelFilter;

use crate::capture::Told;

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const SPAN: &str = "00f067aa0ba902b7";
const ID: (&str, &str) = ("x-request-id", "id-1");

fn get() -> Script {
    Script::new().modes(BodyMode::None, BodyMode::None)
}

#[tokio::test]
async fn py_050_a_span_for_each_stream_and_for_each_phase_of_each_processor() {
    let (told, _guard) = Told::listen(LevelFilter::INFO);
    let header = format!("00-{TRACE}-{SPAN}-01");
    let script =
        get().request_only([(":method", "GET"), ID, ("traceparent", &header)]).response_only([(":status", "200")]);
    script.run(Chain::new(Noop).then(processor::<(), ()>("Other", ()))).await;
    let spans: Vec<String> =
        told.starting("span ").iter().map(|line| line.split(" in ").next().unwrap().into()).collect();
    assert_eq!(
        spans,
        [
            "span ext_proc.stream",
            "span ext_proc.request_headers",
            "span ext_proc.request_headers",
            "span ext_proc.response_headers",
            "span ext_proc.response_headers",
        ]
    );
    assert!(told.one("span ext_proc.stream in nothing").contains("processor=Noop,Other"));
    let phases = told.starting("span ext_proc.request_headers in ext_proc.stream");
    assert!(phases[0].contains("processor=Noop phase=request_headers request_id=id-1"), "{phases:?}");
    assert!(phases[1].contains("processor=Other phase=request_headers request_id=id-1"), "{phases:?}");
    told.one(&format!("record ext_proc.stream trace_id={TRACE}"));
    told.one(&format!("record ext_proc.stream parent_id={SPAN}"));
    told.one("record ext_proc.stream request_id=id-1");
    told.one("record ext_proc.stream end=ok");
    told.one("record ext_proc.stream duration_ns=");
    assert_eq!(told.starting("record ext_proc.response_headers duration_ns=").len(), 2);
}

/// The data plane's own span is nearer than what the client sent through it.
#[tokio::test]
async fn py_050_the_parent_is_that_of_the_call_and_else_that_of_the_request() {
    let (told, _guard) = Told::listen(LevelFilter::INFO);
    let bound = Server::new(Noop).listen("127.0.0.1:0").bind().await.unwrap();
    let address = format!("http://{}", bound.local_addr().unwrap());
    let served = tokio::spawn(bound.serve_with_shutdown(std::future::pending()));
    let mut client = ExternalProcessorClient::new(Endpoint::from_shared(address).unwrap().connect().await.unwrap());
    let of_client = format!("00-{}-{SPAN}-01", "1".repeat(32));
    let messages = get().request_only([(":method", "GET"), ("traceparent", &of_client)]).messages();
    for of_call in [Some(format!("00-{TRACE}-{SPAN}-01")), None, Some("not valid".to_owned())] {
        let mut call = tonic::Request::new(tokio_stream::iter(messages.clone()));
        if let Some(header) = of_call {
            call.metadata_mut().insert("traceparent", header.parse().unwrap());
        }
        let mut replies = client.process(call).await.unwrap().into_inner();
        while replies.message().await.unwrap().is_some() {}
    }
    assert_eq!(
        told.starting("record ext_proc.stream trace_id="),
        [
            format!("record ext_proc.stream trace_id={TRACE}"),
            format!("record ext_proc.stream trace_id={}", "1".repeat(32)),
        ]
    );
    served.abort();
}

#[tokio::test]
async fn py_051_health_calls_are_never_traced() {
    let (told, _guard) = Told::listen(LevelFilter::TRACE);
    let bound = Server::new(Noop).listen("127.0.0.1:0").bind().await.unwrap();
    let address = format!("http://{}", bound.local_addr().unwrap());
    let served = tokio::spawn(bound.serve_with_shutdown(std::future::pending()));
    let channel = Endpoint::from_shared(address).unwrap().connect().await.unwrap();
    HealthClient::new(channel.clone()).check(HealthCheckRequest::default()).await.unwrap();
    assert_eq!(told.starting("span ext_proc"), Vec::<String>::new());
    let messages = get().request_only([(":method", "GET")]).messages();
    let mut replies =
        ExternalProcessorClient::new(channel).process(tokio_stream::iter(messages)).await.unwrap().into_inner();
    while replies.message().await.unwrap().is_some() {}
    told.one("span ext_proc.stream");
    served.abort();
}

#[tokio::test]
async fn py_052_events_at_the_start_and_at_the_end_of_each_phase() {
    let (told, _guard) = Told::listen(LevelFilter::DEBUG);
    get().request_only([(":method", "GET"), ID]).response_only([(":status", "200")]).run(Noop).await;
    for phase in ["request_headers", "response_headers"] {
        let fields = format!("processor=Noop phase={phase} request_id=id-1");
        told.one(&format!("DEBUG in ext_proc.stream message=phase starts {fields}"));
        told.one(&format!("DEBUG in ext_proc.stream message=phase is done {fields} duration_ns="));
    }
}

#[tokio::test]
async fn py_053_below_their_level_there_is_nothing() {
    let (told, _guard) = Told::listen(LevelFilter::WARN);
    get().request_only([(":method", "GET"), ID]).response_only([(":status", "200")]).run(Noop).await;
    assert_eq!(told.lines(), Vec::<String>::new());
}

#[tokio::test]
async fn py_019_details_go_to_log_metric_and_wire() {
    let (told, _guard) = Told::listen(LevelFilter::DEBUG);
    let deny = processor::<(), ()>("Deny", ()).request_headers(
        async |(): &(), (): &mut (), _: &mut Start<RequestHead>| -> Result<(), Stop> {
            Err(LocalReply::forbidden().details("no_tenant").into())
        },
    );
    let metrics = Metrics::new();
    let said = get().metrics(&metrics).request_only([(":method", "GET")]).run(deny).await;
    assert_eq!(said.lines(), ["immediate 403 details=no_tenant"]);
    told.one("DEBUG in ext_proc.stream message=local reply processor=Deny status=403 details=no_tenant");
    told.one("record ext_proc.stream end=local_reply");
    let line = "ext_proc_local_replies_total{processor=\"Deny\",status=\"403\",details=\"no_tenant\"} 1\n";
    #[cfg(feature = "metrics")]
    assert!(metrics.encode().contains(line));
    #[cfg(not(feature = "metrics"))]
    let _ = line;
}

/// What a handler read of the progress, as text.
type Notes = Arc<Mutex<Vec<String>>>;

/// Takes 5 ms for each phase.
struct Slow(Notes);

impl Slow {
    async fn note(&self, progress: extproc::Progress) {
        sleep(Duration::from_millis(5)).await;
        let (phase, id) = (progress.phase().map_or("unknown", Phase::name), progress.request_id().unwrap_or("unknown"));
        let (total, head) = (progress.handler_time(), progress.handler_time_in(Phase::RequestHeaders));
        self.0.lock().unwrap().push(format!("{phase} {id} {total:?} {head:?}"));
    }
}

impl Processor for Slow {
    type Ctx = ();
    type RequestBody = Whole<10>;
    type ResponseBody = Skip;

    fn open(&self, _: &Open) {}

    async fn request_headers(&self, (): &mut (), req: &mut Start<RequestHead>) -> Result<(), Stop> {
        self.note(req.progress().clone()).await;
        Ok(())
    }

    async fn request_body(&self, (): &mut (), io: &mut WholeIo<Request>) -> Result<(), Stop> {
        self.note(io.head.progress().clone()).await;
        Ok(())
    }

    async fn response_headers(&self, (): &mut (), rsp: &mut Start<ResponseHead>) -> Result<(), Stop> {
        self.note(rsp.progress().clone()).await;
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn py_021_py_025_handlers_read_phase_id_and_their_time() {
    let notes = Notes::default();
    let script = Script::new()
        .modes(BodyMode::Buffered, BodyMode::None)
        .request_headers([(":method", "POST"), ID])
        .request_body("abc", true)
        .response_only([(":status", "200")]);
    // The second processor of a chain has its own time.
    script.run(Chain::new(Slow(Arc::clone(&notes))).then(Noop)).await;
    assert_eq!(
        *notes.lock().unwrap(),
        ["request_headers id-1 0ns 0ns", "request_body id-1 5ms 5ms", "response_headers id-1 10ms 5ms",]
    );
    notes.lock().unwrap().clear();
    get().response_only([(":status", "200")]).run(Slow(Arc::clone(&notes))).await;
    assert_eq!(*notes.lock().unwrap(), ["response_headers unknown 0ns 0ns"]);
}
