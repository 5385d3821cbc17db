//! Whole bodies as JSON, forms and messages; streams as lines and events, however they are cut.
#![allow(clippy::unwrap_used, reason = "test code")]

use bytes::Bytes;
use extproc::{Body, Event, Events, Lines, Pairs, TooLong};
use proptest::prelude::*;

#[derive(Clone, PartialEq, prost::Message)]
struct Hello {
    #[prost(string, tag = "1")]
    name: String,
}

#[test]
fn py_038_bodies_in_formats() {
    let mut body = Body::from("a=1&b=x+y&a=2");
    let mut form = body.form().unwrap();
    assert_eq!((form.get("a"), form.get_all("a").count(), form.get("b")), (Some("1"), 2, Some("x y")));
    form.set("a", "3");
    assert!(form.remove("b") && !form.remove("b"));
    body.set_form(&form);
    assert_eq!(body.text(), Ok("a=3"));
    assert_eq!(
        Body::from("a=1&b=%ff").form().unwrap_err().to_string(),
        "the form cannot be read: pair 2 is not UTF-8 when decoded"
    );

    body.set_prost(&Hello { name: "you".to_owned() });
    assert_eq!(body.prost::<Hello>().unwrap().name, "you");
    let error = Body::from(b"\x0a\x09you".to_vec()).prost::<Hello>().unwrap_err().to_string();
    assert!(error.starts_with("the body is not the expected message: ") && error.contains("Hello.name"), "{error}");

    body.replace("abc");
    body.map(|bytes| bytes.to_ascii_uppercase());
    assert_eq!(body.text(), Ok("ABC"));
    assert!(Body::from(b"\xff".to_vec()).text().is_err());
}

