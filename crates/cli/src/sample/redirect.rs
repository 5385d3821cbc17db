//! `redirect`: sends clients to where a path has moved.

use extproc::{LocalReply, Open, Processor, RequestHead, Skip, Start, Stop};

use super::settings::{Key, Settings, key};
use crate::failure::Outcome;

/// Answers requests below a path with a redirect to the same place below another.
#[derive(Debug)]
pub(crate) struct Redirect {
    rules: Vec<(String, String)>,
    status: u16,
}

impl Redirect {
    pub(super) const KEYS: &[Key] = &[
        key(
            "rule",
            "FROM=TO, repeatable",
            "paths, as /old=/new, or to another origin, as /old=https://example.com/new",
        ),
        key("status", "301, 302, 303, 307 or 308 [default: 308]", "308 and 307 keep method and body"),
    ];

    pub(super) fn new(settings: &Settings) -> Outcome<Self> {
        let status = settings.get("status")?.unwrap_or(308);
        if !matches!(status, 301..=303 | 307 | 308) {
            return Err(
                settings.wrong("status", format_args!("{status} is no redirect; use 308, 307, 303, 302 or 301"))
            );
        }
        let mut rules = Vec::new();
        for rule in settings.all("rule") {
            let parts = rule.split_once('=').filter(|(from, to)| from.starts_with('/') && is_target(to));
            let (from, to) = parts.ok_or_else(|| settings.wrong("rule", format_args!("{rule:?} must be /FROM=/TO")))?;
            rules.push((from.trim_end_matches('/').to_owned(), to.trim_end_matches('/').to_owned()));
        }
        if rules.is_empty() {
            return Err(settings.missing("rule=/old=/new"));
        }
        // The most specific rule decides.
        rules.sort_by_key(|(from, _)| std::cmp::Reverse(from.len()));
        Ok(Self { rules, status })
    }

    /// Where a path with its query leads to.
    fn location(&self, path: &str) -> Option<String> {
        self.rules.iter().find_map(|(from, to)| {
            let rest = path.strip_prefix(from).filter(|rest| rest.is_empty() || rest.starts_with(['/', '?']))?;
            // `//host` would lead to another host; so would a backslash for browsers.
            let (path, query) = rest.split_at(rest.find('?').unwrap_or(rest.len()));
            let path = path.trim_start_matches(['/', '\\']);
            let separator = if path.is_empty() && !to.is_empty() { "" } else { "/" };
            Some(format!("{to}{separator}{path}{query}"))
        })
    }
}

fn is_target(to: &str) -> bool {
    (to.starts_with('/') && !to.starts_with("//")) || to.starts_with("https://") || to.starts_with("http://")
}

impl Processor for Redirect {
    type Ctx = ();
    type RequestBody = Skip;
    type ResponseBody = Skip;

    fn open(&self, _: &Open) {}

    async fn request_headers(&self, _: &mut (), req: &mut Start<RequestHead>) -> Result<(), Stop> {
        match self.location(req.path()) {
            Some(location) => Err(LocalReply::redirect(self.status, location).details("moved").into()),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use extproc::testing::Script;

    use super::*;

    #[tokio::test]
    async fn paths_and_queries_move() {
        let settings =
            Settings::test(&["rule=/old=/new/", "rule=/old/docs/=https://docs.test", "rule=/home=/", "status=301"]);
        for (path, location) in [
            ("/old", Some("/new")),
            ("/old/", Some("/new")),
            ("/old/a/b?c=/d", Some("/new/a/b?c=/d")),
            ("/old?q", Some("/new?q")),
            ("/old/docs/x", Some("https://docs.test/x")),
            ("/home", Some("/")),
            ("/home//evil.test", Some("/evil.test")),
            ("/home/\\evil.test", Some("/evil.test")),
            ("/older", None),
            ("/", None),
        ] {
            let redirect = Redirect::new(&settings).expect("valid");
            let lines = Script::new().request_only([(":path", path)]).run(redirect).await.lines();
            let moved = location.map(|to| format!("immediate 301 location={to} details=moved"));
            assert_eq!(lines, [moved.as_deref().unwrap_or("request_headers")], "{path}");
        }
    }

    #[test]
    fn rules_are_checked() {
        for settings in [&[][..], &["rule=/a"], &["rule=a=/b"], &["rule=/a=//b"], &["rule=/a=/b", "status=200"]] {
            assert!(Redirect::new(&Settings::test(settings)).is_err(), "{settings:?}");
        }
    }
}
