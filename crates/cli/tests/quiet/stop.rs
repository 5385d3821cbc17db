//! A stop under load: what was accepted is answered, by a processor that is told to go and by a gateway that is.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use crate::alone;
use crate::process::{PATIENCE, Server};

/// How many clients there are, and how long each of their exchanges takes.
const CLIENTS: usize = 16;
const TAKES: &str = "30ms";
/// How many answers there are before the stop.
const BEFORE: usize = 200;

/// A command whose log goes to a file.
struct Logged {
    child: Child,
    addr: SocketAddr,
    log: PathBuf,
}

impl Logged {
    async fn start(args: &[&str], log: PathBuf) -> Self {
        // `EXTPROC_BIN` measures another build, as a release.
        let binary = std::env::var("EXTPROC_BIN").unwrap_or_else(|_| env!("CARGO_BIN_EXE_extproc").to_owned());
        let mut child = Command::new(binary)
            .args(args)
            .env("RUST_LOG", "info,extproc=debug")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(std::fs::File::create(&log).unwrap())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let line = timeout(PATIENCE, lines.next_line()).await.expect("it starts in time").unwrap().expect("a line");
        let place = line.rsplit_once(" at ").expect("a place").1.trim_start_matches("http://").to_owned();
        let addr = place.parse().unwrap_or_else(|_| SocketAddr::from(([127, 0, 0, 1], place.parse().unwrap())));
        Self { child, addr, log }
    }

    async fn stop(&self) {
        let id = self.child.id().expect("it runs").to_string();
        assert!(Command::new("kill").args(["-TERM", &id]).status().await.unwrap().success());
    }

    async fn end(&mut self) -> ExitStatus {
        timeout(PATIENCE, self.child.wait()).await.expect("it ends in time").unwrap()
    }

    fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap()
    }
}

/// The ids of the exchanges that the processor began.
fn accepted(log: &str) -> BTreeSet<String> {
    let begun = log.lines().filter(|line| line.contains("phase starts") && line.contains("request_headers"));
    begun.filter_map(|line| Some(line.rsplit_once("request_id=")?.1.trim_matches('"').to_owned())).collect()
}

/// What the clients saw.
#[derive(Debug, Default)]
struct Seen {
    /// The ids of answers that the processor marked.
    marked: BTreeSet<String>,
    /// Answers that went past the processor.
    plain: usize,
    /// No answer, or another status than 200.
    failed: Vec<String>,
}

/// Clients that ask one request after the other, over connections that stay.
struct Load {
    clients: JoinSet<Seen>,
    answers: Arc<AtomicUsize>,
    over: Arc<AtomicBool>,
}

impl Load {
    fn start(front: SocketAddr) -> Self {
        let (answers, over) = (Arc::<AtomicUsize>::default(), Arc::<AtomicBool>::default());
        let mut clients = JoinSet::new();
        for number in 0..CLIENTS {
            clients.spawn(client(front, number, Arc::clone(&answers), Arc::clone(&over)));
        }
        Self { clients, answers, over }
    }

    async fn has_answers(&self, count: usize) {
        let deadline = Instant::now() + PATIENCE;
        while self.answers.load(Ordering::Relaxed) < count {
            assert!(Instant::now() < deadline, "{count} answers in time");
            sleep(Duration::from_millis(5)).await;
        }
    }

    async fn end(self) -> Seen {
        self.over.store(true, Ordering::Relaxed);
        let mut all = Seen::default();
        for seen in self.clients.join_all().await {
            all.marked.extend(seen.marked);
            all.plain += seen.plain;
            all.failed.extend(seen.failed);
        }
        all
    }
}

async fn client(front: SocketAddr, number: usize, answers: Arc<AtomicUsize>, over: Arc<AtomicBool>) -> Seen {
    let client = Client::builder(TokioExecutor::new()).build_http::<Full<Bytes>>();
    let mut seen = Seen::default();
    for count in 0.. {
        let id = format!("{number}-{count}");
        let request = http::Request::post(format!("http://{front}/"))
            .header("x-request-id", &id)
            .body(Full::from("hello"))
            .unwrap();
        let answer = async {
            let answer = client.request(request).await.map_err(|error| format!("{id}: {error:?}"))?;
            let (head, body) = answer.into_parts();
            body.collect().await.map_err(|error| format!("{id}: cut: {error}"))?;
            if head.status == 200 { Ok(head) } else { Err(format!("{id}: {}", head.status)) }
        };
        match timeout(PATIENCE, answer).await.expect("an answer in time") {
            Ok(head) => match head.headers.get("x-extra-request-id") {
                Some(mark) => drop(seen.marked.insert(mark.to_str().unwrap().to_owned())),
                None => seen.plain += 1,
            },
            Err(error) => {
                seen.failed.push(error);
                // Nobody listens any more.
                if over.load(Ordering::Relaxed) {
                    break;
                }
                // A client that is refused does not try as fast as it can.
                sleep(Duration::from_millis(5)).await;
            }
        }
        answers.fetch_add(1, Ordering::Relaxed);
        if over.load(Ordering::Relaxed) {
            break;
        }
    }
    seen
}

