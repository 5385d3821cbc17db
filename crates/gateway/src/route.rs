//! Choosing the rule of a request: by listener, host and path, with the precedence of the Gateway API.

use std::cmp::Reverse;
use std::str::FromStr;
use std::sync::Arc;

use crate::plan::{ChainEntry, Rule};

/// The rules of all listeners, most specific first.
///
/// Among the rules whose host and path match, the Gateway API's order decides (`HTTPRouteRule.matches`): an exact host
/// before a wildcard before none, the longer wildcard first; then an exact path before a prefix, the longer prefix
/// first; then the one that was added first. A host that has rules for other paths only does not hide the less
/// specific ones.
#[derive(Clone, Debug, Default)]
pub struct RouteTable {
    /// By listener; sorted by `Entry::precedence`.
    listeners: Vec<Vec<Entry>>,
    /// By listener.
    unmatched: Vec<Arc<[ChainEntry]>>,
}

#[derive(Clone, Debug)]
struct Entry {
    host: HostMatch,
    path: PathMatch,
    rule: Arc<Rule>,
}

/// Which hosts a rule is for. Comparison ignores case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HostMatch {
    /// Every host, also none.
    Any,
    /// `*.example.com`: every name below `example.com` (kept here with its leading dot), at any depth, but not
    /// `example.com` itself.
    Wildcard(String),
    /// This name.
    Exact(String),
}

/// Which paths a rule is for. Comparison respects case and decodes nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PathMatch {
    /// This path.
    Exact(String),
    /// This path and everything below it, by whole elements: `/a` is a prefix of `/a` and `/a/b`, not of `/ab`. A
    /// slash at the end makes no difference.
    Prefix(String),
}

/// A text that is no host name as the Gateway API wants it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no host name; write `www.example.com` or `*.example.com`, without port")]
pub struct InvalidHost(String);

/// A text that is no path.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no path to match; it must start with `/` and have no `?`, `#` or `//`")]
pub struct InvalidPath(String);

impl RouteTable {
    /// A table without rules: every selection gives `None`.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a rule to a listener (its index in the plan). Call it once per host and path that the rule is for.
    pub fn add(&mut self, listener: usize, host: HostMatch, path: PathMatch, rule: Arc<Rule>) {
        if self.listeners.len() <= listener {
            self.listeners.resize_with(listener + 1, Vec::new);
        }
        let entries = &mut self.listeners[listener];
        let entry = Entry { host, path, rule };
        let at = entries.partition_point(|it| it.precedence() <= entry.precedence());
        entries.insert(at, entry);
    }

    /// The rule for a request that came in at a listener.
    ///
    /// `host` is the `Host` header or `:authority`, a port in it is ignored; empty if there is none. `path` is the
    /// request target, a query in it is ignored.
    #[must_use]
    pub fn select(&self, listener: usize, host: &str, path: &str) -> Option<&Arc<Rule>> {
        let host = without_port(host);
        let path = path.split_once(['?', '#']).map_or(path, |(path, _)| path);
        let entries = self.listeners.get(listener)?;
        entries.iter().find(|it| it.host.matches(host) && it.path.matches(path)).map(|it| &it.rule)
    }

    /// Sets the processors of requests that match no rule of a listener: they see the request and the 404.
    pub fn set_unmatched(&mut self, listener: usize, chain: Arc<[ChainEntry]>) {
        if self.unmatched.len() <= listener {
            self.unmatched.resize_with(listener + 1, || Arc::from([]));
        }
        self.unmatched[listener] = chain;
    }

    /// The processors of requests that match no rule of a listener. `None` when none were set.
    #[must_use]
    pub fn unmatched(&self, listener: usize) -> Option<&Arc<[ChainEntry]>> {
        self.unmatched.get(listener)
    }

    /// All rules of a listener, most specific first. A rule for several hosts or paths appears several times.
    pub fn rules(&self, listener: usize) -> impl Iterator<Item = &Arc<Rule>> {
        self.listeners.get(listener).into_iter().flatten().map(|it| &it.rule)
    }
}

impl Entry {
    /// Smaller goes first.
    fn precedence(&self) -> (u8, Reverse<usize>, u8, Reverse<usize>) {
        let (host, host_length) = match &self.host {
            HostMatch::Exact(name) => (0, name.len()),
            HostMatch::Wildcard(suffix) => (1, suffix.len()),
            HostMatch::Any => (2, 0),
        };
        let (path, path_length) = match &self.path {
            PathMatch::Exact(path) => (0, path.len()),
            PathMatch::Prefix(prefix) => (1, prefix.trim_end_matches('/').len()),
        };
        (host, Reverse(host_length), path, Reverse(path_length))
    }
}

impl HostMatch {
    fn matches(&self, host: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Exact(name) => name.eq_ignore_ascii_case(host),
            Self::Wildcard(suffix) => host
                .len()
                .checked_sub(suffix.len())
                .filter(|&at| at > 0)
                .and_then(|at| host.get(at..))
                .is_some_and(|end| end.eq_ignore_ascii_case(suffix)),
        }
    }
}

impl FromStr for HostMatch {
    type Err = InvalidHost;

    /// Reads a Gateway API hostname: `www.example.com`, `*.example.com`, or `*` for all.
    fn from_str(text: &str) -> Result<Self, InvalidHost> {
        if text == "*" {
            return Ok(Self::Any);
        }
        let name = text.strip_prefix("*.").unwrap_or(text);
        let plausible = |label: &str| {
            !label.is_empty() && label.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
        };
        if !name.split('.').all(plausible) {
            return Err(InvalidHost(text.to_owned()));
        }
        Ok(if name.len() < text.len() { Self::Wildcard(format!(".{name}")) } else { Self::Exact(name.to_owned()) })
    }
}

