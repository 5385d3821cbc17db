//! Which headers a processor may change: Envoy's `HeaderMutationRules`.

use extproc_core::rules::MutationRules as CoreRules;
use serde::{Deserialize, Serialize};

use super::at::At;
use super::error::Problems;
use super::scalar::Pattern;

/// Envoy's `HeaderMutationRules`. What is absent is false or unset.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct MutationRules {
    /// Permit `host`, `:authority`, `:scheme` and `:method`.
    #[serde(default, alias = "allowAllRouting")]
    pub allow_all_routing: bool,
    /// Permit names starting with `x-envoy-`.
    #[serde(default, alias = "allowEnvoy")]
    pub allow_envoy: bool,
    /// Refuse names starting with a colon.
    #[serde(default, alias = "disallowSystem")]
    pub disallow_system: bool,
    /// Refuse what `allow_expression` does not match.
    #[serde(default, alias = "disallowAll")]
    pub disallow_all: bool,
    /// Permit names that match.
    #[serde(default, alias = "allowExpression", skip_serializing_if = "Option::is_none")]
    pub allow_expression: Option<At<Pattern>>,
    /// Refuse names that match; wins over everything else.
    #[serde(default, alias = "disallowExpression", skip_serializing_if = "Option::is_none")]
    pub disallow_expression: Option<At<Pattern>>,
    /// A refusal fails the whole response.
    #[serde(default, alias = "disallowIsError")]
    pub disallow_is_error: bool,
}

impl MutationRules {
    pub(super) fn compiled(&self, problems: &mut Problems) -> CoreRules {
        let mut compile = |pattern: &Option<At<Pattern>>| {
            let At { value, position } = pattern.as_ref()?;
            value.compile().map_err(|message| problems.push(*position, message)).ok()
        };
        CoreRules {
            allow_all_routing: self.allow_all_routing,
            allow_envoy: self.allow_envoy,
            disallow_system: self.disallow_system,
            disallow_all: self.disallow_all,
            allow_expression: compile(&self.allow_expression),
            disallow_expression: compile(&self.disallow_expression),
            disallow_is_error: self.disallow_is_error,
        }
    }
}

impl From<&CoreRules> for MutationRules {
    fn from(rules: &CoreRules) -> Self {
        let pattern = |it: &regex::Regex| At::from(Pattern(it.as_str().to_owned()));
        Self {
            allow_all_routing: rules.allow_all_routing,
            allow_envoy: rules.allow_envoy,
            disallow_system: rules.disallow_system,
            disallow_all: rules.disallow_all,
            allow_expression: rules.allow_expression.as_ref().map(pattern),
            disallow_expression: rules.disallow_expression.as_ref().map(pattern),
            disallow_is_error: rules.disallow_is_error,
        }
    }
}
