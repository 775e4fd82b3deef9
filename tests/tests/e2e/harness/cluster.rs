//! A cluster whose nodes are started one by one.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::{Home, LONG, Node, Ran, command, free_base, poll, ran, run, signal};

/// Nodes that were started one by one.
pub struct Cluster {
    base: u16,
    processes: BTreeMap<u16, Node>,
    /// Those that nobody reaches.
    cut: BTreeSet<u16>,
    /// It goes after the nodes.
    home: Home,
}

impl Cluster {
    /// Three nodes that found a cluster of four shards.
    pub fn found(place: &Path, flags: &[&str]) -> Cluster {
        Cluster::found_with(place, 3, 4, flags)
    }

    /// So many nodes that found a cluster of so many shards.
    pub fn found_with(place: &Path, nodes: u16, shards: u16, flags: &[&str]) -> Cluster {
        Cluster::found_on(Home::Loopback, place, nodes, shards, flags)
    }

    /// The same, where nodes live in some other way.
    pub fn found_on(home: Home, place: &Path, nodes: u16, shards: u16, flags: &[&str]) -> Cluster {
        let mut cluster = Cluster { base: free_base(), processes: BTreeMap::new(), cut: BTreeSet::new(), home };
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
        let directory = place.join(number.to_string());
        let data = directory.display().to_string();
        let listen = self.client(number);
        let mut arguments = vec!["start", "--data", &data, "--listen", &listen];
        arguments.extend(flags);
        arguments.extend(["--format", "json"]);
        let node = Node::spawn(self.home.inside(number, &directory, command(&arguments)));
        self.processes.insert(number, node);
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
        format!("{}:{}", self.host(number), self.base + 10 * number)
    }

    fn host(&self, number: u16) -> String {
        match &self.home {
            Home::Network(network) => network.host(number),
            Home::Loopback | Home::SmallDisks { .. } => "127.0.0.1".to_owned(),
        }
    }

    /// Cuts a node off from everybody; where that is not permitted, it stands still.
    pub fn cut(&mut self, number: u16) {
        self.cut.insert(number);
        match &self.home {
            Home::Network(network) => network.cut(number),
            Home::Loopback | Home::SmallDisks { .. } => self.signal(number, "STOP"),
        }
    }

    /// Ends that.
    pub fn heal(&mut self, number: u16) {
        self.cut.remove(&number);
        match &self.home {
            Home::Network(network) => network.heal(number),
            Home::Loopback | Home::SmallDisks { .. } => self.signal(number, "CONT"),
        }
    }

    /// A command that ends by itself, where a node lives: it reaches that node also while it is cut off.
    pub fn run_beside(&self, number: u16, arguments: &[&str]) -> Ran {
        match &self.home {
            Home::Network(network) => ran(network.inside(number, &command(arguments))),
            Home::Loopback | Home::SmallDisks { .. } => run(arguments),
        }
    }

    /// The directory of a node that runs, as it sees it.
    pub fn directory(&self, place: &Path, number: u16) -> PathBuf {
        let root = PathBuf::from(format!("/proc/{}/root", self.processes[&number].pid()));
        root.join(place.strip_prefix("/").expect("an absolute path")).join(number.to_string())
    }

    /// Where other nodes reach a node.
    pub fn peer(&self, number: u16) -> String {
        format!("{}:{}", self.host(number), self.base + 10 * number + 1)
    }

    /// Where clients reach the nodes that run and are not cut off.
    pub fn addresses(&self) -> Vec<String> {
        let reached = self.processes.keys().filter(|number| !self.cut.contains(number));
        reached.map(|number| self.client(*number)).collect()
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
