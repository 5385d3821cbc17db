//! A body function of one direction cannot be registered for the other.
use extproc::{Response, Stop, Whole, WholeIo, processor};

async fn body(_: &(), _: &mut (), _: &mut WholeIo<Response>) -> Result<(), Stop> {
    Ok(())
}

fn main() {
    let _ = processor::<(), ()>("P", ()).request_body(Whole::<1024>, body);
}
