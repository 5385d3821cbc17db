//! Attributes of an exchange that a processor is told with the first message of a direction (Envoy
//! `request_attributes`, `response_attributes`).

use std::collections::BTreeMap;

use crate::{Direction, Headers};

/// The value of an attribute.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Attribute {
    /// A text; what has no type of its own on the wire (times, addresses) as well.
    Text(String),
    /// A number.
    Number(f64),
    /// True or false.
    Bool(bool),
}

/// What is known of one exchange.
#[derive(Debug, Default)]
pub(crate) struct Attributes {
    /// What the data plane has told.
    told: BTreeMap<String, Attribute>,
    /// By direction, what goes out with its first message.
    ready: [BTreeMap<String, Attribute>; 2],
    /// What the response's list asks about the request.
    of_request: BTreeMap<String, Attribute>,
}

impl Attributes {
    pub(crate) fn tell(&mut self, name: &str, value: Attribute) {
        self.told.insert(name.to_owned(), value);
    }

    /// Headers came, as the filter sees them.
    pub(crate) fn read(&mut self, direction: Direction, headers: &Headers, lists: [&[String]; 2]) {
        let known = |name: &String, told: &BTreeMap<String, Attribute>| {
            let value = of_headers(direction, headers, name).or_else(|| told.get(name).cloned());
            value.map(|value| (name.clone(), value))
        };
        let names = lists[direction as usize].iter();
        self.ready[direction as usize].extend(names.filter_map(|name| known(name, &self.told)));
        match direction {
            Direction::Request => {
                let names = lists[Direction::Response as usize].iter();
                self.of_request = names.filter_map(|name| known(name, &BTreeMap::new())).collect();
            }
            Direction::Response => {
                let of_request = std::mem::take(&mut self.of_request);
                let ready = &mut self.ready[direction as usize];
                of_request.into_iter().for_each(|(name, value)| {
                    ready.entry(name).or_insert(value);
                });
            }
        }
    }

    /// What the next message of the direction carries: once, and nothing if nothing is known.
    pub(crate) fn take(&mut self, direction: Direction) -> BTreeMap<String, Attribute> {
        std::mem::take(&mut self.ready[direction as usize])
    }
}

/// What the headers of a direction tell. Attributes that they do not have are unknown.
fn of_headers(direction: Direction, headers: &Headers, name: &str) -> Option<Attribute> {
    let (of, attribute) = name.split_once('.')?;
    let text = |name: &str| headers.get_str(name).map(|value| Attribute::Text(value.to_owned()));
    if !matches!((direction, of), (Direction::Request, "request") | (Direction::Response, "response")) {
        return None;
    }
    if let Some(name) = attribute.strip_prefix("headers[").and_then(|rest| rest.strip_suffix(']')) {
        let name = name.trim_matches(['"', '\'']);
        let values: Vec<_> = headers.get_all(name).filter_map(|value| value.to_str()).collect();
        return (!values.is_empty()).then(|| Attribute::Text(values.join(",")));
    }
    let path = || headers.get_str(":path").map(|path| path.split_once('?').unwrap_or((path, "")));
    match (direction, attribute) {
        #[expect(clippy::cast_precision_loss, reason = "a Struct has no other numbers")]
        (_, "size") => headers.content_length().map(|length| Attribute::Number(length as f64)),
        (Direction::Request, "path") => text(":path"),
        (Direction::Request, "url_path") => path().map(|(path, _)| Attribute::Text(path.to_owned())),
        (Direction::Request, "query") => path().map(|(_, query)| Attribute::Text(query.to_owned())),
        (Direction::Request, "host") => text(":authority"),
        (Direction::Request, "scheme") => text(":scheme"),
        (Direction::Request, "method") => text(":method"),
        (Direction::Request, "useragent") => text("user-agent"),
        (Direction::Request, "referer") => text("referer"),
        (Direction::Request, "id") => text("x-request-id"),
        (Direction::Response, "code") => headers.status().map(|code| Attribute::Number(code.into())),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::headers::{Name, Value};

    fn headers(entries: &[(&'static str, &'static str)]) -> Headers {
        entries.iter().map(|(name, value)| (Name::from_static(name), Value::from_static(value))).collect()
    }

    #[test]
    fn what_headers_tell() {
        let request = headers(&[
            (":method", "POST"),
            (":path", "/p/q?z=1"),
            (":authority", "ex.com"),
            (":scheme", "http"),
            ("content-length", "5"),
            ("user-agent", "curl"),
            ("x-a", "1"),
            ("x-a", "2"),
        ]);
        let text = |text: &str| Some(Attribute::Text(text.to_owned()));
        for (name, expected) in [
            ("request.path", text("/p/q?z=1")),
            ("request.url_path", text("/p/q")),
            ("request.query", text("z=1")),
            ("request.host", text("ex.com")),
            ("request.scheme", text("http")),
            ("request.method", text("POST")),
            ("request.useragent", text("curl")),
            ("request.size", Some(Attribute::Number(5.0))),
            ("request.headers[\"x-a\"]", text("1,2")),
            ("request.headers['x-b']", None),
            ("request.referer", None),
            ("response.code", None),
            ("plugin_name", None),
            ("nothing.at.all", None),
        ] {
            assert_eq!(of_headers(Direction::Request, &request, name), expected, "{name}");
        }
        let response = headers(&[(":status", "418")]);
        assert_eq!(of_headers(Direction::Response, &response, "response.code"), Some(Attribute::Number(418.0)));
        assert_eq!(of_headers(Direction::Response, &response, "request.method"), None);
    }
}
