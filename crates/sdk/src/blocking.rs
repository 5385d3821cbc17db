//! Work that blocks.

use std::panic::resume_unwind;

/// Runs work that blocks the thread, such as file access or heavy computing, where it does not hold up other exchanges
/// (tokio's blocking pool). Handlers share few threads; anything above some 100 microseconds belongs here.
///
/// ```
/// use extproc::{Request, Stop, WholeIo, blocking};
///
/// # fn slow_hash(_: &[u8]) -> String { String::new() }
/// async fn request_body(io: &mut WholeIo<Request>) -> Result<(), Stop> {
///     let body = io.body.bytes().clone(); // cheap: the bytes are shared
///     let hash = blocking(move || slow_hash(&body)).await;
///     io.head.set("x-hash", hash);
///     Ok(())
/// }
/// # let _ = request_body;
/// ```
///
/// A panic of the work is a panic of the handler. Work that has begun runs to its end, also when its exchange is gone.
///
/// # Panics
/// Outside a tokio runtime, so not under [`testing::InMemory`](crate::testing::InMemory); and where the work panics.
pub async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(value) => value,
        // Cancelled is only what has not begun when the runtime shuts down, and then nobody waits for it.
        Err(error) => resume_unwind(error.try_into_panic().unwrap_or_else(|error| Box::new(error.to_string()))),
    }
}
