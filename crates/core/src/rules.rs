//! Rules on headers: what a processor may change, and what it gets to see.

use regex::Regex;

use crate::Profile;
use crate::headers::{Name, Value};

/// Which header mutations are applied (Envoy `HeaderMutationRules`). The default is Envoy's.
#[derive(Clone, Debug, Default)]
pub struct MutationRules {
    /// Permit `host`, `:authority`, `:scheme` and `:method`.
    pub allow_all_routing: bool,
    /// Permit names starting with `x-envoy-`.
    pub allow_envoy: bool,
    /// Refuse every name starting with a colon.
    pub disallow_system: bool,
    /// Refuse all that `allow_expression` does not match.
    pub disallow_all: bool,
    /// Permit names that match as a whole, whatever the rules above say.
    pub allow_expression: Option<Regex>,
    /// Refuse names that match as a whole; wins over all other rules.
    pub disallow_expression: Option<Regex>,
    /// A refusal fails the whole response.
    pub disallow_is_error: bool,
}

/// Which headers and trailers the processor gets to see, in both directions (Envoy `HeaderForwardingRules`). What goes
/// on is not touched. The default shows all.
#[derive(Clone, Debug, Default)]
pub struct ForwardRules {
    /// Only names that one of these matches; `None` allows all. Pseudo headers are no exception.
    pub allowed: Option<Vec<NameMatcher>>,
    /// No name that one of these matches; wins over `allowed`.
    pub disallowed: Vec<NameMatcher>,
}

/// A condition on a header name, which is in lower case (Envoy `StringMatcher`).
#[derive(Clone, Debug)]
pub struct NameMatcher {
    /// What is compared.
    pub pattern: NamePattern,
    /// Compare the pattern without regard to case. Without it a pattern with capitals matches nothing. Has no effect on
    /// expressions.
    pub ignore_case: bool,
}

/// What a name is compared with.
#[derive(Clone, Debug)]
pub enum NamePattern {
    /// The whole name.
    Exact(String),
    /// Its beginning.
    Prefix(String),
    /// Its end.
    Suffix(String),
    /// Any part of it.
    Contains(String),
    /// An expression for the whole name.
    Regex(Regex),
}

/// [`ForwardRules`] made ready: the expressions match whole names, patterns without case are in lower case.
#[derive(Clone, Debug)]
pub(crate) struct Forwarding {
    allowed: Option<Vec<NamePattern>>,
    disallowed: Vec<NamePattern>,
}

impl Forwarding {
    /// Anchors the expressions.
    ///
    /// # Errors
    /// The field, and what is wrong with the expression once anchored.
    pub(crate) fn new(rules: &ForwardRules) -> Result<Self, (&'static str, regex::Error)> {
        let ready = |field, matchers: &[NameMatcher]| {
            matchers.iter().map(|it| it.ready().map_err(|error| (field, error))).collect::<Result<Vec<_>, _>>()
        };
        Ok(Self {
            allowed: rules.allowed.as_ref().map(|it| ready("forward_rules.allowed_headers", it)).transpose()?,
            disallowed: ready("forward_rules.disallowed_headers", &rules.disallowed)?,
        })
    }

    /// Whether the processor gets to see it.
    pub(crate) fn shows(&self, name: &str) -> bool {
        let any = |patterns: &[NamePattern]| patterns.iter().any(|pattern| pattern.matches(name));
        !any(&self.disallowed) && self.allowed.as_ref().is_none_or(|allowed| any(allowed))
    }
}

impl NameMatcher {
    fn ready(&self) -> Result<NamePattern, regex::Error> {
        let text = |text: &str| if self.ignore_case { text.to_ascii_lowercase() } else { text.to_owned() };
        Ok(match &self.pattern {
            NamePattern::Exact(it) => NamePattern::Exact(text(it)),
            NamePattern::Prefix(it) => NamePattern::Prefix(text(it)),
            NamePattern::Suffix(it) => NamePattern::Suffix(text(it)),
            NamePattern::Contains(it) => NamePattern::Contains(text(it)),
            NamePattern::Regex(it) => NamePattern::Regex(whole(it)?),
        })
    }
}

