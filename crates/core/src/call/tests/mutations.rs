//! What a processor may do to headers (grpc-a93.md 9.6).

use bytes::Bytes;
use extproc_proto::processing_response::Response;
use extproc_proto::{
    CommonResponse, HeaderMutation, HeaderValue, HeaderValueOption, HeadersResponse, ProcessingResponse,
};

use super::script::{Player, check, options, set};

/// Answers request headers `a:1`, `b:1` with a mutation. Gives what the server gets besides the usual, or the failure.
fn mutate(config: &str, mutation: HeaderMutation) -> Result<String, String> {
    mutate_headers(config, "a:1,b:1", mutation)
}

fn mutate_headers(config: &str, headers: &str, mutation: HeaderMutation) -> Result<String, String> {
    let mut player = Player::new(options(&format!("SNKNK {config}")));
    player.play("", &format!("D.head={headers} => open p:qh"));
    let response = Some(CommonResponse { header_mutation: Some(mutation), ..CommonResponse::default() });
    let response = Some(Response::RequestHeaders(HeadersResponse { response }));
    player.reply(ProcessingResponse { response, ..ProcessingResponse::default() });
    let outputs = player.outputs().join(" ");
    match player.status {
        None => Ok(outputs.trim_start_matches("u:head").trim_start_matches('=').to_owned()),
        Some(status) => {
            assert_eq!((status.code, &outputs[..]), (13, "reset cancel d:status=13"));
            Err(status.message)
        }
    }
}

fn sets(entries: &[(&str, i32)]) -> HeaderMutation {
    HeaderMutation {
        set_headers: entries.iter().map(|(of, action)| set(of, *action)).collect(),
        ..HeaderMutation::default()
    }
}

fn removes(names: &[&str]) -> HeaderMutation {
    HeaderMutation {
        remove_headers: names.iter().map(|name| (*name).to_owned()).collect(),
        ..HeaderMutation::default()
    }
}

fn bytes(key: &str, raw_value: &[u8], value: &[u8]) -> HeaderMutation {
    let header = HeaderValue {
        key: Bytes::copy_from_slice(key.as_bytes()),
        raw_value: Bytes::copy_from_slice(raw_value),
        value: Bytes::copy_from_slice(value),
    };
    let option = HeaderValueOption { header: Some(header), append_action: 2, ..HeaderValueOption::default() };
    HeaderMutation { set_headers: vec![option], ..HeaderMutation::default() }
}

const APPEND: i32 = 0;
const ADD: i32 = 1;
const OVERWRITE: i32 = 2;
const IF_EXISTS: i32 = 3;

#[test]
fn a93_148_to_157_what_is_no_metadata_fails_the_whole_mutation() {
    let long = |len| "k".repeat(len);
    let hard = |row: &str, mutation: HeaderMutation| {
        let error = mutate("", mutation).unwrap_err();
        assert!(error.starts_with("ext_proc: invalid header mutation: "), "{row}: {error}");
    };
    hard("A93-148", bytes("", b"1", b""));
    hard("A93-148 remove", removes(&[""]));
    for (row, names) in [
        ("A93-149", &[":path", "host"][..]),
        ("A93-151", &["Upper-Case"]),
        ("A93-153", &["grpc-accept-encoding", "grpc-timeout", "grpc-status"]),
        ("A93-154", &["a\r\nb", "a b"]),
    ] {
        for name in names {
            hard(row, bytes(name, b"1", b""));
            hard(row, removes(&[name]));
        }
    }
    hard("A93-152", bytes(&long(16_385), b"1", b""));
    hard("A93-152 remove", removes(&[&long(16_385)]));
    assert_eq!(mutate("", bytes(&long(16_384), b"1", b"")).unwrap(), format!("a:1,b:1,{}:1", long(16_384)));
    hard("A93-156", bytes("k", &[b'v'; 16_385], b""));
    hard("A93-156 binary", bytes("k-bin", &[b'A'; 16_388], b""));
    hard("A93-157", bytes("k", b"a\tb", b""));
    hard("A93-176", HeaderMutation { set_headers: vec![set("Upper:1", OVERWRITE)], ..HeaderMutation::default() });
    let error = mutate("nothing", sets(&[("Upper:1", OVERWRITE)])).unwrap_err();
    assert!(error.contains("invalid"), "A93-176: {error}");
}

#[test]
fn a93_158_to_162_which_value_is_set() {
    assert_eq!(mutate("", bytes("k", b"raw", b"text")).unwrap(), "a:1,b:1,k:raw", "A93-158");
    assert_eq!(mutate("", bytes("k", b"", b"text")).unwrap(), "a:1,b:1,k:text", "A93-159");
    for config in ["", "error"] {
        let error = mutate(config, bytes("k-bin", b"no base64!", b"")).unwrap_err();
        assert!(error.contains("invalid header mutation"), "A93-161: {error}");
    }
    for value in [&b"BAU="[..], b"BAU"] {
        assert_eq!(mutate_headers("", "k-bin:BAU", bytes("k-bin", value, b"")).unwrap(), "k-bin:BAU", "A93-162");
    }
}

