//! Calls in which everybody does as they should (grpc-a93.md 9.3, 9.4).

use extproc_proto::processing_response::Response;
use extproc_proto::{HeadersResponse, ProcessingResponse, StreamedBodyResponse};

use super::script::{Player, body, check, check_with, options};
use crate::call::{HeaderView, Options};

#[test]
fn a93_061_to_064_the_request_waits_for_the_answer_to_its_headers() {
    check("A93-061", "SNKNK", "D.head => open p:qh \n D.msg=a D.end => \n P.qh => u:head u:msg=a u:end");
    check("A93-062", "KNSNK", "D.head => u:head");
    check("A93-063", "SNKNK", "D.head => open p:qh \n D.msg=a D.msg=b D.end \n P.qh => u:head u:msg=a u:msg=b u:end");
    check("A93-064", "SNKNK", "D.head=a:1,b:1 => open p:qh \n P.qh=+a:2,:c:3,-b => u:head=a:1,a:2,c:3");
}

#[test]
fn a93_066_to_069_messages_are_what_the_processor_makes_of_them() {
    check("A93-066", "KGKNK", "D.head => u:head \n D.msg=x => open p:qb=x \n P.qb= => u:msg=");
    check(
        "A93-067",
        "KGKNK",
        "D.head => u:head
         D.msg=1 D.msg=2 D.msg=3 => open p:qb=1 p:qb=2 p:qb=3
         P.qb=1 => u:msg=1
         P.qb=3 => u:msg=3
         D.end => p:qb!!
         P.qb=!! => u:end",
    );
    check(
        "A93-068",
        "KGKNK",
        "D.head => u:head \n D.msg=1 => open p:qb=1 \n P.qb=1a => u:msg=1a \n P.qb=1b => u:msg=1b",
    );
    check("A93-069", "SGKNK", "D.head => open p:qh \n P.qh => u:head \n P.qb=new => u:msg=new");
    check("A93-089", "KGKNK", "D.head => u:head \n D.msg=a D.end => open p:qb=a p:qb!! \n P.qb=!! => u:end");
}

#[test]
fn a93_071_to_074_and_086_responses() {
    check("A93-071", "SNKNS", "D.head => open p:qh \n P.qh => u:head \n U.head=a:1 => d:head=a:1");
    check("A93-072", "KNSNK", "D.head => u:head \n U.head => open p:sh \n U.msg=m \n P.sh => d:head d:msg=m");
    check(
        "A93-073",
        "KNSGS",
        "D.head => u:head
         U.head => open p:sh
         P.sh => d:head
         U.msg=1 U.msg=2 => p:sb=1 p:sb=2
         P.sb=one => d:msg=one
         P.sb=more => d:msg=more
         U.end => p:st
         P.st => p:close d:end=0",
    );
    check(
        "A93-074 and 086",
        "KNKNS",
        "D.head => u:head \n U.head => d:head \n U.end=3,t:1 => open p:st \n P.st=+t:2,:u:3 => p:close d:end=3=t:1,t:2,u:3",
    );
}

#[test]
fn a93_076_unary_with_everything_changed() {
    let player = check(
        "A93-076",
        "SGSGS",
        "D.head => open p:qh
         P.qh=+a:1 => u:head=a:1
         D.msg=q => p:qb=q
         D.end => p:qb!!
         P.qb=Q => u:msg=Q
         P.qb=!! => u:end
         U.head => p:sh
         P.sh=+b:2 => d:head=b:2
         U.msg=s => p:sb=s
         P.sb=S => d:msg=S
         U.end => p:st
         P.st=+t:3 => p:close d:end=0=t:3
         P.ok =>",
    );
    assert!(player.call.is_over());
}

#[test]
fn a93_077_to_079_streams() {
    check(
        "A93-077",
        "SGSGS",
        "D.head => open p:qh
         P.qh => u:head
         D.msg=c1 => p:qb=c1
         P.qb=c1a => u:msg=c1a
         P.qb=c1b => u:msg=c1b
         U.head => p:sh
         P.sh => d:head
         U.msg=s1 U.msg=s2 => p:sb=s1 p:sb=s2
         P.sb=S1 P.sb=S2 => d:msg=S1 d:msg=S2
         D.end => p:qb!!
         P.qb=!! => u:end
         U.end => p:st
         P.st => p:close d:end=0",
    );
    check(
        "A93-078",
        "SGSGS",
        "D.head => open p:qh
         P.qh => u:head
         D.msg=1 D.msg=2 D.msg=3 D.end => p:qb=1 p:qb=2 p:qb=3 p:qb!!
         P.qb=a P.qb=b P.qb=c! => u:msg=a u:msg=b u:msg=c u:end
         U.head U.msg=sum U.end => p:sh p:sb=sum p:st
         P.sh P.sb=SUM P.st=+t:1 => p:close d:head d:msg=SUM d:end=0=t:1",
    );
    check(
        "A93-079",
        "SGSGS",
        "D.head => open p:qh
         P.qh => u:head
         D.msg=c1 D.msg=c2 => p:qb=c1 p:qb=c2
         P.qb=c1 => u:msg=c1
         U.head => p:sh
         P.sh => d:head
         P.qb=c2 => u:msg=c2",
    );
}