struct World {
    processor: Logged,
    gateway: Logged,
    _echo: Server,
    _dir: TempDir,
}

async fn world() -> World {
    let dir = TempDir::new().unwrap();
    let place = |name: &str| dir.path().join(name);
    let echo = Server::start(&["echo", "--listen", "127.0.0.1:0"]).await;
    let delay = format!("slow.delay={TAKES}");
    let args = ["serve", "slow,trivial", "--set", &delay, "--listen", "127.0.0.1:0", "--grace-period", "20s"];
    let processor = Logged::start(&args, place("processor.log")).await;
    let file = place("gateway.yaml");
    std::fs::write(&file, config(echo.addr, processor.addr)).unwrap();
    let gateway = Logged::start(&["gateway", "--config", &text(&file)], place("gateway.log")).await;
    World { processor, gateway, _echo: echo, _dir: dir }
}

fn text(path: &Path) -> String {
    path.display().to_string()
}

fn config(backend: SocketAddr, processor: SocketAddr) -> String {
    format!(
        r#"
gateways: [{{ name: main, listeners: [{{ name: http, address: 127.0.0.1, port: 0 }}] }}]
backends: [{{ name: echo, endpoints: [{{ address: "{backend}" }}] }}]
routes: [{{ name: all, rules: [{{ backend_refs: [{{ name: echo }}] }}] }}]
policies:
  - name: samples
    target_refs: [{{ kind: Gateway, name: main }}]
    ext_proc:
      - name: samples
        processor: {{ address: "{processor}" }}
        message_timeout: 20s
        failure_mode_allow: true
"#
    )
}

#[expect(clippy::print_stderr, reason = "the figures are the point")]
fn print(what: &str, accepted: &BTreeSet<String>, seen: &Seen) -> Vec<String> {
    let lost: Vec<_> = accepted.difference(&seen.marked).cloned().collect();
    eprintln!(
        "{what}: {} exchanges accepted by the processor, {} of them answered, {} lost; {} answered without it, {} refused",
        accepted.len(),
        accepted.len() - lost.len(),
        lost.len(),
        seen.plain,
        seen.failed.len()
    );
    lost
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_processor_that_is_told_to_go_loses_nothing() {
    let _alone = alone().await;
    let mut world = world().await;
    let load = Load::start(world.gateway.addr);
    load.has_answers(BEFORE).await;
    world.processor.stop().await;
    let status = world.processor.end().await;
    load.has_answers(load.answers.load(Ordering::Relaxed) + BEFORE).await;
    let seen = load.end().await;
    let log = world.processor.log();
    let lost = print("processor stopped", &accepted(&log), &seen);
    assert_eq!(lost, [""; 0], "accepted and not answered");
    assert_eq!(seen.failed, [""; 0], "the gateway goes on without it");
    assert!(seen.marked.len() >= BEFORE && seen.plain >= BEFORE, "{} {}", seen.marked.len(), seen.plain);
    assert_eq!(status.code(), Some(0));
    assert!(!log.contains("cut off"), "within its grace period");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_that_is_told_to_go_loses_nothing() {
    let _alone = alone().await;
    let mut world = world().await;
    let load = Load::start(world.gateway.addr);
    load.has_answers(BEFORE).await;
    world.gateway.stop().await;
    let status = world.gateway.end().await;
    let seen = load.end().await;
    world.processor.stop().await;
    assert_eq!(world.processor.end().await.code(), Some(0));
    let lost = print("gateway stopped", &accepted(&world.processor.log()), &seen);
    assert_eq!(lost, [""; 0], "accepted and not answered");
    assert_eq!((status.code(), seen.plain), (Some(0), 0));
    assert!(seen.marked.len() >= BEFORE);
}