impl PathMatch {
    /// The prefix of every path.
    #[must_use]
    pub fn all() -> Self {
        Self::Prefix("/".to_owned())
    }

    /// Checks a path for [`PathMatch::Exact`].
    ///
    /// # Errors
    /// [`InvalidPath`] for a path that no request could match.
    pub fn exact(path: &str) -> Result<Self, InvalidPath> {
        checked(path).map(Self::Exact)
    }

    /// Checks a path for [`PathMatch::Prefix`].
    ///
    /// # Errors
    /// [`InvalidPath`] for a path that no request could match.
    pub fn prefix(path: &str) -> Result<Self, InvalidPath> {
        checked(path).map(Self::Prefix)
    }

    fn matches(&self, path: &str) -> bool {
        match self {
            Self::Exact(exact) => exact == path,
            Self::Prefix(prefix) => {
                let rest = path.strip_prefix(prefix.trim_end_matches('/'));
                rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/') || prefix == "/")
            }
        }
    }
}

fn checked(path: &str) -> Result<String, InvalidPath> {
    if path.starts_with('/') && !path.contains("//") && !path.contains(['?', '#', ' ']) {
        Ok(path.to_owned())
    } else {
        Err(InvalidPath(path.to_owned()))
    }
}

/// `host:port` without the port; the colons of `[v6]` do not count.
fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if !port.ends_with(']') => name,
        _ => host,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rules in the order they are added; each is named after what it matches.
    fn table(rules: &[&str]) -> RouteTable {
        let mut table = RouteTable::new();
        for name in rules {
            let (host, path) = name.split_once(' ').unwrap();
            let path = match path.strip_prefix('=') {
                Some(exact) => PathMatch::exact(exact).unwrap(),
                None => PathMatch::prefix(path).unwrap(),
            };
            let rule = Rule { name: (*name).to_owned(), ..Rule::default() };
            table.add(0, host.parse().unwrap(), path, Arc::new(rule));
        }
        table
    }

    #[test]
    fn precedence() {
        let rules = [
            "* /",
            "*.example.com /",
            "*.b.example.com /",
            "www.example.com /api",
            "www.example.com /api/v2",
            "www.example.com =/api/v2",
            "www.example.com /slash/",
            "a.b.example.com /only",
        ];
        let expectations = [
            ("other.test", "/", "* /"),
            ("", "/x", "* /"),
            ("", "*", "* /"),
            ("example.com", "/", "* /"),
            ("x.example.com", "/", "*.example.com /"),
            ("x.y.example.com", "/", "*.example.com /"),
            ("x.b.example.com", "/", "*.b.example.com /"),
            ("b.example.com", "/", "*.example.com /"),
            (".example.com", "/", "* /"),
            ("www.example.com", "/api", "www.example.com /api"),
            ("www.example.com", "/api/", "www.example.com /api"),
            ("www.example.com", "/api/x", "www.example.com /api"),
            ("www.example.com", "/api?x=/api/v2", "www.example.com /api"),
            ("www.example.com", "/apix", "*.example.com /"),
            ("www.example.com", "/API", "*.example.com /"),
            ("www.example.com", "/api/v2", "www.example.com =/api/v2"),
            ("www.example.com", "/api/v2?q", "www.example.com =/api/v2"),
            ("www.example.com", "/api/v2/", "www.example.com /api/v2"),
            ("www.example.com", "/slash", "www.example.com /slash/"),
            ("www.example.com", "/slash/x", "www.example.com /slash/"),
            ("www.example.com", "/slashx", "*.example.com /"),
            ("WWW.Example.COM", "/api", "www.example.com /api"),
            ("www.example.com:8080", "/api", "www.example.com /api"),
            ("[::1]:8080", "/api", "* /"),
            ("[::1]", "/api", "* /"),
            ("a.b.example.com", "/only", "a.b.example.com /only"),
            ("a.b.example.com", "/else", "*.b.example.com /"),
        ];
        // The order of the file must not matter where one rule is more specific.
        let mut reversed = rules;
        reversed.reverse();
        for table in [table(&rules), table(&reversed)] {
            for (host, path, rule) in expectations {
                let selected = table.select(0, host, path).map(|it| it.name.as_str());
                assert_eq!(selected, Some(rule), "{host} {path}");
            }
        }
    }

    #[test]
    fn the_first_of_equals_wins_and_listeners_are_apart() {
        let table = table(&["a.test /", "a.test =/x", "a.test /"]);
        assert!(Arc::ptr_eq(table.select(0, "a.test", "/").unwrap(), table.rules(0).nth(1).unwrap()));
        assert!(table.select(0, "b.test", "/").is_none(), "no rule is for this host");
        assert!(table.select(1, "a.test", "/").is_none(), "nor for this listener");
        assert_eq!(table.rules(0).count(), 3);
        assert_eq!(table.rules(1).count(), 0);
    }

    #[test]
    fn invalid_matches() {
        for host in ["", "www.example.com:80", "*", "*.", "a..b", "www.*.com", "**.a", "a b", "[::1]", "/"] {
            assert_eq!(host.parse::<HostMatch>().ok(), (host == "*").then_some(HostMatch::Any), "{host}");
        }
        for path in ["", "api", "/a?b", "/a#b", "//", "/a//b", "/a b"] {
            assert!(PathMatch::exact(path).is_err() && PathMatch::prefix(path).is_err(), "{path}");
        }
        assert_eq!(PathMatch::prefix("/"), Ok(PathMatch::all()));
    }
}
