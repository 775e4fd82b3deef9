//! A three-node etcd on loopback.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use tempfile::TempDir;

use crate::procs::child::Child;
use crate::procs::ports::free_addresses;
use crate::wire::connect;
use crate::wire::etcd::StatusRequest;
use crate::wire::etcd::maintenance_client::MaintenanceClient;

const NODES: usize = 3;
/// How long the cluster may take to elect a leader.
const START: Duration = Duration::from_secs(60);
/// How often it is asked meanwhile.
const POLL: Duration = Duration::from_millis(100);
/// Room for all revisions of a run: by default, writes stop at 2 GiB. It costs nothing while it is not used.
const QUOTA_BYTES: u64 = 8 << 30;

/// The running cluster. Fields are dropped in order: the processes end before their directory goes.
pub(crate) struct EtcdCluster {
    nodes: Vec<Child>,
    clients: Vec<String>,
    version: String,
    _directory: TempDir,
}

impl EtcdCluster {
    /// Starts it with its default settings, and waits for a leader.
    pub(crate) async fn start(program: &Path, parent: &Path) -> Result<EtcdCluster> {
        let directory = tempfile::Builder::new().prefix("strata-bench-etcd-").tempdir_in(parent)?;
        let addresses = free_addresses(2 * NODES)?;
        let (clients, peers) = addresses.split_at(NODES);
        let members: Vec<String> =
            peers.iter().enumerate().map(|(at, peer)| format!("e{}=http://{peer}", at + 1)).collect();
        let members = members.join(",");
        let mut nodes = Vec::with_capacity(NODES);
        for (at, (client, peer)) in clients.iter().zip(peers).enumerate() {
            let name = format!("e{}", at + 1);
            let data = directory.path().join(&name);
            let arguments = [
                ("--name", name.clone()),
                ("--data-dir", data.display().to_string()),
                ("--listen-client-urls", format!("http://{client}")),
                ("--advertise-client-urls", format!("http://{client}")),
                ("--listen-peer-urls", format!("http://{peer}")),
                ("--initial-advertise-peer-urls", format!("http://{peer}")),
                ("--initial-cluster", members.clone()),
                ("--initial-cluster-state", "new".to_owned()),
                ("--initial-cluster-token", format!("strata-bench-{}", std::process::id())),
                ("--quota-backend-bytes", QUOTA_BYTES.to_string()),
                ("--logger", "zap".to_owned()),
                ("--log-level", "error".to_owned()),
            ];
            let arguments: Vec<String> = arguments.into_iter().map(|(flag, value)| format!("{flag}={value}")).collect();
            let log = directory.path().join(format!("{name}.log"));
            nodes.push(Child::start(&name, program, &arguments, &log)?);
        }
        let mut cluster =
            EtcdCluster { nodes, clients: clients.to_vec(), version: String::new(), _directory: directory };
        cluster.leader().await?;
        Ok(cluster)
    }

    /// The client address of the leader.
    pub(crate) async fn leader(&mut self) -> Result<String> {
        let begin = Instant::now();
        loop {
            for node in &mut self.nodes {
                node.check()?;
            }
            for address in self.clients.clone() {
                if self.leads(&address).await.unwrap_or(false) {
                    return Ok(address);
                }
            }
            if begin.elapsed() > START {
                bail!("etcd has no leader after {} s: {}", START.as_secs(), self.nodes[0].log_end());
            }
            tokio::time::sleep(POLL).await;
        }
    }

    async fn leads(&mut self, address: &str) -> Result<bool> {
        let asked = async {
            let mut client = MaintenanceClient::new(connect(address).await?);
            anyhow::Ok(client.status(StatusRequest {}).await?.into_inner())
        };
        let status = tokio::time::timeout(START / 20, asked).await.context("no answer")??;
        let member = status.header.map_or(0, |header| header.member_id);
        self.version = status.version;
        Ok(status.leader != 0 && status.leader == member)
    }

    /// Its version, as it tells it.
    pub(crate) fn version(&self) -> &str {
        &self.version
    }

    /// The processes.
    pub(crate) fn pids(&self) -> Vec<u32> {
        self.nodes.iter().filter_map(Child::pid).collect()
    }

    /// Ends it and waits until it is gone.
    pub(crate) async fn stop(mut self) -> Result<()> {
        for node in &mut self.nodes {
            node.kill()?;
        }
        for node in &mut self.nodes {
            node.gone().await?;
        }
        Ok(())
    }
}
