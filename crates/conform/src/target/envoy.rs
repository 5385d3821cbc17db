//! A real Envoy process, the judge.

mod bootstrap;
mod install;

use std::collections::BTreeMap;
use std::future::Future;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::process::Stdio;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, bail};
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep};

pub use install::binary;

use super::{Failure, Target, TargetKind};
use crate::peer::Peers;
use crate::peer::http1::{Body, Reader};
use crate::peer::values;
use crate::scenario::Scenario;
use crate::transcript::{End, Logging, Transcript};

/// How long Envoy may take to start, and afterwards to settle after an exchange.
const PATIENCE: Duration = Duration::from_secs(20);

/// One Envoy process that serves a batch of scenarios, each on a listener of its own.
#[derive(Debug)]
pub struct Envoy {
    process: Child,
    binary: PathBuf,
    dir: TempDir,
    admin: SocketAddr,
    /// By slug, until the scenario is run.
    prepared: Mutex<BTreeMap<String, (Peers, SocketAddr)>>,
    /// Runtime flags hold for a whole process: another one closes streams gracefully.
    graceful: Option<Box<Self>>,
}

impl Envoy {
    /// Starts the peers of all scenarios and an Envoy that knows them.
    ///
    /// # Errors
    /// When Envoy refuses the configuration or does not start; its own last words are part of the error.
    pub async fn start(binary: &Path, scenarios: &[&Scenario]) -> anyhow::Result<Self> {
        let scenarios: Vec<&Scenario> = scenarios.iter().copied().filter(|it| !it.load_only).collect();
        let (graceful, plain): (Vec<&Scenario>, Vec<&Scenario>) = scenarios.iter().partition(|it| it.graceful_close);
        let mut envoy = Self::start_one(binary, &plain, false).await?;
        if !graceful.is_empty() {
            envoy.graceful = Some(Box::new(Self::start_one(binary, &graceful, true).await?));
        }
        Ok(envoy)
    }

    async fn start_one(binary: &Path, scenarios: &[&Scenario], graceful: bool) -> anyhow::Result<Self> {
        let dir = TempDir::new().context("cannot create a directory for Envoy")?;
        let mut peers = Vec::new();
        for scenario in scenarios {
            peers.push(Peers::start(scenario).await.context("cannot start the scripted peers")?);
        }
        let batch: Vec<(&Scenario, &Peers)> = scenarios.iter().copied().zip(&peers).collect();
        let config = bootstrap::bootstrap(&batch, dir.path(), graceful);
        std::fs::write(dir.path().join("bootstrap.json"), serde_json::to_vec_pretty(&config)?)?;
        let process = Command::new(binary)
            .arg("--config-path")
            .arg(dir.path().join("bootstrap.json"))
            .arg("--admin-address-path")
            .arg(dir.path().join("admin.addr"))
            .arg("--log-path")
            .arg(dir.path().join("envoy.log"))
            .args(["--log-level", "warn", "--concurrency", "1", "--disable-hot-restart"])
            .args(["--file-flush-interval-msec", "10"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("cannot run {}", binary.display()))?;
        let admin = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut envoy =
            Self { process, binary: binary.to_owned(), dir, admin, prepared: Mutex::default(), graceful: None };
        envoy.admin = envoy.wait_for_admin().await?;
        let ports = envoy.wait_for_listeners(scenarios.len()).await?;
        let mut prepared = BTreeMap::new();
        for (scenario, peers) in scenarios.iter().zip(peers) {
            let slug = bootstrap::slug(&scenario.id);
            let port = *ports.get(&slug).with_context(|| format!("Envoy has no listener {slug}"))?;
            prepared.insert(slug, (peers, port));
        }
        envoy.prepared = Mutex::new(prepared);
        Ok(envoy)
    }

    async fn wait_for_admin(&mut self) -> anyhow::Result<SocketAddr> {
        let path = self.dir.path().join("admin.addr");
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(address) = std::fs::read_to_string(&path).ok().and_then(|text| text.trim().parse().ok()) {
                return Ok(address);
            }
            if let Some(status) = self.process.try_wait()? {
                bail!("Envoy ended with {status}: {}", self.last_words());
            }
            if Instant::now() > deadline {
                bail!("Envoy did not start within {PATIENCE:?}: {}", self.last_words());
            }
            sleep(Duration::from_millis(10)).await;
        }
    }