impl NamePattern {
    fn matches(&self, name: &str) -> bool {
        match self {
            Self::Exact(it) => name == it,
            Self::Prefix(it) => name.starts_with(it.as_str()),
            Self::Suffix(it) => name.ends_with(it.as_str()),
            Self::Contains(it) => name.contains(it.as_str()),
            Self::Regex(it) => it.is_match(name),
        }
    }
}

/// The expression for a whole name.
fn whole(expression: &Regex) -> Result<Regex, regex::Error> {
    Regex::new(&format!(r"\A(?:{expression})\z"))
}

/// [`MutationRules`] made ready: the expressions match whole names.
#[derive(Clone, Debug)]
pub(crate) struct Checker {
    allow_all_routing: bool,
    allow_envoy: bool,
    disallow_system: bool,
    disallow_all: bool,
    allow: Option<Regex>,
    disallow: Option<Regex>,
    pub(crate) disallow_is_error: bool,
}

/// One header operation of a processor.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Operation<'a> {
    Remove,
    Set(&'a Value),
    Append(&'a Value),
}

impl Checker {
    /// Anchors the expressions.
    ///
    /// # Errors
    /// The field, and what is wrong with the expression once anchored.
    pub(crate) fn new(rules: &MutationRules, profile: Profile) -> Result<Self, (&'static str, regex::Error)> {
        let anchored = |field, expression: &Option<Regex>| {
            expression.as_ref().map(whole).transpose().map_err(|error| (field, error))
        };
        Ok(Self {
            allow_all_routing: rules.allow_all_routing || profile.unlocks_all_names(),
            allow_envoy: rules.allow_envoy || profile.unlocks_all_names(),
            disallow_system: rules.disallow_system,
            disallow_all: rules.disallow_all,
            allow: anchored("mutation_rules.allow_expression", &rules.allow_expression)?,
            disallow: anchored("mutation_rules.disallow_expression", &rules.disallow_expression)?,
            disallow_is_error: rules.disallow_is_error,
        })
    }

    /// Whether the operation may be applied. `replacing`: CONTINUE_AND_REPLACE, which may change the method.
    ///
    /// Values of `:method` and `:path` that HTTP does not allow are refused like those of the other special
    /// headers; Envoy forwards them as they are, which lets a processor break the framing of the next hop.
    pub(crate) fn permits(&self, name: &Name, operation: Operation<'_>, replacing: bool) -> bool {
        let name = name.as_str();
        let pseudo = name.starts_with(':');
        match operation {
            Operation::Remove if pseudo || name == "host" => return false,
            Operation::Append(_) if pseudo => return false,
            Operation::Set(value) | Operation::Append(value) if !is_valid_special(name, value.as_bytes()) => {
                return false;
            }
            Operation::Remove | Operation::Set(_) | Operation::Append(_) => {}
        }
        if self.disallow.as_ref().is_some_and(|expression| expression.is_match(name)) {
            return false;
        }
        if self.allow.as_ref().is_some_and(|expression| expression.is_match(name)) {
            return true;
        }
        if self.disallow_all {
            return false;
        }
        let routing = match name {
            "host" | ":authority" | ":scheme" => true,
            ":method" => !replacing,
            _ => false,
        };
        !(routing && !self.allow_all_routing
            || pseudo && self.disallow_system
            || name.starts_with("x-envoy-") && !self.allow_envoy)
    }
}

/// Whether a value may be the `:status` of a final response.
pub(crate) fn is_status(value: &[u8]) -> bool {
    value.len() == 3 && value.iter().all(u8::is_ascii_digit) && value[0] >= b'2'
}

fn is_valid_special(name: &str, value: &[u8]) -> bool {
    match name {
        ":status" => is_status(value),
        ":authority" | "host" => value.iter().all(|byte| is_authority_byte(*byte)),
        ":scheme" => {
            value.first().is_some_and(u8::is_ascii_alphabetic)
                && value.iter().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(byte))
        }
        ":method" => {
            !value.is_empty()
                && value.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-_!#$%&'*+.^`|~".contains(byte))
        }
        ":path" => !value.is_empty() && value.iter().all(|byte| *byte > b' ' && *byte != 0x7f),
        _ => true,
    }
}

