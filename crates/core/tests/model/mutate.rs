//! Header mutations the slow way: one rule of the specification after the other, on a plain list of pairs.

use extproc_core::rules::MutationRules;
use extproc_core::{Headers, Options, Profile};
use extproc_proto::{HeaderMutation, HeaderValueOption};

/// Names in lower case and their values.
pub(crate) type Map = Vec<(String, Vec<u8>)>;

/// Which kind of map is changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    Request,
    Response,
    Trailers,
}

/// What decides besides the rules.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Around {
    pub(crate) part: Part,
    /// `content-length` was dropped, so setting it is skipped.
    pub(crate) without_length: bool,
    /// CONTINUE_AND_REPLACE.
    pub(crate) replacing: bool,
}

/// Refused operations, and the details if the whole response fails.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Verdict {
    pub(crate) rejected: u64,
    pub(crate) failure: Option<&'static str>,
}

pub(crate) fn map_of(headers: &Headers) -> Map {
    headers.iter().map(|(name, value)| (name.to_string(), value.as_bytes().to_vec())).collect()
}

pub(crate) fn values<'a>(map: &'a Map, name: &str) -> Vec<&'a [u8]> {
    map.iter().filter(|(n, _)| n == name).map(|(_, value)| &value[..]).collect()
}

pub(crate) fn without(map: &mut Map, name: &str) {
    map.retain(|(n, _)| n != name);
}

/// By name; of one name in order.
pub(crate) fn text(map: &Map) -> String {
    let mut sorted = map.clone();
    sorted.sort_by(|a, b| a.0.cmp(&b.0));
    let pairs: Vec<_> = sorted.iter().map(|(name, value)| format!("{name}={}", value.escape_ascii())).collect();
    pairs.join(" ")
}

/// Removes, then sets, then the limits (section 4.1).
pub(crate) fn apply(map: &mut Map, mutation: &HeaderMutation, options: &Options, around: Around) -> Verdict {
    let mut rejected = 0;
    let failure = run(map, mutation, options, around, &mut rejected).err();
    Verdict { rejected: rejected + u64::from(failure.is_some()), failure }
}

fn run(
    map: &mut Map,
    mutation: &HeaderMutation,
    options: &Options,
    around: Around,
    rejected: &mut u64,
) -> Result<(), &'static str> {
    let (rules, profile) = (&options.mutation_rules, options.profile);
    if mutation.remove_headers.len() > options.max_headers || mutation.set_headers.len() > options.max_headers {
        return Err("header_mutation_operation_count_exceeds_limit");
    }
    for name in &mutation.remove_headers {
        if name.is_empty() {
            continue;
        }
        if profile == Profile::Grpc && !is_metadata_name(name.as_bytes()) {
            return Err("header_mutation_is_no_grpc_metadata");
        }
        let Some(name) = parse_name(name.as_bytes()) else {
            return Err("header_mutation_remove_contains_invalid_character");
        };
        if name.starts_with(':') || name == "host" || !rules_allow(&name, rules, profile, around.replacing) {
            if rules.disallow_is_error {
                return Err("header_mutation_remove_headers_failed");
            }
            *rejected += 1;
        } else {
            without(map, &name);
        }
    }
    for option in &mutation.set_headers {
        set(map, option, options, around, rejected)?;
    }
    let bytes: usize = map.iter().map(|(name, value)| name.len() + value.len()).sum();
    if map.len() > options.max_headers || bytes > options.max_header_bytes {
        return Err("header_mutation_result_exceeds_limit");
    }
    Ok(())
}

