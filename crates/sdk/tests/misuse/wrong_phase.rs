//! A function for one phase cannot be registered for another.
use extproc::{RequestHead, Start, Stop, processor};

async fn head(_: &(), _: &mut (), _: &mut Start<RequestHead>) -> Result<(), Stop> {
    Ok(())
}

fn main() {
    let _ = processor::<(), ()>("P", ()).request_trailers(head);
}
