//! A misspelt phase is an error, not a handler that never runs.
use extproc::{Open, Processor, RequestHead, Skip, Start, Stop};

struct P;

impl Processor for P {
    type Ctx = ();
    type RequestBody = Skip;
    type ResponseBody = Skip;

    fn open(&self, _: &Open) {}

    async fn request_header(&self, _: &mut (), _: &mut Start<RequestHead>) -> Result<(), Stop> {
        Ok(())
    }
}

fn main() {}
