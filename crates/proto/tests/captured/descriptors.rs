//! Our `.proto` files against the descriptors inside the Envoy 1.40 binary.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use prost_types::field_descriptor_proto::{Label, Type};
use prost_types::{DescriptorProto, EnumDescriptorProto, FieldDescriptorProto};

use crate::home;

const ROOTS: [&str; 2] =
    ["envoy/service/ext_proc/v3/external_processor.proto", "envoy/extensions/filters/http/ext_proc/v3/ext_proc.proto"];

/// Lines of ours that differ from Envoy's, each with Envoy's line and the reason.
const OURS_DIFFER: [(&str, &str, &str); 1] = [(
    "envoy.type.v3.HttpStatus 1 code int32",
    "envoy.type.v3.HttpStatus 1 code envoy.type.v3.StatusCode",
    "an open number: a processor may send any status, and enums have the wire form of int32",
)];

/// Fields of Envoy that ours leave out, each with the reason. A decoder skips them as unknown.
const LEFT_OUT: [(&str, &str); 14] = [
    (
        "envoy.extensions.filters.http.ext_proc.v3.ExternalProcessor http_service",
        "read by the gateway's own configuration",
    ),
    ("envoy.extensions.filters.http.ext_proc.v3.ExternalProcessor on_processing_response", "Envoy's own extension"),
    (
        "envoy.extensions.filters.http.ext_proc.v3.ExternalProcessor processing_request_modifier",
        "Envoy's own extension",
    ),
    (
        "envoy.extensions.filters.http.ext_proc.v3.ExtProcHttpService http_service",
        "read by the gateway's own configuration",
    ),
    ("envoy.extensions.filters.http.ext_proc.v3.ExtProcOverrides processing_request_modifier", "Envoy's own extension"),
    ("envoy.config.core.v3.GrpcService retry_policy", "not about external processing"),
    ("envoy.config.core.v3.GrpcService.EnvoyGrpc retry_policy", "not about external processing"),
    ("envoy.config.core.v3.GrpcService.EnvoyGrpc max_receive_message_length", "not about external processing"),
    ("envoy.config.core.v3.GrpcService.EnvoyGrpc skip_envoy_headers", "not about external processing"),
    ("envoy.config.core.v3.GrpcService.GoogleGrpc channel_credentials", "Google's client only"),
    ("envoy.config.core.v3.GrpcService.GoogleGrpc call_credentials", "Google's client only"),
    ("envoy.config.core.v3.GrpcService.GoogleGrpc credentials_factory_name", "Google's client only"),
    ("envoy.type.matcher.v3.RegexMatcher google_re2", "deprecated and empty"),
    ("envoy.type.matcher.v3.StringMatcher custom", "Envoy's own extension"),
];

/// More fields of `GoogleGrpc` that are left out for the same reason.
const GOOGLE_GRPC: [&str; 5] = [
    "channel_credentials_plugin",
    "call_credentials_plugin",
    "config",
    "per_stream_buffer_limit_bytes",
    "channel_args",
];

#[test]
fn names_numbers_and_types_are_those_of_envoy() {
    let envoy = fs::read_to_string(home().join("descriptors.txt")).unwrap();
    let envoy: BTreeSet<&str> = envoy.lines().collect();
    let ours = our_lines();
    assert!(envoy.len() > 150 && ours.len() > 150, "{} and {} lines", envoy.len(), ours.len());

    let mut differ: BTreeMap<&str, &str> = OURS_DIFFER.iter().map(|(ours, theirs, _)| (*ours, *theirs)).collect();
    for line in &ours {
        let expected = differ.remove(line.as_str()).unwrap_or(line);
        assert!(envoy.contains(expected), "ours is not Envoy's: {line}");
    }
    assert!(differ.is_empty(), "listed as different, but gone: {differ:?}");

    let mut left_out: BTreeSet<String> = LEFT_OUT.iter().map(|(field, _)| (*field).to_owned()).collect();
    left_out.extend(GOOGLE_GRPC.map(|field| format!("envoy.config.core.v3.GrpcService.GoogleGrpc {field}")));
    for line in envoy {
        let mut words = line.split(' ');
        let (message, _, name) = (words.next().unwrap(), words.next(), words.next().unwrap());
        if left_out.remove(&format!("{message} {name}")) {
            continue;
        }
        let known = ours.contains(line) || OURS_DIFFER.iter().any(|(_, theirs, _)| *theirs == line);
        assert!(known, "Envoy's is not ours, and not listed as left out: {line}");
    }
    assert!(left_out.is_empty(), "listed as left out, but Envoy has no such field: {left_out:?}");
}

/// Ours in the form of `descriptors.txt`.
fn our_lines() -> BTreeSet<String> {
    let protos = Path::new(env!("CARGO_MANIFEST_DIR")).join("proto");
    let mut lines = BTreeSet::new();
    for file in protox::compile(ROOTS, [protos]).unwrap().file {
        let package = file.package();
        if !package.starts_with("envoy.") {
            continue;
        }
        for message in &file.message_type {
            message_lines(package, message, &mut lines);
        }
        for service in &file.service {
            for method in &service.method {
                let (from, to) = (method.client_streaming(), method.server_streaming());
                lines.insert(format!(
                    "{package}.{} 0 {} rpc {}{} {}{}",
                    service.name(),
                    method.name(),
                    if from { "stream " } else { "" },
                    type_name(method.input_type()),
                    if to { "stream " } else { "" },
                    type_name(method.output_type()),
                ));
            }
        }
    }
    lines
}

fn message_lines(scope: &str, message: &DescriptorProto, lines: &mut BTreeSet<String>) {
    if message.options.as_ref().is_some_and(prost_types::MessageOptions::map_entry) {
        return;
    }
    let scope = format!("{scope}.{}", message.name());
    for field in &message.field {
        let oneof = field.oneof_index.map(|index| message.oneof_decl[usize::try_from(index).unwrap()].name());
        lines.insert(format!(
            "{scope} {} {} {}{}",
            field.number(),
            field.name(),
            full_type(&scope, message, field),
            oneof.map(|name| format!(" oneof {name}")).unwrap_or_default(),
        ));
    }
    for r#enum in &message.enum_type {
        enum_lines(&scope, r#enum, lines);
    }
    for nested in &message.nested_type {
        message_lines(&scope, nested, lines);
    }
}

fn enum_lines(scope: &str, r#enum: &EnumDescriptorProto, lines: &mut BTreeSet<String>) {
    for value in &r#enum.value {
        lines.insert(format!("{scope}.{} {} {} value", r#enum.name(), value.number(), value.name()));
    }
}

fn full_type(scope: &str, message: &DescriptorProto, field: &FieldDescriptorProto) -> String {
    let entry = message.nested_type.iter().find(|nested| {
        nested.options.as_ref().is_some_and(prost_types::MessageOptions::map_entry)
            && type_name(field.type_name()) == format!("{scope}.{}", nested.name())
    });
    if let Some(entry) = entry {
        return format!("map<{},{}>", plain_type(&entry.field[0]), plain_type(&entry.field[1]));
    }
    let repeated = if field.label() == Label::Repeated { "repeated " } else { "" };
    format!("{repeated}{}", plain_type(field))
}

fn plain_type(field: &FieldDescriptorProto) -> String {
    match field.r#type() {
        Type::Message | Type::Enum => type_name(field.type_name()).to_owned(),
        scalar => scalar.as_str_name().trim_start_matches("TYPE_").to_ascii_lowercase(),
    }
}

fn type_name(absolute: &str) -> &str {
    absolute.trim_start_matches('.')
}
