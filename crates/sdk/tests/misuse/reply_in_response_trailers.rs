//! The client has the response's head by the time its trailers come: it cannot get another answer.
use extproc::{Abort, LocalReply, Trailers};

async fn response_trailers(trailers: &mut Trailers) -> Result<(), Abort> {
    trailers.header("grpc-status").ok_or_else(LocalReply::internal_error)?;
    Ok(())
}

fn main() {
    let _ = response_trailers;
}
