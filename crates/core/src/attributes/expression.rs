//! Expressions for attributes: the paths of CEL, and what headers tell of them.

use crate::local_reply::grpc_status_of;
use crate::{Attribute, Direction, Headers};

/// An attribute, and the name under which a processor is told it. Envoy's lists have the expression as the name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedAttribute {
    /// The name.
    pub name: String,
    /// A path: `request.path`, `request.headers["x-a"]`.
    pub expression: String,
}

impl<T: Into<String>> From<T> for NamedAttribute {
    fn from(expression: T) -> Self {
        let expression = expression.into();
        Self { name: expression.clone(), expression }
    }
}

/// A text that is no path of an attribute.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason} at `{rest}`; write a path such as `request.path` or `request.headers[\"x-a\"]`")]
pub struct InvalidExpression {
    /// What was expected.
    reason: &'static str,
    /// The text from there on.
    rest: String,
}

/// Where the value of an attribute comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// The headers of a direction.
    Headers(Direction, What),
    /// The data plane, under this name.
    DataPlane(String),
}

/// What headers tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum What {
    /// The value of this one.
    Value(&'static str),
    /// The values of this one, joined.
    Values(String),
    UrlPath,
    Query,
    /// What `content-length` says, or nothing so far.
    Size,
    Code,
    /// As the headers have it, or as the HTTP status maps to it.
    GrpcStatus,
    /// All of them, which have no form on the wire.
    Map,
}

impl Source {
    pub(super) fn read(expression: &str) -> Result<Self, InvalidExpression> {
        let path = segments(expression)?;
        let path: Vec<&str> = path.iter().map(String::as_str).collect();
        let of = |direction, what| Ok(Self::Headers(direction, what));
        let [side, rest @ ..] = path.as_slice() else { return Ok(Self::DataPlane(path.concat())) };
        let direction = match *side {
            "request" => Direction::Request,
            "response" => Direction::Response,
            _ => return Ok(Self::DataPlane(path.join("."))),
        };
        match (direction, rest) {
            (_, ["headers"]) => of(direction, What::Map),
            (_, ["headers", name]) => of(direction, What::Values((*name).to_owned())),
            (Direction::Response, ["trailers"]) => of(direction, What::Map),
            (Direction::Response, ["grpc_status"]) => of(direction, What::GrpcStatus),
            (Direction::Request, ["size"]) => of(direction, What::Size),
            (Direction::Request, ["path"]) => of(direction, What::Value(":path")),
            (Direction::Request, ["url_path"]) => of(direction, What::UrlPath),
            (Direction::Request, ["query"]) => of(direction, What::Query),
            (Direction::Request, ["host"]) => of(direction, What::Value(":authority")),
            (Direction::Request, ["scheme"]) => of(direction, What::Value(":scheme")),
            (Direction::Request, ["method"]) => of(direction, What::Value(":method")),
            (Direction::Request, ["useragent"]) => of(direction, What::Value("user-agent")),
            (Direction::Request, ["referer"]) => of(direction, What::Value("referer")),
            (Direction::Request, ["id"]) => of(direction, What::Value("x-request-id")),
            (Direction::Response, ["code"]) => of(direction, What::Code),
            _ => Ok(Self::DataPlane(path.join("."))),
        }
    }

    /// The name under which the data plane may tell it.
    pub(super) fn untold(&self) -> Option<&str> {
        match self {
            Self::DataPlane(name) => Some(name),
            Self::Headers(..) => None,
        }
    }

    /// What the headers of a direction tell. Attributes that they do not have are unknown.
    pub(super) fn of_headers(&self, of: Direction, headers: &Headers) -> Option<Attribute> {
        let Self::Headers(direction, what) = self else { return None };
        // A map is printed alike, whatever is in it.
        if *direction != of && *what != What::Map {
            return None;
        }
        let text = |text: &str| Attribute::Text(text.to_owned());
        let path = || headers.get_str(":path").map(|path| path.split_once('?').unwrap_or((path, "")));
        match what {
            What::Value(name) => headers.get_str(name).map(text),
            What::Values(name) => {
                let values: Vec<_> = headers.get_all(name).filter_map(|value| value.to_str()).collect();
                (!values.is_empty()).then(|| Attribute::Text(values.join(",")))
            }
            What::UrlPath => path().map(|(path, _)| text(path)),
            What::Query => path().map(|(_, query)| text(query)),
            #[expect(clippy::cast_precision_loss, reason = "a Struct has no other numbers")]
            What::Size => Some(Attribute::Number(headers.content_length().unwrap_or(0) as f64)),
            What::Code => headers.status().map(|code| Attribute::Number(code.into())),
            What::GrpcStatus => {
                let of_header = headers.get_str("grpc-status").and_then(|text| text.parse().ok());
                let mapped = || headers.status().map(grpc_status_of);
                of_header.or_else(mapped).map(|code| Attribute::Number(code.into()))
            }
            // What Envoy's CEL prints for any map.
            What::Map => Some(text("CelMap value")),
        }
    }
}

