//! A chunk is no document: formats are read from whole bodies.
use extproc::{ChunkIo, Request, Stop};

async fn request_body(io: &mut ChunkIo<Request>) -> Result<(), Stop> {
    let _: Vec<u64> = io.json()?;
    Ok(())
}

fn main() {
    let _ = request_body;
}
