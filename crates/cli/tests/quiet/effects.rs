//! The same `extproc serve`, unchanged, behind our gateway and the real Envoy: the same effect in every body mode that
//! Envoy has.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use extproc::{Coding, Decoder, Encoder};
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::alone;
use crate::fronts::{Entrance, Envoy, Filter, envoy_binary, gateway};
use crate::http::{header, request, send};
use crate::process::Server;

/// What comes of an exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    /// What the sample is for was done, in both directions.
    Done,
    /// Client and upstream saw each other's bytes as they were.
    Passed,
    /// The client got this status, and the upstream no request.
    Refused(u16),
}

use Outcome::{Done, Passed, Refused};

/// Body modes of both directions, as the processing mode has them; whether the processor may ask for others.
const MODES: [(&str, &str, bool); 6] = [
    ("none", "NONE", false),
    ("none-may-ask", "NONE", true),
    ("streamed", "STREAMED", false),
    ("buffered", "BUFFERED", false),
    ("partial", "BUFFERED_PARTIAL", false),
    ("duplex", "FULL_DUPLEX_STREAMED", false),
];

/// An exchange with a sample in between.
struct Case {
    sample: &'static str,
    settings: &'static [&'static str],
    method: &'static str,
    headers: Vec<(&'static str, &'static str)>,
    body: Vec<u8>,
    answer: Answer,
    /// Whether what the sample is for can be seen.
    done: fn(&Seen) -> bool,
    /// In the order of [`MODES`].
    outcomes: [Outcome; 6],
}

/// What the upstream answers.
#[derive(Clone)]
struct Answer {
    headers: Vec<(&'static str, &'static str)>,
    body: Bytes,
}

/// An exchange as both ends saw it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Seen {
    /// `None` when no request came through.
    upstream: Option<Message>,
    status: u16,
    client: Message,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Message {
    headers: BTreeMap<String, Vec<String>>,
    body: Bytes,
}

const TOKEN: &str = include_str!("../../src/sample/jwt/testdata/rs256.jwt");
const PUBLIC_KEY: &str =
    concat!("jwt.public-key-file=", env!("CARGO_MANIFEST_DIR"), "/src/sample/jwt/testdata/rsa.pub.pem");
const DIGEST: &str = "x-request-digest";

