//! Merging layers.

use std::collections::BTreeMap;
use std::path::Path;

use strata_types::ClusterVersion;

use super::*;

fn layer(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

fn flags(pairs: &[(&str, &str)]) -> Result<Resolved, SettingsError> {
    Resolved::of_layers(vec![Layer::of_flags(layer(pairs))])
}

fn origin<'a>(resolved: &'a Resolved, key: &str) -> &'a Origin {
    &resolved.entries.iter().find(|entry| entry.definition.key == key).expect("a known key").origin
}

#[test]
fn the_strongest_layer_wins_and_is_named() {
    let file = Layer::of_file(Path::new("strata.toml"), "zone = \"file\"\nshards = 8\nexpect = 1").expect("valid");
    let environment = Layer { origin: Origin::Environment, values: layer(&[("zone", "env"), ("shards", "16")]) };
    let resolved =
        Resolved::of_layers(vec![Layer::of_flags(layer(&[("zone", "flag")])), environment, file]).expect("valid");
    assert_eq!(resolved.settings.zone, "flag");
    assert_eq!(resolved.settings.shards, Some(16));
    assert_eq!(origin(&resolved, "zone"), &Origin::Flag);
    assert_eq!(origin(&resolved, "shards"), &Origin::Environment);
    assert_eq!(origin(&resolved, "expect").name(), "file");
    assert_eq!(origin(&resolved, "listen"), &Origin::Default);
    assert_eq!(resolved.entries.len(), DEFINITIONS.len());
}

/// SERVER-2
#[test]
fn defaults_are_valid_and_loopback() {
    let settings = flags(&[]).expect("valid").settings;
    assert_eq!(settings.listen.to_string(), "127.0.0.1:7400");
    assert_eq!(settings.listen_peer.to_string(), "127.0.0.1:7401");
    assert!(settings.join.is_empty() && settings.shards.is_none() && !settings.insecure);
}

#[test]
fn a_cluster_has_a_plain_name() {
    let name = |text| flags(&[("cluster", text)]).map(|resolved| resolved.settings.cluster.to_string());
    assert_eq!(flags(&[]).expect("valid").settings.cluster.to_string(), "strata");
    assert_eq!(name("prod-eu"), Ok("prod-eu".to_owned()));
    let error = name("two words").expect_err("no name").to_string();
    assert!(error.starts_with("--cluster: the name of a cluster is 1 to 63 letters"), "{error}");
}

#[test]
fn the_peer_port_is_one_above() {
    assert_eq!(flags(&[("listen", ":9000")]).expect("valid").settings.listen_peer.port, 9001);
    assert_eq!(flags(&[("listen", ":0")]).expect("valid").settings.listen_peer.port, 0);
    assert!(flags(&[("listen", ":65535")]).is_err());
    assert!(flags(&[("listen", ":9000"), ("listen_peer", ":9000")]).is_err());
}

/// SERVER-2
#[test]
fn other_addresses_than_loopback_need_the_switch() {
    let error = flags(&[("listen", "10.1.2.3:7400")]).expect_err("refused").to_string();
    assert!(error.starts_with("--listen: 10.1.2.3:7400 can be reached from other machines"), "{error}");
    assert!(error.contains("--insecure"), "{error}");
    flags(&[("listen", "10.1.2.3:7400"), ("insecure", "true")]).expect("allowed");
    let peer_only = flags(&[("listen_peer", "10.1.2.3:7401")]).expect_err("refused").to_string();
    assert!(peer_only.starts_with("--listen-peer"), "{peer_only}");
}

/// SERVER-2
#[test]
fn encryption_alone_is_not_authentication() {
    let error = flags(&[("listen", "10.1.2.3:7400"), ("certs", "d")]).expect_err("refused").to_string();
    assert!(error.contains("encrypted, but clients are not authenticated (--require-client-cert)"), "{error}");
    assert!(error.contains("--insecure"), "{error}");
    let strict = [("listen", "10.1.2.3:7400"), ("certs", "d"), ("require_client_cert", "true")];
    assert!(!flags(&strict).expect("nobody comes in unknown").settings.insecure);
}

#[test]
fn clients_are_asked_for_certificates_only_when_that_is_wanted_and_the_node_has_some() {
    let auth = |pairs: &[(&str, &str)]| flags(pairs).expect("valid").settings.client_auth;
    assert_eq!(auth(&[("certs", "d")]), ClientAuth::None);
    assert_eq!(auth(&[("certs", "d"), ("require_client_cert", "true")]), ClientAuth::Required);
    let error = flags(&[("require_client_cert", "true")]).expect_err("nothing to show").to_string();
    assert_eq!(error, "--require-client-cert: needs certificates of the node's own: set `certs`");
}

#[test]
fn certificates_come_from_a_directory_or_from_single_files() {
    let tls = |pairs: &[(&str, &str)]| flags(pairs).expect("valid").settings.tls;
    assert_eq!(tls(&[]), None);
    let files = tls(&[("certs", "d"), ("tls_key", "k")]).expect("files");
    let paths = [files.ca, files.certificate, files.key];
    assert_eq!(paths.map(|path| path.display().to_string()), ["d/ca.crt", "d/node.crt", "k"]);
    assert!(tls(&[("tls_ca", "a"), ("tls_cert", "c"), ("tls_key", "k")]).is_some());
    let error = flags(&[("tls_cert", "c")]).expect_err("half of it").to_string();
    assert_eq!(error, "--tls-cert: encryption needs all of tls_ca, tls_cert, tls_key, or `certs`");
}

#[test]
fn a_wildcard_needs_an_address_for_others() {
    let error = flags(&[("listen", "0.0.0.0:7400"), ("insecure", "true")]).expect_err("refused").to_string();
    assert!(error.contains("advertise"), "{error}");
    flags(&[
        ("listen", "0.0.0.0:7400"),
        ("insecure", "true"),
        ("advertise", "db1:7400"),
        ("advertise_peer", "db1:7401"),
    ])
    .expect("allowed");
}

#[test]
fn contradictions_are_refused() {
    for wrong in [
        &[("expect", "3")][..],
        &[("expect", "0")],
        &[("weight", "0")],
        &[("weight", "65")],
        &[("shards", "257")],
        &[("heartbeat", "201ms")],
        &[("election_min", "700ms")],
        &[("heartbeat", "100ms"), ("election_min", "200ms"), ("election_max", "299ms")],
        &[("replace_after", "350ms")],
        &[("history", "1s")],
        &[("history", "2h")],
        &[("act_as_version", "0")],
        &[("act_as_version", "99")],
        &[("log_segment", "1KiB")],
        &[("data", "")],
        &[("join", "nowhere")],
    ] {
        assert!(flags(wrong).is_err(), "{wrong:?}");
    }
}

#[test]
fn a_node_can_act_as_an_older_program() {
    let versions = |most: &str| flags(&[("act_as_version", most)]).expect("valid").settings.versions;
    assert_eq!(versions(""), VersionRange::SUPPORTED);
    assert_eq!(versions("1").most, ClusterVersion(1));
}

#[test]
fn an_error_names_the_place() {
    let file = Layer::of_file(Path::new("x.toml"), "expect = \"many\"").expect("valid toml");
    let error = Resolved::of_layers(vec![file]).expect_err("not a number").to_string();
    assert_eq!(error, "`expect` in x.toml: expected a whole number from 1 to 1000, but found `many`");
}
