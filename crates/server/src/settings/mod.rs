//! Settings of a node: what they are, where each value came from, and what they must satisfy.
//!
//! Every layer is text by key; the strongest layer that names a key wins. Only then is the text read, so that an
//! error can always say where the wrong value stands.

mod definitions;
mod layers;
mod reader;
mod suggest;
mod values;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use strata_cluster::ClusterName;
use strata_net::tls::{ClientAuth, TlsFiles};
use strata_types::VersionRange;

pub use definitions::{DEFINITIONS, Definition, OTHER_VARIABLES};
pub use layers::{Layer, Origin};
pub use suggest::closest;
pub use values::{Address, parse_bytes, parse_count, parse_duration, parse_switch};

/// Where the settings file is looked for when nobody names one.
pub const FILE_DEFAULT: &str = "strata.toml";

/// Everything that one node needs to know before it starts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Data directory.
    pub data: PathBuf,
    /// Name of the cluster.
    pub cluster: ClusterName,
    /// Client port.
    pub listen: Address,
    /// Peer port.
    pub listen_peer: Address,
    /// Where clients reach this node, if not at `listen`.
    pub advertise: Option<Address>,
    /// Where other nodes reach this node, if not at `listen_peer`.
    pub advertise_peer: Option<Address>,
    /// Peer addresses of the cluster.
    pub join: Vec<String>,
    /// Number of nodes that found the cluster. None: with `join` the node founds nothing, without it founds one alone.
    pub expect: Option<u32>,
    /// Number of shards of a new cluster.
    pub shards: Option<u32>,
    /// Failure domain; may be empty.
    pub zone: String,
    /// How many replicas it takes, relative to others.
    pub weight: u32,
    /// Other addresses than loopback are allowed.
    pub insecure: bool,
    /// Where the certificates of the node are; without any nothing is encrypted.
    pub tls: Option<TlsFiles>,
    /// What clients must show.
    pub client_auth: ClientAuth,
    /// Most client connections.
    pub connections_max: u32,
    /// How often a leader is heard of.
    pub heartbeat: Duration,
    /// Shortest silence before an election.
    pub election_min: Duration,
    /// Longest silence before an election.
    pub election_max: Duration,
    /// Whether leaders of this node read by lease.
    pub lease_reads: bool,
    /// Silence after which a node is lost.
    pub replace_after: Duration,
    /// How long the past can be read.
    pub history: Duration,
    /// How long an open reader keeps the past.
    pub reader_age_max: Duration,
    /// The cluster versions that the node takes part in.
    pub versions: VersionRange,
    /// Size of one file of the log.
    pub log_segment: u64,
    /// Log entries kept in memory.
    pub log_cache: u64,
    /// Recent rows and cached blocks of all tablets.
    pub tablet_memory: u64,
    /// How many bytes of snapshots come and go a second at most.
    pub snapshot_bytes_per_second: u64,
}

/// One line of `strata config show`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The setting.
    pub definition: &'static Definition,
    /// Its value, as text.
    pub value: String,
    /// The layer that won.
    pub origin: Origin,
}

/// Settings and where each of them came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolved {
    /// The values.
    pub settings: Settings,
    /// Line by line, in the order of [`DEFINITIONS`].
    pub entries: Vec<Entry>,
}

/// Settings that make no sense.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SettingsError {
    /// Nobody knows this setting.
    #[error("unknown setting in {place}: name=`{name}`{}", did_you_mean(.suggestion))]
    Unknown {
        /// The name.
        name: String,
        /// Where it stands.
        place: String,
        /// What was probably meant.
        suggestion: Option<String>,
    },
    /// A value cannot be read or contradicts another one.
    #[error("{place}: {detail}")]
    Invalid {
        /// Where it stands.
        place: String,
        /// What is wrong with it.
        detail: String,
    },
    /// The settings file is not TOML.
    #[error("{} is not valid TOML: {detail}", path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// What the parser says.
        detail: String,
    },
    /// The settings file cannot be read.
    #[error("settings file cannot be read: path=`{}` detail=`{detail}`", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system says.
        detail: String,
    },
}

impl SettingsError {
    /// The next step.
    pub fn hint(&self) -> String {
        match self {
            SettingsError::Unknown { suggestion: Some(name), .. } => format!("did you mean `{name}`?"),
            SettingsError::Unknown { .. } => "`strata config show` lists all settings".to_owned(),
            SettingsError::Invalid { .. } => {
                "`strata config show` lists all settings and where their values come from".to_owned()
            }
            SettingsError::Syntax { .. } => "a setting is one line, such as: listen = \"127.0.0.1:7400\"".to_owned(),
            SettingsError::Unreadable { .. } => "check --config and STRATA_CONFIG".to_owned(),
        }
    }
}

fn did_you_mean(suggestion: &Option<String>) -> String {
    suggestion.as_ref().map_or_else(String::new, |name| format!(" did_you_mean=`{name}`"))
}

impl Resolved {
    /// Settings of this process: `flags`, its environment, and the file that is named or lies in the working
    /// directory.
    #[allow(clippy::disallowed_methods, reason = "an edge: it is here that the world is let in")]
    pub fn of_process(flags: BTreeMap<String, String>, file: Option<&Path>) -> Result<Resolved, SettingsError> {
        let named = file.map(Path::to_owned).or_else(|| std::env::var_os("STRATA_CONFIG").map(PathBuf::from));
        let path = named.clone().unwrap_or_else(|| PathBuf::from(FILE_DEFAULT));
        let mut layers = vec![Layer::of_flags(flags), Layer::of_environment(std::env::vars_os())?];
        match std::fs::read_to_string(&path) {
            Ok(text) => layers.push(Layer::of_file(&path, &text)?),
            Err(error) if named.is_none() && error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(SettingsError::Unreadable { path, detail: error.to_string() }),
        }
        Resolved::of_layers(layers)
    }

    /// Merges layers, the strongest first; the defaults come last by themselves.
    pub fn of_layers(mut layers: Vec<Layer>) -> Result<Resolved, SettingsError> {
        layers.push(Layer::of_defaults());
        let entries: Vec<Entry> = DEFINITIONS
            .iter()
            .filter_map(|definition| {
                let layer = layers.iter().find(|layer| layer.values.contains_key(definition.key))?;
                let value = layer.values[definition.key].clone();
                Some(Entry { definition, value, origin: layer.origin.clone() })
            })
            .collect();
        let settings = reader::read(&entries)?;
        Ok(Resolved { settings, entries })
    }
}

#[cfg(test)]
mod tests;
