//! A misspelt phase is an error, not a function that never runs.
use extproc::{RequestHead, Start, Stop, processor};

async fn head(_: &(), _: &mut (), _: &mut Start<RequestHead>) -> Result<(), Stop> {
    Ok(())
}

fn main() {
    let _ = processor::<(), ()>("P", ()).request_header(head);
}
