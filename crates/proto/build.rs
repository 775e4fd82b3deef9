//! Compiles the `.proto` files with protox (no protoc) into Rust, and the public ones into the descriptor set that
//! reflection serves. Beside the types lie their shapes, by which messages are counted before they are decoded.

use std::error::Error;
use std::path::{Path, PathBuf};

#[path = "build/shapes.rs"]
mod shapes;

use shapes::{Field, Kind, Messages};

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
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed=build/shapes.rs");
    generate("strata.v1", &PUBLIC)?;
    generate("strata.internal", &INTERNAL)?;

    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    let descriptors =
        protox::Compiler::new([ROOT])?.include_imports(true).open_files(PUBLIC)?.encode_file_descriptor_set();
    write(&out.join("strata.v1.descriptors"), &descriptors)
}

fn generate(package: &str, files: &[&str]) -> Result<(), Box<dyn Error>> {
    let descriptors = protox::Compiler::new([ROOT])?
        .include_imports(true)
        .include_source_info(true)
        .open_files(files)?
        .file_descriptor_set();
    let (mut messages, mut requests) = (Messages::new(), Vec::new());
    for file in &descriptors.file {
        let inputs = file.service.iter().flat_map(|service| &service.method);
        requests.extend(inputs.map(|method| method.input_type().trim_start_matches('.').to_owned()));
        let top = file.message_type.iter().map(|message| (format!("{}.{}", file.package(), message.name()), message));
        let mut left: Vec<_> = top.collect();
        while let Some((name, message)) = left.pop() {
            left.extend(message.nested_type.iter().map(|inner| (format!("{name}.{}", inner.name()), inner)));
            let read = message.field.iter();
            let read = read.map(|it| field(it.number(), it.label() as i32, it.r#type() as i32, it.type_name()));
            messages.insert(name, read.collect::<Result<_, _>>()?);
        }
    }
    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    write(&out.join(format!("{package}.shapes.rs")), shapes::render(package, &messages, &requests).as_bytes())?;
    // Payloads are `Bytes`, so that they are slices of the received buffer instead of copies.
    let builder = tonic_prost_build::configure().bytes(".").codec_path("crate::bounded::BoundedCodec");
    builder.compile_fds(descriptors)?;
    Ok(())
}

/// The numbers of labels and types are those of descriptor.proto.
fn field(number: i32, label: i32, kind: i32, message: &str) -> Result<Field, String> {
    const REPEATED: i32 = 3;
    let (kind, rust) = match kind {
        1 => (Kind::Fixed(8), "f64"),
        2 => (Kind::Fixed(4), "f32"),
        3 | 18 => (Kind::Varint, "i64"),
        4 => (Kind::Varint, "u64"),
        5 | 14 | 17 => (Kind::Varint, "i32"),
        6 => (Kind::Fixed(8), "u64"),
        7 => (Kind::Fixed(4), "u32"),
        8 => (Kind::Varint, "bool"),
        9 => (Kind::Bytes, "::prost::alloc::string::String"),
        11 => (Kind::Message(message.trim_start_matches('.').to_owned()), ""),
        12 => (Kind::Bytes, "::prost::bytes::Bytes"),
        13 => (Kind::Varint, "u32"),
        15 => (Kind::Fixed(4), "i32"),
        16 => (Kind::Fixed(8), "i64"),
        other => return Err(format!("fields of type {other} are not counted yet")),
    };
    Ok(Field { number, is_repeated: label == REPEATED, kind, rust })
}

#[allow(clippy::disallowed_methods, reason = "a build script has no other disk than the real one")]
fn write(path: &Path, content: &[u8]) -> Result<(), Box<dyn Error>> {
    std::fs::write(path, content)?;
    Ok(())
}
