//! The end of a server: what runs finishes, what only waits does not keep it.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::rig::{Call, LIMIT, Rig, eventually};

const HOUR: Duration = Duration::from_secs(3600);

#[tokio::test]
async fn connections_without_exchanges_do_not_use_up_the_grace_period() {
    let mut rig = Rig::start(|server| server.grace(HOUR)).await;
    let silent = TcpStream::connect(&rig.address).await.unwrap();
    let mut frozen = TcpStream::connect(&rig.address).await.unwrap();
    // Begins properly, and never agrees to go.
    frozen.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await.unwrap();
    let idle = rig.channel().await;
    let mut used = Call::get(idle.clone(), "/a").await.unwrap();
    used.answered().await;
    drop(used);
    rig.stop();
    rig.served().await;
    drop((silent, frozen, idle));
}

#[tokio::test]
async fn py_158_running_exchanges_finish_and_then_hooks_run_in_order() {
    let log = Arc::new(Mutex::new(Vec::new()));
    let hook = |word: &'static str| {
        let log = Arc::clone(&log);
        move || async move { log.lock().unwrap().push(word) }
    };
    let mut rig = Rig::start(|server| server.grace(HOUR).on_shutdown(hook("first")).on_shutdown(hook("second"))).await;
    let mut call = Call::get(rig.channel().await, "/slow").await.unwrap();
    rig.entered().await;
    rig.stop();
    // New connections are refused from now on.
    let refused = async {
        while rig.connect().await.is_ok() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(LIMIT, refused).await.unwrap();
    assert!(log.lock().unwrap().is_empty(), "an exchange is still running");
    rig.gate.open.add_permits(1);
    call.answered().await;
    drop(call);
    rig.served().await;
    assert_eq!(*log.lock().unwrap(), ["first", "second"]);
}

#[tokio::test]
async fn hooks_that_hang_are_dropped() {
    let mut rig =
        Rig::start(|server| server.grace(Duration::from_millis(50)).on_shutdown(std::future::pending::<()>)).await;
    rig.stop();
    rig.served().await;
}

#[tokio::test]
async fn health_can_say_so_before_connections_are_told_to_go() {
    let mut rig = Rig::start(|server| server.drain_delay(Duration::from_millis(300))).await;
    let channel = rig.channel().await;
    let begun = Instant::now();
    rig.stop();
    // It serves as before while it says that it does not.
    Call::get(channel.clone(), "/a").await.unwrap().answered().await;
    rig.connect().await.unwrap();
    drop(channel);
    rig.served().await;
    assert!(begun.elapsed() >= Duration::from_millis(300));
}

#[tokio::test]
async fn a_server_that_is_dropped_leaves_no_connection() {
    let rig = Rig::start(|server| server).await;
    let mut call = Call::get(rig.channel().await, "/slow").await.unwrap();
    rig.entered().await;
    rig.served.abort();
    assert!(call.reply().await.is_err());
}

/// Many clients on many connections, stopped in the middle: whatever was accepted is answered.
#[tokio::test(flavor = "multi_thread")]
async fn py_158_under_load_no_accepted_exchange_is_lost() {
    let mut rig = Rig::start(|server| server.grace(HOUR)).await;
    let (answered, refused) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let mut clients = JoinSet::new();
    for _ in 0..8 {
        let channel = rig.channel().await;
        for _ in 0..16 {
            let (channel, answered, refused) = (channel.clone(), Arc::clone(&answered), Arc::clone(&refused));
            clients.spawn(async move {
                loop {
                    let Ok(call) = Call::open(channel.clone()).await else {
                        refused.fetch_add(1, Ordering::Relaxed);
                        return;
                    };
                    // Accepted: the head of the answer is here.
                    let mut call = call;
                    call.send("/a").await;
                    call.answered().await;
                    answered.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
    }
    let slow = rig.channel().await;
    let mut waiting = Vec::new();
    for _ in 0..32 {
        waiting.push(Call::get(slow.clone(), "/slow").await.unwrap());
    }
    eventually("load", || answered.load(Ordering::Relaxed) > 500).await;
    rig.stop();
    while let Some(client) = clients.join_next().await {
        client.unwrap();
    }
    assert_eq!(refused.load(Ordering::Relaxed), 128, "every client was told in the end");
    rig.gate.open.add_permits(32);
    for call in &mut waiting {
        call.answered().await;
    }
    drop(waiting);
    rig.served().await;
}
