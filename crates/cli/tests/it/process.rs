//! Running commands.

use std::net::SocketAddr;
use std::process::{ExitStatus, Output, Stdio};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};
use tokio::time::timeout;

/// Long enough for a busy machine; nothing waits that long when all is well.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// A command without the settings of the one who runs the tests.
fn command(args: &[&str], env: &[(&str, &str)]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_extproc"));
    for name in [
        "REVEAL_EXTPROC_CHAIN",
        "EXTPROCS_APPLIED_HEADER",
        "RUST_LOG",
        "LOG_LEVEL",
        "LOG_FORMAT",
        "GRPC_PORT",
        "SHUTDOWN_GRACE_PERIOD",
        "ECHO_PORT",
        "ECHO_MESSAGE",
    ] {
        command.env_remove(name);
    }
    command.args(args).envs(env.iter().copied()).stdin(Stdio::null()).kill_on_drop(true);
    command
}

/// Runs a command to its end.
pub(crate) async fn run(args: &[&str]) -> Output {
    run_with(args, &[]).await
}

/// Runs a command with environment variables to its end.
pub(crate) async fn run_with(args: &[&str], env: &[(&str, &str)]) -> Output {
    timeout(PATIENCE * 4, command(args, env).output()).await.expect("it ends").expect("it starts")
}

/// Runs a command to its end, with something to read.
pub(crate) async fn run_with_input(args: &[&str], input: &str) -> Output {
    let mut command = command(args, &[]);
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
    let mut stdin = child.stdin.take().expect("piped");
    // A command that has ended reads nothing any more.
    let _ = stdin.write_all(input.as_bytes()).await;
    drop(stdin);
    timeout(PATIENCE * 4, child.wait_with_output()).await.expect("it ends").expect("it was started")
}

/// What a command printed.
pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A command that stays up; killed when dropped.
pub(crate) struct Server {
    child: Child,
    out: Lines<BufReader<ChildStdout>>,
    /// Where it listens.
    pub(crate) addr: SocketAddr,
}

impl Server {
    /// Starts a server and waits for the line that says where it listens.
    pub(crate) async fn start(args: &[&str]) -> Self {
        Self::start_with(args, &[]).await
    }

    pub(crate) async fn start_with(args: &[&str], env: &[(&str, &str)]) -> Self {
        let mut server = Self::spawn(args, env);
        loop {
            let line = server.line().await.unwrap_or_else(|| panic!("{args:?} ended before it listened"));
            if let Some(addr) = address(&line) {
                server.addr = addr;
                return server;
            }
        }
    }

    /// Starts a server that says by itself where it listens.
    pub(crate) fn spawn(args: &[&str], env: &[(&str, &str)]) -> Self {
        let mut child = command(args, env).stdout(Stdio::piped()).spawn().expect("it starts");
        let out = BufReader::new(child.stdout.take().expect("piped")).lines();
        Self { child, out, addr: SocketAddr::from(([127, 0, 0, 1], 0)) }
    }

    /// The next line on stdout.
    pub(crate) async fn line(&mut self) -> Option<String> {
        timeout(PATIENCE, self.out.next_line()).await.expect("it prints in time").expect("text")
    }

    /// Sends SIGTERM, without waiting.
    pub(crate) async fn terminate(&self) {
        let id = self.child.id().expect("it runs").to_string();
        let status = Command::new("kill").args(["-TERM", &id]).status().await.expect("kill runs");
        assert!(status.success());
    }

    /// Waits for its end.
    pub(crate) async fn end(mut self) -> ExitStatus {
        timeout(PATIENCE, self.child.wait()).await.expect("it ends in time").expect("it was started")
    }

    /// Kills it at once.
    pub(crate) async fn kill(mut self) {
        self.child.kill().await.expect("it runs");
    }
}

/// `... at http://ADDR` or `... at PORT`.
fn address(line: &str) -> Option<SocketAddr> {
    let (_, place) = line.rsplit_once(" at ")?;
    let place = place.strip_prefix("http://").unwrap_or(place);
    let port = place.parse().ok().map(|port: u16| SocketAddr::from(([127, 0, 0, 1], port)));
    port.or_else(|| place.parse().ok())
}
