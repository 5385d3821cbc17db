//! The servers of the demo.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use extproc::{BodyKind, Processor, Request, Response, Server};
use extproc_gateway::{Config, Gateway};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use super::client::Ask;
use super::config;
use super::envoy::Envoy;
use super::golden::CHAIN;
use super::tap::{Head, Log, Tap};
use crate::echo;
use crate::failure::{Failure, Outcome};
use crate::listen::Listen;
use crate::sample::{Context, Digest, Echo, Reveal, Timer, Trivial, decorated};

/// What stands in front of the processors.
pub(crate) enum Front {
    Gateway,
    /// The Envoy at this path.
    Envoy(PathBuf),
}

/// Everything, serving.
pub(crate) struct Stack {
    pub(crate) proxy: SocketAddr,
    pub(crate) log: Log,
    servers: Servers,
    _envoy: Option<Envoy>,
}

/// Tasks that end when told to.
struct Servers {
    tasks: JoinSet<()>,
    stop: watch::Sender<bool>,
}

impl Stack {
    /// Starts the upstream, the processors and what stands in front. Port 0 takes a free one.
    pub(crate) async fn start(port: u16, front: Front, reveal: &Reveal) -> Outcome<Self> {
        let log = Log::new();
        let mut servers = Servers { tasks: JoinSet::new(), stop: watch::Sender::new(false) };
        let loopback = Listen::Tcp { host: "127.0.0.1".to_owned(), port: 0 };
        let upstream = echo::Server::bind(&loopback, "Hello").await?;
        let address = upstream.local_addr();
        servers.spawn(|stop| upstream.serve(stop));
        // The Python SDK's example sends the header on in any case; the walk-through shows it.
        let context = Context { always: true };
        let processors = [
            servers.processor("trivial", reveal.wrap(Trivial), &log).await?,
            servers.processor("timer", reveal.wrap(Timer::new()), &log).await?,
            servers.processor("echo", reveal.wrap(Echo::default()), &log).await?,
            servers.processor("digest", reveal.wrap(Digest), &log).await?,
            servers.processor("decorated", reveal.wrap(decorated()), &log).await?,
            servers.processor("context", reveal.wrap(context), &log).await?,
        ];
        let (proxy, envoy) = match front {
            Front::Gateway => {
                let plan = Config::parse(config::yaml(port, address, &processors), "demo")?.plan()?;
                let bound = Gateway::bind(plan).await;
                let gateway =
                    bound.with_context(|| format!("port {port} cannot be used; choose another with --port"))?;
                let proxy = gateway.local_addr(0).context("the gateway has no listener")?;
                servers.spawn(|stop| gateway.serve_with_shutdown(stop));
                (proxy, None)
            }
            Front::Envoy(binary) => {
                let envoy = Envoy::start(&binary, port, address, &processors).await.map_err(Failure::Ran)?;
                (envoy.local_addr(), Some(envoy))
            }
        };
        Ok(Self { proxy, log, servers, _envoy: envoy })
    }

    /// Serves as long as `show` runs, then stops everything.
    pub(crate) async fn serve_while(mut self, show: impl Future<Output = Outcome>) -> Outcome {
        let outcome = show.await;
        self.servers.stop.send_replace(true);
        while let Some(result) = self.servers.tasks.join_next().await {
            result?;
        }
        outcome
    }
}

impl Servers {
    fn spawn<F: Future<Output = ()> + Send + 'static>(&mut self, serve: impl FnOnce(Stop) -> F) {
        let mut stop = self.stop.subscribe();
        let stop: Stop = Box::pin(async move {
            // The sender outlives the servers.
            let _ = stop.wait_for(|stop| *stop).await;
        });
        self.tasks.spawn(serve(stop));
    }

    /// One gRPC server for one processor.
    async fn processor<P>(
        &mut self,
        name: &'static str,
        inner: P,
        log: &Log,
    ) -> anyhow::Result<(&'static str, SocketAddr)>
    where
        P: Processor,
        P::RequestBody: BodyKind<Request, Io: Head>,
        P::ResponseBody: BodyKind<Response, Io: Head>,
    {
        let server = Server::new(Tap { name, inner, log: log.clone() }).listen("127.0.0.1:0").bind().await?;
        let address = server.local_addr().context("a TCP address was asked for")?;
        self.spawn(|stop| async move {
            if let Err(error) = server.serve_with_shutdown(stop).await {
                tracing::error!(processor = name, %error, "the server failed");
            }
        });
        Ok((name, address))
    }
}

type Stop = std::pin::Pin<Box<dyn Future<Output = ()> + Send>>;

/// Waits until all processors take part: their first connections may take longer than their message timeout.
pub(crate) async fn ready(proxy: SocketAddr, chain: Option<&str>) -> anyhow::Result<()> {
    const PATIENCE: Duration = Duration::from_secs(10);
    let deadline = Instant::now() + PATIENCE;
    let ask = Ask { method: "GET", path: "/something", headers: &[], body: None };
    loop {
        let answer = ask.send(proxy).await;
        let complete = answer.as_ref().is_ok_and(|answer| {
            let applied = answer.headers.iter().find(|(name, _)| Some(name.as_str()) == chain);
            chain.is_none() || applied.is_some_and(|(_, names)| CHAIN.split(',').all(|name| names.contains(name)))
        });
        // Whatever is wrong then, the walk-through shows it.
        if complete || Instant::now() > deadline {
            return Ok(());
        }
        sleep(Duration::from_millis(20)).await;
    }
}
