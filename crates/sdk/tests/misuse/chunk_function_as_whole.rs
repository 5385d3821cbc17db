//! A function for chunks cannot be registered for whole bodies.
use extproc::{ChunkIo, Request, Stop, Whole, processor};

async fn body(_: &(), _: &mut (), _: &mut ChunkIo<Request>) -> Result<(), Stop> {
    Ok(())
}

fn main() {
    let _ = processor::<(), ()>("P", ()).request_body(Whole::<1024>, body);
}
