//! A function for response chunks stops by `Abort`: there is no local reply any more.
use extproc::{ChunkIo, Response, Stop, Stream, processor};

async fn body(_: &(), _: &mut (), _: &mut ChunkIo<Response>) -> Result<(), Stop> {
    Ok(())
}

fn main() {
    let _ = processor::<(), ()>("P", ()).response_body(Stream, body);
}
