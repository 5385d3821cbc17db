//! JSON as the real Envoy 1.40 sends and takes it.
#![cfg(feature = "json")]
#![allow(clippy::unwrap_used, reason = "test code")]

use extproc_proto::json::{read_request, read_response, write_request, write_response};
use extproc_proto::processing_response::Response;

/// What Envoy sent, and what it leaves out when it is read again.
#[test]
fn requests_are_written_as_envoy_writes_them() {
    let table = [
        r#"{"request_headers":{"headers":{"headers":[{"key":":path","raw_value":"L3A/cT0x"},{"key":"x-e"},{"key":"x-b","raw_value":"6WE8Ig=="}]},"end_of_stream":true},"metadata_context":{},"protocol_config":{}}"#,
        r#"{"response_headers":{"headers":{"headers":[{"key":":status","raw_value":"MjAw"},{"key":"x-up","raw_value":"MQ=="}]}},"metadata_context":{}}"#,
        r#"{"request_headers":{"headers":{"headers":[{"key":":scheme","raw_value":"aHR0cA=="}]},"end_of_stream":true},"metadata_context":{"filter_metadata":{"foo":{"n":1.5,"z":null,"l":[1,"a"],"k":"v"}}},"attributes":{"envoy.filters.http.ext_proc":{"request.method":"GET","request.path":"/p","source.address":"127.0.0.1:53440","request.size":0}},"protocol_config":{}}"#,
        r#"{"request_body":{"body":"b2xk","end_of_stream":true},"metadata_context":{}}"#,
        r#"{"request_headers":{"headers":{"headers":[{"key":":method","raw_value":"R0VU"}]},"end_of_stream":true},"metadata_context":{},"observability_mode":true}"#,
    ];
    for text in table {
        let written = write_request(&read_request(text.as_bytes()).unwrap());
        let written: serde_json::Value = serde_json::from_slice(&written).unwrap();
        assert_eq!(written, serde_json::from_str::<serde_json::Value>(text).unwrap());
    }
}