    async fn wait_for_listeners(&mut self, count: usize) -> anyhow::Result<BTreeMap<String, SocketAddr>> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.process.try_wait()? {
                bail!("Envoy ended with {status}: {}", self.last_words());
            }
            let ready = self.get("/ready").await.is_ok_and(|text| text.contains("LIVE"));
            if ready {
                let text = self.get("/listeners?format=json").await?;
                let listeners: Value = serde_json::from_str(&text).context("Envoy's list of listeners")?;
                let found: BTreeMap<String, SocketAddr> =
                    listeners["listener_statuses"].as_array().into_iter().flatten().filter_map(listener).collect();
                if found.len() == count {
                    return Ok(found);
                }
            }
            if Instant::now() > deadline {
                bail!("Envoy's listeners did not come up within {PATIENCE:?}: {}", self.last_words());
            }
            sleep(Duration::from_millis(20)).await;
        }
    }

    fn last_words(&self) -> String {
        let log = std::fs::read_to_string(self.dir.path().join("envoy.log")).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        // An entry may go on for many lines, of which the first tell what is wrong.
        let last = lines.iter().rposition(|line| line.starts_with('[')).unwrap_or_default();
        lines[last.min(lines.len())..].iter().take(5).copied().collect::<Vec<_>>().join("\n")
    }

    /// Asks the admin endpoint.
    async fn get(&self, path: &str) -> anyhow::Result<String> {
        let mut stream = TcpStream::connect(self.admin).await.context("cannot reach Envoy's admin endpoint")?;
        stream.write_all(format!("GET {path} HTTP/1.1\r\nhost: admin\r\nconnection: close\r\n\r\n").as_bytes()).await?;
        let mut reader = Reader::new(stream);
        let head = reader.head().await?.context("Envoy's admin endpoint closed the connection")?;
        let mut body = Body::default();
        reader.body(head.framing(true), &mut body).await;
        if body.end != End::Complete {
            bail!("Envoy's admin endpoint cut its answer to {path}");
        }
        Ok(String::from_utf8_lossy(&body.bytes).into_owned())
    }

    /// Whether Envoy would load the configuration.
    async fn validate(&self, scenario: &Scenario) -> anyhow::Result<bool> {
        let peers = Peers::start(scenario).await.context("cannot start the scripted peers")?;
        let dir = TempDir::new().context("cannot create a directory for Envoy")?;
        let config = bootstrap::bootstrap(&[(scenario, &peers)], dir.path(), scenario.graceful_close);
        let path = dir.path().join("bootstrap.json");
        std::fs::write(&path, serde_json::to_vec_pretty(&config)?)?;
        let mut command = Command::new(&self.binary);
        command.arg("--config-path").arg(&path).args(["--mode", "validate", "--log-level", "critical"]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
        let status = tokio::time::timeout(PATIENCE, command.status()).await.context("Envoy does not end")??;
        Ok(status.success())
    }

    async fn exchange(&self, scenario: &Scenario) -> Result<Transcript, Failure> {
        if scenario.load_only {
            return Ok(Transcript { load: Some(self.validate(scenario).await?), ..Transcript::default() });
        }
        let slug = bootstrap::slug(&scenario.id);
        let prepared = self.prepared.lock().unwrap_or_else(PoisonError::into_inner).remove(&slug);
        let (peers, address) =
            prepared.with_context(|| format!("{} is not in this batch, or was run before", scenario.id))?;
        let client = Peers::request(scenario, address).await?;
        let stream = peers.watch(scenario).await;
        let counters = self.settle(&slug).await?;
        let (details, logging) = self.access(&slug).await?;
        let logging = logging.filter(|_| scenario.logging);
        let metadata = self.metadata(&slug).await?;
        let (processor, call, upstream) = peers.finish().await;
        Ok(Transcript { processor, call, upstream, client, counters, details, metadata, stream, logging, load: None })
    }

    /// The filter's counters, once no request of this listener is active any more.
    async fn settle(&self, slug: &str) -> anyhow::Result<BTreeMap<String, u64>> {
        let deadline = Instant::now() + PATIENCE;
        let active = format!("http.{slug}.downstream_rq_active");
        let root = format!("http.{slug}.ext_proc.");
        // Envoy counts a request as done a moment before its filters are destroyed, which may count more.
        let mut idle = false;
        loop {
            let text = self.get(&format!("/stats?filter=^http%5C.{slug}%5C.")).await?;
            let stats: BTreeMap<&str, u64> = text
                .lines()
                .filter_map(|line| line.split_once(": "))
                .filter_map(|(name, value)| Some((name, value.parse().ok()?)))
                .collect();
            let was_idle = std::mem::replace(&mut idle, stats.get(active.as_str()) == Some(&0));
            if idle && was_idle {
                return Ok(stats
                    .iter()
                    .filter_map(|(name, value)| Some((name.strip_prefix(&root)?.to_owned(), *value)))
                    .filter(|(_, value)| *value > 0)
                    .collect());
            }
            if Instant::now() > deadline {
                bail!("Envoy still has an active request of {slug}");
            }
            sleep(Duration::from_millis(10)).await;
        }
    }

    /// RESPONSE_CODE_DETAILS and the filter's logging object from the access log.
    async fn access(&self, slug: &str) -> anyhow::Result<(Option<String>, Option<Logging>)> {
        let deadline = Instant::now() + PATIENCE;
        let path: PathBuf = self.dir.path().join("access.log");
        loop {
            let log = std::fs::read_to_string(&path).unwrap_or_default();
            let line = log.lines().find_map(|line| line.strip_prefix(slug)?.strip_prefix(' '));
            match line {
                Some(line) => {
                    let mut words = line.splitn(3, ' ');
                    // There may be no response.
                    let details = words.next().filter(|it| *it != "-").map(str::to_owned);
                    let (text, fields) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
                    let fields = serde_json::from_str::<BTreeMap<String, Value>>(fields).unwrap_or_default();
                    let plain = |it: Value| it.as_str().map_or_else(|| it.to_string(), str::to_owned);
                    let fields = fields.into_iter().map(|(name, value)| (name, plain(value)));
                    return Ok((details, Some(Logging::normalised(text, fields))));
                }
                None if Instant::now() > deadline => bail!("Envoy logged no access of {slug}"),
                None => sleep(Duration::from_millis(10)).await,
            }
        }
    }

    /// The dynamic metadata that the access log tells.
    async fn metadata(&self, slug: &str) -> anyhow::Result<BTreeMap<String, String>> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let log = std::fs::read_to_string(self.dir.path().join("metadata.log")).unwrap_or_default();
            let mut lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
            let Some(line) = lines.find(|line| line["scenario"] == slug) else {
                if Instant::now() > deadline {
                    bail!("Envoy logged no metadata of {slug}");
                }
                sleep(Duration::from_millis(10)).await;
                continue;
            };
            let namespaces = line["metadata"].as_object().into_iter().flatten();
            let namespaces = namespaces.filter_map(|(name, values)| Some((name.clone(), values.as_object()?)));
            return Ok(namespaces.map(|(name, values)| (name, values::canonical(values))).collect());
        }
    }
}

fn listener(status: &Value) -> Option<(String, SocketAddr)> {
    let socket = &status["local_address"]["socket_address"];
    let port = u16::try_from(socket["port_value"].as_u64()?).ok()?;
    Some((status["name"].as_str()?.to_owned(), SocketAddr::from(([127, 0, 0, 1], port))))
}

impl Target for Envoy {
    fn kind(&self) -> TargetKind {
        TargetKind::Envoy
    }

    fn run<'a>(
        &'a self,
        scenario: &'a Scenario,
    ) -> Pin<Box<dyn Future<Output = Result<Transcript, Failure>> + Send + 'a>> {
        let process = self.graceful.as_deref().filter(|_| scenario.graceful_close).unwrap_or(self);
        Box::pin(process.exchange(scenario))
    }
}