const fn is_authority_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(byte, b'!' | b'$' | b'%' | b'&'..=b'.' | b':' | b';' | b'=' | b'@' | b'[' | b']' | b'_' | b'~')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checker(change: impl FnOnce(&mut MutationRules)) -> Checker {
        let mut rules = MutationRules::default();
        change(&mut rules);
        Checker::new(&rules, Profile::Envoy).unwrap()
    }

    fn regex(pattern: &str) -> Option<Regex> {
        Some(Regex::new(pattern).unwrap())
    }

    fn permitted(checker: &Checker, operations: &[&'static str]) -> Vec<&'static str> {
        let permits = |text: &&&'static str| {
            let (name, value) = text.split_once('=').unwrap_or((text, "v"));
            let (name, value) = (Name::parse(name.as_bytes()).unwrap(), Value::parse(value.as_bytes()).unwrap());
            match name.as_str().strip_prefix('-') {
                Some(removed) => checker.permits(&Name::parse(removed.to_owned()).unwrap(), Operation::Remove, false),
                None => checker.permits(&name, Operation::Set(&value), false),
            }
        };
        operations.iter().filter(permits).copied().collect()
    }

    const OPERATIONS: [&str; 12] = [
        "x-a",
        "-x-b",
        "host=other",
        ":authority=other",
        ":scheme=https",
        ":method=PUT",
        ":path=/new",
        ":foo=x",
        "x-envoy-q",
        "-x-envoy-q",
        "-host",
        "foo",
    ];

    #[test]
    fn env_097_to_111_decisions() {
        let cases: [(&str, Checker, &[&str]); 8] = [
            ("default", checker(|_| ()), &["x-a", "-x-b", ":path=/new", ":foo=x", "foo"]),
            (
                "allow_all_routing",
                checker(|r| r.allow_all_routing = true),
                &[
                    "x-a",
                    "-x-b",
                    "host=other",
                    ":authority=other",
                    ":scheme=https",
                    ":method=PUT",
                    ":path=/new",
                    ":foo=x",
                    "foo",
                ],
            ),
            (
                "allow_envoy",
                checker(|r| r.allow_envoy = true),
                &["x-a", "-x-b", ":path=/new", ":foo=x", "x-envoy-q", "-x-envoy-q", "foo"],
            ),
            ("disallow_system", checker(|r| r.disallow_system = true), &["x-a", "-x-b", "foo"]),
            ("disallow_all", checker(|r| r.disallow_all = true), &[]),
            (
                "allow_expression beats the other rules",
                checker(|r| {
                    r.disallow_all = true;
                    r.disallow_system = true;
                    r.allow_expression = regex(":path|x-envoy-q|host");
                }),
                &["host=other", ":path=/new", "x-envoy-q", "-x-envoy-q"],
            ),
            (
                "disallow_expression beats all",
                checker(|r| {
                    r.allow_expression = regex(".*");
                    r.disallow_expression = regex("x-.*|:.*");
                }),
                &["host=other", "foo"],
            ),
            (
                "the whole name must match",
                checker(|r| r.disallow_expression = regex("x|fo")),
                &["x-a", "-x-b", ":path=/new", ":foo=x", "foo"],
            ),
        ];
        for (name, checker, expected) in cases {
            assert_eq!(permitted(&checker, &OPERATIONS), expected, "{name}");
        }
    }

    #[test]
    fn env_122_129_special_values_are_checked_under_every_rule() {
        let all = checker(|r| {
            r.allow_all_routing = true;
            r.allow_expression = regex(".*");
        });
        for (operation, expected) in [
            (":status=418", true),
            (":status=99", false),
            (":status=abc", false),
            (":status=1000", false),
            (":scheme=ht tp", false),
            (":authority=a b", false),
            (":authority=[::1]:80", true),
            (":path=/a b", false),
            (":path=", false),
            (":path=/a?b=%20", true),
            (":method=A B", false),
            (":method=", false),
            (":method=PATCH", true),
        ] {
            assert_eq!(!permitted(&all, &[operation]).is_empty(), expected, "{operation}");
        }
    }

    #[test]
    fn no_append_to_pseudo_headers_and_replacing_frees_the_method() {
        let rules = checker(|r| r.allow_all_routing = true);
        let put = Value::from_static("PUT");
        assert!(!rules.permits(&Name::from_static(":method"), Operation::Append(&put), false));
        let rules = checker(|_| ());
        assert!(rules.permits(&Name::from_static(":method"), Operation::Set(&put), true));
        assert!(!rules.permits(&Name::from_static(":scheme"), Operation::Set(&Value::from_static("https")), true));
    }
}
