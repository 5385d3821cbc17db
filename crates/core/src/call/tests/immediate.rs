//! Processors that end the call themselves (grpc-a93.md 9.7).

use super::script::check;

const HEAD: &str = "D.head => open p:qh \n";
const BEGUN: &str = "D.head => open p:qh \n P.qh => u:head \n";

#[test]
fn a93_182_to_189_in_every_phase() {
    let player = check("A93-182", "SNKNK", &format!("{HEAD} P.imm=10 => reset cancel d:status=10"));
    assert_eq!(player.status.unwrap().message, "why");
    check("A93-182 fma", "SNKNK fma", &format!("{HEAD} P.imm=10 => reset cancel d:status=10"));
    let player = check("A93-183", "SNKNK noimm", &format!("{HEAD} P.imm=10 => reset cancel d:status=13"));
    assert_eq!(player.status.unwrap().message, "ext_proc: immediate response received but disabled by configuration");
    check("A93-184", "SNKNK noimm fma", &format!("{HEAD} P.imm=10 => reset u:head"));
    check(
        "A93-186",
        "SGKNK",
        &format!(
            "{BEGUN} D.msg=c1 D.msg=c2 => p:qb=c1 p:qb=c2 \n P.qb=c1 => u:msg=c1 \n P.imm=16,+t:1 => reset cancel d:status=16=t:1 \n D.msg=c3 =>"
        ),
    );
    check("A93-187", "SGKNK", &format!("{BEGUN} D.msg=c1 => p:qb=c1 \n P.imm=7 => reset cancel d:status=7"));
    check("A93-188", "SNSNK", &format!("{BEGUN} U.head => p:sh \n U.msg=a => \n P.imm=7 => reset cancel d:status=7"));
    check(
        "A93-189",
        "KNKGS",
        "D.head => u:head
         U.head => d:head
         U.msg=a U.msg=b => open p:sb=a p:sb=b
         block=d P.sb=a P.imm=7 => reset cancel
         free=d => d:status=7",
    );
}

#[test]
fn in_the_place_of_trailers_the_metadata_of_both_is_told() {
    let ended = format!("{BEGUN} U.head => d:head \n U.end=0,t:1,grpc-message:fine => p:st \n");
    check("trailers", "SNKNS", &format!("{ended} P.imm=5,+u:2 => reset cancel d:status=5=t:1,u:2"));
    let ended = format!("{BEGUN} U.only=0,t:1 => p:sh! \n");
    let player = check("Trailers-Only", "SNSNS", &format!("{ended} P.imm=5,+u:2 => reset cancel d:status=5=t:1,u:2"));
    assert_eq!(player.status.unwrap().message, "why");
}

#[test]
fn a93_191_to_194_which_status() {
    check("A93-191", "SNKNK obs", "D.head => open p:qh u:head \n P.imm=7 =>");
    for (given, code) in [("none", 13), ("17", 2), ("0", 0), ("16", 16)] {
        check("A93-192", "SNKNK", &format!("{HEAD} P.imm={given} => reset cancel d:status={code}"));
    }
    let player = check("A93-193", "SNKNK", &format!("{HEAD} P.imm=7,+ok:1,+Upper:1 => reset cancel d:status=7"));
    assert_eq!(player.call.rejected_header_mutations(), 1);
    check("A93-194", "SNKNK", &format!("{HEAD} P.imm=7 => reset cancel d:status=7 \n P.err=14 =>"));
}
