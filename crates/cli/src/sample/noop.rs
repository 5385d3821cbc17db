//! `noop`: passes everything.

use extproc::{Open, Processor, Skip};

#[derive(Debug)]
pub(crate) struct Noop;

impl Processor for Noop {
    type Ctx = ();
    type RequestBody = Skip;
    type ResponseBody = Skip;

    fn name(&self) -> &'static str {
        "NoopExtProcService"
    }

    fn open(&self, _: &Open) {}
}
