//! Handlers run on any thread: what they keep across an await must be able to move.
use std::rc::Rc;

use extproc::{RequestHead, Start, Stop, processor};

async fn head(_: &(), _: &mut (), req: &mut Start<RequestHead>) -> Result<(), Stop> {
    let path = Rc::new(req.path().to_owned());
    async {}.await;
    req.set("x-path", path.as_str());
    Ok(())
}

fn main() {
    let _ = processor::<(), ()>("P", ()).request_headers(head);
}
