//! Nodes come and go while clients write. What was acknowledged stays.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use serde_json::Value;
use strata_client::{Client, KeyRange};

use crate::harness::{LONG, Node, Ran, free_base, poll, run};

const WRITERS: usize = 4;
/// What every step must let through while it lasts, and after it.
const WRITES: usize = 200;

/// Nodes that were started one by one.
struct Cluster {
    base: u16,
    processes: Vec<Node>,
}

impl Cluster {
    /// Three nodes that found a cluster of four shards.
    fn found(place: &Path) -> Cluster {
        let mut cluster = Cluster { base: free_base(), processes: Vec::new() };
        let join = (0..3).map(|number| cluster.peer(number)).collect::<Vec<_>>().join(",");
        for number in 0..3 {
            cluster.start(place, number, &["--join", &join, "--expect", "3", "--shards", "4"]);
        }
        cluster.processes.iter_mut().for_each(|process| drop(process.wait_event("ready", LONG)));
        cluster
    }

    fn start(&mut self, place: &Path, number: u16, flags: &[&str]) {
        let data = place.join(number.to_string()).display().to_string();
        let listen = self.client(number);
        let mut arguments = vec!["start", "--data", &data, "--listen", &listen];
        arguments.extend(flags);
        self.processes.push(Node::start(&arguments));
    }

    fn client(&self, number: u16) -> String {
        format!("127.0.0.1:{}", self.base + 10 * number)
    }

    fn peer(&self, number: u16) -> String {
        format!("127.0.0.1:{}", self.base + 10 * number + 1)
    }

    fn addresses(&self) -> Vec<String> {
        (0..self.processes.len() as u16).map(|number| self.client(number)).collect()
    }

    /// `strata cluster ... --format json`.
    fn run(&self, arguments: &[&str]) -> Ran {
        let addresses = self.addresses().join(",");
        let mut all = vec!["cluster"];
        all.extend(arguments);
        all.extend(["--addr", &addresses, "--format", "json"]);
        run(&all)
    }

    /// What is told of a node, if it is a member.
    fn node(&self, id: u64) -> Option<Value> {
        let nodes = self.run(&["nodes"]).succeeded().json();
        nodes.as_array().expect("a list").iter().find(|node| node["node"] == id).cloned()
    }

    fn wait_node(&self, id: u64, what: &str, is_so: impl Fn(&Value) -> bool) {
        poll(&format!("n{id}: {what}"), 2 * LONG, || self.node(id).filter(&is_so).map(drop));
    }

    fn wait_healthy(&self) {
        poll("a healthy cluster with nothing under way", 2 * LONG, || {
            let (status, jobs) = (self.run(&["status"]), self.run(&["jobs"]));
            let is_well = status.status == 0 && status.json()["health"] == "healthy";
            (is_well && jobs.status == 0 && jobs.json().as_array().is_some_and(Vec::is_empty)).then_some(())
        });
    }
}

/// Clients that write all the time, each key once.
struct Writers {
    acknowledged: Arc<Mutex<BTreeMap<String, String>>>,
    is_over: Arc<AtomicBool>,
    runtime: tokio::runtime::Runtime,
    client: Client,
    tasks: Vec<tokio::task::JoinHandle<()>>,
}

impl Writers {
    fn start(addresses: Vec<String>) -> Writers {
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        let client = runtime.block_on(Client::connect(addresses)).expect("the cluster answers");
        let (acknowledged, is_over) = (Arc::<Mutex<BTreeMap<_, _>>>::default(), Arc::new(AtomicBool::new(false)));
        let mut tasks = Vec::new();
        for writer in 0..WRITERS {
            let (client, acknowledged, is_over) = (client.clone(), acknowledged.clone(), is_over.clone());
            tasks.push(runtime.spawn(async move {
                for number in 0.. {
                    if is_over.load(Ordering::SeqCst) {
                        return;
                    }
                    let (key, value) = (format!("w{writer}-{number:08}"), format!("value {number}"));
                    if client.put(key.clone(), value.clone()).await.is_ok() {
                        acknowledged.lock().expect("nobody panicked").insert(key, value);
                    }
                }
            }));
        }
        Writers { acknowledged, is_over, runtime, client, tasks }
    }

    fn count(&self) -> usize {
        self.acknowledged.lock().expect("nobody panicked").len()
    }

    /// Waits until writes have gone on for a while.
    fn go_on(&self, after: &str) {
        let before = self.count();
        poll(&format!("writes after {after}"), LONG, || (self.count() >= before + WRITES).then_some(()));
    }

