//! Foreign engines: which crates of ours may name which, so that one can be replaced in one place.

use crate::{assert_none, metadata};

/// A foreign crate, and ours that may depend on it.
const ENGINES: &[(&str, &[&str])] = &[
    ("openraft", &["raft"]),
    ("openraft-rt", &["raft"]),
    ("openraft-rt-tokio", &["raft"]),
    ("rocksdb", &["storage-rocksdb"]),
    ("hashring", &["meta"]),
    ("axum", &["http"]),
    ("tonic", &["net", "proto", "grpc", "server", "client", "cli", "bench"]),
    ("tonic-prost", &["proto", "client", "bench"]),
    ("tonic-prost-build", &["proto", "bench"]),
    ("tonic-health", &["grpc"]),
    ("tonic-reflection", &["grpc"]),
    ("prost", &["proto", "net", "kv", "bench"]),
    ("protox", &["proto", "bench"]),
    ("hyper", &["server"]),
    ("hyper-util", &["server", "net"]),
    ("rustls", &["net"]),
    ("tokio-rustls", &["net"]),
    ("rcgen", &["net"]),
    ("ring", &["net"]),
    ("pem", &["net"]),
    ("rustls-webpki", &["net"]),
    ("time", &["net"]),
    ("clap", &["cli", "bench"]),
    ("rustyline", &["cli"]),
    ("getrandom", &["env"]),
    ("libc", &["env", "server", "cli"]),
    ("rustix", &["env"]),
];

#[test]
fn foreign_engines_are_named_by_their_own_crate() {
    let mut findings = Vec::new();
    for package in metadata().workspace_packages() {
        let ours = package.name.trim_start_matches("strata-");
        for dependency in &package.dependencies {
            let rule = ENGINES.iter().find(|(engine, _)| *engine == dependency.name);
            if rule.is_some_and(|(_, allowed)| !allowed.contains(&ours)) {
                findings.push(format!("{} -> {}", package.name, dependency.name));
            }
        }
    }
    assert_none(&findings, "these crates name an engine that is not theirs");
}

#[test]
fn nothing_comes_from_a_git_repository() {
    let foreign = metadata().packages.iter().filter(|package| {
        let from_git = package.source.as_ref().is_some_and(|source| source.repr.starts_with("git+"));
        let from_elsewhere = package.source.is_none() && !metadata().workspace_members.contains(&package.id);
        from_git || from_elsewhere
    });
    let findings: Vec<String> = foreign.map(|package| package.id.to_string()).collect();
    assert_none(&findings, "dependencies come from the package registry");
    let lock = crate::sources::read("Cargo.lock");
    assert!(!lock.contains("git+"), "Cargo.lock names a git repository");
}
