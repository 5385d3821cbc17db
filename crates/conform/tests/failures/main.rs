//! What a broken processor does to an exchange through the gateway, over real sockets: the documented status when the
//! filter fails closed, an untouched exchange when it fails open, both in time, and a gateway that goes on serving.
#![allow(clippy::unwrap_used, reason = "test code")]

mod broken;

use std::time::{Duration, Instant};

use broken::{Broken, Processor};
use extproc_conform::peer::client::Client;
use extproc_conform::peer::upstream::UpstreamPeer;
use extproc_conform::scenario::{Request, load_str};
use extproc_conform::transcript::{End, Received, Reply};
use extproc_core::{BodyMode, Config, Options, ProcessingMode};
use extproc_gateway::plan::{
    Backend, ChainEntry, Endpoint, Listener, Plan, ProcessorSpec, Protocol, Rule, WeightedBackend,
};
use extproc_gateway::route::{HostMatch, PathMatch};
use extproc_gateway::{Gateway, Telemetry};
use std::sync::Arc;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// How long the processor may take for one answer: enough for those that do come on a loaded machine.
const MESSAGE_TIMEOUT: Duration = Duration::from_millis(500);

/// The timeout, and what a loaded machine may add.
const DEADLINE: Duration = Duration::from_secs(3);

/// What goes wrong, the status when that fails closed, and the counter that tells.
const FAILURES: [(Broken, u16, &str); 7] = [
    (Broken::Killed, 500, "streams_failed"),
    (Broken::Refuses, 500, "streams_failed"),
    (Broken::Hangs, 504, "message_timeouts"),
    (Broken::AnswersLate, 504, "message_timeouts"),
    (Broken::AnswersTheWrongPhase, 500, "spurious_msgs_received"),
    (Broken::SpeaksGarbage, 500, "streams_failed"),
    (Broken::SendsGarbageMessages, 500, "streams_failed"),
];

#[tokio::test]
async fn fail_closed_gives_the_documented_status() {
    for (broken, status, counter) in FAILURES {
        let world = World::start(broken, false).await;
        let (reply, took) = world.request().await;
        assert_eq!((reply.status, reply.end), (Some(status), End::Complete), "{broken:?}");
        assert_eq!(reply.body, "", "{broken:?}: nothing of the upstream's response");
        assert!(took < DEADLINE, "{broken:?} took {took:?}");
        assert!(world.counted(counter) > 0, "{broken:?}: {counter}");
        world.serves_again().await;
        let requests = world.stop().await;
        assert!(
            requests.iter().all(|request| header(&request.headers, "x-seen").is_some()),
            "{broken:?}: {requests:?}"
        );
    }
}

#[tokio::test]
async fn fail_open_leaves_the_exchange_untouched() {
    for (broken, _, counter) in FAILURES {
        let world = World::start(broken, true).await;
        let (reply, took) = world.request().await;
        assert_eq!((reply.status, reply.end), (Some(200), End::Complete), "{broken:?}");
        assert_eq!(reply.body, "hello", "{broken:?}");
        assert_eq!(header(&reply.headers, "x-up"), Some("1"), "{broken:?}");
        assert!(took < DEADLINE, "{broken:?} took {took:?}");
        assert!(world.counted(counter) > 0, "{broken:?}: {counter}");
        assert_eq!(world.counted("failure_mode_allowed"), 1, "{broken:?}");
        world.serves_again().await;
        let requests = world.stop().await;
        let first = &requests[0];
        assert_eq!(
            (first.method.as_str(), first.path.as_str(), first.end),
            ("POST", "/x", End::Complete),
            "{broken:?}"
        );
        assert_eq!(first.body, "a body to keep", "{broken:?}");
        assert_eq!(header(&first.headers, "content-length"), Some("14"), "{broken:?}");
        assert_eq!(header(&first.headers, "x-seen"), None, "{broken:?}");
    }
}

