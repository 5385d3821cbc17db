//! `logger`: a line in the log for each exchange, when it is over.

use std::time::Instant;

use extproc::{End, Open, Processor, RequestHead, ResponseHead, Skip, Start, Stop};

use super::settings::{Key, Settings, key};
use crate::failure::Outcome;

/// Values that are never written out.
const SECRET: [&str; 5] = ["authorization", "cookie", "proxy-authorization", "set-cookie", "x-api-key"];

/// Logs method, path without query, status and time, and the request headers that it is told to.
#[derive(Debug)]
pub(crate) struct Logger {
    headers: Vec<String>,
}

/// One exchange. Response phases may come without those of the request.
#[derive(Debug)]
pub(crate) struct Ctx {
    since: Instant,
    request: String,
    headers: String,
    status: u16,
}

impl Logger {
    pub(super) const KEYS: &[Key] =
        &[key("header", "NAME, repeatable", "log this request header too; secrets are masked")];

    pub(super) fn new(settings: &Settings) -> Outcome<Self> {
        Ok(Self { headers: settings.all("header").iter().map(|name| name.to_ascii_lowercase()).collect() })
    }

    fn chosen(&self, head: &RequestHead) -> String {
        let values =
            self.headers.iter().flat_map(|name| head.header_all(name).map(move |value| (name.as_str(), value)));
        let shown = values.map(|(name, value)| {
            let value = if SECRET.contains(&name) { "(masked)" } else { value };
            format!("{name}={value:?}")
        });
        shown.collect::<Vec<_>>().join(" ")
    }
}

impl Processor for Logger {
    type Ctx = Ctx;
    type RequestBody = Skip;
    type ResponseBody = Skip;

    fn open(&self, _: &Open) -> Ctx {
        Ctx { since: Instant::now(), request: "(not seen)".to_owned(), headers: String::new(), status: 0 }
    }

    async fn request_headers(&self, ctx: &mut Ctx, req: &mut Start<RequestHead>) -> Result<(), Stop> {
        // Queries often hold what must not be in logs.
        ctx.request = format!("{} {}{}", req.method(), req.host(), req.path_without_query());
        ctx.headers = self.chosen(req);
        Ok(())
    }

    async fn response_headers(&self, ctx: &mut Ctx, rsp: &mut Start<ResponseHead>) -> Result<(), Stop> {
        ctx.status = rsp.status();
        Ok(())
    }

    /// Runs on every end, also when the client left or a processor of the chain failed.
    fn close(&self, ctx: Ctx, end: End) {
        let millis = ctx.since.elapsed().as_secs_f64() * 1e3;
        let Ctx { request, headers, status, .. } = ctx;
        tracing::info!(request, status, millis, headers, ?end, "exchange");
    }
}

#[cfg(test)]
mod tests {
    use extproc::testing::Script;

    use super::*;

    #[tokio::test]
    async fn it_changes_nothing() {
        let script =
            Script::new().request_only([(":method", "GET"), (":path", "/?a=b")]).response_only([(":status", "204")]);
        let logger = Logger::new(&Settings::test(&[])).expect("valid");
        assert_eq!(script.run(logger).await.lines(), ["request_headers", "response_headers"]);
    }

    #[tokio::test]
    async fn secrets_are_masked() {
        let logger = Logger::new(&Settings::test(&["header=X-Team", "header=Authorization"])).expect("valid");
        let seen = std::sync::Arc::new(std::sync::Mutex::new(String::new()));
        struct Look(Logger, std::sync::Arc<std::sync::Mutex<String>>);
        impl Processor for Look {
            type Ctx = ();
            type RequestBody = Skip;
            type ResponseBody = Skip;
            fn open(&self, _: &Open) {}
            async fn request_headers(&self, _: &mut (), req: &mut Start<RequestHead>) -> Result<(), Stop> {
                *self.1.lock().expect("alone") = self.0.chosen(req);
                Ok(())
            }
        }
        let script = Script::new().request_only([("x-team", "a"), ("authorization", "Bearer x"), ("x-team", "b")]);
        script.run(Look(logger, seen.clone())).await;
        assert_eq!(*seen.lock().expect("alone"), r#"x-team="a" x-team="b" authorization="(masked)""#);
    }
}
