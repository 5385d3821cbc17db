//! Envoy's messages as configurations of calls (grpc-a93.md 9.1).

use std::time::Duration;

use bytes::Bytes;
use extproc_proto::envoy::config::core::v3::GrpcService;
use extproc_proto::envoy::config::core::v3::grpc_service::{EnvoyGrpc, GoogleGrpc, TargetSpecifier};
use extproc_proto::envoy::extensions::filters::http::ext_proc::v3::{
    ExtProcOverrides, HeaderForwardingRules, MetadataOptions,
};
use extproc_proto::envoy::r#type::matcher::v3::string_matcher::MatchPattern;
use extproc_proto::envoy::r#type::matcher::v3::{ListStringMatcher, RegexMatcher, StringMatcher};
use extproc_proto::{
    BodySendMode, ExternalProcessor, HeaderMutationRules, HeaderSendMode, HeaderValue, ProcessingMode,
};

use crate::BodyMode;
use crate::call::Config;
use crate::call::envoy::{EnvoyError, read};

const SEND: i32 = HeaderSendMode::Send as i32;
const SKIP: i32 = HeaderSendMode::Skip as i32;
const GRPC: i32 = BodySendMode::Grpc as i32;

fn service(target: &str) -> GrpcService {
    let google = GoogleGrpc { target_uri: target.to_owned(), ..GoogleGrpc::default() };
    GrpcService { target_specifier: Some(TargetSpecifier::GoogleGrpc(google)), ..GrpcService::default() }
}

fn base() -> ExternalProcessor {
    ExternalProcessor {
        grpc_service: Some(service("dns:///processor:50051")),
        processing_mode: Some(ProcessingMode::default()),
        ..ExternalProcessor::default()
    }
}

fn all(request_body_mode: i32) -> ProcessingMode {
    ProcessingMode {
        request_header_mode: SEND,
        response_header_mode: SEND,
        request_body_mode,
        response_body_mode: GRPC,
        response_trailer_mode: SEND,
        ..ProcessingMode::default()
    }
}

fn accepted(change: impl FnOnce(&mut ExternalProcessor)) -> Config {
    let mut filter = base();
    change(&mut filter);
    read(&filter, None, |_| true).unwrap().0
}

fn refused(change: impl FnOnce(&mut ExternalProcessor)) -> String {
    let mut filter = base();
    change(&mut filter);
    read(&filter, None, |_| true).unwrap_err().to_string()
}

fn modes(config: &Config) -> String {
    let mode = &config.options().processing_mode;
    let sends = |it: bool| if it { 'S' } else { 'K' };
    let body = |it: BodyMode| if it == BodyMode::Grpc { 'G' } else { 'N' };
    [
        sends(mode.request_headers),
        body(mode.request_body),
        sends(mode.response_headers),
        body(mode.response_body),
        sends(mode.response_trailers),
    ]
    .iter()
    .collect()
}

#[test]
fn a93_001_002_012_021_082_what_is_accepted() {
    let config = accepted(|_| ());
    assert_eq!(modes(&config), "SNSNK", "A93-001, A93-082: DEFAULT headers are sent");
    assert_eq!(config.options().deferred_close_timeout, Duration::from_secs(5));
    assert!(!config.options().failure_mode_allow && !config.options().observability_mode);
    assert_eq!(modes(&accepted(|it| it.processing_mode = Some(all(GRPC)))), "SGSGS", "A93-002");
    let trailers =
        ProcessingMode { request_trailer_mode: SEND, response_header_mode: SKIP, ..ProcessingMode::default() };
    assert_eq!(modes(&accepted(|it| it.processing_mode = Some(trailers))), "SNKNK", "A93-012");
    let ignored = accepted(|it| {
        it.message_timeout = Some(prost_types::Duration { seconds: -5, nanos: 0 });
        it.max_message_timeout = Some(prost_types::Duration { seconds: 9_999, nanos: 0 });
        it.stat_prefix = "x".to_owned();
        it.metadata_options = Some(MetadataOptions::default());
        it.allow_mode_override = true;
        it.send_body_without_waiting_for_header_response = true;
        it.disable_clear_route_cache = true;
    });
    assert_eq!(modes(&ignored), "SNSNK", "A93-021");
}

