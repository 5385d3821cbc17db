//! Programs that must not compile, with messages that tell why. The compiler's texts change with its version; the
//! toolchain file pins it.

#[test]
fn misuse_does_not_compile() {
    trybuild::TestCases::new().compile_fail("tests/misuse/*.rs");
}

#[test]
fn py_008_a_misspelt_phase_does_not_compile() {
    trybuild::TestCases::new().compile_fail("tests/misuse/phase_names/*.rs");
}
