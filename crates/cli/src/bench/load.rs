//! Closed-loop load over kept-alive HTTP/1.1 connections.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

/// Requests to send, and how to see that they were processed.
#[derive(Clone, Debug)]
pub(super) struct Route {
    pub(super) name: &'static str,
    pub(super) path: &'static str,
    /// A response header, and how many names it must list.
    pub(super) chain: Option<(String, usize)>,
}

/// What came of the requests on one route.
#[derive(Clone, Debug, Default)]
pub(super) struct Measured {
    /// Of every request, unsorted.
    pub(super) latencies: Vec<Duration>,
    /// The wall time of all turns.
    pub(super) wall: Duration,
    pub(super) failed: u32,
}

/// Turns of each route: enough that both see the same machine, long enough that starting one costs nothing.
const TURNS: u32 = 10;

/// Sends `requests` on each route with this concurrency, the routes taking turns.
pub(super) async fn run(
    proxy: SocketAddr,
    routes: &[Route],
    requests: u32,
    concurrency: u16,
) -> anyhow::Result<Vec<Measured>> {
    let mut connections = Vec::new();
    for _ in 0..concurrency {
        connections.push(Connection::open(proxy).await?);
    }
    let mut measured = vec![Measured::default(); routes.len()];
    let turns = TURNS.min(requests);
    for turn in 0..turns {
        let share = requests / turns + u32::from(turn < requests % turns);
        for (route, measured) in routes.iter().zip(&mut measured) {
            connections = take_turn(connections, route, share, measured).await?;
        }
    }
    Ok(measured)
}

async fn take_turn(
    connections: Vec<Connection>,
    route: &Route,
    requests: u32,
    measured: &mut Measured,
) -> anyhow::Result<Vec<Connection>> {
    let workers = u32::try_from(connections.len())?.max(1);
    let began = Instant::now();
    let mut tasks = JoinSet::new();
    for (worker, connection) in (0..).zip(connections) {
        let share = requests / workers + u32::from(worker < requests % workers);
        tasks.spawn(connection.send(route.clone(), share));
    }
    let mut back = Vec::new();
    while let Some(done) = tasks.join_next().await {
        let (connection, latencies, failed) = done??;
        back.push(connection);
        measured.latencies.extend(latencies);
        measured.failed += failed;
    }
    measured.wall += began.elapsed();
    Ok(back)
}

struct Connection {
    sender: SendRequest<Empty<Bytes>>,
    host: String,
}

impl Connection {
    async fn open(proxy: SocketAddr) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(proxy).await.with_context(|| format!("cannot connect to {proxy}"))?;
        stream.set_nodelay(true)?;
        let (sender, connection) = handshake(TokioIo::new(stream)).await?;
        // What fails on it, fails the request.
        tokio::spawn(connection);
        Ok(Self { sender, host: proxy.to_string() })
    }

    async fn send(mut self, route: Route, requests: u32) -> anyhow::Result<(Self, Vec<Duration>, u32)> {
        let mut latencies = Vec::with_capacity(requests as usize);
        let mut failed = 0;
        for _ in 0..requests {
            let began = Instant::now();
            let good = self.exchange(&route).await.with_context(|| format!("GET {}", route.path))?;
            latencies.push(began.elapsed());
            failed += u32::from(!good);
        }
        Ok((self, latencies, failed))
    }

    /// One request and its whole response; whether it is as it should be.
    async fn exchange(&mut self, route: &Route) -> anyhow::Result<bool> {
        self.sender.ready().await?;
        let request = Request::get(route.path).header("host", &self.host).body(Empty::new())?;
        let (head, body) = self.sender.send_request(request).await?.into_parts();
        let body = body.collect().await?.to_bytes();
        ensure!(!body.is_empty(), "the upstream answers with a body, and none came");
        let listed = |(name, count): &(String, usize)| {
            let names = head.headers.get(name).and_then(|names| names.to_str().ok()).unwrap_or_default();
            names.split(',').filter(|name| !name.is_empty()).count() == *count
        };
        Ok(head.status == 200 && route.chain.as_ref().is_none_or(listed))
    }
}