#[test]
fn a93_003_004_006_007_the_processor() {
    assert_eq!(refused(|it| it.grpc_service = None), "grpc_service is missing", "A93-003");
    assert_eq!(refused(|it| it.grpc_service = Some(GrpcService::default())), "grpc_service.google_grpc is missing");
    let cluster = EnvoyGrpc { cluster_name: "c".to_owned(), ..EnvoyGrpc::default() };
    let envoy = GrpcService { target_specifier: Some(TargetSpecifier::EnvoyGrpc(cluster)), ..GrpcService::default() };
    assert_eq!(
        refused(|it| it.grpc_service = Some(envoy)),
        "grpc_service.envoy_grpc is c; gRPC has no clusters; use google_grpc",
        "A93-004"
    );
    assert_eq!(refused(|it| it.grpc_service = Some(service(""))), "grpc_service.google_grpc.target_uri is missing");
    let strict = read(&base(), None, |target| target.starts_with("unix:"));
    assert_eq!(strict.unwrap_err(), EnvoyError::Target("dns:///processor:50051".to_owned()), "A93-006");
    assert_eq!(refused(|it| it.processing_mode = None), "processing_mode is missing", "A93-007");
}

#[test]
fn a93_008_009_011_body_modes() {
    for mode in [
        BodySendMode::Streamed,
        BodySendMode::Buffered,
        BodySendMode::BufferedPartial,
        BodySendMode::FullDuplexStreamed,
    ] {
        let name = mode.as_str_name();
        assert_eq!(
            refused(|it| it.processing_mode = Some(all(mode as i32))),
            format!("processing_mode.request_body_mode is {name}; gRPC calls have NONE or GRPC"),
            "A93-008"
        );
        let response = ProcessingMode { response_body_mode: mode as i32, ..ProcessingMode::default() };
        assert!(refused(|it| it.processing_mode = Some(response)).contains(name), "A93-009");
    }
    for trailers in [SKIP, 0] {
        let mode = ProcessingMode { response_trailer_mode: trailers, ..all(GRPC) };
        assert_eq!(
            refused(|it| it.processing_mode = Some(mode)),
            "processing_mode.response_trailer_mode is not SEND; response_body_mode GRPC needs it",
            "A93-011"
        );
    }
    let unknown = ProcessingMode { request_header_mode: 9, ..ProcessingMode::default() };
    assert!(refused(|it| it.processing_mode = Some(unknown)).contains("request_header_mode is 9"));
}

#[test]
fn a93_013_014_016_rules_and_time_spans() {
    let bad = || Some(RegexMatcher { regex: "(".to_owned() });
    let rules = HeaderMutationRules { allow_expression: bad(), ..HeaderMutationRules::default() };
    assert!(refused(|it| it.mutation_rules = Some(rules)).starts_with("mutation_rules.allow_expression: "), "A93-013");
    let rules = HeaderMutationRules { disallow_expression: bad(), ..HeaderMutationRules::default() };
    assert!(refused(|it| it.mutation_rules = Some(rules)).starts_with("mutation_rules.disallow_expression: "));
    let list = |patterns| {
        Some(HeaderForwardingRules {
            allowed_headers: Some(ListStringMatcher { patterns }),
            ..HeaderForwardingRules::default()
        })
    };
    let empty = StringMatcher { match_pattern: Some(MatchPattern::Prefix(String::new())), ..StringMatcher::default() };
    assert!(refused(|it| it.forward_rules = list(vec![empty])).contains("empty prefix"), "A93-014");
    assert_eq!(refused(|it| it.forward_rules = list(vec![])), "forward_rules.allowed_headers is missing");
    for (seconds, nanos) in [(0, 0), (-1, 0), (0, 1_000_000_000), (1, -1), (i64::MAX, 0)] {
        let span = prost_types::Duration { seconds, nanos };
        assert_eq!(
            refused(|it| it.deferred_close_timeout = Some(span)),
            format!("deferred_close_timeout is {seconds} s and {nanos} ns; it must be a positive duration"),
            "A93-016"
        );
        let timeout = GrpcService { timeout: Some(span), ..service("x") };
        assert!(refused(|it| it.grpc_service = Some(timeout)).starts_with("grpc_service.timeout is "), "A93-017");
    }
}

