//! Compiles the `.proto` files with protox (no protoc) into Rust, and the public ones into the descriptor set that
//! reflection serves.

use std::error::Error;
use std::path::{Path, PathBuf};

const ROOT: &str = "../../proto";
const PUBLIC: [&str; 8] = [
    "strata/v1/admin.proto",
    "strata/v1/data.proto",
    "strata/v1/error.proto",
    "strata/v1/kv.proto",
    "strata/v1/shard_batch.proto",
    "strata/v1/shard_map.proto",
    "strata/v1/transaction_parts.proto",
    "strata/v1/txn.proto",
];
const INTERNAL: [&str; 1] = ["strata/internal/peer.proto"];

#[allow(clippy::print_stdout, reason = "this is how a build script talks to cargo")]
fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed={ROOT}");
    generate(&PUBLIC)?;
    generate(&INTERNAL)?;

    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    let descriptors =
        protox::Compiler::new([ROOT])?.include_imports(true).open_files(PUBLIC)?.encode_file_descriptor_set();
    write(&out.join("strata.v1.descriptors"), &descriptors)
}

fn generate(files: &[&str]) -> Result<(), Box<dyn Error>> {
    let descriptors = protox::Compiler::new([ROOT])?
        .include_imports(true)
        .include_source_info(true)
        .open_files(files)?
        .file_descriptor_set();
    // Payloads are `Bytes`, so that they are slices of the received buffer instead of copies.
    tonic_prost_build::configure().bytes(".").compile_fds(descriptors)?;
    Ok(())
}

#[allow(clippy::disallowed_methods, reason = "a build script has no other disk than the real one")]
fn write(path: &Path, content: &[u8]) -> Result<(), Box<dyn Error>> {
    std::fs::write(path, content)?;
    Ok(())
}
