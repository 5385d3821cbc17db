//! Certificates that change while a server runs.

use std::sync::Arc;

use tokio::time::{MissedTickBehavior, interval};

use super::Acceptor;
use super::load::{Files, config};

/// Looks at the files until dropped. A secret that is replaced changes file by file: what does not fit together is
/// looked at again, and reported once for each state of the files.
pub(in crate::server) async fn watch(acceptor: Arc<Acceptor>, mut known: Files) {
    let tls = &acceptor.tls;
    let mut ticks = interval(tls.reload_interval.max(std::time::Duration::from_millis(1)));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut unreadable = None;
    loop {
        ticks.tick().await;
        let files = match Files::read(tls) {
            Ok(files) => files,
            Err(error) => {
                let text = error.to_string();
                if unreadable.as_ref() != Some(&text) {
                    tracing::warn!(%error, "the TLS files cannot be read; the last good ones stay in use");
                    unreadable = Some(text);
                }
                continue;
            }
        };
        unreadable = None;
        if files == known {
            continue;
        }
        match config(tls, &files) {
            Ok(config) => {
                acceptor.replace(config);
                tracing::info!(certificate = %tls.certificate.display(), "the TLS files have changed and are in use");
            }
            Err(error) => {
                tracing::warn!(%error, "the TLS files have changed and cannot be used; the last good ones stay in use");
            }
        }
        known = files;
    }
}
