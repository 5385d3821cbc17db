//! What only a response has cannot be set on a request.
use extproc::{RequestHead, Start, Stop};

async fn request_headers(req: &mut Start<RequestHead>) -> Result<(), Stop> {
    req.set_status(200);
    Ok(())
}

fn main() {
    let _ = request_headers;
}
