//! A Strata cluster, on loopback or on a network that can be cut.

mod members;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use strata_proto::v1;
use strata_proto::v1::admin_client::AdminClient;
use strata_types::ShardId;
use tempfile::TempDir;

use crate::args::Common;
use crate::procs::child::Child;
use crate::procs::network::Network;
use crate::wire::connect;

/// How long the cluster may take until every shard has a leader and all its replicas.
const SETTLE: Duration = Duration::from_secs(90);
/// How often it is asked meanwhile, and how long an answer may take.
const POLL: Duration = Duration::from_millis(50);
const ANSWER: Duration = Duration::from_secs(3);

/// A node, running or killed.
struct Node {
    name: String,
    arguments: Vec<String>,
    log: PathBuf,
    data: PathBuf,
    client: String,
    peer: String,
    process: Option<Child>,
}

/// A shard and the position of the node that leads it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Leader {
    pub(crate) shard: ShardId,
    pub(crate) node: usize,
}

/// The cluster. Fields are dropped in order: the processes end before their directory goes.
pub(crate) struct StrataCluster {
    nodes: Vec<Node>,
    program: PathBuf,
    /// Flags that every node gets.
    flags: Vec<String>,
    shards: u32,
    /// Nodes that there ever were: no name is used twice.
    named: usize,
    /// Where the nodes live, if not on loopback.
    network: Option<Network>,
    directory: TempDir,
}

impl StrataCluster {
    /// Starts it, and waits until it is healthy.
    pub(crate) async fn start(common: &Common, count: usize, shards: u32) -> Result<StrataCluster> {
        StrataCluster::start_on(common, count, shards, None).await
    }

    /// The same on a network that can be cut, if there is one.
    pub(crate) async fn start_on(
        common: &Common,
        count: usize,
        shards: u32,
        network: Option<Network>,
    ) -> Result<StrataCluster> {
        let directory = tempfile::Builder::new().prefix("strata-bench-").tempdir_in(common.directory())?;
        let mut cluster = StrataCluster {
            nodes: Vec::with_capacity(count),
            program: common.strata()?,
            flags: common.node_flag.clone(),
            shards,
            named: 0,
            network,
            directory,
        };
        let addresses = cluster.free_addresses(count)?;
        let peers: Vec<&str> = addresses.iter().map(|(_, peer)| peer.as_str()).collect();
        for (client, peer) in &addresses {
            let mut own = vec![format!("--expect={count}"), format!("--shards={shards}")];
            if count > 1 {
                own.push(format!("--join={}", peers.join(",")));
            }
            cluster.push(client, peer, own);
        }
        for node in 0..count {
            cluster.restart(node)?;
        }
        cluster.settled().await?;
        Ok(cluster)
    }

    /// Client addresses of all nodes.
    pub(crate) fn addresses(&self) -> Vec<String> {
        self.nodes.iter().map(|node| node.client.clone()).collect()
    }

    /// The processes.
    pub(crate) fn pids(&self) -> Vec<u32> {
        self.nodes.iter().filter_map(|node| node.process.as_ref()?.pid()).collect()
    }

    /// Starts a node that is not running.
    pub(crate) fn restart(&mut self, node: usize) -> Result<()> {
        let described = &mut self.nodes[node];
        let (name, log) = (&described.name, &described.log);
        described.process = Some(match &self.network {
            None => Child::start(name, &self.program, &described.arguments, log)?,
            Some(_) => {
                let (program, arguments) = Network::inside(node, &self.program, &described.arguments);
                Child::start(name, Path::new(&program), &arguments, log)?
            }
        });
        Ok(())
    }

    /// Kills a node with SIGKILL; returns at once.
    pub(crate) fn kill(&mut self, node: usize) -> Result<()> {
        match &mut self.nodes[node].process {
            Some(process) => process.kill(),
            None => Ok(()),
        }
    }

    /// Waits until a killed node is gone.
    pub(crate) async fn gone(&mut self, node: usize) -> Result<()> {
        match self.nodes[node].process.take() {
            Some(mut process) => process.gone().await,
            None => Ok(()),
        }
    }

    /// Kills all nodes, and waits until they are gone.
    pub(crate) async fn kill_all(&mut self) -> Result<()> {
        for node in 0..self.nodes.len() {
            self.kill(node)?;
        }
        for node in 0..self.nodes.len() {
            self.gone(node).await?;
        }
        Ok(())
    }

    /// Waits until every shard has a leader and all its replicas answer.
    pub(crate) async fn settled(&mut self) -> Result<()> {
        let begin = Instant::now();
        loop {
            self.check()?;
            let problem = match self.problems().await {
                Ok(problems) if problems.is_empty() => return Ok(()),
                Ok(problems) => problems.join("; "),
                Err(error) => format!("{error:#}"),
            };
            if begin.elapsed() > SETTLE {
                let log = self.nodes.iter().find_map(|node| Some(node.process.as_ref()?.log_end())).unwrap_or_default();
                bail!("the cluster is not healthy after {} s: {problem}\n{log}", SETTLE.as_secs());
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// Every node must know all shards and find nothing wrong.
    async fn problems(&self) -> Result<Vec<String>> {
        let mut problems = Vec::new();
        for address in self.addresses() {
            let asked = async {
                let mut client = AdminClient::new(connect(&address).await?);
                anyhow::Ok(client.cluster_status(v1::ClusterStatusRequest {}).await?.into_inner())
            };
            let status =
                tokio::time::timeout(ANSWER, asked).await.with_context(|| format!("{address} is silent"))??;
            if status.shards != self.shards || status.shards_led != self.shards {
                problems.push(format!("{address} sees leaders of {} of {} shards", status.shards_led, self.shards));
            }
            if !status.healthy {
                problems.push(format!("{address} says: {}", status.problems.join(", ")));
            }
        }
        Ok(problems)
    }

    /// Who leads what just now.
    pub(crate) async fn leaders(&self) -> Result<Vec<Leader>> {
        let mut last = None;
        for address in self.addresses() {
            match tokio::time::timeout(ANSWER, self.leaders_by(&address)).await {
                Ok(Ok(leaders)) => return Ok(leaders),
                Ok(Err(error)) => last = Some(error),
                Err(_) => last = Some(anyhow::anyhow!("{address} is silent")),
            }
        }
        Err(last.unwrap_or_else(|| anyhow::anyhow!("the cluster has no nodes")))
    }

    async fn leaders_by(&self, address: &str) -> Result<Vec<Leader>> {
        let mut client = AdminClient::new(connect(address).await?);
        let nodes = client.nodes(v1::NodesRequest {}).await?.into_inner().nodes;
        let shards = client.shards(v1::ShardsRequest {}).await?.into_inner().shards;
        let position = |id: u64| {
            let descriptor = nodes.iter().filter_map(|status| status.node.as_ref()).find(|node| node.id == id)?;
            self.nodes.iter().position(|node| node.client == descriptor.client_address)
        };
        let leaders = shards.iter().map(|status| {
            let shard = status.placement.as_ref().context("a shard without a placement")?.shard;
            let id = status.leader.with_context(|| format!("shard {shard} has no leader"))?;
            let node = position(id).with_context(|| format!("node {id} is none of ours"))?;
            Ok(Leader { shard: ShardId(shard), node })
        });
        leaders.collect()
    }

    /// Ends it and waits until it is gone.
    pub(crate) async fn stop(mut self) -> Result<()> {
        self.kill_all().await
    }
}
