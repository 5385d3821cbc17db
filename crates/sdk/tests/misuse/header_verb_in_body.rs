//! Verbs of the header phase do not exist in the body phase.
use extproc::{Request, Stop, WholeIo};

async fn request_body(io: &mut WholeIo<Request>) -> Result<(), Stop> {
    io.head.replace_body("late");
    Ok(())
}

fn main() {
    let _ = request_body;
}
