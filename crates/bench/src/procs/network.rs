//! A network that can be cut: each node lives in a network namespace of its own, and a bridge joins them.
//!
//! ```text
//!   this process -- bridge strata-PIDb 10.77.N.1 --+-- strata-PIDc ==== eth0 10.77.N.10 in namespace strata-PID-0
//!                                                  +-- strata-PIDd ==== eth0 10.77.N.11 in namespace strata-PID-1
//! ```
//! A node is cut off by taking its end off the bridge, as a switch that fails does it: packets of both directions are
//! lost, to the other nodes and to clients, and nobody is told. Processes notice by what does not come, as they must.
//!
//! Names carry the id of this process: what a process left behind that was killed is removed by the next one.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

const PREFIX: &str = "strata-";
/// Nodes of one network: as many as names of their ends.
const NODES_MAX: usize = 20;
/// Addresses of nodes begin here; the bridge has the first.
const FIRST_HOST: usize = 10;

/// The network. Dropped, it is gone; the processes in it must have ended before.
pub(crate) struct Network {
    /// Third part of all addresses.
    subnet: u32,
    nodes: usize,
}

impl Network {
    /// A bridge without nodes. Fails where the system does not allow it.
    pub(crate) fn new() -> Result<Network> {
        let pid = std::process::id();
        remove_leftovers()?;
        let taken = ip("-o -4 address show")?;
        let mut subnets = (0..250).map(|step| 1 + (pid + step) % 250);
        let subnet = subnets.find(|subnet| !taken.contains(&format!(" 10.77.{subnet}.")));
        let subnet = subnet.context("no subnet of 10.77.0.0/16 is free")?;
        let network = Network { subnet, nodes: 0 };
        let bridge = bridge();
        ip(&format!("link add name {bridge} type bridge"))?;
        ip(&format!("address add 10.77.{subnet}.1/24 dev {bridge}"))?;
        ip(&format!("link set dev {bridge} up"))?;
        Ok(network)
    }

    /// Makes room for one more node. Returns its address.
    pub(crate) fn add(&mut self) -> Result<String> {
        let node = self.nodes;
        if node == NODES_MAX {
            bail!("a network has at most {NODES_MAX} nodes");
        }
        let (space, end, address) = (space(node), end(node), self.address(node));
        self.nodes += 1;
        ip(&format!("netns add {space}"))?;
        ip(&format!("link add name {end} type veth peer name eth0 netns {space}"))?;
        ip(&format!("-n {space} address add {address}/24 dev eth0"))?;
        ip(&format!("-n {space} link set dev eth0 up"))?;
        ip(&format!("-n {space} link set dev lo up"))?;
        ip(&format!("link set dev {end} master {}", bridge()))?;
        ip(&format!("link set dev {end} up"))?;
        Ok(address)
    }

    /// Removes the node that was added last.
    pub(crate) fn remove_last(&mut self) -> Result<()> {
        let Some(node) = self.nodes.checked_sub(1) else { return Ok(()) };
        self.nodes = node;
        // Its end goes with it, but only after its last process: so it is taken away first.
        let (link, namespace) =
            (ip(&format!("link delete dev {}", end(node))), ip(&format!("netns delete {}", space(node))));
        link.and(namespace).map(drop)
    }

    /// Nothing reaches the node any more, and nothing comes from it.
    pub(crate) fn cut(&self, node: usize) -> Result<()> {
        ip(&format!("link set dev {} nomaster", end(node))).map(drop)
    }

    /// The node is on the network again.
    pub(crate) fn heal(&self, node: usize) -> Result<()> {
        ip(&format!("link set dev {} master {}", end(node), bridge())).map(drop)
    }

    /// The program and the arguments that run this program where the node is, under the same process id.
    pub(crate) fn inside(node: usize, program: &Path, arguments: &[String]) -> (String, Vec<String>) {
        let mut all = vec![format!("--net=/run/netns/{}", space(node)), "--".to_owned(), program.display().to_string()];
        all.extend_from_slice(arguments);
        ("nsenter".to_owned(), all)
    }

    fn address(&self, node: usize) -> String {
        format!("10.77.{}.{}", self.subnet, FIRST_HOST + node)
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        while self.nodes > 0 {
            // There is nothing else that could be tried.
            let _ = self.remove_last();
        }
        let _ = ip(&format!("link delete dev {}", bridge()));
    }
}

fn bridge() -> String {
    format!("{PREFIX}{}b", std::process::id())
}

/// The end of a node's cable. Names of interfaces have at most 15 characters, and a process id at most seven.
fn end(node: usize) -> String {
    let letter = char::from(b'c' + node as u8);
    format!("{PREFIX}{}{letter}", std::process::id())
}

fn space(node: usize) -> String {
    format!("{PREFIX}{}-{node}", std::process::id())
}

/// Runs `ip`. Returns what it prints.
fn ip(arguments: &str) -> Result<String> {
    let output = Command::new("ip").args(arguments.split(' ')).output().context("`ip` cannot be started")?;
    if !output.status.success() {
        bail!("`ip {arguments}` failed: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Removes what processes have left behind that are gone.
fn remove_leftovers() -> Result<()> {
    let links = ip("-o link show")?;
    let links = links.lines().filter_map(|line| Some(line.split(": ").nth(1)?.split('@').next()?.trim()));
    for link in links.filter(|link| is_leftover(link)) {
        let _ = ip(&format!("link delete dev {link}"));
    }
    let spaces = ip("netns list")?;
    for space in spaces.lines().filter_map(|line| line.split(' ').next()).filter(|space| is_leftover(space)) {
        let _ = ip(&format!("netns delete {space}"));
    }
    Ok(())
}

/// Whether a name is one of ours, of a process that is gone.
fn is_leftover(name: &str) -> bool {
    let Some(rest) = name.strip_prefix(PREFIX) else { return false };
    let digits = rest.split(|letter: char| !letter.is_ascii_digit()).next().unwrap_or_default();
    digits.parse::<u32>().is_ok_and(|pid| !Path::new("/proc").join(pid.to_string()).exists())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_short_enough_and_only_those_of_dead_processes_are_leftovers() {
        assert!(bridge().len() <= 15 && end(NODES_MAX - 1).len() <= 15);
        assert_eq!(end(NODES_MAX - 1).chars().next_back(), Some('v'));
        assert!(!is_leftover(&bridge()) && !is_leftover(&space(0)), "this process runs");
        assert!(is_leftover("strata-4999999b") && is_leftover("strata-4999999-0"));
        assert!(!is_leftover("eth0") && !is_leftover("strata-x") && !is_leftover("docker0"));
    }

    #[test]
    fn a_program_runs_where_its_node_is() {
        let (program, arguments) = Network::inside(2, Path::new("/bin/strata"), &["start".to_owned()]);
        assert_eq!(program, "nsenter");
        assert_eq!(arguments[1..], ["--", "/bin/strata", "start"]);
        assert!(arguments[0].ends_with(&space(2)), "{arguments:?}");
    }
}
