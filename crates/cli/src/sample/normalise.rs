//! `normalise`: one spelling for each path, and the kind of client in a header.

use extproc::{Open, Processor, RequestHead, Skip, Start, Stop};

const DEVICE: &str = "x-client-device-type";

/// Rewrites the path to its normal form (RFC 3986, 6.2.2: unreserved characters are not encoded, escapes are in upper
/// case, no dot segments; and no empty segments), and tells from the user agent what kind of client it is.
#[derive(Debug)]
pub(crate) struct Normalise;

impl Processor for Normalise {
    type Ctx = ();
    type RequestBody = Skip;
    type ResponseBody = Skip;

    fn open(&self, _: &Open) {}

    async fn request_headers(&self, _: &mut (), req: &mut Start<RequestHead>) -> Result<(), Stop> {
        // `*` and the authority of CONNECT are no paths.
        if req.path().starts_with('/') {
            let path = normal(req.path());
            if path != req.path() {
                // The route is chosen again: rules that look at paths see the normal form.
                req.set_path(path);
            }
        }
        let device = device(req.header("user-agent").unwrap_or_default());
        req.set(DEVICE, device);
        Ok(())
    }
}

/// The normal form of a path; its query stays as it is.
fn normal(path: &str) -> String {
    let (path, query) = path.split_at(path.find('?').unwrap_or(path.len()));
    let path = unescape(path);
    let mut segments: Vec<&str> = Vec::new();
    for segment in path.split('/') {
        match segment {
            "" | "." => {}
            ".." => _ = segments.pop(),
            segment => segments.push(segment),
        }
    }
    let directory = path.ends_with('/') || path.ends_with("/.") || path.ends_with("/..");
    let end = if directory && !segments.is_empty() { "/" } else { "" };
    format!("/{}{end}{query}", segments.join("/"))
}

/// Decodes escapes of unreserved characters; the digits of others become upper case.
fn unescape(path: &str) -> String {
    let mut parts = path.split('%');
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let code = part.get(..2).and_then(|digits| u8::from_str_radix(digits, 16).ok());
        match code {
            Some(byte) if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) => {
                out.push(char::from(byte));
                out.push_str(&part[2..]);
            }
            Some(byte) => out.push_str(&format!("%{byte:02X}{}", &part[2..])),
            None => out.push_str(&format!("%{part}")),
        }
    }
    out
}

fn device(user_agent: &str) -> &'static str {
    let has = |word| user_agent.contains(word);
    if has("bot") || has("Bot") || has("crawler") || has("spider") {
        "bot"
    } else if has("iPad") || has("Tablet") || (has("Android") && !has("Mobile")) {
        "tablet"
    } else if has("Mobi") || has("iPhone") {
        "mobile"
    } else if has("Mozilla/") {
        "desktop"
    } else {
        "unknown"
    }
}

#[cfg(test)]
mod tests {
    use extproc::testing::Script;

    use super::*;

    #[tokio::test]
    async fn paths() {
        for (path, expected) in [
            ("/a/b?c=//d/../%7e", None),
            ("/a/", None),
            ("/", None),
            ("*", None),
            ("/a%2fb", Some("/a%2Fb")),
            ("/%61%2D%7E%zz%", Some("/a-~%zz%")),
            ("//a///b", Some("/a/b")),
            ("/a/./b/../c", Some("/a/c")),
            ("/a/b/..", Some("/a/")),
            ("/../%2e%2E/a?q", Some("/a?q")),
            ("/%C3%a9", Some("/%C3%A9")),
        ] {
            let lines = Script::new().request_only([(":path", path)]).run(Normalise).await.lines();
            let moved = expected.map(|path| format!(" :path={path}")).unwrap_or_default();
            let route = if expected.is_some() { " route" } else { "" };
            assert_eq!(lines, [format!("request_headers{moved} x-client-device-type=unknown{route}")], "{path}");
        }
    }

    #[test]
    fn normal_forms_stay() {
        for path in ["/a%2fb", "//a/./../b/", "/%25", "/%2", "/%2e./x"] {
            assert_eq!(normal(&normal(path)), normal(path), "{path}");
        }
    }

    #[test]
    fn devices() {
        for (agent, expected) in [
            ("Mozilla/5.0 (X11; Linux x86_64) Firefox/140.0", "desktop"),
            ("Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) Mobile/15E148", "mobile"),
            ("Mozilla/5.0 (Linux; Android 15; Pixel) Mobile Safari/537.36", "mobile"),
            ("Mozilla/5.0 (Linux; Android 15; Tab) Safari/537.36", "tablet"),
            ("Mozilla/5.0 (compatible; Searchbot/2.1)", "bot"),
            ("curl/8.0", "unknown"),
        ] {
            assert_eq!(device(agent), expected, "{agent}");
        }
    }
}