#[cfg(feature = "json")]
#[test]
fn py_038_bodies_as_json() {
    use serde_json::{Value, json};

    let mut body = Body::from(r#"{"a": 1}"#);
    let mut value: Value = body.json().unwrap();
    value["b"] = json!([true]);
    body.set_json(&value).unwrap();
    assert_eq!(body.text(), Ok(r#"{"a":1,"b":[true]}"#));
    for (text, expected) in [
        (&b"{\n  \"a\": }"[..], "the body is not the expected JSON: expected value at line 2 column 8"),
        (b"", "the body is not the expected JSON: EOF while parsing a value at line 1 column 0"),
        (
            b"\x1f\x8b\x08\x00",
            "the body is not the expected JSON (it looks compressed: see WholeIo::decoded): expected value at line 1 column 1",
        ),
    ] {
        assert_eq!(Body::from(text.to_vec()).json::<Value>().unwrap_err().to_string(), expected);
    }
    let keys = std::collections::BTreeMap::from([((1, 2), 3)]);
    let before = body.clone();
    assert_eq!(
        body.set_json(&keys).unwrap_err().to_string(),
        "the value cannot be written as JSON: key must be a string"
    );
    assert_eq!(body.bytes(), before.bytes(), "a value that cannot be written changes nothing");
}

#[test]
fn pairs() {
    for (text, pairs, back) in [
        ("", vec![], ""),
        ("&&", vec![], ""),
        ("a", vec![("a", "")], "a="),
        ("a=b=c", vec![("a", "b=c")], "a=b%3Dc"),
        ("%41=%2B&x=%zz%", vec![("A", "+"), ("x", "%zz%")], "A=%2B&x=%25zz%25"),
    ] {
        let parsed = Pairs::parse(text.as_bytes()).unwrap();
        assert_eq!(parsed.iter().collect::<Vec<_>>(), pairs, "{text}");
        assert_eq!(parsed.to_string(), back, "{text}");
    }
    let mut pairs: Pairs = [("a", "1"), ("b", "2"), ("a", "3")].into_iter().collect();
    pairs.set("a", "4");
    assert_eq!(pairs.to_string(), "a=4&b=2");
}

fn cut<'a>(data: &'a [u8], at: &[prop::sample::Index]) -> Vec<&'a [u8]> {
    let mut places: Vec<usize> = at.iter().map(|index| index.index(data.len() + 1)).collect();
    places.extend([0, data.len()]);
    places.sort_unstable();
    places.windows(2).map(|pair| &data[pair[0]..pair[1]]).collect()
}

fn lines_of(pieces: &[&[u8]], limit: usize) -> Result<Vec<Bytes>, TooLong> {
    let mut lines = Lines::new(limit);
    let mut out = Vec::new();
    for piece in pieces {
        out.extend(lines.push(piece.to_vec())?.into_iter().map(Bytes::from));
    }
    out.extend(lines.finish().map(Bytes::from));
    Ok(out)
}

fn events_of(pieces: &[&[u8]], limit: usize) -> Result<Vec<Event>, TooLong> {
    let mut events = Events::new(limit);
    let mut out = Vec::new();
    for piece in pieces {
        out.extend(events.push(piece)?);
    }
    out.extend(events.finish());
    Ok(out)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn items_are_the_same_at_any_cut_and_nothing_is_lost(
        data in prop::collection::vec(prop::sample::select(b"\r\n:ad ".to_vec()), 0..60),
        at in prop::collection::vec(any::<prop::sample::Index>(), 0..8),
    ) {
        let pieces = cut(&data, &at);
        let lines = lines_of(&pieces, 100).unwrap();
        prop_assert_eq!(&lines, &lines_of(&[&data], 100).unwrap());
        prop_assert_eq!(lines.concat(), data.clone());
        let events = events_of(&pieces, 100).unwrap();
        prop_assert_eq!(&events, &events_of(&[&data], 100).unwrap());
        prop_assert_eq!(events.iter().flat_map(|event| event.bytes().to_vec()).collect::<Vec<_>>(), data.clone());
        for event in &events {
            let _ = (event.data(), event.field("d"));
        }
    }

    #[test]
    fn an_event_reads_back(data in "[a-z\r\n :]{0,20}", id in "[a-z0-9]{1,5}") {
        let written = events_of(&[format!("id: {id}\ndata: old\n\n").as_bytes()], 100).unwrap()[0].with_data(&data).unwrap();
        let read = events_of(&[written.bytes()], 1000).unwrap();
        prop_assert_eq!(read.len(), 1, "{:?}", written);
        prop_assert_eq!(read[0].field("id").unwrap(), Some(id.as_str()));
        prop_assert_eq!(read[0].data().unwrap().unwrap(), data.replace("\r\n", "\n").replace('\r', "\n"));
    }
}

#[test]
fn lines() {
    for (text, expected) in [
        ("", vec![]),
        ("a\nb\r\n\nc", vec![("a\n", "a"), ("b\r\n", "b"), ("\n", ""), ("c", "c")]),
        ("a\rb\n", vec![("a\rb\n", "a\rb")]),
    ] {
        let mut lines = Lines::new(10);
        let mut found = lines.push(text).unwrap();
        found.extend(lines.finish());
        let found: Vec<_> = found.iter().map(|line| (line.bytes().as_ref(), line.text().unwrap())).collect();
        assert_eq!(found, expected.iter().map(|(raw, text)| (raw.as_bytes(), *text)).collect::<Vec<_>>());
    }
    assert_eq!(lines_of(&[b"1234\n"], 5).unwrap().len(), 1);
    for pieces in [&[&b"12345\n"[..]][..], &[b"123", b"456"], &[b"123", b"45\n"]] {
        let error = lines_of(pieces, 5).unwrap_err();
        assert_eq!(error.to_string(), "a line is longer than the 5 bytes that are taken");
    }
}

#[test]
fn events() {
    type Row = (&'static str, &'static [(Option<&'static str>, Option<&'static str>, bool)]);
    let table: [Row; 8] = [
        ("data: a\n\n", &[(Some("a"), None, true)]),
        ("data: a\r\n\r\ndata:b\r\n\r\n", &[(Some("a"), None, true), (Some("b"), None, true)]),
        ("data: a\r\rdata: b\r\r", &[(Some("a"), None, true), (Some("b"), None, true)]),
        ("event: x\ndata: a\ndata:  b\nid\n\n", &[(Some("a\n b"), Some("x"), true)]),
        (": ping\n\n", &[(None, None, true)]),
        ("data\n\n", &[(Some(""), None, true)]),
        ("\u{feff}data: a\n\n", &[(Some("a"), None, true)]),
        ("data: a\n\ndata: cut", &[(Some("a"), None, true), (Some("cut"), None, false)]),
    ];
    for (text, expected) in table {
        let found = events_of(&[text.as_bytes()], 100).unwrap();
        let found: Vec<_> =
            found.iter().map(|e| (e.data().unwrap(), e.field("event").unwrap(), e.is_complete())).collect();
        let found: Vec<_> = found.iter().map(|(data, event, complete)| (data.as_deref(), *event, *complete)).collect();
        assert_eq!(found, expected, "{text:?}");
    }
    assert_eq!(Event::new("a\nb").bytes(), "data: a\ndata: b\n\n");
    assert!(events_of(&[b"data: \xff\n\n"], 100).unwrap()[0].data().is_err());
    for pieces in [&[&b"data: 1\n\n"[..]][..], &[b"data", b": 12"]] {
        assert_eq!(
            events_of(pieces, 7).unwrap_err().to_string(),
            "a server-sent event is longer than the 7 bytes that are taken"
        );
    }
}