/// A gateway between an upstream and a processor that is broken at first.
struct World {
    broken: Broken,
    processor: Processor,
    upstream: UpstreamPeer,
    address: std::net::SocketAddr,
    telemetry: Arc<Telemetry>,
    stop: oneshot::Sender<()>,
    serving: JoinHandle<()>,
}

impl World {
    async fn start(broken: Broken, failure_mode_allow: bool) -> Self {
        let processor = Processor::start(broken).await;
        let script = load_str("test", "- id: T\n  title: t\n").unwrap().remove(0).upstream;
        let upstream = UpstreamPeer::start(0, &script).await.unwrap();
        let options = Options {
            failure_mode_allow,
            message_timeout: MESSAGE_TIMEOUT,
            processing_mode: ProcessingMode { request_body: BodyMode::Buffered, ..ProcessingMode::default() },
            ..Options::default()
        };
        let gateway = Gateway::bind(plan(&processor, &upstream, options)).await.unwrap();
        let address = gateway.local_addr(0).unwrap();
        let telemetry = gateway.telemetry();
        let (stop, stopped) = oneshot::channel::<()>();
        let serving = tokio::spawn(gateway.serve_with_shutdown(async {
            let _ = stopped.await;
        }));
        Self { broken, processor, upstream, address, telemetry, stop, serving }
    }

    /// One request, and how long it took.
    async fn request(&self) -> (Reply, Duration) {
        let yaml = "- id: T\n  title: t\n  request: { method: POST, body: a body to keep }\n";
        let request: Request = load_str("test", yaml).unwrap().remove(0).request;
        let started = Instant::now();
        let reply = Client::new(&request)
            .run(self.address)
            .await
            .unwrap_or_else(|error| panic!("{:?}: {error:#}", self.broken));
        (reply, started.elapsed())
    }

    /// The processor recovers, and so do the exchanges: soon one passes it.
    async fn serves_again(&self) {
        self.processor.recover();
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            let (reply, _) = self.request().await;
            if header(&reply.headers, "x-seen") == Some("1") {
                assert_eq!((reply.status, &reply.body[..]), (Some(200), &b"hello"[..]));
                return;
            }
            assert!(Instant::now() < deadline, "{:?}: the gateway does not find back: {reply:?}", self.broken);
        }
    }

    fn counted(&self, counter: &str) -> u64 {
        self.telemetry.stats()["under-test"].get(counter).copied().unwrap_or(0)
    }

    /// Stops the gateway; the requests that the upstream got.
    async fn stop(self) -> Vec<Received> {
        drop(self.stop);
        self.serving.await.unwrap();
        self.upstream.finish(Duration::from_secs(2)).await
    }
}

fn plan(processor: &Processor, upstream: &UpstreamPeer, options: Options) -> Plan {
    let config = Arc::new(Config::new(options).unwrap());
    let rule = Rule {
        name: "all".to_owned(),
        backends: vec![WeightedBackend { backend: 0, weight: 1 }],
        chain: Arc::new([ChainEntry {
            name: "under-test".to_owned(),
            config,
            processor: 0,
            initial_metadata: Vec::new(),
            http_service: None,
        }]),
        ..Rule::default()
    };
    let mut plan = Plan {
        listeners: vec![Listener { name: "test".to_owned(), address: ([127, 0, 0, 1], 0).into() }],
        backends: vec![Backend {
            name: "upstream".to_owned(),
            endpoints: vec![Endpoint { address: upstream.address().into(), weight: 1 }],
            metadata: None,
            protocol: Protocol::default(),
        }],
        processors: vec![ProcessorSpec {
            name: "processor".to_owned(),
            endpoints: vec![processor.address().into()],
            connect_timeout: ProcessorSpec::DEFAULT_CONNECT_TIMEOUT,
        }],
        ..Plan::default()
    };
    plan.routes.add(0, HostMatch::Any, PathMatch::all(), Arc::new(rule));
    plan
}

fn header<'a>(headers: &'a [(String, String)], name: &str) -> Option<&'a str> {
    headers.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
}
