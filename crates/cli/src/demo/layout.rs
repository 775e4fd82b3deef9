//! How many nodes, and where.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// Distance between the client ports of two neighbouring nodes.
const PORT_STRIDE: u16 = 10;
/// Version of `demo.toml`.
const FORMAT: u32 = 1;
/// Where the shape is kept in the directory of a demo.
const FILE: &str = "demo.toml";
/// Settings of all nodes of a demo.
const SETTINGS_FILE: &str = "strata.toml";
/// Certificates of all nodes of a demo.
const CERTS: &str = "certs";

/// Shape of a demo. What is kept in `demo.toml`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Shape {
    format: u32,
    nodes: u32,
    port: u16,
    shards: u32,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    tls: bool,
}

/// A demo: its shape and its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    /// Where its data is.
    pub directory: PathBuf,
    /// Number of nodes.
    pub nodes: u32,
    /// Client port of the first node.
    pub port: u16,
    /// Number of shards.
    pub shards: u32,
    /// Whether nodes and clients encrypt.
    pub tls: bool,
}

impl Layout {
    /// The layout that an earlier demo left in a directory, if it left one. The error is a sentence.
    pub fn load(directory: &Path) -> Result<Option<Layout>, String> {
        let path = directory.join(FILE);
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(format!("{} cannot be read: {error}", path.display())),
        };
        let shape: Shape = toml::from_str(&text).map_err(|error| format!("{} is damaged: {error}", path.display()))?;
        if shape.format != FORMAT {
            return Err(format!("{} has format {}, and this program knows {FORMAT}", path.display(), shape.format));
        }
        let Shape { nodes, port, shards, tls, .. } = shape;
        Ok(Some(Layout { directory: directory.to_owned(), nodes, port, shards, tls }))
    }

    /// Writes the layout and the settings of the nodes into the directory.
    pub fn store(&self) -> std::io::Result<()> {
        std::fs::create_dir_all(&self.directory)?;
        let Layout { nodes, port, shards, tls, .. } = *self;
        let shape = Shape { format: FORMAT, nodes, port, shards, tls };
        let text = toml::to_string(&shape).map_err(std::io::Error::other)?;
        std::fs::write(self.directory.join(FILE), text)?;
        std::fs::write(self.settings_path(), self.settings())
    }

    /// All nodes: 1 to n.
    pub fn numbers(&self) -> impl Iterator<Item = u32> + use<> {
        1..=self.nodes
    }

    /// Where clients reach a node.
    pub fn client_address(&self, node: u32) -> String {
        format!("127.0.0.1:{}", self.client_port(node))
    }

    /// Where the certificates are, if there are any: one for all nodes.
    pub fn certs(&self) -> Option<PathBuf> {
        self.tls.then(|| self.directory.join(CERTS))
    }

    /// All ports, client ports and peer ports.
    pub fn ports(&self) -> Vec<u16> {
        self.numbers().flat_map(|node| [self.client_port(node), self.client_port(node) + 1]).collect()
    }

    /// Data directory of a node.
    pub fn data(&self, node: u32) -> PathBuf {
        self.directory.join(format!("n{node}"))
    }

    /// What comes after `strata` to start a node.
    pub fn arguments(&self, node: u32) -> Vec<String> {
        let path = |path: PathBuf| path.display().to_string();
        vec![
            "start".to_owned(),
            "--config".to_owned(),
            path(self.settings_path()),
            "--data".to_owned(),
            path(self.data(node)),
            "--listen".to_owned(),
            self.client_address(node),
        ]
    }

    fn client_port(&self, node: u32) -> u16 {
        self.port + PORT_STRIDE * (node - 1) as u16
    }

    fn settings_path(&self) -> PathBuf {
        self.directory.join(SETTINGS_FILE)
    }

    fn settings(&self) -> String {
        let peers: Vec<String> =
            self.numbers().map(|node| format!("\"127.0.0.1:{}\"", self.client_port(node) + 1)).collect();
        let certs = self.certs().map(|certs| toml::Value::String(certs.display().to_string()));
        let certs = certs.map_or_else(String::new, |certs| format!("certs = {certs}\n"));
        format!(
            "# Settings of all nodes of this demo.\njoin = [{}]\nexpect = {}\nshards = {}\n{certs}",
            peers.join(", "),
            self.nodes,
            self.shards
        )
    }
}

#[cfg(test)]
mod tests {
    use strata_server::settings::{Layer, Resolved};

    use super::*;

    fn layout(directory: &Path) -> Layout {
        Layout { directory: directory.to_owned(), nodes: 3, port: 7400, shards: 4, tls: true }
    }

    #[test]
    fn ports_follow_the_grid() {
        assert_eq!(layout(Path::new("d")).ports(), [7400, 7401, 7410, 7411, 7420, 7421]);
        assert_eq!(layout(Path::new("d")).client_address(3), "127.0.0.1:7420");
    }

    #[test]
    fn a_kept_demo_is_remembered() {
        let place = tempfile::tempdir().expect("a temporary directory");
        let directory = place.path().join("kept");
        assert_eq!(Layout::load(&directory), Ok(None));
        let layout = layout(&directory);
        layout.store().expect("writable");
        assert_eq!(Layout::load(&directory), Ok(Some(layout)));
        std::fs::write(directory.join(FILE), "format = 2\nnodes = 3\nport = 1\nshards = 1\n").expect("writable");
        assert!(Layout::load(&directory).expect_err("a newer one").contains("format 2"));
        std::fs::write(directory.join(FILE), "nodes").expect("writable");
        assert!(Layout::load(&directory).expect_err("damaged").contains("damaged"));
    }

    #[test]
    fn the_settings_of_the_nodes_are_valid() {
        let layer = Layer::of_file(Path::new("strata.toml"), &layout(Path::new("d")).settings()).expect("valid");
        let settings = Resolved::of_layers(vec![layer]).expect("valid").settings;
        assert_eq!((settings.expect, settings.shards), (Some(3), Some(4)));
        assert_eq!(settings.tls.expect("encrypted").ca, Path::new("d/certs/ca.crt"));
        assert_eq!(settings.join, ["127.0.0.1:7401", "127.0.0.1:7411", "127.0.0.1:7421"]);
    }
}
