//! Dynamic metadata between the filters of a chain. What one filter does is compared with Envoy in ENV-386 to 393.

use extproc_core::filter::StreamEvent;
use extproc_core::metadata::{MetadataMessage, MetadataValue, Namespaces};
use extproc_core::{DynamicMetadata, Options, Profile};
use extproc_proto::prost_types::Struct;
use extproc_proto::prost_types::value::Kind;
use extproc_proto::{CommonResponse, Metadata, ProcessingRequest, ProcessingResponse};

use crate::answers::{ack, answer, at};
use crate::exchange::{Outcome, Scenario, chunked};
use crate::{Processor, mode};

/// An answer with metadata: `namespace.key=text`, or `key=…` for what is no namespace.
fn gives(event: StreamEvent, entries: &[(&str, MetadataValue)]) -> StreamEvent {
    let StreamEvent::Reply(reply) = event else { panic!("no reply") };
    let mut top = Struct::default();
    for (path, value) in entries {
        match path.split_once('.') {
            Some((namespace, key)) => {
                let namespace = top.fields.entry(namespace.to_owned()).or_default();
                let kind = namespace.kind.get_or_insert_with(|| Kind::StructValue(Struct::default()));
                let Kind::StructValue(namespace) = kind else { panic!("no namespace") };
                namespace.fields.insert(key.to_owned(), value.clone());
            }
            None => drop(top.fields.insert((*path).to_owned(), value.clone())),
        }
    }
    StreamEvent::Reply(Box::new(ProcessingResponse { dynamic_metadata: Some(top), ..*reply }))
}

/// Gives metadata with the answer to one kind of message.
fn giving(kind: &'static str, entries: &'static [(&'static str, &'static str)]) -> Processor {
    at(kind, move |_| {
        let entries: Vec<_> = entries.iter().map(|(path, text)| (*path, MetadataValue::from(*text))).collect();
        vec![(0, gives(answer(kind, CommonResponse::default()), &entries))]
    })
}

/// Untyped namespaces.
fn untyped(names: &[&str]) -> Namespaces {
    Namespaces { untyped: names.iter().map(|name| (*name).to_owned()).collect(), typed: Vec::new() }
}

fn options(text: &str, forwarding: &[&str], receiving: &[&str]) -> Options {
    let mut options = mode(text).options.remove(0);
    options.metadata_options.forwarding_namespaces = untyped(forwarding);
    options.metadata_options.receiving_namespaces = untyped(receiving);
    options
}

/// The context of a message: `namespace.key=text`.
fn context(message: &ProcessingRequest) -> String {
    let Metadata { filter_metadata, typed_filter_metadata } = message.metadata_context.as_ref().unwrap();
    let values = filter_metadata.iter().flat_map(|(name, values)| {
        values.fields.iter().map(move |(key, value)| match &value.kind {
            Some(Kind::StringValue(text)) => format!("{name}.{key}={text}"),
            other => format!("{name}.{key}={other:?}"),
        })
    });
    let typed = typed_filter_metadata.iter().map(|(name, any)| format!("{name}:{}", any.type_url));
    values.chain(typed).collect::<Vec<_>>().join(" ")
}

fn contexts(outcome: &Outcome, filter: usize) -> Vec<String> {
    outcome.wire[filter].iter().map(context).collect()
}

/// Values of the exchange's metadata: `namespace.key=text`.
fn stored(metadata: &DynamicMetadata) -> Vec<String> {
    let values = metadata.namespaces().flat_map(|(name, values)| {
        values.iter().map(move |(key, value)| match &value.kind {
            Some(Kind::StringValue(text)) => format!("{name}.{key}={text}"),
            Some(Kind::BoolValue(truth)) => format!("{name}.{key}={truth}"),
            other => format!("{name}.{key}={other:?}"),
        })
    });
    values.collect()
}

