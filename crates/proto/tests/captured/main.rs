//! Bytes of a real Envoy 1.40, see `README.md` beside this file.

#![allow(clippy::unwrap_used, reason = "test code")]

mod descriptors;
mod requests;
mod responses;

use std::fs;
use std::path::{Path, PathBuf};

fn home() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/captured")
}

/// The names of the `.bin` files of a folder, without the ending, sorted.
fn bin_files(folder: &str) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(home().join(folder))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .map(|name| name.strip_suffix(".bin").unwrap_or_else(|| panic!("{name} is no .bin file")).to_owned())
        .collect();
    names.sort();
    names
}
