//! Header mutations of a processor, applied as Envoy applies them.

use bytes::Bytes;

use crate::headers::{Name, Value};
use crate::profile::How;
use crate::rules::Operation;
use crate::violation::Violation;
use crate::{Config, Headers};

/// What a processor wants changed in a header map.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Mutation {
    /// Names to remove; done first.
    pub(crate) remove: Vec<String>,
    /// Headers to set. `None`: an entry without a header or one that the profile skips, which counts as an operation
    /// and does nothing.
    pub(crate) set: Vec<Option<SetHeader>>,
}

/// A header to set, unchecked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SetHeader {
    pub(crate) name: Bytes,
    pub(crate) value: Bytes,
    /// An error is one of the whole mutation, once its turn comes.
    pub(crate) how: Result<How, Violation>,
}

/// Which kind of map is changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    RequestHeaders,
    ResponseHeaders,
    Trailers,
}

/// What else decides about a mutation.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scope<'a> {
    pub(crate) config: &'a Config,
    pub(crate) part: Part,
    /// `content-length` was dropped from the map: setting it is skipped without counting.
    pub(crate) drop_length: bool,
    /// CONTINUE_AND_REPLACE.
    pub(crate) replacing: bool,
}

/// How a mutation went. After a failure the map is half changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(crate) struct Outcome {
    /// Refused operations, the failed one included.
    pub(crate) rejected: u64,
    /// An operation was carried out.
    pub(crate) applied: bool,
    pub(crate) result: Result<(), Violation>,
}

impl Mutation {
    /// Applies it: removes, then sets, each in order, then the limits.
    ///
    /// Differs from Envoy where that would write what HTTP does not allow: an empty name cannot be set, and a
    /// pseudo header that the map's kind does not know is accepted but not added.
    pub(crate) fn apply(self, headers: &mut Headers, scope: Scope<'_>) -> Outcome {
        let mut outcome = Outcome { rejected: 0, applied: false, result: Ok(()) };
        outcome.result = self.run(headers, scope, &mut outcome);
        outcome.rejected += u64::from(outcome.result.is_err());
        outcome
    }

    fn run(self, headers: &mut Headers, scope: Scope<'_>, outcome: &mut Outcome) -> Result<(), Violation> {
        let (options, checker) = (scope.config.options(), scope.config.checker());
        let profile = options.profile;
        if self.remove.len() > options.max_headers || self.set.len() > options.max_headers {
            return Err(Violation::TooManyOperations);
        }
        // There is no header without a name: removing it does nothing, as in Envoy.
        for name in self.remove.into_iter().filter(|name| !name.is_empty()) {
            if !profile.admits_name(name.as_bytes()) {
                return Err(Violation::NoMetadata);
            }
            let Ok(name) = Name::parse(name) else {
                return Err(Violation::RemoveInvalidCharacter);
            };
            if checker.permits(&name, Operation::Remove, scope.replacing) {
                headers.remove(name.as_str());
                outcome.applied = true;
            } else if checker.disallow_is_error {
                return Err(Violation::RemoveRefused);
            } else {
                outcome.rejected += 1;
            }
        }
        for SetHeader { name, value, how } in self.set.into_iter().flatten() {
            let how = how?;
            let append = how == How::Append;
            if scope.drop_length && name.eq_ignore_ascii_case(b"content-length") {
                continue;
            }
            if !profile.admits_name(&name) || !profile.admits_value(&name, &value) {
                return Err(Violation::NoMetadata);
            }
            let (Ok(name), Ok(value)) = (Name::parse(name), Value::parse(value)) else {
                return Err(Violation::SetInvalidCharacter);
            };
            // On requests `host` is another name of `:authority`; a second one cannot be added.
            let host = scope.part == Part::RequestHeaders && name.as_str() == "host";
            let operation = if append { Operation::Append(&value) } else { Operation::Set(&value) };
            if !checker.permits(&name, operation, scope.replacing) || host && append {
                if checker.disallow_is_error {
                    return Err(Violation::SetRefused);
                }
                outcome.rejected += 1;
                continue;
            }
            let name = if host { Name::from_static(":authority") } else { name };
            if name.is_pseudo() && !scope.part.knows(name.as_str()) {
                continue;
            }
            outcome.applied = true;
            match how {
                How::Append => headers.append(name, value),
                How::AddIfAbsent if headers.contains(name.as_str()) => {}
                How::OverwriteIfExists if !headers.contains(name.as_str()) => {}
                How::Overwrite | How::AddIfAbsent | How::OverwriteIfExists => headers.set(name, value),
            }
        }
        if headers.len() > options.max_headers || headers.byte_len() > options.max_header_bytes {
            return Err(Violation::MutationTooLarge);
        }
        Ok(())
    }
}

