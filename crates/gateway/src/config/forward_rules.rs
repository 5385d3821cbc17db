//! Which headers a processor gets to see: Envoy's `HeaderForwardingRules`.

use extproc_core::rules::{ForwardRules as CoreRules, NameMatcher, NamePattern};
use serde::{Deserialize, Serialize};

use super::at::{At, Position};
use super::error::Problems;
use super::scalar::Pattern;

/// Envoy's `HeaderForwardingRules`. What is absent restricts nothing.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ForwardRules {
    /// Only these.
    #[serde(default, alias = "allowedHeaders", skip_serializing_if = "Option::is_none")]
    pub allowed_headers: Option<Patterns>,
    /// None of these.
    #[serde(default, alias = "disallowedHeaders", skip_serializing_if = "Option::is_none")]
    pub disallowed_headers: Option<Patterns>,
}

/// Envoy's `ListStringMatcher`: at least one pattern.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Patterns {
    /// A name matches when one of them does.
    pub patterns: Vec<Matcher>,
}

/// Envoy's `StringMatcher`: one of the conditions.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Matcher {
    /// The whole name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exact: Option<String>,
    /// Its beginning.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prefix: Option<String>,
    /// Its end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suffix: Option<String>,
    /// Any part of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub contains: Option<String>,
    /// An expression for the whole name.
    #[serde(default, alias = "safeRegex", skip_serializing_if = "Option::is_none")]
    pub safe_regex: Option<At<Pattern>>,
    /// Compare without regard to case.
    #[serde(default, alias = "ignoreCase", skip_serializing_if = "std::ops::Not::not")]
    pub ignore_case: bool,
}

impl ForwardRules {
    pub(super) fn compiled(&self, place: Option<Position>, problems: &mut Problems) -> CoreRules {
        let mut list = |key, patterns: &Option<Patterns>| {
            let patterns = &patterns.as_ref()?.patterns;
            if patterns.is_empty() {
                problems.push(place, format!("`forward_rules.{key}` has no patterns; write one, or leave it out"));
            }
            Some(patterns.iter().filter_map(|it| it.compiled(key, place, problems)).collect())
        };
        CoreRules {
            allowed: list("allowed_headers", &self.allowed_headers),
            disallowed: list("disallowed_headers", &self.disallowed_headers).unwrap_or_default(),
        }
    }
}

impl Matcher {
    fn compiled(&self, key: &str, place: Option<Position>, problems: &mut Problems) -> Option<NameMatcher> {
        let Self { exact, prefix, suffix, contains, safe_regex, ignore_case } = self;
        let mut found: Vec<NamePattern> = Vec::new();
        found.extend(exact.clone().map(NamePattern::Exact));
        found.extend(prefix.clone().map(NamePattern::Prefix));
        found.extend(suffix.clone().map(NamePattern::Suffix));
        found.extend(contains.clone().map(NamePattern::Contains));
        if let Some(At { value, position }) = safe_regex {
            match value.compile() {
                Ok(regex) => found.push(NamePattern::Regex(regex)),
                Err(message) => {
                    problems.push(*position, message);
                    return None;
                }
            }
        }
        if found.len() != 1 {
            let message = format!(
                "a pattern of `forward_rules.{key}` needs exactly one of exact, prefix, suffix, contains and safe_regex"
            );
            problems.push(place, message);
        }
        found.pop().map(|pattern| NameMatcher { pattern, ignore_case: *ignore_case })
    }
}

impl From<&CoreRules> for ForwardRules {
    fn from(rules: &CoreRules) -> Self {
        let list = |matchers: &[NameMatcher]| Patterns { patterns: matchers.iter().map(Matcher::from).collect() };
        Self {
            allowed_headers: rules.allowed.as_deref().map(list),
            disallowed_headers: (!rules.disallowed.is_empty()).then(|| list(&rules.disallowed)),
        }
    }
}

impl From<&NameMatcher> for Matcher {
    fn from(matcher: &NameMatcher) -> Self {
        let new = Self { ignore_case: matcher.ignore_case, ..Self::default() };
        match &matcher.pattern {
            NamePattern::Exact(it) => Self { exact: Some(it.clone()), ..new },
            NamePattern::Prefix(it) => Self { prefix: Some(it.clone()), ..new },
            NamePattern::Suffix(it) => Self { suffix: Some(it.clone()), ..new },
            NamePattern::Contains(it) => Self { contains: Some(it.clone()), ..new },
            NamePattern::Regex(it) => Self { safe_regex: Some(Pattern(it.as_str().to_owned()).into()), ..new },
        }
    }
}
