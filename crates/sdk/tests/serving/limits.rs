//! What a server takes, and what it does with more.

use std::time::Duration;

use extproc::{Limits, Server};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tonic::Code;

use crate::rig::{Call, Gated, LIMIT, Rig};

fn with(change: impl FnOnce(&mut Limits)) -> impl FnOnce(Server<Gated>) -> Server<Gated> {
    let mut limits = Limits::default();
    change(&mut limits);
    |server| server.limits(limits)
}

/// Whether the server closes the connection.
async fn closes(mut connection: TcpStream) -> bool {
    let mut bytes = Vec::new();
    // A reset is an end too.
    let _ = timeout(LIMIT, connection.read_to_end(&mut bytes)).await.unwrap();
    true
}

#[tokio::test]
async fn one_exchange_too_many_is_told_so_and_the_others_go_on() {
    let rig = Rig::start(with(|limits| limits.max_exchanges = 2)).await;
    let channels = [rig.channel().await, rig.channel().await];
    let mut running = Vec::new();
    for channel in &channels {
        running.push(Call::get(channel.clone(), "/slow").await.unwrap());
        rig.entered().await;
    }
    for channel in &channels {
        let status = Call::open(channel.clone()).await.map(|_| ()).unwrap_err();
        assert_eq!((status.code(), status.message()), (Code::ResourceExhausted, "2 exchanges are running already"));
    }
    rig.gate.open.add_permits(2);
    for call in &mut running {
        call.answered().await;
    }
    drop(running);
    // The places of those that ended are free again.
    let again = async {
        loop {
            if let Ok(mut call) = Call::get(channels[0].clone(), "/a").await {
                call.answered().await;
                return;
            }
        }
    };
    timeout(LIMIT, again).await.unwrap();
}

#[tokio::test]
async fn one_connection_too_many_is_closed_at_once() {
    let rig = Rig::start(with(|limits| limits.max_connections = 1)).await;
    let mut call = Call::get(rig.channel().await, "/a").await.unwrap();
    call.answered().await;
    assert!(closes(TcpStream::connect(&rig.address).await.unwrap()).await);
    call.send("/a").await;
    drop(call);
}

#[tokio::test]
async fn a_connection_that_says_nothing_is_closed_and_holds_up_nobody() {
    let rig = Rig::start(with(|limits| limits.handshake_timeout = Duration::from_millis(50))).await;
    let silent = TcpStream::connect(&rig.address).await.unwrap();
    Call::get(rig.channel().await, "/a").await.unwrap().answered().await;
    assert!(closes(silent).await);
}

#[tokio::test]
async fn no_http2_is_answered_by_closing() {
    let rig = Rig::start(|server| server).await;
    let mut http1 = TcpStream::connect(&rig.address).await.unwrap();
    http1.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    assert!(closes(http1).await);
    Call::get(rig.channel().await, "/a").await.unwrap().answered().await;
}

#[tokio::test]
async fn an_old_connection_is_told_to_go_and_its_exchanges_finish() {
    let rig = Rig::start(with(|limits| limits.max_connection_age = Some(Duration::from_millis(200)))).await;
    let (mut h2, driver) = raw(&rig.address).await;
    let driver = tokio::spawn(driver);
    let mut call = Call::get(rig.channel().await, "/slow").await.unwrap();
    rig.entered().await;

    // A connection without exchanges goes at once: the server says so with GOAWAY, and no new stream is taken.
    timeout(LIMIT, driver).await.unwrap().unwrap().unwrap();
    assert!(std::future::poll_fn(|cx| h2.poll_ready(cx)).await.is_err());

    // One with exchanges, which was opened after it, stays for them.
    assert!(!rig.served.is_finished());
    rig.gate.open.add_permits(1);
    call.answered().await;
}

#[tokio::test]
async fn the_grace_of_an_old_connection_ends() {
    let limits = with(|limits| {
        limits.max_connection_age = Some(Duration::from_millis(50));
        limits.max_connection_age_grace = Some(Duration::from_millis(50));
    });
    let rig = Rig::start(limits).await;
    let mut call = Call::get(rig.channel().await, "/slow").await.unwrap();
    rig.entered().await;
    assert!(call.reply().await.is_err());
}

#[tokio::test]
async fn py_078_what_data_planes_are_told() {
    let limits = with(|limits| {
        limits.max_streams = 7;
        limits.stream_window = 77_777;
        limits.connection_window = 177_777;
        limits.max_header_list = 7_777;
    });
    let rig = Rig::start(limits).await;
    let mut connection = TcpStream::connect(&rig.address).await.unwrap();
    connection.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await.unwrap();
    let (mut settings, mut window) = (Vec::new(), 65_535);
    let told = async {
        while settings.is_empty() || window == 65_535 {
            let mut head = [0; 9];
            connection.read_exact(&mut head).await.unwrap();
            let mut payload = vec![0; usize::from(head[1]) << 8 | usize::from(head[2])];
            connection.read_exact(&mut payload).await.unwrap();
            let number = |bytes: &[u8]| bytes.iter().fold(0_u32, |number, byte| number << 8 | u32::from(*byte));
            match (head[3], head[4]) {
                (4, 0) => settings = payload.chunks(6).map(|it| (number(&it[..2]), number(&it[2..]))).collect(),
                (8, _) => window += number(&payload),
                _ => {}
            }
        }
    };
    timeout(LIMIT, told).await.unwrap();
    for setting in [(3, 7), (4, 77_777), (6, 7_777)] {
        assert!(settings.contains(&setting), "{setting:?} in {settings:?}");
    }
    assert_eq!(window, 177_777);
}

#[tokio::test]
async fn a_dead_peer_is_noticed() {
    let rig = Rig::start(with(|limits| {
        limits.keepalive_interval = Some(Duration::from_millis(50));
        limits.keepalive_timeout = Duration::from_millis(50);
    }))
    .await;
    let mut dead = TcpStream::connect(&rig.address).await.unwrap();
    // Begins properly, and answers no PING.
    dead.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await.unwrap();
    assert!(closes(dead).await);
    Call::get(rig.channel().await, "/a").await.unwrap().answered().await;
}

#[tokio::test]
async fn handlers_that_do_not_read_stop_no_other_of_their_connection() {
    let rig = Rig::start(|server| server).await;
    let channel = rig.channel().await;
    let filler = extproc::testing::Script::new().request_body(vec![0; 1 << 16], false).messages().remove(0);
    let mut stuck = Vec::new();
    for _ in 0..2 {
        let call = Call::get(channel.clone(), "/slow").await.unwrap();
        rig.entered().await;
        call.fill(filler.clone()).await;
        stuck.push(call);
    }
    let mut other = Call::get(channel, "/a").await.unwrap();
    other.answered().await;
    drop(stuck);
}

async fn raw(
    address: &str,
) -> (h2::client::SendRequest<bytes::Bytes>, impl Future<Output = Result<(), h2::Error>> + Send + 'static) {
    h2::client::handshake(TcpStream::connect(address).await.unwrap()).await.unwrap()
}
