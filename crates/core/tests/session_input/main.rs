//! Malformed, reordered, doubled and oversized input: a session never panics and never says what is illegal.
//!
//! The same driver runs under the fuzzer (`fuzz/`), whose corpus is replayed here.
#![allow(clippy::expect_used, reason = "test code")]

mod driver;
mod oracle;

use std::path::Path;

use proptest::prelude::*;

/// Inputs that the fuzzer found worth keeping.
#[test]
fn the_corpus_passes() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/session");
    let mut files: Vec<_> =
        std::fs::read_dir(&folder).expect("the corpus").map(|entry| entry.expect("an entry").path()).collect();
    files.sort();
    assert!(files.len() >= 50, "{} holds {} inputs", folder.display(), files.len());
    for file in files {
        driver::play(&std::fs::read(&file).expect("an input"));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 20_000, max_shrink_iters: 20_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn anything_passes(data in prop::collection::vec(any::<u8>(), 0..200)) {
        driver::play(&data);
    }
}
