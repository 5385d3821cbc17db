//! `digest`: a digest of the request, on the request and on its response.

use extproc::{Open, Processor, Request, RequestHead, ResponseHead, Skip, Start, Stop, Whole, WholeIo};
use sha2::{Digest as _, Sha256};

use super::BODY_LIMIT;

pub(super) const DIGEST: &str = "x-request-digest";

#[derive(Debug)]
pub(crate) struct Digest;

impl Processor for Digest {
    /// The digest, once it is complete.
    type Ctx = Option<String>;
    type RequestBody = Whole<BODY_LIMIT>;
    type ResponseBody = Skip;

    fn name(&self) -> &'static str {
        "DigestExtProcService"
    }

    fn open(&self, _: &Open) -> Option<String> {
        None
    }

    async fn request_headers(&self, digest: &mut Option<String>, req: &mut Start<RequestHead>) -> Result<(), Stop> {
        if req.is_last() {
            let hex = digest.insert(of(req, b""));
            req.set(DIGEST, hex.as_str());
        }
        Ok(())
    }

    async fn request_body(&self, digest: &mut Option<String>, io: &mut WholeIo<Request>) -> Result<(), Stop> {
        let hex = digest.insert(of(&io.head, io.body.bytes()));
        io.head.set(DIGEST, hex.as_str());
        Ok(())
    }

    async fn response_headers(&self, digest: &mut Option<String>, rsp: &mut Start<ResponseHead>) -> Result<(), Stop> {
        if let Some(hex) = digest {
            rsp.set(DIGEST, hex.as_str());
        }
        Ok(())
    }
}

/// The digest of a request.
pub(super) fn of(req: &RequestHead, body: &[u8]) -> String {
    hex(req.header("x-tenant-id").unwrap_or("unknown"), req.method(), req.path(), body)
}

/// SHA-256 over tenant, method, path with query, and body, one after the other, in lower-case hexadecimal digits.
fn hex(tenant: &str, method: &str, path: &str, body: &[u8]) -> String {
    let digest =
        Sha256::new().chain_update(tenant).chain_update(method).chain_update(path).chain_update(body).finalize();
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use extproc::BodyMode;
    use extproc::testing::Script;

    use super::super::decorated;
    use super::*;

    const GET: [(&str, &str); 2] = [(":method", "GET"), (":path", "/something")];
    const POST: [(&str, &str); 3] = [(":method", "POST"), (":path", "/something"), ("content-length", "3")];
    const NONE: [(&str, &str); 0] = [];

    const OF_GET: &str = "x-request-digest=860d64d6465b9e9886050295087e8a547b3e7a3c40e79d26147b50a97b9ac2c6";
    const OF_POST: &str = "x-request-digest=82141d90af407510c2d32dbbeeaf17a6d6e8a23d83f40a1f74446c5c9a6fe664";

    fn bodiless() -> Script {
        Script::new().modes(BodyMode::Buffered, BodyMode::Buffered).request_only(GET).response_only(NONE)
    }

    fn with_body() -> Script {
        let script = Script::new().modes(BodyMode::Buffered, BodyMode::Buffered);
        script.request_headers(POST).request_body("abc", true).response_headers(NONE).response_body("x", true)
    }

    #[tokio::test]
    async fn it_is_on_the_request_and_on_its_response() {
        let expected = [format!("request_headers {OF_GET}"), format!("response_headers {OF_GET}")];
        assert_eq!(bodiless().run(Digest).await.lines(), expected);
        let expected = [
            "request_headers".to_owned(),
            format!("request_body {OF_POST}"),
            format!("response_headers {OF_POST}"),
            "response_body".to_owned(),
        ];
        assert_eq!(with_body().run(Digest).await.lines(), expected);
    }

    #[tokio::test]
    async fn as_functions_it_is_on_the_request_only() {
        let expected = [format!("request_headers {OF_GET}"), "response_headers".to_owned()];
        assert_eq!(bodiless().run(decorated()).await.lines(), expected);
        assert_eq!(with_body().run(decorated()).await.lines()[1], format!("request_body {OF_POST}"));
    }

    #[tokio::test]
    async fn a_response_alone_has_no_digest() {
        assert_eq!(Script::new().response_only(NONE).run(Digest).await.lines(), ["response_headers"]);
    }

    #[test]
    fn golden_values() {
        for (tenant, method, path, body, expected) in [
            ("unknown", "GET", "/something", "", "860d64d6465b9e9886050295087e8a547b3e7a3c40e79d26147b50a97b9ac2c6"),
            (
                "unknown",
                "PUT",
                "/something",
                r#"{"hello":"hi"}"#,
                "a794dbc467285567e4c2604c991938386366f6ab94b0b0e4fab5e27e0a932e60",
            ),
            (
                "unknown",
                "POST",
                "/something",
                "abc",
                "82141d90af407510c2d32dbbeeaf17a6d6e8a23d83f40a1f74446c5c9a6fe664",
            ),
            ("acme", "GET", "/something", "", "377ea8cf3e3185f1c2019022087b9adf0151ef442b3b26e3ad22c73f5a254ea2"),
            ("unknown", "POST", "/something", "", "94dc4e8235f8f6c40e42b974e28552c307181b70afee028cb627ee0bc37a7273"),
            (
                "unknown",
                "GET",
                "/redirect?location=/a",
                "",
                "4c9af4694b3b861ede9ae2cd37ac058ad20ab45956b61bd2d348c68e50d5312b",
            ),
            (
                "unknown",
                "PATCH",
                "/something",
                "zz",
                "5064483130009ae0135a1ff851c0ff4eadb9e705c02ef30c2ac3093f3adea444",
            ),
            (
                "unknown",
                "POST",
                "/something",
                "WRONG",
                "f026126729f105179ab4b4d4a47dcc52f8eb17ff6067632214b7643aa2228b2e",
            ),
        ] {
            assert_eq!(hex(tenant, method, path, body.as_bytes()), expected, "{method} {path} {body}");
        }
    }
}
