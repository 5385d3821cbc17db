//! Turns request and response bodies into capitals, in whatever body mode the data plane uses.
//!
//! ```text
//! cargo run -p extproc --example upper -- 127.0.0.1:50051
//! cargo run -p extproc --example upper -- unix:/tmp/upper.sock
//! ```

use extproc::{Open, Processor, Request, RequestHead, Response, ServeError, Server, Start, Stop, Whole, WholeIo};

struct Upper;

impl Processor for Upper {
    type Ctx = ();
    type RequestBody = Whole<{ 1 << 20 }>;
    type ResponseBody = Whole<{ 1 << 20 }>;

    fn open(&self, _: &Open) {}

    async fn request_headers(&self, (): &mut (), req: &mut Start<RequestHead>) -> Result<(), Stop> {
        req.set("x-upper", "1");
        Ok(())
    }

    async fn request_body(&self, (): &mut (), io: &mut WholeIo<Request>) -> Result<(), Stop> {
        let upper = io.body.bytes().to_ascii_uppercase();
        io.body.replace(upper);
        Ok(())
    }

    async fn response_body(&self, (): &mut (), io: &mut WholeIo<Response>) -> Result<(), Stop> {
        let upper = io.body.bytes().to_ascii_uppercase();
        io.body.replace(upper);
        Ok(())
    }
}

#[tokio::main]
async fn main() -> Result<(), ServeError> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:50051".to_owned());
    Server::new(Upper).listen(address).serve().await
}
