//! A cluster whose nodes are started one by one.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;

use super::{LONG, Node, Ran, free_base, poll, run, signal};

/// Nodes that were started one by one.
pub struct Cluster {
    base: u16,
    processes: BTreeMap<u16, Node>,
}

impl Cluster {
    /// Three nodes that found a cluster of four shards.
    pub fn found(place: &Path, flags: &[&str]) -> Cluster {
        Cluster::found_with(place, 3, 4, flags)
    }

    /// So many nodes that found a cluster of so many shards.
    pub fn found_with(place: &Path, nodes: u16, shards: u16, flags: &[&str]) -> Cluster {
        let mut cluster = Cluster { base: free_base(), processes: BTreeMap::new() };
        let join = (0..nodes).map(|number| cluster.peer(number)).collect::<Vec<_>>().join(",");
        let (expect, shards) = (nodes.to_string(), shards.to_string());
        for number in 0..nodes {
            let mut all = vec!["--join", &join, "--expect", &expect, "--shards", &shards];
            all.extend(flags);
            cluster.start(place, number, &all);
        }
        (0..nodes).for_each(|number| drop(cluster.wait_ready(number)));
        cluster
    }

    /// Starts a node on its directory.
    pub fn start(&mut self, place: &Path, number: u16, flags: &[&str]) {
        let data = place.join(number.to_string()).display().to_string();
        let listen = self.client(number);
        let mut arguments = vec!["start", "--data", &data, "--listen", &listen];
        arguments.extend(flags);
        self.processes.insert(number, Node::start(&arguments));
    }

    /// Waits until a node is ready; gives what it told.
    pub fn wait_ready(&mut self, number: u16) -> Value {
        self.processes.get_mut(&number).expect("it was started").wait_event("ready", LONG)
    }

    /// Waits until a node ends by itself.
    pub fn wait_end(&mut self, number: u16) -> Ran {
        self.processes.remove(&number).expect("it was started").wait_end(LONG)
    }

    /// Ends a node in good order.
    pub fn stop(&mut self, number: u16) {
        let (ran, _) = self.processes.remove(&number).expect("it was started").stop(LONG);
        ran.succeeded();
    }

    /// `kill -9` of a node.
    pub fn kill(&mut self, number: u16) {
        self.processes.remove(&number).expect("it was started").kill();
    }

    /// Sends a signal to a node: `STOP` makes it stand still, `CONT` lets it go on.
    pub fn signal(&self, number: u16, name: &str) {
        signal(name, self.processes[&number].pid());
    }

    /// Which process is this node of the cluster.
    pub fn number_of(&self, id: u64) -> u16 {
        let address = self.node(id).expect("a member")["client_address"].as_str().expect("an address").to_owned();
        let mut numbers = self.processes.keys();
        *numbers.find(|number| self.client(**number) == address).expect("it was started here")
    }

    /// Where clients reach a node.
    pub fn client(&self, number: u16) -> String {
        format!("127.0.0.1:{}", self.base + 10 * number)
    }

    /// Where other nodes reach a node.
    pub fn peer(&self, number: u16) -> String {
        format!("127.0.0.1:{}", self.base + 10 * number + 1)
    }

    /// Where clients reach the nodes that run.
    pub fn addresses(&self) -> Vec<String> {
        self.processes.keys().map(|number| self.client(*number)).collect()
    }

    /// `strata cluster ... --format json`.
    pub fn run(&self, arguments: &[&str]) -> Ran {
        let addresses = self.addresses().join(",");
        let mut all = vec!["cluster"];
        all.extend(arguments);
        all.extend(["--addr", &addresses, "--format", "json"]);
        run(&all)
    }

    /// What is told of a node, if it is a member.
    pub fn node(&self, id: u64) -> Option<Value> {
        let nodes = self.run(&["nodes"]).succeeded().json();
        nodes.as_array().expect("a list").iter().find(|node| node["node"] == id).cloned()
    }

    /// Waits until what is told of a node is so.
    pub fn wait_node(&self, id: u64, what: &str, is_so: impl Fn(&Value) -> bool) {
        poll(&format!("n{id}: {what}"), 2 * LONG, || self.node(id).filter(&is_so).map(drop));
    }

    /// Waits until all is well and nothing is under way.
    pub fn wait_healthy(&self) {
        poll("a healthy cluster with nothing under way", 2 * LONG, || {
            let (status, jobs) = (self.run(&["status"]), self.run(&["jobs"]));
            let is_well = status.status == 0 && status.json()["health"] == "healthy";
            (is_well && jobs.status == 0 && jobs.json().as_array().is_some_and(Vec::is_empty)).then_some(())
        });
    }
}
