//! From text to [`Settings`], with every rule that a value must satisfy.

use std::path::PathBuf;
use std::time::Duration;

use strata_cluster::ClusterName;
use strata_net::tls::{ClientAuth, TlsFiles};
use strata_types::{ClusterVersion, VersionRange, limits};

use crate::settings::{
    Address, Entry, Settings, SettingsError, parse_bytes, parse_count, parse_duration, parse_switch,
};

/// Reads the values of all settings; an error names the place where the wrong one stands.
pub(super) fn read(entries: &[Entry]) -> Result<Settings, SettingsError> {
    let reader = Reader(entries);
    let listen = reader.value("listen", Address::parse)?;
    let listen_peer = match reader.optional("listen_peer", Address::parse)? {
        Some(address) => address,
        None => reader.one_above(&listen)?,
    };
    let settings = Settings {
        data: reader.value("data", |text| match text {
            "" => Err("the data directory must have a name".to_owned()),
            text => Ok(PathBuf::from(text)),
        })?,
        cluster: reader.value("cluster", |text| ClusterName::parse(text.trim()))?,
        listen,
        listen_peer,
        advertise: reader.optional("advertise", Address::parse)?,
        advertise_peer: reader.optional("advertise_peer", Address::parse)?,
        join: reader.value("join", parse_addresses)?,
        expect: reader.optional("expect", |text| parse_count(text, 1, limits::NODES_MAX))?,
        shards: reader.optional("shards", |text| parse_count(text, 1, limits::SHARDS_MAX))?,
        zone: reader.value("zone", |text| Ok(text.trim().to_owned()))?,
        weight: reader.value("weight", |text| parse_count(text, 1, limits::NODE_WEIGHT_MAX))?,
        insecure: reader.value("insecure", parse_switch)?,
        tls: reader.tls()?,
        client_auth: reader.value("require_client_cert", parse_client_auth)?,
        connections_max: reader.value("connections_max", |text| parse_count(text, 1, 1_000_000))?,
        heartbeat: reader.value("heartbeat", parse_duration)?,
        election_min: reader.value("election_min", parse_duration)?,
        election_max: reader.value("election_max", parse_duration)?,
        lease_reads: reader.value("lease_reads", parse_switch)?,
        replace_after: reader.value("replace_after", parse_duration)?,
        history: reader.value("history", parse_duration)?,
        reader_age_max: reader.value("reader_age_max", parse_duration)?,
        versions: reader.value("act_as_version", parse_versions)?,
        log_segment: reader.value("log_segment", at_least(1 << 20))?,
        log_cache: reader.value("log_cache", at_least(0))?,
        snapshot_bytes_per_second: reader.value("snapshot_bytes_per_second", at_least(1 << 20))?,
        tablet_memory: reader.value("tablet_memory", at_least(8 << 20))?,
    };
    reader.check(&settings)?;
    Ok(settings)
}

fn parse_client_auth(text: &str) -> Result<ClientAuth, String> {
    Ok(if parse_switch(text)? { ClientAuth::Required } else { ClientAuth::None })
}

/// What this program takes part in, or what an older one would.
fn parse_versions(text: &str) -> Result<VersionRange, String> {
    let supported = VersionRange::SUPPORTED;
    if text.trim().is_empty() {
        return Ok(supported);
    }
    let most = parse_count(text, supported.least.0, supported.most.0)?;
    Ok(VersionRange { most: ClusterVersion(most), ..supported })
}

/// The shortest time for which the past is kept.
const HISTORY_MIN: Duration = Duration::from_secs(5);

struct Reader<'a>(&'a [Entry]);

