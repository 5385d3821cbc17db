//! The committed code in `src/generated` is what the `.proto` files give.
//!
//! After a change of a `.proto` file: `UPDATE_GENERATED=1 cargo test -p extproc-proto --test generated`.

#![allow(clippy::unwrap_used, reason = "test code")]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use prost::Message;
use prost_types::field_descriptor_proto::Type;
use prost_types::{DescriptorProto, FileDescriptorSet};

const ROOTS: [&str; 3] = [
    "envoy/service/ext_proc/v3/external_processor.proto",
    "envoy/extensions/filters/http/ext_proc/v3/ext_proc.proto",
    "grpc/health/v1/health.proto",
];

/// What servers tell about themselves by reflection: their services and what these need.
const SERVED: [&str; 2] = ["envoy/service/ext_proc/v3/external_processor.proto", "grpc/health/v1/health.proto"];

#[test]
fn generated_code_is_current() {
    let home = Path::new(env!("CARGO_MANIFEST_DIR"));
    let out = tempfile::tempdir().unwrap();
    generate(&home.join("proto"), out.path());

    let committed = home.join("src/generated");
    if std::env::var_os("UPDATE_GENERATED").is_some() {
        fs::create_dir_all(&committed).unwrap();
        for (name, text) in files(out.path()) {
            fs::write(committed.join(name), text).unwrap();
        }
    }
    let (fresh, kept) = (files(out.path()), files(&committed));
    assert!(fresh.len() >= 6, "the generator wrote only {:?}", fresh.keys());
    assert_eq!(
        fresh.keys().collect::<Vec<_>>(),
        kept.keys().collect::<Vec<_>>(),
        "src/generated holds other files; see the head of this test"
    );
    for (name, text) in fresh {
        assert!(text == kept[&name], "src/generated/{name} is stale; see the head of this test");
    }
}

#[test]
fn descriptors_are_current() {
    let home = Path::new(env!("CARGO_MANIFEST_DIR"));
    let fresh = protox::compile(SERVED, [home.join("proto")]).unwrap().encode_to_vec();
    let committed = home.join("src/descriptors.bin");
    if std::env::var_os("UPDATE_GENERATED").is_some() {
        fs::write(&committed, &fresh).unwrap();
    }
    assert!(fs::read(committed).unwrap() == fresh, "src/descriptors.bin is stale; see the head of this test");
}

fn generate(protos: &Path, out: &Path) {
    let mut fds = protox::compile(ROOTS, [protos]).unwrap();
    header_fields_as_bytes(&mut fds);
    tonic_prost_build::configure()
        .out_dir(out)
        .bytes(".")
        .btree_map(".")
        .build_transport(false)
        .emit_rerun_if_changed(false)
        .client_mod_attribute(".", "#[cfg(feature = \"grpc\")]")
        .server_mod_attribute(".", "#[cfg(feature = \"grpc\")]")
        .compile_fds(fds)
        .unwrap();
    let wkt = out.join("google.protobuf.rs");
    if wkt.exists() {
        fs::remove_file(wkt).unwrap();
    }
}

/// Header names and values are `string` in the API. The wire is the same for `bytes`, and as `Bytes`
/// they are decoded without a copy; what a name may contain is checked where it is used.
fn header_fields_as_bytes(fds: &mut FileDescriptorSet) {
    let mut changed = 0;
    for file in &mut fds.file {
        for message in &mut file.message_type {
            if file.package.as_deref() == Some("envoy.config.core.v3") {
                changed += string_fields_to_bytes(message, "HeaderValue", &["key", "value"]);
            }
        }
    }
    assert_eq!(changed, 2);
}

fn string_fields_to_bytes(message: &mut DescriptorProto, name: &str, fields: &[&str]) -> usize {
    if message.name() != name {
        return 0;
    }
    let mut changed = 0;
    for field in &mut message.field {
        if fields.contains(&field.name()) {
            assert_eq!(field.r#type(), Type::String);
            field.set_type(Type::Bytes);
            changed += 1;
        }
    }
    changed
}

fn files(dir: &Path) -> BTreeMap<String, String> {
    let entries = fs::read_dir(dir).unwrap();
    entries
        .map(|entry| {
            let entry = entry.unwrap();
            let name = entry.file_name().into_string().unwrap();
            (name, fs::read_to_string(entry.path()).unwrap())
        })
        .collect()
}