#[test]
fn responses_are_read_as_envoy_reads_them() {
    // What is read, and what is left when it is written again; none: Envoy's `ext_proc_error_HTTP_ERROR`.
    let table: [(&str, Option<&str>); 40] = [
        (
            r#"{"requestHeaders":{"response":{"headerMutation":{"setHeaders":[{"header":{"key":"x-new","rawValue":"djE="},"appendAction":"OVERWRITE_IF_EXISTS_OR_ADD"}],"removeHeaders":["x-gone"]}}}}"#,
            Some(
                r#"{"request_headers":{"response":{"header_mutation":{"remove_headers":["x-gone"],"set_headers":[{"append_action":"OVERWRITE_IF_EXISTS_OR_ADD","header":{"key":"x-new","raw_value":"djE="}}]}}}}"#,
            ),
        ),
        (
            r#"{"response_headers":{"response":{"status":"CONTINUE_AND_REPLACE","body_mutation":{"body":"bmV3"}}}}"#,
            Some(
                r#"{"response_headers":{"response":{"body_mutation":{"body":"bmV3"},"status":"CONTINUE_AND_REPLACE"}}}"#,
            ),
        ),
        (
            r#"{"requestHeaders":{"response":{"status":1}}}"#,
            Some(r#"{"request_headers":{"response":{"status":"CONTINUE_AND_REPLACE"}}}"#),
        ),
        (
            r#"{"requestHeaders":{"response":{"status":"1"}}}"#,
            Some(r#"{"request_headers":{"response":{"status":"CONTINUE_AND_REPLACE"}}}"#),
        ),
        (
            r#"{"requestHeaders":{},"modeOverride":{"requestBodyMode":"BUFFERED","responseHeaderMode":"SKIP"}}"#,
            Some(
                r#"{"mode_override":{"request_body_mode":"BUFFERED","response_header_mode":"SKIP"},"request_headers":{}}"#,
            ),
        ),
        (
            r#"{"requestHeaders":{},"dynamicMetadata":{"foo":{"a":1,"b":[true,null,"x",1.5]}}}"#,
            Some(r#"{"dynamic_metadata":{"foo":{"a":1,"b":[true,null,"x",1.5]}},"request_headers":{}}"#),
        ),
        (r#"{"overrideMessageTimeout":"0.5s"}"#, Some(r#"{"override_message_timeout":"0.5s"}"#)),
        (r#"{"overrideMessageTimeout":"1s"}"#, Some(r#"{"override_message_timeout":"1s"}"#)),
        (
            r#"{"immediateResponse":{"status":{"code":403},"headers":{"setHeaders":[{"header":{"key":"x-i","value":"a","rawValue":"Yg=="},"append":false}]},"body":"bm8=","grpcStatus":{"status":7},"details":"den"}}"#,
            Some(
                r#"{"immediate_response":{"body":"bm8=","details":"den","grpc_status":{"status":7},"headers":{"set_headers":[{"append":false,"header":{"key":"x-i","raw_value":"Yg==","value":"a"}}]},"status":{"code":"Forbidden"}}}"#,
            ),
        ),
        (
            r#"{"immediateResponse":{"status":{"code":"Forbidden"},"body":"bm8"}}"#,
            Some(r#"{"immediate_response":{"body":"bm8=","status":{"code":"Forbidden"}}}"#),
        ),
        (r#"{"immediateResponse":{"body":"Pz8_Pw"}}"#, Some(r#"{"immediate_response":{"body":"Pz8/Pw=="}}"#)),
        (
            r#"{"streamedImmediateResponse":{"headersResponse":{"endOfStream":true}}}"#,
            Some(r#"{"streamed_immediate_response":{"headers_response":{"end_of_stream":true}}}"#),
        ),
        (
            r#"{"requestHeaders":{"response":{"clearRouteCache":"true"}}}"#,
            Some(r#"{"request_headers":{"response":{"clear_route_cache":true}}}"#),
        ),
        (r#"{"requestHeaders":{},"responseHeaders":null}"#, Some(r#"{"request_headers":{}}"#)),
        (r#"{"requestHeaders":{"response":null}}"#, Some(r#"{"request_headers":{}}"#)),
        (r#"{"requestHeaders":{},"requestDrain":true}"#, Some(r#"{"request_drain":true,"request_headers":{}}"#)),
        (" {} ", Some("{}")),
        ("", None),
        ("null", None),
        ("[]", None),
        ("1", None),
        ("nonsense", None),
        (r#"{"requestHeaders":{}} x"#, None),
        (r#"{"requestHeaders":{}"#, None),
        (r#"{"nosuch":1}"#, None),
        (r#"{"nosuch":null}"#, None),
        (r#"{"requestHeaders":{"nosuch":2}}"#, None),
        (r#"{"requestHeaders":{},"responseHeaders":{}}"#, None),
        (r#"{"requestHeaders":{},"requestHeaders":{}}"#, None),
        (r#"{"requestHeaders":{},"request_headers":{}}"#, None),
        (r#"{"dynamicMetadata":{"a":1,"a":2}}"#, None),
        (r#"{"requestHeaders":{"response":{"status":"NOSUCH"}}}"#, None),
        (r#"{"requestHeaders":{"response":{"headerMutation":"x"}}}"#, None),
        (r#"{"requestHeaders":{"response":{"headerMutation":{"setHeaders":{}}}}}"#, None),
        (r#"{"immediateResponse":{"body":"!!!"}}"#, None),
        (r#"{"immediateResponse":{"body":1}}"#, None),
        (r#"{"requestHeaders":{"response":{"clearRouteCache":1}}}"#, None),
        (r#"{"overrideMessageTimeout":"1"}"#, None),
        (r#"{"overrideMessageTimeout":1}"#, None),
        (r#"{"immediateResponse":{"grpcStatus":{"status":-1}}}"#, None),
    ];
    for (text, expected) in table {
        let read = read_response(text.as_bytes());
        let got = read.as_ref().ok().map(|it| String::from_utf8(write_response(it)).unwrap());
        assert_eq!(got.as_deref(), expected, "{text}: {read:?}");
    }
}

#[test]
fn errors_say_where() {
    let table = [
        (
            r#"{"requestHeaders":{"response":{"x":1}}}"#,
            "requestHeaders: response: envoy.service.ext_proc.v3.CommonResponse has no field `x`",
        ),
        (r#"{"requestHeaders":[]}"#, "requestHeaders: a list is not envoy.service.ext_proc.v3.HeadersResponse"),
        (
            r#"{"requestHeaders":{},"responseHeaders":{}}"#,
            "envoy.service.ext_proc.v3.ProcessingResponse: `responseHeaders` comes after `request_headers`",
        ),
    ];
    for (text, error) in table {
        assert_eq!(read_response(text.as_bytes()).unwrap_err().to_string(), error, "{text}");
    }
}

#[test]
fn a_oneof_that_is_set_to_nothing_is_there() {
    let read = read_response(br#"{"immediateResponse":{}}"#).unwrap();
    assert!(matches!(read.response, Some(Response::ImmediateResponse(_))));
}