#[test]
fn a93_018_initial_metadata() {
    let with = |key: &str, value: &[u8], raw_value: &[u8]| {
        let header = HeaderValue {
            key: Bytes::copy_from_slice(key.as_bytes()),
            value: Bytes::copy_from_slice(value),
            raw_value: Bytes::copy_from_slice(raw_value),
        };
        GrpcService { initial_metadata: vec![header], ..service("x") }
    };
    let long = "k".repeat(16_384);
    for key in [":path", "host", "Upper", "grpc-timeout", "", "a b", &long] {
        let error = refused(|it| it.grpc_service = Some(with(key, b"v", b"")));
        assert!(error.starts_with("grpc_service.initial_metadata is "), "{error}");
        assert!(error.len() < 250, "{error}");
    }
    for value in [&[b'v'; 16_384][..], b"a\nb"] {
        assert!(refused(|it| it.grpc_service = Some(with("k", value, b""))).contains("its value"));
    }
    let read_service = |grpc_service| {
        let filter = ExternalProcessor { grpc_service: Some(grpc_service), ..base() };
        read(&filter, None, |_| true).unwrap().1.initial_metadata.remove(0).1
    };
    assert_eq!(read_service(with("k", b"text", b"raw")), "text");
    assert_eq!(read_service(with("k-bin", b"", b"\x04\x05")), &b"\x04\x05"[..]);
}

#[test]
fn a93_022_to_028_overrides() {
    let filter = ExternalProcessor {
        processing_mode: Some(all(GRPC)),
        request_attributes: vec!["request.path".to_owned()],
        disable_immediate_response: true,
        observability_mode: true,
        deferred_close_timeout: Some(prost_types::Duration { seconds: 1, nanos: 0 }),
        ..base()
    };
    let merged = |route: ExtProcOverrides| read(&filter, Some(&route), |_| true).unwrap();
    let (config, service_of_base) = merged(ExtProcOverrides::default());
    assert_eq!(modes(&config), "SGSGS", "A93-022");
    assert_eq!(service_of_base.target_uri, "dns:///processor:50051");
    let only_body = ProcessingMode { request_body_mode: GRPC, ..ProcessingMode::default() };
    let (config, _) = merged(ExtProcOverrides { processing_mode: Some(only_body), ..ExtProcOverrides::default() });
    assert_eq!(modes(&config), "SGSNK", "A93-023");
    for mode in [
        ProcessingMode { request_body_mode: BodySendMode::Streamed as i32, ..ProcessingMode::default() },
        ProcessingMode { response_body_mode: GRPC, ..ProcessingMode::default() },
    ] {
        let route = ExtProcOverrides { processing_mode: Some(mode), ..ExtProcOverrides::default() };
        assert!(read(&filter, Some(&route), |_| true).is_err(), "A93-024");
    }
    for (of_base, of_route, expected) in
        [(false, Some(true), true), (true, Some(false), false), (true, None, true), (false, None, false)]
    {
        let filter = ExternalProcessor { failure_mode_allow: of_base, ..base() };
        let route = ExtProcOverrides { failure_mode_allow: of_route, ..ExtProcOverrides::default() };
        let (config, _) = read(&filter, Some(&route), |_| true).unwrap();
        assert_eq!(config.options().failure_mode_allow, expected, "A93-026");
    }
    let route = ExtProcOverrides {
        request_attributes: vec!["request.host".to_owned()],
        grpc_service: Some(service("other:1")),
        ..ExtProcOverrides::default()
    };
    let (config, service_of_route) = merged(route);
    assert_eq!(config.options().request_attributes, ["request.host"], "A93-027");
    assert_eq!(merged(ExtProcOverrides::default()).0.options().request_attributes, ["request.path"], "A93-027");
    assert_eq!(service_of_route.target_uri, "other:1");
    let options = config.options();
    assert!(options.disable_immediate_response && options.observability_mode, "A93-028");
    assert_eq!(options.deferred_close_timeout, Duration::from_secs(1), "A93-028");
}