    /// Ends, and fails the test if something is missing or wrong.
    fn check(self) {
        self.is_over.store(true, Ordering::SeqCst);
        self.runtime.block_on(async {
            for task in self.tasks {
                task.await.expect("no writer panicked");
            }
            let items = self.client.scan_all(KeyRange::prefix("w")).await.expect("readable");
            let found: BTreeMap<_, _> = items.into_iter().map(|item| (item.key, item.value)).collect();
            let acknowledged = self.acknowledged.lock().expect("nobody panicked").clone();
            let is_lost = |(key, value): &(&String, &String)| {
                found.get(key.as_bytes()).is_none_or(|found| found.as_ref() != value.as_bytes())
            };
            let lost: Vec<_> = acknowledged.iter().filter(is_lost).collect();
            let all = acknowledged.len();
            assert!(lost.is_empty(), "{} of {all} acknowledged writes are lost: {:?}", lost.len(), &lost[..1]);
        });
    }
}

#[test]
fn nodes_join_drain_and_leave_under_load_and_nothing_is_lost() {
    let place = tempfile::tempdir().expect("a temporary directory");
    let mut cluster = Cluster::found(place.path());
    cluster.wait_healthy();
    let writers = Writers::start(cluster.addresses());
    writers.go_on("the founding");

    // Any member will do, and nobody said how many there are.
    let member = cluster.peer(1);
    cluster.start(place.path(), 3, &["--join", &member]);
    let ready = cluster.processes[3].wait_event("ready", LONG);
    assert_eq!(ready["node"], 4, "{ready}");
    cluster.wait_node(4, "it holds replicas", |node| node["replicas"].as_u64() > Some(0));
    cluster.wait_healthy();
    writers.go_on("a node joined");

    let drained = cluster.run(&["drain", "n1", "--wait=60s"]).succeeded().json();
    assert_eq!((&drained["state"], &drained["done"]), (&"draining".into(), &true.into()), "{drained}");
    cluster.wait_node(1, "it drains", |node| node["state"] == "draining" && node["leaders"] == 0);
    writers.go_on("a node drained");
    cluster.run(&["undrain", "n1", "--wait=60s"]).succeeded();
    cluster.wait_node(1, "it leads again", |node| node["state"] == "active" && node["leaders"].as_u64() > Some(0));

    let removed = cluster.run(&["remove", "n2", "--wait=120s"]).succeeded().json();
    assert_eq!(removed["done"], true, "{removed}");
    assert_eq!(cluster.node(2), None, "it is no member any more");
    cluster.wait_healthy();
    writers.go_on("a node was removed");
    writers.check();
}

#[test]
fn what_the_cluster_cannot_do_is_refused_with_a_sentence_and_a_step() {
    let place = tempfile::tempdir().expect("a temporary directory");
    let cluster = Cluster::found(place.path());
    cluster.wait_healthy();
    let code_of = |ran: &Ran| {
        assert_eq!(ran.status, 1, "{ran:?}");
        let told: Value = serde_json::from_str(ran.stderr.trim()).unwrap_or_else(|error| panic!("{error}: {ran:?}"));
        assert!(told["hint"].as_str().is_some_and(|hint| !hint.is_empty()), "no next step: {told}");
        assert_eq!(told["outcome"], "not applied", "{told}");
        told["code"].as_str().expect("a code").to_owned()
    };
    assert_eq!(code_of(&cluster.run(&["drain", "n9"])), "invalid_argument");
    assert_eq!(code_of(&cluster.run(&["transfer", "s99", "--to", "n1"])), "invalid_argument");
    assert_eq!(code_of(&cluster.run(&["move", "s0", "--to", "n1"])), "refused", "it has one already");
    cluster.run(&["drain", "n1"]).succeeded();
    let refused = cluster.run(&["remove", "n2"]);
    assert_eq!(code_of(&refused), "majority_at_risk");
    assert!(refused.stderr.contains("--force") && refused.stderr.contains("no majority"), "{refused:?}");
    let notes = cluster.run(&["status"]).succeeded().json()["notes"].to_string();
    assert!(notes.contains("n1 is draining"), "{notes}");
    cluster.run(&["undrain", "n1"]).succeeded();
    let dry = cluster.run(&["balance", "--dry-run"]).succeeded().json();
    assert_eq!(dry["changes"], serde_json::json!([]), "{dry}");
    assert_eq!(cluster.run(&["jobs"]).succeeded().json(), serde_json::json!([]));
}
