//! The head has left before chunks come: it can be read and not edited.
use extproc::{ChunkIo, Request, Stop};

async fn request_body(io: &mut ChunkIo<Request>) -> Result<(), Stop> {
    io.head().set("x-late", "1");
    Ok(())
}

fn main() {
    let _ = request_body;
}