#[test]
fn a93_163_to_169_actions() {
    for (row, entry, action, expected) in [
        ("A93-163 and 167 existing", "a:2", APPEND, "a:1,b:1,a:2"),
        ("A93-163 absent", "c:2", APPEND, "a:1,b:1,c:2"),
        ("A93-164 existing", "a:2", ADD, "a:1,b:1"),
        ("A93-164 absent", "c:2", ADD, "a:1,b:1,c:2"),
        ("A93-166 existing", "a:2", IF_EXISTS, "a:2,b:1"),
        ("A93-166 absent", "c:2", IF_EXISTS, "a:1,b:1"),
        ("overwrite existing", "a:2", OVERWRITE, "a:2,b:1"),
        ("overwrite absent", "c:2", OVERWRITE, "a:1,b:1,c:2"),
        ("A93-168 append", "a:", APPEND, "a:1,b:1,a:"),
        ("A93-168 add", "c:", ADD, "a:1,b:1,c:"),
        ("A93-168 overwrite", "a:", OVERWRITE, "a:,b:1"),
        ("A93-168 if it exists", "a:", IF_EXISTS, "a:,b:1"),
    ] {
        let got = mutate("", sets(&[(entry, action)])).unwrap();
        let sorted = |text: &str| {
            let mut entries: Vec<_> = text.split(',').map(str::to_owned).collect();
            entries.sort();
            entries
        };
        assert_eq!(sorted(&got), sorted(expected), "{row}");
    }
    assert_eq!(
        mutate("", sets(&[("c:2", 9)])).unwrap_err(),
        "ext_proc: invalid header mutation: header_mutation_has_an_unknown_append_action"
    );
    assert_eq!(mutate_headers("", "a:1,b:1,a:2,c-bin:BAUG", removes(&["a", "x", "c-bin"])).unwrap(), "b:1", "A93-169");
}

#[test]
fn a93_171_to_178_rules() {
    let both = || sets(&[("a:2", OVERWRITE), ("c:2", OVERWRITE)]);
    assert_eq!(mutate("disallow=a", both()).unwrap(), "a:1,b:1,c:2", "A93-171");
    let error = mutate("disallow=a error", both()).unwrap_err();
    assert_eq!(error, "ext_proc: header mutation not allowed by mutation_rules", "A93-171 is an error");
    assert_eq!(mutate("allow=^a$", both()).unwrap(), "a:2,b:1,c:2", "A93-172");
    assert_eq!(mutate("allow=^a$ nothing", both()).unwrap(), "a:2,b:1", "A93-173");
    assert_eq!(mutate("allow=a disallow=a", both()).unwrap(), "a:1,b:1,c:2", "A93-174");
    assert_eq!(mutate("disallow=c", sets(&[("cc:2", OVERWRITE)])).unwrap(), "a:1,b:1,cc:2", "A93-177");
    check("A93-178", "SNKNK fma", "D.head=a:1 => open p:qh \n P.qh=:a:2,:Upper:1 => reset u:head=a:1");
}

#[test]
fn a93_179_the_same_in_the_other_phases() {
    let begun = "D.head => u:head \n U.head=a:1 => ";
    check("headers", "KNSNK", &format!("{begun} open p:sh \n P.sh=:a:2,+b:1,-x => d:head=a:2,b:1"));
    check("headers", "KNSNK", &format!("{begun} open p:sh \n P.sh=:grpc-x:2 => reset cancel d:status=13"));
    check("headers", "KNSNK error disallow=a", &format!("{begun} open p:sh \n P.sh=:a:2 => reset cancel d:status=13"));
    let ended = "D.head => u:head \n U.head => d:head \n U.end=0,a:1 => open p:st \n";
    check("trailers", "KNKNS", &format!("{ended} P.st=:a:2,+b:1 => p:close d:end=0=a:2,b:1"));
    check("trailers", "KNKNS", &format!("{ended} P.st=:grpc-status:2 => reset cancel d:status=13"));
    let only = "D.head => u:head \n U.only=7,a:1 => open p:sh! \n";
    check("Trailers-Only", "KNSNK", &format!("{only} P.sh=:a:2 => p:close d:only=7=a:2"));
    check("Trailers-Only", "KNSNK", &format!("{only} P.sh=-grpc-status => reset cancel d:status=13"));
}

#[test]
fn a93_181_body_answers_do_not_change_headers() {
    let mut player = Player::new(options("KGKNK"));
    player.play("A93-181", "D.head=a:1 => u:head=a:1 \n D.msg=m => open p:qb=m");
    let mut reply = super::script::answer("P.qb=m");
    if let Some(Response::RequestBody(body)) = &mut reply.response {
        body.response.as_mut().unwrap().header_mutation = Some(sets(&[("Upper:2", OVERWRITE)]));
    }
    player.reply(reply);
    assert_eq!(player.outputs(), ["u:msg=m"]);
}

#[test]
fn what_http2_needs_of_a_grpc_call_stays() {
    let mutation = HeaderMutation {
        set_headers: vec![set("content-type:text/plain", OVERWRITE), set("te:gzip", OVERWRITE), set("c:1", OVERWRITE)],
        remove_headers: vec!["te".to_owned(), "content-type".to_owned()],
    };
    let mut player = Player::new(options("SNKNK"));
    player.play("", "D.head => open p:qh");
    let response = Some(CommonResponse { header_mutation: Some(mutation), ..CommonResponse::default() });
    let response = Some(Response::RequestHeaders(HeadersResponse { response }));
    player.reply(ProcessingResponse { response, ..ProcessingResponse::default() });
    assert_eq!(player.outputs(), ["u:head=c:1"]);
    let headers = player.upstream_headers.unwrap();
    assert_eq!((headers.get_str("te"), headers.get_str("content-type")), (Some("trailers"), Some("application/grpc")));
    assert_eq!(player.call.rejected_header_mutations(), 4);
}