/// `a.b["c"].d` as its names.
fn segments(expression: &str) -> Result<Vec<String>, InvalidExpression> {
    let invalid = |reason, rest: &str| Err(InvalidExpression { reason, rest: rest.to_owned() });
    let (first, mut rest) = identifier(expression.trim());
    if first.is_empty() {
        return invalid("there is no name", rest);
    }
    let mut segments = vec![first.to_owned()];
    while !rest.is_empty() {
        if let Some(after) = rest.strip_prefix('.') {
            let (name, after_name) = identifier(after);
            if name.is_empty() {
                return invalid("there is no name", after);
            }
            segments.push(name.to_owned());
            rest = after_name;
        } else if let Some(after) = rest.strip_prefix('[') {
            let Some((key, after_key)) = quoted(after) else { return invalid("there is no quoted text", after) };
            let Some(after_key) = after_key.strip_prefix(']') else { return invalid("there is no `]`", after_key) };
            segments.push(key);
            rest = after_key;
        } else {
            return invalid("the path does not go on", rest);
        }
    }
    Ok(segments)
}

fn identifier(text: &str) -> (&str, &str) {
    let end = text.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(text.len());
    if text.starts_with(|c: char| c.is_ascii_digit()) { ("", text) } else { text.split_at(end) }
}

/// A text in quotes of either kind, with backslashes before quotes and backslashes, and what follows it.
fn quoted(text: &str) -> Option<(String, &str)> {
    let quote = text.chars().next().filter(|c| matches!(c, '"' | '\''))?;
    let (mut key, mut chars) = (String::new(), text.char_indices().skip(1));
    while let Some((at, c)) = chars.next() {
        match c {
            '\\' => key.push(chars.next()?.1),
            _ if c == quote => return Some((key, &text[at + c.len_utf8()..])),
            _ => key.push(c),
        }
    }
    None
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
            (" request.path ", text("/p/q?z=1")),
            ("request['path']", text("/p/q?z=1")),
            ("request.url_path", text("/p/q")),
            ("request.query", text("z=1")),
            ("request.host", text("ex.com")),
            ("request.scheme", text("http")),
            ("request.method", text("POST")),
            ("request.useragent", text("curl")),
            ("request.size", Some(Attribute::Number(5.0))),
            ("request.headers", text("CelMap value")),
            ("request.headers[\"x-a\"]", text("1,2")),
            ("request.headers['x-b']", None),
            ("request.referer", None),
            ("response.code", None),
            ("plugin_name", None),
            ("nothing.at.all", None),
        ] {
            assert_eq!(Source::read(name).unwrap().of_headers(Direction::Request, &request), expected, "{name}");
        }
        let response = headers(&[(":status", "418")]);
        let of_response = |name| Source::read(name).unwrap().of_headers(Direction::Response, &response);
        assert_eq!(of_response("response.code"), Some(Attribute::Number(418.0)));
        assert_eq!(of_response("response.grpc_status"), Some(Attribute::Number(2.0)));
        assert_eq!(of_response("request.method"), None);
    }

    #[test]
    fn env_439_what_is_no_path_is_refused_and_unknown_names_are_not() {
        for (expression, expected) in [
            ("nothing.at.all", Ok("nothing.at.all")),
            ("plugin_name", Ok("plugin_name")),
            ("xds.node[\"id\"]", Ok("xds.node.id")),
            ("a[\"\\\"\"]", Ok("a.\"")),
            ("", Err("there is no name at ``")),
            ("request.", Err("there is no name at ``")),
            ("1a", Err("there is no name at `1a`")),
            ("request..path", Err("there is no name at `.path`")),
            ("request.headers[", Err("there is no quoted text at ``")),
            ("request.headers[\"a\"", Err("there is no `]` at ``")),
            ("request.headers[\"a]", Err("there is no quoted text at `\"a]`")),
            ("request.path ==", Err("the path does not go on at ` ==`")),
        ] {
            let read = Source::read(expression);
            let told = read.as_ref().map(|it| it.untold().unwrap_or_default().to_owned());
            let told = told.map_err(|error| error.to_string().split_once(';').unwrap().0.to_owned());
            assert_eq!(told, expected.map(str::to_owned).map_err(str::to_owned), "{expression}");
        }
    }
}
