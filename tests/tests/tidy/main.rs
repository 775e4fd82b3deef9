//! Tests of the repository itself: what the compiler cannot check about its shape.
#![allow(clippy::disallowed_methods, reason = "these tests read the repository's files")]

mod dependencies;
mod layers;
mod licences;
mod sources;
mod spdx;
mod text;

use std::sync::OnceLock;

use cargo_metadata::{Metadata, MetadataCommand};

/// The workspace and all packages it resolves to on this machine's platform, without touching the network.
fn metadata() -> &'static Metadata {
    static METADATA: OnceLock<Metadata> = OnceLock::new();
    METADATA.get_or_init(|| {
        MetadataCommand::new()
            .current_dir(sources::root())
            .other_options(["--offline".to_string(), "--filter-platform".to_string(), host()])
            .exec()
            .expect("cargo metadata")
    })
}

/// The platform that tests run on, as the compiler calls it.
fn host() -> String {
    let compiler = std::env::var("RUSTC").unwrap_or_else(|_| "rustc".to_string());
    let output = std::process::Command::new(compiler).arg("-vV").output().expect("the compiler's version");
    let text = String::from_utf8(output.stdout).expect("text");
    text.lines().find_map(|line| line.strip_prefix("host: ")).expect("a host line").to_string()
}

/// Fails with all findings at once.
fn assert_none(findings: &[String], rule: &str) {
    assert!(findings.is_empty(), "{rule}:\n  {}", findings.join("\n  "));
}
