//! The client has the response's head by the time chunks come: it cannot get another answer.
use extproc::{Abort, ChunkIo, LocalReply, Open, Processor, Response, Skip, Stream};

struct P;

impl Processor for P {
    type Ctx = ();
    type RequestBody = Skip;
    type ResponseBody = Stream;

    fn open(&self, _: &Open) {}

    async fn response_body(&self, _: &mut (), io: &mut ChunkIo<Response>) -> Result<(), Abort> {
        io.head().header("etag").ok_or_else(LocalReply::internal_error)?;
        Ok(())
    }
}

fn main() {}
