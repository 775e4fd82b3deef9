//! A network that can be cut: each node in a network namespace of its own, joined by a bridge on which this process has
//! an address too. It needs root on Linux.

use std::path::Path;
use std::process::Command;
use std::sync::{Mutex, MutexGuard};

use super::home::run_by;

/// The network. Dropped, it is gone, also after a panic.
pub struct Network {
    subnet: u32,
    nodes: Vec<u16>,
    /// Names are made of the process id, so a process has one network at a time.
    _only: MutexGuard<'static, ()>,
}

impl Network {
    /// A bridge without nodes, or why there can be none here.
    pub fn new() -> Result<Network, String> {
        static ONLY: Mutex<()> = Mutex::new(());
        let only = ONLY.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let pid = std::process::id();
        remove_leftovers()?;
        let taken = ip("-o -4 address show")?;
        let mut subnets = (0..250).map(|step| 1 + (pid + step) % 250);
        let subnet = subnets.find(|subnet| !taken.contains(&format!(" 10.77.{subnet}."))).ok_or("no subnet is free")?;
        let network = Network { subnet, nodes: Vec::new(), _only: only };
        // Somebody may make a bridge, but no namespaces.
        ip(&format!("netns add {}", space(0)))?;
        ip(&format!("netns delete {}", space(0)))?;
        ip(&format!("link add name {} type bridge", bridge()))?;
        ip(&format!("address add 10.77.{subnet}.1/24 dev {}", bridge()))?;
        ip(&format!("link set dev {} up", bridge()))?;
        Ok(network)
    }

    /// The address of a node.
    pub fn host(&self, node: u16) -> String {
        format!("10.77.{}.{}", self.subnet, 10 + node)
    }

    /// Makes a place for a node, unless it has one.
    pub fn add(&mut self, node: u16) {
        if self.nodes.contains(&node) {
            return;
        }
        self.nodes.push(node);
        let (space, end, host) = (space(node), end(node), self.host(node));
        for line in [
            format!("netns add {space}"),
            format!("link add name {end} type veth peer name eth0 netns {space}"),
            format!("-n {space} address add {host}/24 dev eth0"),
            format!("-n {space} link set dev eth0 up"),
            format!("-n {space} link set dev lo up"),
            format!("link set dev {end} master {}", bridge()),
            format!("link set dev {end} up"),
        ] {
            ip(&line).expect("a bridge could be made, so can this");
        }
    }

    /// Nothing reaches the node any more, and nothing comes from it: nobody is told.
    pub fn cut(&self, node: u16) {
        ip(&format!("link set dev {} nomaster", end(node))).expect("it is on the bridge");
    }

    /// Ends that.
    pub fn heal(&self, node: u16) {
        ip(&format!("link set dev {} master {}", end(node), bridge())).expect("it is there");
    }

    /// The same command where the node is.
    pub fn inside(&self, node: u16, command: &Command) -> Command {
        let mut inside = Command::new("nsenter");
        inside.arg(format!("--net=/run/netns/{}", space(node))).arg("--");
        run_by(inside, command)
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        // What is not there any more need not be removed.
        for node in &self.nodes {
            drop(ip(&format!("link delete dev {}", end(*node))));
            drop(ip(&format!("netns delete {}", space(*node))));
        }
        drop(ip(&format!("link delete dev {}", bridge())));
    }
}

fn bridge() -> String {
    format!("strata-{}b", std::process::id())
}

/// The end of a node's cable. Interfaces have names of at most 15 characters, and a process id at most seven.
fn end(node: u16) -> String {
    let letter = char::from(b'c' + u8::try_from(node).expect("a few nodes"));
    format!("strata-{}{letter}", std::process::id())
}

fn space(node: u16) -> String {
    format!("strata-{}-{node}", std::process::id())
}

/// Runs `ip`. Returns what it prints, or what is wrong.
fn ip(arguments: &str) -> Result<String, String> {
    let output = Command::new("ip").args(arguments.split(' ')).output().map_err(|error| format!("no `ip`: {error}"))?;
    match output.status.success() {
        true => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
        false => Err(format!("`ip {arguments}`: {}", String::from_utf8_lossy(&output.stderr).trim())),
    }
}

/// Removes what tests have left behind that were killed.
fn remove_leftovers() -> Result<(), String> {
    let (links, spaces) = (ip("-o link show")?, ip("netns list")?);
    let links = links.lines().filter_map(|line| Some(line.split(": ").nth(1)?.split('@').next()?.trim()));
    for link in links.filter(|link| is_leftover(link)) {
        drop(ip(&format!("link delete dev {link}")));
    }
    for space in spaces.lines().filter_map(|line| line.split(' ').next()).filter(|space| is_leftover(space)) {
        drop(ip(&format!("netns delete {space}")));
    }
    Ok(())
}

fn is_leftover(name: &str) -> bool {
    let Some(rest) = name.strip_prefix("strata-") else { return false };
    let pid = rest.split(|letter: char| !letter.is_ascii_digit()).next().unwrap_or_default();
    !pid.is_empty() && !Path::new("/proc").join(pid).exists()
}