impl Part {
    fn knows(self, pseudo: &str) -> bool {
        match self {
            Self::RequestHeaders => matches!(pseudo, ":method" | ":scheme" | ":authority" | ":path" | ":protocol"),
            Self::ResponseHeaders => pseudo == ":status",
            Self::Trailers => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Options;
    use crate::rules::MutationRules;

    fn set(entries: &[(&'static [u8], &'static [u8], bool)]) -> Mutation {
        let set = entries.iter().map(|(name, value, append)| {
            Some(SetHeader {
                name: Bytes::from_static(name),
                value: Bytes::from_static(value),
                how: Ok(if *append { How::Append } else { How::Overwrite }),
            })
        });
        Mutation { remove: Vec::new(), set: set.collect() }
    }

    fn remove(names: &[&str]) -> Mutation {
        Mutation { remove: names.iter().map(|n| (*n).to_owned()).collect(), set: Vec::new() }
    }

    fn config(change: impl FnOnce(&mut MutationRules)) -> Config {
        let mut options = Options::default();
        change(&mut options.mutation_rules);
        Config::new(options).unwrap()
    }

    fn base() -> Headers {
        [
            (":method", "GET"),
            (":path", "/x"),
            (":authority", "ex.com"),
            ("x-a", "1"),
            ("x-b", "1"),
            ("x-envoy-foo", "1"),
        ]
        .iter()
        .map(|(n, v)| (Name::from_static(n), Value::from_static(v)))
        .collect()
    }

    /// Applies to request headers; prints what differs from [`base`], as `+name: value` and `-name: value`.
    fn run(config: &Config, mutation: Mutation) -> (String, u64, Result<(), Violation>) {
        let scope = Scope { config, part: Part::RequestHeaders, drop_length: false, replacing: false };
        let mut headers = base();
        let Outcome { rejected, result, .. } = mutation.apply(&mut headers, scope);
        let before = base();
        let gone = before.iter().filter(|entry| !headers.iter().any(|e| e == *entry)).map(|e| ('-', e));
        let new = headers.iter().filter(|entry| !before.iter().any(|e| e == *entry)).map(|e| ('+', e));
        let changes: Vec<_> = gone.chain(new).map(|(sign, (n, v))| format!("{sign}{n}:{v:?}")).collect();
        (changes.join(" "), rejected, result)
    }

    #[test]
    fn env_091_to_103_and_117_operations_on_request_headers() {
        let plain = config(|_| ());
        let routing = config(|r| r.allow_all_routing = true);
        let any = config(|r| r.allow_expression = Some(regex::Regex::new(".*").unwrap()));
        let with_remove = |mut mutation: Mutation, names: &[&str]| {
            mutation.remove = remove(names).remove;
            mutation
        };
        for (row, config, mutation, changes, rejected) in [
            ("ENV-091", &plain, set(&[(b"X-NeW", b"1", false)]), "+x-new:\"1\"", 0),
            (
                "ENV-093",
                &plain,
                set(&[(b"x-a", b"2", true), (b"x-c", b"1", true), (b"x-c", b"2", true), (b"x-d", b"1", false)]),
                "+x-a:\"2\" +x-c:\"1\" +x-c:\"2\" +x-d:\"1\"",
                0,
            ),
            ("ENV-096", &plain, with_remove(set(&[(b"x-a", b"9", false)]), &["x-a"]), "-x-a:\"1\" +x-a:\"9\"", 0),
            (
                "ENV-097",
                &plain,
                set(&[
                    (b":path", b"/new?x=1", false),
                    (b":method", b"PUT", false),
                    (b":scheme", b"https", false),
                    (b":authority", b"other", false),
                    (b"host", b"other2", false),
                ]),
                "-:path:\"/x\" +:path:\"/new?x=1\"",
                4,
            ),
            (
                "ENV-099",
                &routing,
                set(&[(b"host", b"other2", false)]),
                "-:authority:\"ex.com\" +:authority:\"other2\"",
                0,
            ),
            ("ENV-101", &plain, remove(&["x-envoy-foo", "x-a"]), "-x-a:\"1\"", 1),
            ("ENV-102", &plain, remove(&[":path", "host", ":method", "X-A"]), "-x-a:\"1\"", 3),
            ("ENV-103", &any, remove(&[":path", "host", "x-a"]), "-x-a:\"1\"", 2),
            ("ENV-117", &plain, set(&[(b"x-a", b"\xff\xfe", false)]), "-x-a:\"1\" +x-a:\"\\xff\\xfe\"", 0),
            ("ENV-123", &plain, set(&[(b":foo", b"x", false)]), "", 0),
        ] {
            assert_eq!(run(config, mutation), (changes.to_owned(), rejected, Ok(())), "{row}");
        }
    }

    #[test]
    fn env_104_112_116_118_119_124_failures() {
        let plain = config(|_| ());
        let strict = config(|r| r.disallow_is_error = true);
        let many = vec![(&b"x-n"[..], &b"1"[..], true); 101];
        for (row, config, mutation, violation) in [
            ("ENV-104", &strict, remove(&[":path"]), Violation::RemoveRefused),
            ("ENV-112", &strict, set(&[(b"ok", b"1", false), (b"host", b"q", false)]), Violation::SetRefused),
            ("ENV-116 CRLF", &plain, set(&[(b"x-a", b"1\r\nx: 2", false)]), Violation::SetInvalidCharacter),
            ("ENV-116 NUL", &plain, set(&[(b"x-a", b"1\0", false)]), Violation::SetInvalidCharacter),
            ("ENV-118", &plain, remove(&["x b"]), Violation::RemoveInvalidCharacter),
            ("ENV-119 set, other than Envoy", &plain, set(&[(b"", b"1", false)]), Violation::SetInvalidCharacter),
            ("ENV-124 set", &plain, set(&many), Violation::TooManyOperations),
            ("ENV-124 remove", &plain, remove(&["x-n"; 101]), Violation::TooManyOperations),
            ("result has too many entries", &plain, set(&many[..100]), Violation::MutationTooLarge),
        ] {
            let (_, rejected, result) = run(config, mutation);
            assert_eq!((rejected, result), (1, Err(violation)), "{row}");
        }
    }

    #[test]
    fn env_119_removing_the_empty_name_does_nothing() {
        assert_eq!(run(&config(|_| ()), remove(&["", "x-a"])), run(&config(|_| ()), remove(&["x-a"])));
    }

    #[test]
    fn env_126_the_map_may_have_60_kib() {
        let large = |len| Mutation {
            remove: Vec::new(),
            set: vec![Some(SetHeader {
                name: Bytes::from_static(b"x-l"),
                value: vec![b'v'; len].into(),
                how: Ok(How::Overwrite),
            })],
        };
        assert_eq!(run(&config(|_| ()), large(61_000)).2, Ok(()));
        assert_eq!(run(&config(|_| ()), large(61_440)).2, Err(Violation::MutationTooLarge));
    }

    #[test]
    fn env_127_entries_without_a_header_are_skipped() {
        let mut mutation = set(&[(b"x-z", b"1", false)]);
        mutation.set.insert(0, None);
        assert_eq!(run(&config(|_| ()), mutation), ("+x-z:\"1\"".to_owned(), 0, Ok(())));
    }

    #[test]
    fn env_202_a_content_length_is_skipped_while_it_is_dropped() {
        let config = config(|_| ());
        let scope = Scope { config: &config, part: Part::RequestHeaders, drop_length: true, replacing: false };
        let mut headers = base();
        let outcome = set(&[(b"Content-Length", b"9", false)]).apply(&mut headers, scope);
        assert_eq!(outcome, Outcome { rejected: 0, applied: false, result: Ok(()) });
        assert_eq!(headers, base());
    }

    #[test]
    fn pseudo_headers_belong_to_their_kind_of_map() {
        let config = config(|r| r.allow_all_routing = true);
        let mutation = || set(&[(b":path", b"/q", false), (b":status", b"418", false), (b"host", b"h", false)]);
        for (part, expected) in [
            (Part::RequestHeaders, &[":path", ":authority"][..]),
            (Part::ResponseHeaders, &[":status", "host"]),
            (Part::Trailers, &["host"]),
        ] {
            let mut headers = Headers::new();
            let outcome =
                mutation().apply(&mut headers, Scope { config: &config, part, drop_length: false, replacing: false });
            assert_eq!(outcome.rejected, 0);
            let names: Vec<_> = headers.iter().map(|(n, _)| n.as_str()).collect();
            assert_eq!(names, expected, "{part:?}");
        }
    }
}
