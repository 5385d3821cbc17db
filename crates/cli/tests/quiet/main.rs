//! The built command where the usual message timeout of 200 ms counts: one test at a time, so that no other disturbs.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "test code")]

#[allow(dead_code, reason = "shared with the other tests")]
#[path = "../it/http.rs"]
mod http;
#[allow(dead_code, reason = "shared with the other tests")]
#[path = "../it/process.rs"]
mod process;

mod bench;
mod chain;
mod demo;
mod effects;
mod fronts;
mod short_form;
mod stop;
mod streamed;

use tokio::sync::{Mutex, MutexGuard};

/// Hold it for the whole test.
async fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::const_new(());
    ALONE.lock().await
}
