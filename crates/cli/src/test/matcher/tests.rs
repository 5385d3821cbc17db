use std::path::Path;

use super::super::decode::Problems;
use super::super::yaml::documents;
use super::*;

fn matcher(text: &str) -> Result<Matcher, Vec<String>> {
    let (mut names, mut problems) = (Names::default(), Problems::default());
    let documents = documents(text).unwrap_or_else(|problem| panic!("{text}: {problem:?}"));
    let node = &documents[0];
    let matcher = read(node, Path::new("."), &mut names, &mut problems);
    names.finish(&mut problems);
    match (matcher, problems.0.is_empty()) {
        (Some(matcher), true) => Ok(matcher),
        _ => Err(problems.0.into_iter().map(|problem| problem.message).collect()),
    }
}

fn wrong(text: &str, values: &[&str]) -> Vec<Mismatch> {
    let matcher = matcher(text).unwrap_or_else(|problems| panic!("{text}: {problems:?}"));
    let found: Vec<Found<'_>> = values.iter().map(|value| Found::Bytes(value.as_bytes())).collect();
    let mut captures = Captures::new();
    matcher.capture(&found, &mut captures);
    matcher.check(&found, &captures)
}

#[test]
fn every_form_can_match_and_can_fail() {
    for (text, good, bad) in [
        ("a", &["a"][..], &["b"][..]),
        ("a", &["a"], &[]),
        ("a", &["a"], &["a", "a"]),
        ("12", &["12"], &["12.0"]),
        ("''", &[""], &["null"]),
        ("[a, b]", &["a", "b"], &["b", "a"]),
        ("[a, !int]", &["a", "7"], &["a"]),
        ("[]", &[], &["a"]),
        ("!absent", &[], &[""]),
        ("!present", &["", "x"], &[]),
        ("!regex '^a.c$'", &["abc"], &["abcd"]),
        ("!contains b", &["abc"], &["ac"]),
        ("!count 2", &["a", "b"], &["a"]),
        ("!size 3", &["abc"], &["ab"]),
        ("!first a", &["a", "b"], &["b", "a"]),
        ("!any b", &["a", "b"], &["a", "c"]),
        ("!any [!int]", &["a", "1"], &["a", "b"]),
        ("!all [!int]", &["2", "1"], &["2", "b"]),
        ("!all a", &["a"], &[]),
        ("!not a", &["b"], &["a"]),
        ("!and [!int, !not 5]", &["4"], &["5"]),
        ("!iso8601", &["2026-01-02T03:04:05Z"], &["now"]),
        ("!int", &["-12"], &["-"]),
        ("!int", &["12"], &["1.5"]),
        ("!hex 6162", &["ab"], &["cd"]),
        ("!json {a.b.0: 1, c: '1'}", &[r#"{"a": {"b": [1]}, "c": "1"}"#], &[r#"{"a": {"b": ["1"]}, "c": "1"}"#]),
        ("!json {/a.b: !present, d: !absent}", &[r#"{"a.b": null}"#], &[r#"{"a.b": 1, "d": 1}"#]),
        ("!json {a: [1, {b: c}], e: !int }", &[r#"{"a": [1, {"b": "c"}], "e": 5}"#], &[r#"{"a": [1], "e": 5}"#]),
        ("!json {'': [1]}", &["[1]"], &["not json"]),
        ("!json {a: !capture x, b: !same x}", &[r#"{"a": "q", "b": "q"}"#], &[r#"{"a": "q", "b": "r"}"#]),
        ("[!capture x, !same x]", &["a", "a"], &["a", "b"]),
    ] {
        assert_eq!(wrong(text, good), [], "{text}");
        assert!(!wrong(text, bad).is_empty(), "{text} takes {bad:?}");
    }
}

#[test]
fn mismatches_are_told() {
    for (text, values, path, expected, actual) in [
        ("a", &["b"][..], "", "\"a\"", "\"b\""),
        ("!regex ^a", &[], "", "a match of ^a", "none"),
        (
            "!int",
            &["1", "2"],
            "",
            "a whole number (alone; !first, !any and !all take several)",
            "2 values: \"1\", \"2\"",
        ),
        ("!json {a.b: 1}", &[r#"{"a": {"b": "1"}}"#], "a.b", "1", "\"1\""),
        ("!json {a: !json {b: 1}}", &[r#"{"a": {"b": 2}}"#], "a.b", "1", "2"),
        ("!absent", &["x"], "", "none", "\"x\""),
        (
            "[!capture x, !same x]",
            &["a", "b"],
            "",
            "exactly one value, \"a\", as captured as x",
            "2 values: \"a\", \"b\"",
        ),
    ] {
        let wrong = wrong(text, values);
        let told: Vec<_> =
            wrong.iter().map(|it| (it.path.as_str(), it.expected.as_str(), it.actual.as_str())).collect();
        assert_eq!(told, [(path, expected, actual)], "{text}");
    }
}

#[test]
fn mistakes_are_named() {
    for (text, part) in [
        ("!asbent", "did you mean `absent`"),
        ("!absent x", "nothing behind"),
        ("!regex '('", "regular expression"),
        ("!count x", "whole number"),
        ("!json x", "{path: value}"),
        ("{a: b}", "!json"),
        ("!and a", "a list of matchers"),
        ("!any [a, b]", "one matcher"),
        ("!same x", "nothing is captured"),
        ("[!capture ab, !same ba]", "unknown capture"),
        ("[!capture x, !capture x]", "captured already, at 1:2"),
        ("!any [!capture x]", "which value"),
        ("!json {a: !json 1}", "{path: value}"),
    ] {
        let problems = matcher(text).expect_err(text).join("; ");
        assert!(problems.contains(part), "{text}: {problems}");
    }
}
