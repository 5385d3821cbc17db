//! `headers`: sets, appends and removes headers of requests and responses.

use extproc::{Fields, IntoName, IntoValue};
use extproc::{Name, Open, Processor, RequestHead, ResponseHead, Skip, Start, Stop, Value};

use super::settings::{Key, Settings, key};
use crate::failure::Outcome;

/// The edits of both directions, checked when the sample starts: a header that HTTP forbids is no surprise later.
#[derive(Debug)]
pub(crate) struct Headers {
    request: Vec<Edit>,
    response: Vec<Edit>,
}

#[derive(Debug)]
enum Edit {
    Remove(Name),
    Set(Name, Value),
    Append(Name, Value),
    Default(Name, Value),
}

impl Headers {
    pub(super) const KEYS: &[Key] = &[
        key("request-set", "'NAME: VALUE', repeatable", "replace the request header, or add it"),
        key("request-append", "'NAME: VALUE', repeatable", "add a value to the request header"),
        key("request-default", "'NAME: VALUE', repeatable", "add the request header unless it is there"),
        key("request-remove", "NAME, repeatable", "remove the request header"),
        key("response-set", "'NAME: VALUE', repeatable", "replace the response header, or add it"),
        key("response-append", "'NAME: VALUE', repeatable", "add a value to the response header"),
        key("response-default", "'NAME: VALUE', repeatable", "add the response header unless it is there"),
        key("response-remove", "NAME, repeatable", "remove the response header"),
    ];

    pub(super) fn new(settings: &Settings) -> Outcome<Self> {
        Ok(Self { request: edits(settings, "request")?, response: edits(settings, "response")? })
    }
}

impl Processor for Headers {
    type Ctx = ();
    type RequestBody = Skip;
    type ResponseBody = Skip;

    fn open(&self, _: &Open) {}

    async fn request_headers(&self, _: &mut (), req: &mut Start<RequestHead>) -> Result<(), Stop> {
        self.request.iter().for_each(|edit| edit.apply(req));
        Ok(())
    }

    async fn response_headers(&self, _: &mut (), rsp: &mut Start<ResponseHead>) -> Result<(), Stop> {
        self.response.iter().for_each(|edit| edit.apply(rsp));
        Ok(())
    }
}

impl Edit {
    fn apply(&self, fields: &mut Fields) {
        match self {
            Self::Remove(name) => fields.remove(name),
            Self::Set(name, value) => fields.set(name, value),
            Self::Append(name, value) => fields.append(name, value),
            Self::Default(name, value) => _ = fields.set_if_absent(name, value),
        }
    }
}

type Make = fn(Name, Value) -> Edit;

/// What is removed goes first, so that it can be set anew.
fn edits(settings: &Settings, direction: &str) -> Outcome<Vec<Edit>> {
    let mut edits = Vec::new();
    let key = format!("{direction}-remove");
    for name in settings.all(&key) {
        edits.push(Edit::Remove(name.into_name().map_err(|error| settings.wrong(&key, error))?));
    }
    let verbs: [(&str, Make); 3] = [("set", Edit::Set), ("append", Edit::Append), ("default", Edit::Default)];
    for (verb, make) in verbs {
        let key = format!("{direction}-{verb}");
        for pair in settings.all(&key) {
            let (name, value) = pair.split_once(':').ok_or_else(|| settings.wrong(&key, "must be 'NAME: VALUE'"))?;
            let name = name.trim().into_name().map_err(|error| settings.wrong(&key, error))?;
            let value = value.trim().into_value().map_err(|error| settings.wrong(&key, error))?;
            edits.push(make(name, value));
        }
    }
    Ok(edits)
}

#[cfg(test)]
mod tests {
    use extproc::testing::Script;

    use super::*;

    #[tokio::test]
    async fn every_verb_in_both_directions() {
        for (setting, lines) in [
            ("request-set=X-A: 1", ["request_headers x-a=1", "response_headers"]),
            ("request-append=x-a: b", ["request_headers x-a+=b", "response_headers"]),
            ("request-default=x-a: b", ["request_headers", "response_headers"]),
            ("request-default=x-b: b:c", ["request_headers x-b?=b:c", "response_headers"]),
            ("request-remove=x-a", ["request_headers -x-a", "response_headers"]),
            ("response-set=x-a: 1", ["request_headers", "response_headers x-a=1"]),
            ("response-append=set-cookie: a=1", ["request_headers", "response_headers set-cookie+=a=1"]),
            ("response-remove=server", ["request_headers", "response_headers -server"]),
        ] {
            let headers = Headers::new(&Settings::test(&[setting])).expect("valid");
            let script = Script::new().request_only([("x-a", "0")]).response_only([("server", "s")]);
            assert_eq!(script.run(headers).await.lines(), lines, "{setting}");
        }
    }

    #[test]
    fn what_http_forbids_is_refused_at_the_start() {
        for setting in ["request-set=x-a", "request-set=x a: 1", "response-set=x: a\rb", "request-remove="] {
            assert!(Headers::new(&Settings::test(&[setting])).is_err(), "{setting}");
        }
    }
}
