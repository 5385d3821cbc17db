//! What must come out of the demo: requests with their golden values.

use super::client::{Answer, Ask};

/// A request and what is expected of it.
#[derive(Clone, Debug)]
pub(super) struct Walk {
    /// The row of the acceptance table.
    pub(super) id: &'static str,
    pub(super) about: &'static str,
    pub(super) ask: Ask,
    pub(super) expect: Vec<Expect>,
}

/// One value and what it must be.
#[derive(Clone, Debug)]
pub(super) struct Expect {
    pub(super) place: Place,
    pub(super) want: Want,
}

/// Where a value stands.
#[derive(Clone, Copy, Debug)]
pub(super) enum Place {
    Status,
    /// A header of the response.
    Response(&'static str),
    /// The response's body.
    Body,
    /// A header of the request as the upstream got it.
    Upstream(&'static str),
    /// Another field of the upstream's view.
    View(&'static str),
}

/// What a value must be.
#[derive(Clone, Copy, Debug)]
pub(super) enum Want {
    Is(&'static str),
    Absent,
    Present,
    /// A time by RFC 3339 in UTC.
    Time,
    Number,
    /// The same as this header of the request as the upstream got it.
    Upstreams(&'static str),
}

/// A value that is not as expected.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub(super) struct Difference {
    pub(super) place: String,
    pub(super) expected: String,
    pub(super) got: String,
}

use Place::{Body, Response, Status, Upstream, View};
use Want::{Absent, Is, Number, Present, Time, Upstreams};

/// Every name, in request order.
pub(super) const CHAIN: &str = "TrivialExtProcService,TimerExtProcService,EchoExtProcService,\
                                DigestExtProcService,DecoratedExtProcService,CtxExtProcService";
/// Without the one whose stream failed.
const WITHOUT_CTX: &str = "TrivialExtProcService,TimerExtProcService,EchoExtProcService,\
                           DigestExtProcService,DecoratedExtProcService";
/// The reply of the third crosses the response phases of all others.
const ECHOED: &str = "TrivialExtProcService,TimerExtProcService,DigestExtProcService,\
                      DecoratedExtProcService,CtxExtProcService,EchoExtProcService";

/// All of them. `chain`: the header that names the processors, when it is on.
pub(super) fn walks(chain: Option<&'static str>) -> Vec<Walk> {
    let mut walks = detailed();
    walks.extend(digests());
    walks.extend(special());
    for walk in &mut walks {
        for expect in &mut walk.expect {
            expect.rename(chain);
        }
    }
    walks
}

/// How the chain header is called before [`Expect::rename`].
const APPLIED: &str = "x-ext-procs-applied";

impl Expect {
    fn rename(&mut self, chain: Option<&'static str>) {
        match (&self.place, chain) {
            (Response(APPLIED), Some(name)) => self.place = Response(name),
            (Response(APPLIED), None) => self.want = Absent,
            _ => {}
        }
    }
}

const JSON: &[(&str, &str)] = &[("content-type", "application/json")];
const TEXT: &[(&str, &str)] = &[("content-type", "text/plain")];

fn detailed() -> Vec<Walk> {
    let common = |digest| {
        vec![
            (Status, Is("200")),
            (View("path"), Is("/something")),
            (View("message"), Is("Hello")),
            (Upstream("x-extra-request-id"), Upstreams("x-request-id")),
            (Upstream("x-request-started"), Time),
            (Upstream("x-request-digest"), Is(digest)),
            (Upstream("x-context-id"), Is("")),
            (Response("x-request-digest"), Is(digest)),
            (Response("x-request-started"), Upstreams("x-request-started")),
            (Response("x-duration-ns"), Number),
            (Response("x-extra-request-id"), Upstreams("x-request-id")),
            (Response(APPLIED), Is(CHAIN)),
        ]
    };
    let mut get = common("860d64d6465b9e9886050295087e8a547b3e7a3c40e79d26147b50a97b9ac2c6");
    get.extend([(View("method"), Is("get")), (View("body"), Is(""))]);
    let mut put = common("a794dbc467285567e4c2604c991938386366f6ab94b0b0e4fab5e27e0a932e60");
    put.extend([(View("method"), Is("put")), (View("body"), Is(r#"{"hello":"hi"}"#))]);
    vec![
        walk("PY-140", "a request without a body", ("GET", "/something", &[], None), get),
        walk("PY-141", "a request with a JSON body", ("PUT", "/something", JSON, Some(r#"{"hello":"hi"}"#)), put),
    ]
}

fn digests() -> Vec<Walk> {
    let both = |digest| {
        vec![
            (Status, Is("200")),
            (Upstream("x-request-digest"), Is(digest)),
            (Response("x-request-digest"), Is(digest)),
            (Response(APPLIED), Is(CHAIN)),
        ]
    };
    vec![
        walk(
            "PY-142",
            "the digest covers the body",
            ("POST", "/something", TEXT, Some("abc")),
            both("82141d90af407510c2d32dbbeeaf17a6d6e8a23d83f40a1f74446c5c9a6fe664"),
        ),
        walk(
            "PY-143",
            "the digest covers the tenant",
            ("GET", "/something", &[("x-tenant-id", "acme")], None),
            both("377ea8cf3e3185f1c2019022087b9adf0151ef442b3b26e3ad22c73f5a254ea2"),
        ),
        walk(
            "PY-144",
            "a POST without a body",
            ("POST", "/something", &[], Some("")),
            both("94dc4e8235f8f6c40e42b974e28552c307181b70afee028cb627ee0bc37a7273"),
        ),
        walk(
            "PY-145",
            "the digest covers the query",
            ("GET", "/redirect?location=/a", &[], None),
            vec![
                (Status, Is("308")),
                (Response("location"), Is("/a")),
                (Response("x-request-digest"), Is("4c9af4694b3b861ede9ae2cd37ac058ad20ab45956b61bd2d348c68e50d5312b")),
            ],
        ),
        walk(
            "PY-146",
            "another method",
            ("PATCH", "/something", TEXT, Some("zz")),
            both("5064483130009ae0135a1ff851c0ff4eadb9e705c02ef30c2ac3093f3adea444"),
        ),
    ]
}

fn special() -> Vec<Walk> {
    let bypassed = || {
        vec![
            (Status, Is("200")),
            (Upstream("x-extra-request-id"), Absent),
            (Upstream("x-request-started"), Absent),
            (Upstream("x-request-digest"), Absent),
            (Upstream("x-context-id"), Absent),
            (Response("x-extra-request-id"), Absent),
            (Response("x-request-started"), Absent),
            (Response("x-request-digest"), Absent),
            // By its default name, also when another is configured.
            (Response("x-ext-procs-applied"), Absent),
        ]
    };
    let mismatch = &[("content-type", "text/plain"), ("x-context-id", "RIGHT")];
    let matching = &[("content-type", "text/plain"), ("x-context-id", "abc")];
    let echo_only = &[("content-type", "text/plain"), ("x-echo-only", "true")];
    vec![
        walk("PY-147", "the bypass route", ("GET", "/no-ext-procs/a", &[], None), bypassed()),
        walk("PY-147", "the bypass route with a body", ("PUT", "/no-ext-procs/a", TEXT, Some("abc")), bypassed()),
        walk(
            "PY-148",
            "the context is kept from the request to the response",
            ("POST", "/something", matching, Some("abc")),
            vec![(Status, Is("200")), (Response("x-context-id"), Is("abc")), (Response(APPLIED), Is(CHAIN))],
        ),
        walk(
            "PY-149",
            "a processor that fails is passed over",
            ("POST", "/something", mismatch, Some("WRONG")),
            vec![
                (Status, Is("200")),
                (Response("x-context-id"), Absent),
                (Response(APPLIED), Is(WITHOUT_CTX)),
                (Response("x-request-digest"), Is("f026126729f105179ab4b4d4a47dcc52f8eb17ff6067632214b7643aa2228b2e")),
            ],
        ),
        walk(
            "PY-151",
            "a processor answers the client",
            ("POST", "/something", echo_only, Some("hi")),
            vec![
                (Status, Is("200")),
                (Body, Is("hi")),
                (Response("x-echo-only"), Is("true")),
                (Response(APPLIED), Is(ECHOED)),
            ],
        ),
        walk(
            "PY-152",
            "which it does only when asked by one of eight words",
            ("POST", "/something", &[("content-type", "text/plain"), ("x-echo-only", "TRUE")], Some("hi")),
            vec![(Status, Is("200")), (View("body"), Is("hi")), (Response(APPLIED), Is(CHAIN))],
        ),
        walk(
            "PY-153",
            "HEAD has no body phase",
            ("HEAD", "/something", &[], None),
            vec![
                (Status, Is("200")),
                (Body, Is("")),
                (Response("x-request-started"), Absent),
                (Response("x-duration-ns"), Absent),
                (Response("x-extra-request-id"), Present),
                (Response(APPLIED), Is(CHAIN)),
            ],
        ),
        walk(
            "PY-154",
            "the client's own chain header is not reflected",
            ("GET", "/something", &[("x-ext-procs-applied", "spoofed")], None),
            vec![(Status, Is("200")), (Response(APPLIED), Is(CHAIN))],
        ),
    ]
}

type Request = (&'static str, &'static str, &'static [(&'static str, &'static str)], Option<&'static str>);

fn walk(id: &'static str, about: &'static str, request: Request, expect: Vec<(Place, Want)>) -> Walk {
    let (method, path, headers, body) = request;
    let expect = expect.into_iter().map(|(place, want)| Expect { place, want }).collect();
    Walk { id, about, ask: Ask { method, path, headers, body }, expect }
}

impl Walk {
    /// Everything that is not as expected.
    pub(super) fn differences(&self, answer: &Answer) -> Vec<Difference> {
        self.expect.iter().filter_map(|expect| expect.difference(answer)).collect()
    }
}

impl Expect {
    fn difference(&self, answer: &Answer) -> Option<Difference> {
        let got = self.place.value(answer);
        let expected = match self.want {
            Is(value) if got.as_deref() == Some(value) => return None,
            Absent if got.is_none() => return None,
            Present if got.is_some() => return None,
            Time if got.as_deref().is_some_and(is_time) => return None,
            Number if got.as_deref().is_some_and(|text| text.parse::<u64>().is_ok()) => return None,
            Upstreams(name) if got.is_some() && got == Upstream(name).value(answer) => return None,
            Is(value) => format!("{value:?}"),
            Absent => "none".to_owned(),
            Present => "any".to_owned(),
            Time => "a time as 2026-01-01T00:00:00Z".to_owned(),
            Number => "a number".to_owned(),
            Upstreams(name) => match Upstream(name).value(answer) {
                Some(value) => format!("{value:?}, as the upstream's {name}"),
                None => format!("as the upstream's {name}, which it did not get"),
            },
        };
        let got = got.map_or_else(|| "none".to_owned(), |value| format!("{value:?}"));
        Some(Difference { place: self.place.to_string(), expected, got })
    }
}

impl Place {
    fn value(self, answer: &Answer) -> Option<String> {
        let view = || serde_json::from_slice::<serde_json::Value>(&answer.body).ok();
        match self {
            Status => Some(answer.status.to_string()),
            Response(name) => answer.headers.iter().find(|(n, _)| n == name).map(|(_, value)| value.clone()),
            Body => Some(String::from_utf8_lossy(&answer.body).into_owned()),
            Upstream(name) => Some(view()?["headers"].get(name)?.as_str()?.to_owned()),
            View(field) => Some(view()?.get(field)?.as_str()?.to_owned()),
        }
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Status => f.write_str("status"),
            Response(name) => write!(f, "response header {name}"),
            Body => f.write_str("response body"),
            Upstream(name) => write!(f, "header {name} at the upstream"),
            View(field) => write!(f, "{field} at the upstream"),
        }
    }
}

fn is_time(text: &str) -> bool {
    let Some((seconds, fraction)) = text.strip_suffix('Z').and_then(|text| text.split_at_checked(19)) else {
        return false;
    };
    let shape = |pattern: char, c: char| if pattern == '0' { c.is_ascii_digit() } else { pattern == c };
    let digits = fraction.strip_prefix('.').unwrap_or(fraction);
    "0000-00-00T00:00:00".chars().zip(seconds.chars()).all(|(pattern, c)| shape(pattern, c))
        && digits.bytes().all(|b| b.is_ascii_digit())
        && matches!(fraction.len(), 0 | 4 | 7 | 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(body: &'static str, headers: &[(&str, &str)]) -> Answer {
        let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Answer { sent: Vec::new(), status: 200, headers, body: body.into() }
    }

    #[test]
    fn times() {
        for (text, valid) in [
            ("2026-01-02T03:04:05Z", true),
            ("2026-01-02T03:04:05.006Z", true),
            ("2026-01-02T03:04:05.006007Z", true),
            ("2026-01-02T03:04:05.006007008Z", true),
            ("2026-01-02T03:04:05.1Z", false),
            ("2026-01-02T03:04:05+00:00", false),
            ("2026-01-02 03:04:05Z", false),
            ("Z", false),
        ] {
            assert_eq!(is_time(text), valid, "{text}");
        }
    }

    #[test]
    fn every_kind_of_expectation_can_fail() {
        let view = r#"{"method": "get", "headers": {"x-id": "7", "at": "2026-01-02T03:04:05Z"}}"#;
        let good = answer(view, &[("x-id", "7"), ("n", "12")]);
        let bad = answer("", &[("x-id", "8"), ("n", "z"), ("no", "")]);
        for (place, want) in [
            (View("method"), Is("get")),
            (Upstream("x-id"), Is("7")),
            (Response("no"), Absent),
            (Upstream("x-id"), Present),
            (Upstream("at"), Time),
            (Response("n"), Number),
            (Response("x-id"), Upstreams("x-id")),
        ] {
            let expect = Expect { place, want };
            assert_eq!(expect.difference(&good), None, "{place}");
            assert!(expect.difference(&bad).is_some(), "{place}");
        }
        let wrong_status = Expect { place: Status, want: Is("308") }.difference(&good);
        let difference =
            Difference { place: "status".to_owned(), expected: "\"308\"".to_owned(), got: "\"200\"".to_owned() };
        assert_eq!(wrong_status, Some(difference));
    }

    #[test]
    fn the_chain_header_can_be_renamed_or_off() {
        let renamed = walks(Some("x-other"));
        assert!(renamed[0].expect.iter().any(|expect| matches!(expect.place, Response("x-other"))));
        let off = walks(None);
        let expect = off[0].expect.iter().find(|expect| matches!(expect.place, Response(APPLIED)));
        assert!(matches!(expect, Some(Expect { want: Absent, .. })));
    }
}