impl Reader<'_> {
    fn entry(&self, key: &str) -> &Entry {
        let entry = self.0.iter().find(|entry| entry.definition.key == key);
        entry.expect("the defaults name every key")
    }

    fn invalid(&self, key: &str, detail: impl Into<String>) -> SettingsError {
        SettingsError::Invalid { place: self.entry(key).origin.place(key), detail: detail.into() }
    }

    fn value<T>(&self, key: &str, parse: impl FnOnce(&str) -> Result<T, String>) -> Result<T, SettingsError> {
        parse(&self.entry(key).value).map_err(|detail| self.invalid(key, detail))
    }

    /// Empty text means "not set".
    fn optional<T>(
        &self,
        key: &str,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Result<Option<T>, SettingsError> {
        self.value(key, |text| if text.trim().is_empty() { Ok(None) } else { parse(text).map(Some) })
    }

    fn one_above(&self, listen: &Address) -> Result<Address, SettingsError> {
        match listen.port {
            0 => Ok(listen.clone()),
            port => port
                .checked_add(1)
                .map(|port| listen.with_port(port))
                .ok_or_else(|| self.invalid("listen", "the peer port is one above, and there is none above 65535")),
        }
    }

    /// A directory, single files, or files that take the place of those in the directory.
    fn tls(&self) -> Result<Option<TlsFiles>, SettingsError> {
        const KEYS: [&str; 3] = ["tls_ca", "tls_cert", "tls_key"];
        let path = |key| self.optional(key, |text| Ok(PathBuf::from(text)));
        let of_directory = path("certs")?.map(|directory| TlsFiles::of_node(&directory));
        let (ca, certificate, key) = (path(KEYS[0])?, path(KEYS[1])?, path(KEYS[2])?);
        match (of_directory, ca, certificate, key) {
            (Some(files), ca, certificate, key) => Ok(Some(TlsFiles {
                ca: ca.unwrap_or(files.ca),
                certificate: certificate.unwrap_or(files.certificate),
                key: key.unwrap_or(files.key),
            })),
            (None, Some(ca), Some(certificate), Some(key)) => Ok(Some(TlsFiles { ca, certificate, key })),
            (None, None, None, None) => Ok(None),
            (None, ..) => {
                let is_given = |key: &&&str| !self.entry(key).value.trim().is_empty();
                let given = KEYS.iter().find(is_given).copied().unwrap_or(KEYS[0]);
                let detail = format!("encryption needs all of {}, or `certs`", KEYS.join(", "));
                Err(self.invalid(given, detail))
            }
        }
    }

    /// Rules that tie several settings together.
    fn check(&self, settings: &Settings) -> Result<(), SettingsError> {
        // The Raft library wants room for its timers' own steps.
        if settings.heartbeat.is_zero() || settings.heartbeat * 3 > settings.election_min * 2 {
            return Err(self.invalid("heartbeat", "must be above zero and at most two thirds of election_min"));
        }
        if settings.election_min >= settings.election_max {
            return Err(self.invalid("election_min", "must be below election_max"));
        }
        // The leaders of other nodes rely on it.
        if settings.election_max < strata_raft::PROMISE {
            let detail = format!("must be at least {:?}", strata_raft::PROMISE);
            return Err(self.invalid("election_max", detail));
        }
        if settings.replace_after <= settings.election_max {
            return Err(self.invalid("replace_after", "must be above election_max"));
        }
        // A snapshot tells after a second that it is in use, and nodes tell each other once a second.
        if settings.history < HISTORY_MIN {
            return Err(self.invalid("history", format!("must be at least {} s", HISTORY_MIN.as_secs())));
        }
        if settings.reader_age_max < settings.history {
            return Err(self.invalid("reader_age_max", "must be at least history"));
        }
        if settings.client_auth == ClientAuth::Required && settings.tls.is_none() {
            return Err(self.invalid("require_client_cert", "needs certificates of the node's own: set `certs`"));
        }
        if let Some(expect) = settings.expect.filter(|&expect| expect > 1 && settings.join.is_empty()) {
            let detail = format!("a cluster of {expect} nodes needs `join`, the same on every node");
            return Err(self.invalid("expect", detail));
        }
        if settings.listen == settings.listen_peer && settings.listen.port != 0 {
            return Err(self.invalid("listen_peer", "must differ from the client port"));
        }
        self.check_reach("listen", &settings.listen, "advertise", settings.advertise.as_ref(), settings)?;
        let advertised = settings.advertise_peer.as_ref();
        self.check_reach("listen_peer", &settings.listen_peer, "advertise_peer", advertised, settings)
    }

    /// SERVER-2: what can be reached from elsewhere asks who comes, or is open because somebody wanted that.
    fn check_reach(
        &self,
        listen: &str,
        address: &Address,
        advertise: &str,
        advertised: Option<&Address>,
        settings: &Settings,
    ) -> Result<(), SettingsError> {
        // A derived peer port has no place of its own: the user wrote the client port.
        let place = if self.entry(listen).value.is_empty() { "listen" } else { listen };
        let open = match (&settings.tls, settings.client_auth) {
            (None, _) => Some("there is neither encryption (--certs) nor authentication (--require-client-cert)"),
            (Some(_), ClientAuth::None) => {
                Some("connections are encrypted, but clients are not authenticated (--require-client-cert)")
            }
            (Some(_), ClientAuth::Required) => None,
        };
        if let Some(what) = open.filter(|_| !address.is_loopback() && !settings.insecure) {
            let detail = format!(
                "{address} can be reached from other machines, and {what}: keep to 127.0.0.1, or write --insecure if \
                 everybody who reaches it may read and write"
            );
            return Err(self.invalid(place, detail));
        }
        if address.is_wildcard() && advertised.is_none() {
            let detail = format!("{address} is no address that others can connect to: set `{advertise}` as well");
            return Err(self.invalid(place, detail));
        }
        match advertised {
            Some(advertised) if advertised.is_wildcard() || advertised.port == 0 => {
                Err(self.invalid(advertise, format!("{advertised} is no address that others can connect to")))
            }
            _ => Ok(()),
        }
    }
}

fn parse_addresses(text: &str) -> Result<Vec<String>, String> {
    let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
    parts.map(|part| Address::parse(part).map(|address| address.to_string())).collect()
}

fn at_least(least: u64) -> impl FnOnce(&str) -> Result<u64, String> {
    move |text| match parse_bytes(text)? {
        bytes if bytes < least => Err(format!("must be at least {least} bytes, but found `{text}`")),
        bytes => Ok(bytes),
    }
}