fn cases() -> Vec<Case> {
    let ok = || Answer { headers: vec![("content-type", "text/plain")], body: "as it was".into() };
    let text = || vec![("content-type", "text/plain")];
    let bearer: &'static str = format!("Bearer {}", TOKEN.trim()).leak();
    vec![
        Case {
            sample: "digest",
            settings: &[],
            method: "POST",
            headers: text(),
            body: b"abc".to_vec(),
            answer: ok(),
            done: |seen| {
                let at_upstream = seen.upstream().headers.get(DIGEST);
                at_upstream.is_some_and(|digest| digest[0].len() == 64)
                    && at_upstream == seen.client.headers.get(DIGEST)
            },
            // The digest is a header: in STREAMED the head is gone when the body, and with it the digest, is known.
            outcomes: [Passed, Done, Refused(500), Done, Done, Done],
        },
        Case {
            sample: "digest",
            settings: &[],
            method: "GET",
            headers: vec![],
            body: vec![],
            answer: ok(),
            done: |seen| seen.client.headers.contains_key(DIGEST) && seen.upstream().headers.contains_key(DIGEST),
            outcomes: [Done; 6],
        },
        Case {
            sample: "upper",
            settings: &[],
            method: "PUT",
            headers: text(),
            body: b"from the client".to_vec(),
            answer: Answer {
                headers: vec![("content-type", "text/plain"), ("etag", "\"1\"")],
                body: Bytes::from("hello ".repeat(20_000)),
            },
            done: |seen| {
                seen.upstream().body == "FROM THE CLIENT" && seen.client.body == "HELLO ".repeat(20_000).as_bytes()
            },
            outcomes: [Passed, Done, Done, Done, Done, Done],
        },
        Case {
            sample: "json-mask",
            settings: &[],
            method: "POST",
            headers: vec![("content-type", "application/json")],
            body: br#"{"password": "p", "n": 12345678901234567890123}"#.to_vec(),
            answer: Answer {
                headers: vec![("content-type", "application/json"), ("etag", "\"1\"")],
                body: r#"[{"token": [1]}, 1.10]"#.into(),
            },
            done: |seen| {
                seen.upstream().body == r#"{"password":"***","n":12345678901234567890123}"#
                    && seen.client.body == r#"[{"token":"***"},1.10]"#
            },
            outcomes: [Passed, Done, Done, Done, Done, Done],
        },
        Case {
            sample: "rewrite",
            settings: &["rewrite.replace=cat=dog", "rewrite.requests=true"],
            method: "POST",
            headers: vec![("content-type", "text/html"), ("content-encoding", "br")],
            body: coded(Coding::Brotli, b"my cat").to_vec(),
            answer: Answer {
                headers: vec![("content-type", "text/html"), ("content-encoding", "gzip")],
                body: coded(Coding::Gzip, b"cats and cats"),
            },
            done: |seen| {
                plain(Coding::Brotli, &seen.upstream().body).as_deref() == Some(b"my dog")
                    && plain(Coding::Gzip, &seen.client.body).as_deref() == Some(b"dogs and dogs")
                    && seen.client.headers["content-encoding"] == ["gzip"]
            },
            outcomes: [Passed, Done, Done, Done, Done, Done],
        },
        Case {
            sample: "jwt",
            settings: &[PUBLIC_KEY],
            method: "POST",
            headers: vec![("authorization", bearer), ("x-jwt-sub", "forged"), ("content-type", "text/plain")],
            body: b"abc".to_vec(),
            answer: ok(),
            done: |seen| {
                let upstream = seen.upstream();
                upstream.headers["x-jwt-sub"] == ["ann"] && upstream.body == "abc" && seen.client.body == "as it was"
            },
            outcomes: [Done; 6],
        },
        Case {
            sample: "jwt",
            settings: &[PUBLIC_KEY],
            method: "POST",
            headers: vec![("x-jwt-sub", "forged"), ("content-type", "text/plain")],
            body: b"abc".to_vec(),
            answer: ok(),
            done: |_| false,
            outcomes: [Refused(401); 6],
        },
    ]
}

