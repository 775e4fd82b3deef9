//! Compiles the few foreign messages that the measurements speak, with protox (no protoc).

use std::error::Error;

const ROOT: &str = "proto";
const FILES: [&str; 2] = ["etcd.proto", "health.proto"];

#[allow(clippy::print_stdout, reason = "this is how a build script talks to cargo")]
fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed={ROOT}");
    let descriptors = protox::Compiler::new([ROOT])?.open_files(FILES)?.file_descriptor_set();
    tonic_prost_build::configure().build_server(false).bytes(".").compile_fds(descriptors)?;
    Ok(())
}
