//! A body handler needs a kind that delivers bodies.
use extproc::{Open, Processor, Request, Skip, Stop, WholeIo};

struct P;

impl Processor for P {
    type Ctx = ();
    type RequestBody = Skip;
    type ResponseBody = Skip;

    fn open(&self, _: &Open) {}

    async fn request_body(&self, _: &mut (), _: &mut WholeIo<Request>) -> Result<(), Stop> {
        Ok(())
    }
}

fn main() {}
