//! Dependencies point down: a crate of ours depends only on those listed above it in the root manifest.

use cargo_metadata::{DependencyKind, Package};

use crate::{assert_none, metadata, sources};

/// Packages above everything that is listed, in order.
const TOP: [&str; 3] = ["strata-cli", "strata-bench", "strata-tests"];

/// Crates without time, tasks, files and sockets: nothing they depend on in production may bring a runtime.
const PURE: [&str; 6] =
    ["strata-types", "strata-codec", "strata-machine", "strata-shard", "strata-meta", "strata-check"];

/// What a pure crate must not name.
const IMPURE: [&str; 12] = [
    "async-trait",
    "futures-util",
    "getrandom",
    "hyper",
    "libc",
    "openraft",
    "rand",
    "rocksdb",
    "tempfile",
    "tokio",
    "tokio-stream",
    "tonic",
];

/// The order of the crates: the root manifest's, then [`TOP`].
fn order() -> Vec<String> {
    let manifest = sources::read("Cargo.toml");
    let section = manifest.split("[workspace.dependencies]").nth(1).expect("the root manifest lists dependencies");
    let section = section.split("\n[").next().unwrap_or(section);
    let names = section.lines().filter(|line| line.starts_with("strata-"));
    let names = names.filter_map(|line| Some(line.split_once('=')?.0.trim().to_string()));
    names.chain(TOP.map(String::from)).collect()
}

fn is_ours(name: &str) -> bool {
    name.starts_with("strata-")
}

#[test]
fn every_crate_has_a_layer() {
    let order = order();
    let mut findings = Vec::new();
    for package in metadata().workspace_packages() {
        if !order.iter().any(|name| *name == package.name.as_str()) {
            findings.push(format!("{} is not in [workspace.dependencies]", package.name));
        }
    }
    for name in &order {
        if !metadata().workspace_packages().iter().any(|package| package.name.as_str() == name) {
            findings.push(format!("{name} is listed, but does not exist"));
        }
    }
    assert_none(&findings, "the layers list and the crates differ");
}

#[test]
fn dependencies_point_down() {
    let order = order();
    let layer = |name: &str| order.iter().position(|listed| listed == name);
    let mut findings = Vec::new();
    for package in metadata().workspace_packages() {
        for dependency in package.dependencies.iter().filter(|dependency| is_ours(&dependency.name)) {
            if layer(&dependency.name) >= layer(&package.name) {
                findings.push(format!("{} -> {} ({})", package.name, dependency.name, dependency.kind));
            }
        }
    }
    assert_none(&findings, "these dependencies point up");
}

#[test]
fn dependencies_are_declared_once_for_all() {
    let mut findings = Vec::new();
    for package in metadata().workspace_packages() {
        let manifest = std::fs::read_to_string(&package.manifest_path).expect("a manifest");
        let mut in_dependencies = false;
        for line in manifest.lines().map(str::trim) {
            if line.starts_with('[') {
                in_dependencies = line.trim_matches(['[', ']']).ends_with("dependencies");
            } else if in_dependencies
                && !line.is_empty()
                && !line.starts_with('#')
                && !line.contains("workspace = true")
            {
                findings.push(format!("{}: {line}", package.name));
            }
        }
        if package.dependencies.iter().any(|dependency| dependency.source.is_none() && dependency.path.is_none()) {
            findings.push(format!("{}: a dependency without a source", package.name));
        }
    }
    assert_none(&findings, "versions and features are pinned in the root manifest only");
}

#[test]
fn pure_crates_stay_pure() {
    let mut findings = Vec::new();
    for package in metadata().workspace_packages() {
        if PURE.contains(&package.name.as_str()) {
            findings.extend(impure_dependencies(package));
            findings.extend(impure_names(&package.name));
        }
    }
    assert_none(&findings, "pure crates (L0) have no runtime, clock, randomness, file or socket");
}

fn impure_dependencies(package: &Package) -> Vec<String> {
    let production = package.dependencies.iter().filter(|dependency| dependency.kind != DependencyKind::Development);
    let impure = production.filter(|dependency| IMPURE.contains(&dependency.name.as_str()));
    impure.map(|dependency| format!("{} depends on {}", package.name, dependency.name)).collect()
}

fn impure_names(package: &str) -> Vec<String> {
    const NAMES: [&str; 8] =
        ["std::fs", "std::net", "std::thread", "std::time::Instant", "SystemTime", "HashMap", "HashSet", "std::env"];
    let prefix = format!("crates/{}/src/", package.trim_start_matches("strata-"));
    let mut findings = Vec::new();
    for file in sources::all().into_iter().filter(|file| file.path.starts_with(&prefix) && !file.is_test()) {
        // Unit tests come last in a file and may do what they want.
        let production = file.text.split("#[cfg(test)]").next().unwrap_or_default();
        for (number, line) in production.lines().enumerate() {
            let code = line.split("//").next().unwrap_or_default();
            for name in NAMES.iter().filter(|name| code.contains(**name)) {
                findings.push(format!("{}:{} names {name}", file.path, number + 1));
            }
        }
    }
    findings
}

/// Where the world outside may be asked: the real environment, sockets between nodes, RocksDB's own files, and the edges.
const WORLDLY: [&str; 7] = [
    "crates/env/src/",
    "crates/net/src/grpc",
    "crates/storage-rocksdb/src/",
    "crates/server/src/",
    "crates/sim/src/",
    "crates/cli/src/",
    "crates/bench/src/",
];

/// ENV-1: clippy refuses what asks the operating system, and nobody below the edges has an exception.
#[test]
fn only_the_environment_asks_the_operating_system() {
    let lints = sources::read("clippy.toml");
    for name in [
        "std::time::Instant::now",
        "std::time::SystemTime::now",
        "tokio::time::sleep",
        "std::thread::spawn",
        "tokio::spawn",
        "tokio::task::spawn_blocking",
        "std::fs::File::open",
        "std::fs::OpenOptions::open",
        "std::fs::write",
        "std::net::TcpStream::connect",
        "tokio::net::TcpListener::bind",
        "getrandom::fill",
    ] {
        assert!(lints.contains(&format!("path = \"{name}\"")), "clippy.toml lets everybody call {name}");
    }
    let manifest = sources::read("Cargo.toml");
    assert!(manifest.contains("\ndisallowed_methods = \"warn\""), "the lint is on, and CI makes it an error");
    let mut findings = Vec::new();
    for package in metadata().workspace_packages() {
        let directory = package.name.trim_start_matches("strata-");
        let text = std::fs::read_to_string(&package.manifest_path).expect("a manifest");
        if !text.contains("[lints]\nworkspace = true") {
            findings.push(format!("{directory}: its manifest does not take the lints of the workspace"));
        }
    }
    for file in sources::all().iter().filter(|file| file.is_rust() && file.path.contains("/src/") && !file.is_test()) {
        let production = file.text.split("#[cfg(test)]").next().unwrap_or_default();
        if production.contains("disallowed_methods") && !WORLDLY.iter().any(|place| file.path.starts_with(place)) {
            findings.push(format!("{} makes an exception for itself", file.path));
        }
    }
    assert_none(&findings, "time, randomness, files, threads and sockets come from env");
}