#[test]
fn a93_081_083_084_trailers_only() {
    let asked = "D.head => open p:qh \n P.qh => u:head \n U.only=10,t:1 => p:sh! \n";
    check("A93-081", "SNSNS", &format!("{asked} P.sh => p:close d:only=10=t:1"));
    check("A93-083", "KNKNS", "D.head => u:head \n U.only=5,t:1 => d:only=5=t:1");
    check("A93-084", "SNSNS", &format!("{asked} P.sh=+t:2,:u:1 => p:close d:only=10=t:1,t:2,u:1"));
    // Their messages mode does not matter: there is no message.
    check("A93-081 with messages", "SGSGS", &format!("{asked} P.sh => p:close d:only=10=t:1"));
}

#[test]
fn a93_311_a_status_alone_is_trailers_only() {
    for status in ["0", "5"] {
        let view = Options { header_view: HeaderView::Metadata, ..options("SNSNS") };
        let player = check_with(
            "A93-311",
            view,
            &format!(
                "D.head => open p:qh \n P.qh => u:head \n U.only={status} => p:sh! \n P.sh => p:close d:only={status}"
            ),
        );
        let Some(extproc_proto::processing_request::Request::ResponseHeaders(headers)) = &player.sent[1].request else {
            panic!("{:?}", player.sent);
        };
        assert_eq!(headers.headers.as_ref().unwrap().headers, []);
    }
}

#[test]
fn a93_087_an_answer_without_content_continues() {
    let mut player = Player::new(options("SNKNK"));
    player.play("A93-087", "D.head => open p:qh");
    let response = Some(Response::RequestHeaders(HeadersResponse { response: None }));
    player.reply(ProcessingResponse { response, ..ProcessingResponse::default() });
    assert_eq!(player.outputs(), ["u:head"]);
}

#[test]
fn a93_088_a_message_that_says_nothing_is_legal() {
    check("A93-088", "SGSGS", "D.head => open p:qh \n P.none \n P.qh => u:head \n P.none \n D.end => p:qb!!");
}

#[test]
fn a93_091_to_099_half_closes() {
    check("A93-091", "KGKNK", "D.head => u:head \n D.end => open p:qb!!");
    check("A93-092", "KGKNK", "D.head => u:head \n D.end => open p:qb!! \n P.qb=!! => u:end");
    check("A93-093", "KGKNK", "D.head => u:head \n D.msg=a D.end => open p:qb=a p:qb!! \n P.qb=A! => u:msg=A u:end");
    check(
        "A93-094",
        "KGKNK",
        "D.head => u:head
         D.msg=a => open p:qb=a
         P.qb=A! => u:msg=A u:end
         D.msg=b D.msg=c D.end =>",
    );
    check(
        "A93-097",
        "KGKNK",
        "D.head => u:head \n D.end => open p:qb!! \n P.qb=!! => u:end \n P.qb=x => reset cancel d:status=13",
    );
    check("A93-098", "KNSNK", "D.head => u:head \n D.end => u:end");
    check(
        "A93-099",
        "KGKNK",
        "D.head => u:head
         D.msg=a => open p:qb=a
         block=u P.qb=a P.qb=b P.qb=!! =>
         free=u => u:msg=a u:msg=b u:end",
    );
}

#[test]
fn a93_096_without_a_message_means_nothing_without_the_end() {
    let mut player = Player::new(options("KGKNK"));
    player.play("A93-096", "D.head => u:head \n D.msg=a => open p:qb=a");
    let piece = StreamedBodyResponse {
        body: bytes::Bytes::from_static(b"A"),
        end_of_stream_without_message: true,
        ..StreamedBodyResponse::default()
    };
    let response = Some(Response::RequestBody(body(piece)));
    player.reply(ProcessingResponse { response, ..ProcessingResponse::default() });
    assert_eq!(player.outputs(), ["u:msg=A"]);
}

#[test]
fn a93_101_what_nobody_gets_is_read_all_the_same() {
    let mut player = Player::new(options("KGKNK"));
    player.play("A93-101", "D.head => u:head \n D.msg=a => open p:qb=a \n P.qb=!! => u:end");
    for _ in 0..160 {
        assert!(player.wants().0);
        player.play("A93-101", "D.msg=#65536 =>");
    }
}

#[test]
fn a93_284_to_298_a_server_sees_the_same() {
    // The machine has no sides: a server's handler is its upstream.
    check("A93-284", "SNKNK", "D.head => open p:qh \n D.msg=a => \n P.qh => u:head u:msg=a");
    check("A93-286", "SNKNK", "D.head => open p:qh \n P.open=refused => cancel d:status=13");
    check("A93-286 fma", "SNKNK fma", "D.head => open p:qh \n P.open=refused => u:head");
    check("A93-288", "SGKNK", "D.head => open p:qh \n P.qh => u:head \n P.qb=!! => u:end \n D.msg=a D.end =>");
    check(
        "A93-291",
        "KNKGS",
        "D.head => u:head
         U.head => d:head
         U.msg=1 U.msg=2 U.end => open p:sb=1 p:sb=2 p:st
         P.sb=both P.st => p:close d:msg=both d:end=0",
    );
    check("A93-292", "SGSGS", "D.head => open p:qh \n P.qh => u:head \n P.ok => cancel d:status=13");
    check(
        "A93-293",
        "SGSGS",
        "D.head => open p:qh \n P.qh => u:head \n U.head => p:sh \n P.sh => d:head \n P.err=14 => cancel d:status=13",
    );
    check("A93-297", "SNSNS", "D.head => open p:qh \n P.qh => u:head \n U.only=9 => p:sh! \n P.sh => p:close d:only=9");
}
