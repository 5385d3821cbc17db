//! Programs that must not compile, with messages that tell why.

#[test]
fn misuse_does_not_compile() {
    // The compiler's texts change with its version; the toolchain file pins it.
    trybuild::TestCases::new().compile_fail("tests/misuse/*.rs");
}
