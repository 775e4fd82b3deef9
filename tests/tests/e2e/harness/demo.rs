//! A demo of several nodes.

use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use super::{LONG, Node, Ran, free_base, poll, run, signal};

/// A node of a demo.
#[derive(Clone, Debug)]
pub struct Child {
    /// Its number in the demo, from 1.
    pub number: u64,
    /// Its process.
    pub pid: u32,
    /// Where clients reach it.
    pub client: String,
    /// The line that starts it again.
    pub restart: String,
}

/// A running demo. Its nodes end with it.
pub struct Demo {
    /// The demo's own process.
    pub process: Node,
    /// Its nodes.
    pub children: Vec<Child>,
    /// Port of its first node.
    pub base: u16,
}

impl Demo {
    /// Starts three nodes in a temporary directory and waits until they are ready.
    pub fn start() -> Demo {
        let base = free_base();
        Demo::start_with(base, &["--nodes", "3", "--port", &base.to_string()])
    }

    /// Starts or continues a demo in a directory.
    pub fn start_in(directory: &Path, base: u16) -> Demo {
        let directory = directory.display().to_string();
        Demo::start_with(base, &["--nodes", "3", "--port", &base.to_string(), "--keep", &directory])
    }

    fn start_with(base: u16, flags: &[&str]) -> Demo {
        let mut arguments = vec!["demo", "--no-shell"];
        arguments.extend(flags);
        let mut process = Node::start(&arguments);
        let ready = process.wait_event("ready", LONG);
        let children = ready["nodes"].as_array().expect("nodes").iter().map(child_of).collect();
        Demo { process, children, base }
    }

    /// The child with this number.
    pub fn child(&self, number: u64) -> &Child {
        self.children.iter().find(|child| child.number == number).expect("a child of this demo")
    }

    /// The child that is node `node` of the cluster.
    pub fn child_of_node(&self, node: u64) -> &Child {
        let nodes = self.ask("nodes");
        let nodes = nodes.as_array().expect("a list");
        let found = nodes.iter().find(|found| found["node"] == node).expect("a node of the cluster");
        let address = found["client_address"].as_str().expect("an address");
        self.children.iter().find(|child| child.client == address).expect("a child of this demo")
    }

    /// Client addresses of all nodes, as `--addr` wants them.
    pub fn addresses(&self) -> String {
        self.children.iter().map(|child| child.client.clone()).collect::<Vec<_>>().join(",")
    }

    /// Runs `strata ... --addr <all nodes>`.
    pub fn run(&self, arguments: &[&str]) -> Ran {
        let addresses = self.addresses();
        let mut all = arguments.to_vec();
        all.extend(["--addr", &addresses]);
        run(&all)
    }

    /// `strata cluster <question> --format json`.
    pub fn ask(&self, question: &str) -> Value {
        self.run(&["cluster", question, "--format", "json"]).succeeded().json()
    }

    /// Waits until every node answers and every shard has all its replicas.
    pub fn wait_healthy(&self, deadline: Duration) {
        poll("a healthy cluster", deadline, || {
            let ran = self.run(&["cluster", "status", "--format", "json"]);
            (ran.status == 0 && ran.json()["healthy"] == true).then_some(())
        });
    }

    /// `kill -9` of a node.
    pub fn kill(&self, number: u64) {
        signal("KILL", self.child(number).pid);
    }

    /// Waits until the demo has noticed the end of a node; gives what it told about it.
    pub fn wait_ended(&mut self, number: u64) -> Value {
        self.process.wait_told("the end of a node", LONG, |told| told["event"] == "ended" && told["node"] == number)
    }

    /// Ends the demo in good order.
    pub fn stop(self) -> (Ran, Vec<Value>) {
        self.process.stop(LONG)
    }
}

fn child_of(node: &Value) -> Child {
    let text = |name: &str| node[name].as_str().unwrap_or_else(|| panic!("{name} in {node}")).to_owned();
    Child {
        number: node["node"].as_u64().expect("a number"),
        pid: node["pid"].as_u64().and_then(|pid| u32::try_from(pid).ok()).expect("a process id"),
        client: text("client"),
        restart: text("restart"),
    }
}