#[test]
fn a_later_filter_sees_what_an_earlier_one_received() {
    let outcome = Scenario {
        options: vec![options("sh S", &["a", "b"], &["a"]), options("sh S", &["a", "b"], &["b"])],
        processors: vec![
            giving("qh", &[("a.k", "1"), ("b.k", "refused")]),
            at("qh", |_| {
                let both = [("a.k", "refused".into()), ("b.k", "2".into())];
                vec![(0, gives(answer("qh", CommonResponse::default()), &both))]
            }),
        ],
        ..Scenario::default()
    }
    .run();
    assert_eq!(contexts(&outcome, 0), ["", "a.k=1 b.k=2"], "responses pass this filter last");
    assert_eq!(contexts(&outcome, 1), ["a.k=1", "a.k=1 b.k=2"]);
    assert_eq!(stored(&outcome.metadata), ["a.k=1", "b.k=2"]);
}

#[test]
fn what_the_data_plane_tells_goes_with_every_message() {
    let mut told = DynamicMetadata::default();
    told.set("a", "k", "1");
    told.set("hidden", "k", "1");
    told.set_typed("a", MetadataMessage { type_url: "t".to_owned(), value: Vec::new() });
    let mut options = options("rb ST", &["a"], &[]);
    options.metadata_options.forwarding_namespaces.typed.push("a".to_owned());
    let scenario = Scenario { options: vec![options], request: chunked(50, &["x", "y"]), told, ..Scenario::default() };
    let outcome = scenario.run();
    assert_eq!(contexts(&outcome, 0), ["a.k=1 a:t"; 5], "{}", outcome.seen());
}

#[test]
fn an_exchange_has_no_more_than_a_mebibyte_of_it() {
    let large: &'static str = String::leak("x".repeat(400 << 10));
    for (answers, status, details) in [(2, "200 hello", ""), (3, "500", "dynamic_metadata_exceeds_limit")] {
        let outcome = Scenario {
            options: vec![options("rb ST sh K", &[], &["a"])],
            request: chunked(50, &["x", "x"]),
            processors: vec![Box::new(move |seen| {
                let keys = ["a.0", "a.1", "a.2"];
                let nth = if seen.kind == "qh" { 0 } else { seen.nth + 1 };
                if nth >= answers {
                    return ack(seen);
                }
                vec![(0, gives(answer(seen.kind, CommonResponse::default()), &[(keys[nth], large.into())]))]
            })],
            ..Scenario::default()
        }
        .run();
        assert_eq!((outcome.d().as_str(), outcome.details.as_str()), (status, details), "{answers} answers");
    }
    // The same key over and over takes its room once.
    let again = Scenario {
        options: vec![options("rb ST sh K", &[], &["a"])],
        request: chunked(50, &["x", "x", "x"]),
        processors: vec![Box::new(move |seen| {
            vec![(0, gives(answer(seen.kind, CommonResponse::default()), &[("a.k", large.into())]))]
        })],
        ..Scenario::default()
    };
    assert_eq!(again.run().d(), "200 hello");
}

#[test]
fn agw_061_062_keys_of_agentgateway_are_no_namespaces() {
    let agentgateway = |name: &'static str| Options {
        processing_mode: mode("sh S").options.remove(0).processing_mode,
        name: name.to_owned(),
        ..Options::of(Profile::Agentgateway)
    };
    let outcome = Scenario {
        options: vec![agentgateway("a")],
        processors: vec![Box::new(|seen| {
            let entries: &[(&str, MetadataValue)] = match seen.kind {
                "qh" => &[("user", "u1".into()), ("kept", true.into())],
                "sh" => &[("user", "u2".into())],
                _ => &[],
            };
            vec![(0, gives(answer(seen.kind, CommonResponse::default()), entries))]
        })],
        ..Scenario::default()
    }
    .run();
    assert_eq!(stored(&outcome.metadata), ["extproc.kept=true", "extproc.user=u2"]);
}
