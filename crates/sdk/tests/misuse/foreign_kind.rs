//! Body kinds are the SDK's.
use extproc::{Open, Processor, Skip};

struct P;

impl Processor for P {
    type Ctx = ();
    type RequestBody = Vec<u8>;
    type ResponseBody = Skip;

    fn open(&self, _: &Open) {}
}

fn main() {}