fn set(
    map: &mut Map,
    option: &HeaderValueOption,
    options: &Options,
    around: Around,
    rejected: &mut u64,
) -> Result<(), &'static str> {
    let (rules, profile) = (&options.mutation_rules, options.profile);
    let Some(header) = &option.header else { return Ok(()) };
    let value = match profile {
        Profile::Envoy => &header.raw_value,
        Profile::Strict if !header.value.is_empty() && !header.raw_value.is_empty() => {
            return Err("header_mutation_sets_both_value_and_raw_value");
        }
        Profile::Agentgateway if header.value.is_empty() && header.raw_value.is_empty() => return Ok(()),
        _ if header.raw_value.is_empty() => &header.value,
        _ => &header.raw_value,
    };
    let legacy = option.append == Some(true);
    // Append, only if absent, only if present.
    let (append, absent, present) = match (profile, option.append_action) {
        (Profile::Envoy, _) | (Profile::Agentgateway | Profile::Strict, 0) => (legacy, false, false),
        (Profile::Grpc, 0) => (true, false, false),
        (_, 1) => (false, true, false),
        (_, 2) => (false, false, false),
        (_, 3) => (false, false, true),
        (Profile::Agentgateway, _) => (true, false, false),
        _ => return Err("header_mutation_has_an_unknown_append_action"),
    };
    if around.without_length && header.key.to_ascii_lowercase() == b"content-length" {
        return Ok(());
    }
    if profile == Profile::Grpc && !(is_metadata_name(&header.key) && is_metadata_value(&header.key, value)) {
        return Err("header_mutation_is_no_grpc_metadata");
    }
    let name = parse_name(&header.key).filter(|_| !value.iter().any(|byte| b"\r\n\0".contains(byte)));
    let Some(name) = name else {
        return Err("header_mutation_set_contains_invalid_character");
    };
    let host = name == "host" && around.part == Part::Request;
    let refused = append && (name.starts_with(':') || host)
        || !is_possible(&name, value)
        || !rules_allow(&name, rules, profile, around.replacing);
    if refused {
        if rules.disallow_is_error {
            return Err("header_mutation_set_headers_failed");
        }
        *rejected += 1;
        return Ok(());
    }
    let name = if host { ":authority".to_owned() } else { name };
    let known: &[&str] = match around.part {
        Part::Request => &[":method", ":scheme", ":authority", ":path", ":protocol"],
        Part::Response => &[":status"],
        Part::Trailers => &[],
    };
    if name.starts_with(':') && !known.contains(&&name[..]) {
        return Ok(());
    }
    let there = map.iter().any(|(n, _)| *n == name);
    if absent && there || present && !there {
        return Ok(());
    }
    if !append {
        without(map, &name);
    }
    map.push((name, value.to_vec()));
    Ok(())
}

/// The rules of `mutation_rules`, first match decides (section 4.3).
fn rules_allow(name: &str, rules: &MutationRules, profile: Profile, replacing: bool) -> bool {
    let all_names = matches!(profile, Profile::Agentgateway | Profile::Grpc);
    let matches = |expression: &Option<regex::Regex>| {
        let whole = |it: &regex::Regex| regex::Regex::new(&format!("^(?:{})$", it.as_str())).unwrap();
        expression.as_ref().is_some_and(|expression| whole(expression).is_match(name))
    };
    if matches(&rules.disallow_expression) {
        return false;
    }
    if matches(&rules.allow_expression) {
        return true;
    }
    if rules.disallow_all {
        return false;
    }
    let routing = ["host", ":authority", ":scheme"].contains(&name) || name == ":method" && !replacing;
    if routing && !rules.allow_all_routing && !all_names {
        return false;
    }
    if rules.disallow_system && name.starts_with(':') {
        return false;
    }
    !name.starts_with("x-envoy-") || rules.allow_envoy || all_names
}

/// In lower case; `None`: HTTP has no such name.
fn parse_name(name: &[u8]) -> Option<String> {
    let token = if name.first() == Some(&b':') { &name[1..] } else { name };
    let ok = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
    (!token.is_empty() && token.iter().all(ok)).then(|| String::from_utf8_lossy(name).to_ascii_lowercase())
}

/// Whether a special header may have this value (row 3; `:method` and `:path` are ours).
fn is_possible(name: &str, value: &[u8]) -> bool {
    let all = |extra: &[u8]| value.iter().all(|byte| byte.is_ascii_alphanumeric() || extra.contains(byte));
    match name {
        ":status" => {
            let number = std::str::from_utf8(value).unwrap_or_default().parse::<u32>();
            value.len() == 3 && number.is_ok_and(|number| number >= 200)
        }
        ":authority" | "host" => all(b"!$%&'()*+,-.:;=@[]_~"),
        ":scheme" => value.first().is_some_and(u8::is_ascii_alphabetic) && all(b"+-."),
        ":method" => !value.is_empty() && all(b"-_!#$%&'*+.^`|~"),
        ":path" => !value.is_empty() && !value.iter().any(|byte| *byte <= b' ' || *byte == 0x7f),
        _ => true,
    }
}

/// What gRPC lets an application set (gRFC A93).
fn is_metadata_name(name: &[u8]) -> bool {
    (1..=16_384).contains(&name.len())
        && name.iter().all(|byte| byte.is_ascii_digit() || byte.is_ascii_lowercase() || b"_-.".contains(byte))
        && name != b"host"
        && !name.starts_with(b"grpc-")
}

fn is_metadata_value(name: &[u8], value: &[u8]) -> bool {
    let base64 = |byte: &u8| byte.is_ascii_alphanumeric() || b"+/=".contains(byte);
    value.len() <= 16_384
        && if name.ends_with(b"-bin") {
            value.iter().all(base64)
        } else {
            value.iter().all(|byte| (0x20..0x7f).contains(byte))
        }
}
