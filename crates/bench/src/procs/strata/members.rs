//! Nodes that come and go while the cluster runs.

use anyhow::{Context, Result};

use super::{Node, StrataCluster};
use crate::procs::network::Network;
use crate::procs::ports::free_addresses;

/// Ports of a node that has an address of its own.
const CLIENT_PORT: u16 = 7_400;
const PEER_PORT: u16 = 7_401;

impl StrataCluster {
    /// Client and peer addresses for so many more nodes.
    pub(super) fn free_addresses(&mut self, count: usize) -> Result<Vec<(String, String)>> {
        let Some(network) = &mut self.network else {
            let addresses = free_addresses(2 * count)?;
            let (clients, peers) = addresses.split_at(count);
            return Ok(clients.iter().cloned().zip(peers.iter().cloned()).collect());
        };
        let host = || network.add().map(|host| (format!("{host}:{CLIENT_PORT}"), format!("{host}:{PEER_PORT}")));
        std::iter::repeat_with(host).take(count).collect()
    }

    /// Describes one more node, which is not started. `own` are its flags beside those that every node gets.
    pub(super) fn push(&mut self, client: &str, peer: &str, own: Vec<String>) {
        self.named += 1;
        let name = format!("n{}", self.named);
        let data = self.directory.path().join(&name);
        let log = self.directory.path().join(format!("{name}.log"));
        let (client, peer) = (client.to_owned(), peer.to_owned());
        self.nodes.push(Node { name, arguments: Vec::new(), log, data, client, peer, process: None });
        self.equip(self.nodes.len() - 1, own);
    }

    fn equip(&mut self, node: usize, own: Vec<String>) {
        let described = &mut self.nodes[node];
        let data = format!("--data={}", described.data.display());
        let listen = [format!("--listen={}", described.client), format!("--listen-peer={}", described.peer)];
        let insecure = self.network.is_some().then(|| "--insecure".to_owned());
        let all = ["start".to_owned(), data].into_iter().chain(listen).chain(insecure).chain(own);
        let all = all.chain(self.flags.iter().cloned());
        described.arguments = all.collect();
    }

    /// Starts one more node, which joins through a member. Returns its position, which is the last.
    pub(crate) fn add(&mut self, through: usize) -> Result<usize> {
        let (client, peer) = self.free_addresses(1)?.remove(0);
        let join = format!("--join={}", self.nodes[through].peer);
        self.push(&client, &peer, vec![join]);
        let node = self.nodes.len() - 1;
        self.restart(node)?;
        Ok(node)
    }

    /// Starts a node that is gone with an empty disk, at the addresses that it had: it joins as a new member.
    pub(crate) fn renew(&mut self, node: usize, through: usize) -> Result<()> {
        delete(&self.nodes[node])?;
        let join = format!("--join={}", self.nodes[through].peer);
        self.equip(node, vec![join]);
        self.restart(node)
    }

    /// Ends the node that was added last and forgets it, with its data.
    pub(crate) async fn discard_last(&mut self) -> Result<()> {
        let Some(node) = self.nodes.len().checked_sub(1) else { return Ok(()) };
        self.kill(node)?;
        self.gone(node).await?;
        delete(&self.nodes[node])?;
        self.nodes.pop();
        self.network.as_mut().map_or(Ok(()), Network::remove_last)
    }

    /// Cuts a node off from all others and from clients.
    pub(crate) fn cut(&self, node: usize) -> Result<()> {
        self.network.as_ref().context("loopback cannot be cut")?.cut(node)
    }

    /// Ends that.
    pub(crate) fn heal(&self, node: usize) -> Result<()> {
        self.network.as_ref().context("loopback cannot be cut")?.heal(node)
    }

    /// Sends a signal to a node by its name, such as `TERM`.
    pub(crate) async fn signal(&self, node: usize, name: &str) -> Result<()> {
        let process = self.nodes[node].process.as_ref().context("the node does not run")?;
        process.signal(name).await
    }

    /// The process of a node, if it runs.
    pub(crate) fn pid(&self, node: usize) -> Option<u32> {
        self.nodes[node].process.as_ref()?.pid()
    }

    /// Where clients reach a node.
    pub(crate) fn address(&self, node: usize) -> &str {
        &self.nodes[node].client
    }

    /// Fails with the end of its log when a node has ended by itself.
    pub(crate) fn check(&mut self) -> Result<()> {
        self.nodes.iter_mut().filter_map(|node| node.process.as_mut()).try_for_each(|process| process.check())
    }
}

fn delete(node: &Node) -> Result<()> {
    let path = node.data.display();
    std::fs::remove_dir_all(&node.data).with_context(|| format!("{path} cannot be deleted"))
}
