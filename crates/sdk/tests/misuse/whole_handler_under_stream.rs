//! The handler gets what its kind delivers.
use extproc::{Open, Processor, Request, Skip, Stop, Stream, WholeIo};

struct P;

impl Processor for P {
    type Ctx = ();
    type RequestBody = Stream;
    type ResponseBody = Skip;

    fn open(&self, _: &Open) {}

    async fn request_body(&self, _: &mut (), _: &mut WholeIo<Request>) -> Result<(), Stop> {
        Ok(())
    }
}

fn main() {}
