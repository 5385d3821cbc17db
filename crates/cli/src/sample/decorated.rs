//! `decorated`: the request's half of `digest`, written as functions.

use extproc::{Processor, Request, RequestHead, Skip, Start, Stop, Whole, WholeIo, processor};

use super::BODY_LIMIT;
use super::digest::{DIGEST, of};

pub(crate) fn decorated() -> impl Processor<RequestBody = Whole<BODY_LIMIT>, ResponseBody = Skip> {
    processor::<(), ()>("DecoratedExtProcService", ()).request_headers(headers).request_body(Whole::<BODY_LIMIT>, body)
}

async fn headers(_: &(), _: &mut (), req: &mut Start<RequestHead>) -> Result<(), Stop> {
    if req.is_last() {
        let digest = of(req, b"");
        req.set(DIGEST, digest);
    }
    Ok(())
}

async fn body(_: &(), _: &mut (), io: &mut WholeIo<Request>) -> Result<(), Stop> {
    let digest = of(&io.head, io.body.bytes());
    io.head.set(DIGEST, digest);
    Ok(())
}
