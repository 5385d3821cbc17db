//! Rules on headers: what a processor may change, and what it gets to see.

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
    pub allow_expression: Option<regex::Regex>,
    /// Refuse names that match as a whole; wins over all other rules.
    pub disallow_expression: Option<regex::Regex>,
    /// A refusal fails the whole response.
    pub disallow_is_error: bool,
}
