//! Licences of everything that is linked, built or tested with.

use crate::spdx::{Expression, parse};
use crate::{assert_none, metadata};

/// Licences that a dependency may have. The same list is in deny.toml.
const ALLOWED: [&str; 9] = [
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "ISC",
    "MIT",
    "Unicode-3.0",
    "Zlib",
];

fn is_allowed(expression: &Expression) -> bool {
    expression.holds(&|licence| ALLOWED.contains(&licence))
}

#[test]
fn every_dependency_has_an_allowed_licence() {
    let mut findings = Vec::new();
    for package in &metadata().packages {
        let licence = package.license.as_deref().unwrap_or("none");
        match parse(licence) {
            Some(expression) if is_allowed(&expression) => {}
            _ => findings.push(format!("{} {}: {licence}", package.name, package.version)),
        }
    }
    assert_none(&findings, "these licences are not allowed");
}

#[test]
fn both_lists_of_licences_are_the_same() {
    let deny = crate::sources::read("deny.toml");
    let list = deny.split("\nallow = [").nth(1).and_then(|rest| rest.split(']').next()).expect("a list of licences");
    let listed: Vec<&str> =
        list.lines().filter_map(|line| line.trim().strip_prefix('"')?.strip_suffix("\",")).collect();
    assert_eq!(listed, ALLOWED);
}

#[test]
fn expressions_are_understood() {
    let cases = [
        ("MIT", true),
        ("MIT OR GPL-3.0", true),
        ("GPL-3.0/MIT", true),
        ("MIT AND GPL-3.0", false),
        ("(MIT OR GPL-3.0) AND Unicode-3.0", true),
        ("GPL-3.0 OR MIT AND LGPL-2.1", false),
        ("Apache-2.0 WITH LLVM-exception OR GPL-2.0", true),
        ("Apache-2.0 WITH Other-exception", false),
        ("none", false),
    ];
    for (text, expected) in cases {
        assert_eq!(parse(text).is_some_and(|expression| is_allowed(&expression)), expected, "{text}");
    }
    for bad in ["", "MIT OR", "(MIT", "MIT)", "MIT MIT", "AND MIT"] {
        assert!(parse(bad).is_none(), "{bad:?}");
    }
}
