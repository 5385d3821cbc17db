//! A sample that streams its reply, behind our gateway and the real Envoy.

use std::net::SocketAddr;

use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::alone;
use crate::fronts::{Entrance, Envoy, Filter, envoy_binary, gateway};
use crate::process::{PATIENCE, Server};

/// Body modes, and whether the reply is streamed there.
const MODES: [(&str, bool); 3] = [("NONE", true), ("FULL_DUPLEX_STREAMED", true), ("BUFFERED", false)];

const EVENTS: [&str; 3] = ["data: 2\n\n", "data: 1\n\n", "event: end\ndata: lift-off\n\n"];

#[tokio::test]
async fn sdk_013_events_come_one_by_one_behind_both_data_planes() {
    let _alone = alone().await;
    let Some(binary) = envoy_binary() else { return };
    let echo = Server::start(&["echo", "--listen", "127.0.0.1:0"]).await;
    // Below the timeout of a message, for the mode in which the events are collected.
    let args = ["serve", "countdown", "--listen", "127.0.0.1:0", "--set", "countdown.from=2"];
    let (mut servers, mut entrances) = (Vec::new(), Vec::new());
    for (mode, _) in MODES {
        let name = mode.to_ascii_lowercase();
        let path = format!("countdown.path=/{name}/countdown");
        let server = Server::start(&[&args[..], &["--set", "countdown.pause=40ms", "--set", &path]].concat()).await;
        let filter =
            Filter { processor: server.addr, bodies: mode, allow_mode_override: false, failure_mode_allow: false };
        entrances.push(Entrance { name, filters: vec![filter], upstream: echo.addr });
        servers.push(server);
    }
    let dir = TempDir::new().unwrap();
    let gateway = gateway(&dir, &entrances).await;
    let envoy = Envoy::start(&binary, &dir, &entrances).await;
    for (mode, streamed) in MODES {
        let name = mode.to_ascii_lowercase();
        // This Envoy is not told to send trailers over HTTP/1.1.
        let fronts = [(gateway.addr, "gateway", "0\r\nx-events: 3\r\n\r\n"), (envoy.at(&name), "Envoy", "0\r\n\r\n")];
        for (front, which, end) in fronts {
            let (beginning, whole) = exchange(front, &format!("/{name}/countdown")).await;
            let what = format!("{which}, {mode}: {whole}");
            assert!(whole.starts_with("HTTP/1.1 200 OK\r\n"), "{what}");
            assert!(whole.contains("content-type: text/event-stream\r\n"), "{what}");
            assert!(EVENTS.iter().all(|event| whole.contains(event)), "{what}");
            assert_eq!(whole.contains("transfer-encoding: chunked\r\n"), streamed, "{what}");
            assert_eq!(whole.ends_with(&format!("\r\n{end}")), streamed, "{what}");
            assert_eq!(!beginning.contains("lift-off"), streamed, "the first event came alone or not; {what}");
        }
    }
    drop(servers);
}

/// What came up to the first event, and everything.
async fn exchange(front: SocketAddr, path: &str) -> (String, String) {
    let answer = async {
        let mut stream = TcpStream::connect(front).await?;
        let request = format!("GET {path} HTTP/1.1\r\nhost: test\r\nte: trailers\r\nconnection: close, te\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        let (mut all, mut piece, mut beginning) = (String::new(), [0; 4096], None);
        loop {
            let read = stream.read(&mut piece).await?;
            if read == 0 {
                return Ok::<_, std::io::Error>((beginning.unwrap_or_else(|| all.clone()), all));
            }
            all.push_str(&String::from_utf8_lossy(&piece[..read]));
            if all.contains(EVENTS[0]) {
                beginning.get_or_insert_with(|| all.clone());
            }
        }
    };
    timeout(PATIENCE, answer).await.expect("an answer in time").unwrap()
}