#[tokio::test]
async fn every_mode_behind_both_data_planes() {
    let _alone = alone().await;
    let Some(binary) = envoy_binary() else { return };
    let cases = cases();
    let upstream = Upstream::start(cases.iter().map(|case| case.answer.clone()).collect()).await;
    let (mut servers, mut entrances) = (Vec::new(), Vec::new());
    for (index, case) in cases.iter().enumerate() {
        let mut args = vec!["serve", case.sample, "--listen", "127.0.0.1:0"];
        args.extend(case.settings.iter().flat_map(|setting| ["--set", *setting]));
        let server = Server::start(&args).await;
        entrances.extend(MODES.iter().map(|(mode, bodies, may_ask)| {
            let filter =
                Filter { processor: server.addr, bodies, allow_mode_override: *may_ask, failure_mode_allow: false };
            Entrance { name: format!("{index}-{mode}"), filters: vec![filter], upstream: upstream.addr }
        }));
        servers.push(server);
    }
    let dir = TempDir::new().unwrap();
    let gateway = gateway(&dir, &entrances).await;
    let envoy = Envoy::start(&binary, &dir, &entrances).await;
    let mut wrong = Vec::new();
    for (index, case) in cases.iter().enumerate() {
        for ((mode, ..), expected) in MODES.iter().zip(case.outcomes) {
            let name = format!("{index}-{mode}");
            let ours = upstream.exchange(case, gateway.addr, &name).await;
            let theirs = upstream.exchange(case, envoy.at(&name), &name).await;
            let row = format!("{} {} {mode}", case.sample, case.method);
            let (outcome, envoys) = (case.outcome(&ours), case.outcome(&theirs));
            if (outcome, envoys) != (Some(expected), Some(expected)) {
                wrong.push(format!(
                    "{row}: expected {expected:?}, gateway {outcome:?}, Envoy {envoys:?}\n  {ours:?}\n  {theirs:?}"
                ));
            } else if ours != theirs {
                wrong.push(format!("{row}: not the same\n  gateway {ours:?}\n  Envoy   {theirs:?}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    drop(servers);
}

impl Case {
    /// `None`: none of those that are known.
    fn outcome(&self, seen: &Seen) -> Option<Outcome> {
        match &seen.upstream {
            None => Some(Refused(seen.status)),
            Some(_) if seen.status == 200 && (self.done)(seen) => Some(Done),
            Some(upstream) => {
                let same = seen.status == 200 && upstream.body == self.body && seen.client.body == self.answer.body;
                (same && !upstream.headers.contains_key(DIGEST)).then_some(Passed)
            }
        }
    }
}

impl Seen {
    fn upstream(&self) -> &Message {
        self.upstream.as_ref().expect("only asked for when there is one")
    }
}

/// Answers by the number that a path begins with, and notes the last request.
struct Upstream {
    addr: SocketAddr,
    last: Arc<Mutex<Option<Message>>>,
    serving: JoinHandle<()>,
}

impl Upstream {
    async fn start(answers: Vec<Answer>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (addr, last, answers) = (listener.local_addr().unwrap(), Arc::default(), Arc::new(answers));
        let noted = Arc::clone(&last);
        let serving = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                stream.set_nodelay(true).unwrap();
                let (noted, answers) = (Arc::clone(&noted), Arc::clone(&answers));
                let service = service_fn(move |request| answer(request, Arc::clone(&answers), Arc::clone(&noted)));
                tokio::spawn(
                    hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service),
                );
            }
        });
        Self { addr, last, serving }
    }

    /// Sends a case's request to a data plane.
    async fn exchange(&self, case: &Case, front: SocketAddr, entrance: &str) -> Seen {
        *self.last.lock().unwrap() = None;
        let path = format!("/{entrance}/something");
        let response = send(front, request(case.method, &path, &case.headers, case.body.clone())).await;
        assert!(header(&response, "content-length").is_none_or(|length| length == response.body().len().to_string()));
        let client = Message { headers: comparable(response.headers()), body: response.body().clone() };
        Seen { upstream: self.last.lock().unwrap().take(), status: response.status().as_u16(), client }
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn answer(
    request: Request<Incoming>,
    answers: Arc<Vec<Answer>>,
    noted: Arc<Mutex<Option<Message>>>,
) -> Result<Response<Full<Bytes>>, hyper::Error> {
    let number = request.uri().path().split(['/', '-']).nth(1).and_then(|number| number.parse::<usize>().ok());
    let headers = comparable(request.headers());
    let body = request.into_body().collect().await?.to_bytes();
    *noted.lock().unwrap() = Some(Message { headers, body });
    let Answer { headers, body } = answers[number.expect("a number")].clone();
    let response = headers.iter().fold(Response::builder(), |response, (name, value)| response.header(*name, *value));
    Ok(response.body(Full::new(body)).unwrap())
}

/// Without what is the data planes' own or differs from run to run. The framing is told by its kind: the length itself
/// is checked against the body.
fn comparable(headers: &http::HeaderMap) -> BTreeMap<String, Vec<String>> {
    let mut map = BTreeMap::<String, Vec<String>>::new();
    for (name, value) in headers {
        let value = match name.as_str() {
            "date" | "host" | "server" | "x-request-id" | "x-forwarded-for" | "x-forwarded-proto" | "user-agent" => {
                continue;
            }
            name if name.starts_with("x-envoy-") => continue,
            "content-length" => "(that of the body)".to_owned(),
            _ => String::from_utf8_lossy(value.as_bytes()).into_owned(),
        };
        map.entry(name.as_str().to_owned()).or_default().push(value);
    }
    map
}

fn coded(coding: Coding, plain: &[u8]) -> Bytes {
    let mut encoder = Encoder::new(&[coding]).unwrap();
    [encoder.push(plain).unwrap(), encoder.finish().unwrap()].concat().into()
}

fn plain(coding: Coding, body: &[u8]) -> Option<Vec<u8>> {
    let mut decoder = Decoder::new(&[coding], 1 << 20).ok()?;
    Some([decoder.push(body).ok()?, decoder.finish().ok()?].concat())
}
