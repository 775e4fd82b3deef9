//! Which cycles there are in a component, and what they are called.
//!
//! Edges are let in by and by: writes, reads, reads that were replaced; then the order of clients, then real time. The
//! first cycle that appears names the weakest promise that was broken. Its transactions are taken out, so that what is
//! told next has nothing to do with it. The name is read off the cycle itself, never off the way it was found.

use std::collections::VecDeque;

use super::anomaly::{AnomalyKind, CycleClass, CycleOrder, LISTED_MAX};
use super::components::components;
use super::edges::{EdgeList, Graph, Why, Whys};
use super::evidence;
use super::inference::Inference;

/// Nodes from which a shortest cycle is sought, and cycles with one replaced read that are compared.
const TRIES_MAX: usize = 16;
/// Nodes visited on behalf of one component and one set of edges before the search for a shorter or simpler cycle
/// ends: seconds.
const WORK_MAX: u64 = 1 << 26;
/// Searches for components in one component, times its nodes: bounds the work after many cycles were found.
const ROUNDS_WORK_MAX: u64 = 1 << 30;

const WRITES: Whys = Whys::of(&[Why::WriteWrite]);
const READS: Whys = Whys::of(&[Why::WriteWrite, Why::WriteRead]);
const REPLACED: Whys = Whys::of(&[Why::WriteWrite, Why::WriteRead, Why::ReadWrite]);
const PROCESS: Whys = Whys::of(&[Why::Process]);
const TIME: Whys = Whys::of(&[Why::Process, Why::Realtime]);
const IN_TIME: Whys = Whys::of(&[Why::Process, Why::Realtime, Why::WriteWriteInTime, Why::ReadWriteInTime]);

/// What is let in at each stage, and whether it has replaced reads.
const STAGES: [(Whys, bool); 9] = [
    (WRITES, false),
    (READS, false),
    (REPLACED, true),
    (WRITES.with(PROCESS), false),
    (READS.with(PROCESS), false),
    (REPLACED.with(PROCESS), true),
    (WRITES.with(TIME), false),
    (READS.with(TIME), false),
    (REPLACED.with(IN_TIME), true),
];

/// A cycle or a path: each node with the reason why it comes before the next.
type Path = Vec<(u32, Why)>;

/// Reports the cycles of a component of the whole graph.
pub(crate) fn name_cycles(inference: &mut Inference<'_>, graph: &Graph, component: &[u32]) {
    let mut search = Search::new(graph, component, inference.view.transactions());
    let mut explained = vec![false; component.len()];
    for transaction in &inference.explained {
        if let Ok(node) = component.binary_search(transaction) {
            explained[node] = true;
        }
    }
    let mut rounds_work = 0;
    for (whys, has_replaced_reads) in STAGES {
        loop {
            let named = &search.named;
            let is_left_out = |node: u32| named[node as usize] || (has_replaced_reads && explained[node as usize]);
            let found = components(&search.graph, whys, is_left_out);
            if found.is_empty() {
                break;
            }
            for members in found {
                if inference.verdict.anomalies.len() >= LISTED_MAX {
                    return;
                }
                let Some(cycle) = search.cycle(&members, whys, has_replaced_reads) else { continue };
                let hops = search.hops(&cycle);
                report(inference, &hops);
            }
            rounds_work += search.graph.node_count() as u64;
            if rounds_work > ROUNDS_WORK_MAX {
                break;
            }
        }
    }
}

/// A component as a graph of its own.
struct Search<'a> {
    nodes: &'a [u32],
    transactions: u32,
    graph: Graph,
    /// Those in a cycle that was reported.
    named: Vec<bool>,
    /// The number of the part that is searched, for its nodes.
    part: Vec<u32>,
    part_number: u32,
    /// The number of the walk that came to a node last, and from where.
    walk: Vec<u32>,
    walk_number: u32,
    from: Vec<(u32, Why)>,
    work: u64,
}

impl<'a> Search<'a> {
    fn new(graph: &Graph, nodes: &'a [u32], transactions: u32) -> Search<'a> {
        let mut edges = EdgeList::new(nodes.len(), 0);
        for (number, node) in nodes.iter().enumerate() {
            for edge in graph.edges(*node) {
                if let Ok(target) = nodes.binary_search(&edge.target()) {
                    edges.add(number as u32, target as u32, edge.why());
                }
            }
        }
        Search {
            nodes,
            transactions,
            graph: edges.into_graph(),
            named: vec![false; nodes.len()],
            part: vec![0; nodes.len()],
            part_number: 0,
            walk: vec![0; nodes.len()],
            walk_number: 0,
            from: vec![(0, Why::Link); nodes.len()],
            work: 0,
        }
    }

    fn is_transaction(&self, node: u32) -> bool {
        self.nodes[node as usize] < self.transactions
    }

    /// A short cycle of a part, and of few replaced reads.
    fn cycle(&mut self, members: &[u32], whys: Whys, has_replaced_reads: bool) -> Option<Path> {
        self.part_number += 1;
        self.work = 0;
        members.iter().for_each(|node| self.part[*node as usize] = self.part_number);
        let mut best = None;
        if has_replaced_reads {
            best = self.cycle_of_one_replaced_read(members, whys);
        }
        if best.is_none() {
            let starts = members.iter().copied().filter(|node| self.is_transaction(*node)).collect::<Vec<_>>();
            for start in starts.into_iter().take(TRIES_MAX) {
                let found = self.path(start, start, whys);
                best = self.shorter(best, found);
                if self.work > WORK_MAX {
                    break;
                }
            }
        }
        for (node, _) in best.iter().flatten() {
            self.named[*node as usize] = self.is_transaction(*node);
        }
        best
    }

    fn cycle_of_one_replaced_read(&mut self, members: &[u32], whys: Whys) -> Option<Path> {
        let others = whys.without(&[Why::ReadWrite, Why::ReadWriteInTime]);
        let (mut best, mut tries) = (None, 0);
        for &source in members {
            for position in self.graph.span(source) {
                let edge = self.graph.edge(position);
                let is_replaced = matches!(edge.why(), Why::ReadWrite | Why::ReadWriteInTime);
                if !is_replaced || !whys.has(edge.why()) || self.part[edge.target() as usize] != self.part_number {
                    continue;
                }
                if let Some(path) = self.path(edge.target(), source, others) {
                    let cycle = [vec![(source, edge.why())], path].concat();
                    best = self.shorter(best, Some(cycle));
                    tries += 1;
                }
                if tries == TRIES_MAX || self.work > WORK_MAX {
                    return best;
                }
            }
        }
        best
    }

    fn shorter(&self, left: Option<Path>, right: Option<Path>) -> Option<Path> {
        let length = |path: &Path| path.iter().filter(|(node, _)| self.is_transaction(*node)).count();
        match (left, right) {
            (Some(left), Some(right)) => Some(if length(&right) < length(&left) { right } else { left }),
            (left, right) => left.or(right),
        }
    }

    /// A path of few transactions from a node to one that is not reached before a step is made. Links are free.
    fn path(&mut self, from: u32, to: u32, whys: Whys) -> Option<Path> {
        self.walk_number += 1;
        let mut queue = VecDeque::from([from]);
        self.walk[from as usize] = self.walk_number;
        while let Some(node) = queue.pop_front() {
            for position in self.graph.span(node) {
                let edge = self.graph.edge(position);
                let target = edge.target();
                self.work += 1;
                if !whys.has(edge.why()) || self.part[target as usize] != self.part_number {
                    continue;
                }
                if target == to {
                    return Some(self.path_back(from, node, edge.why()));
                }
                if self.walk[target as usize] == self.walk_number {
                    continue;
                }
                self.walk[target as usize] = self.walk_number;
                self.from[target as usize] = (node, edge.why());
                match edge.why() {
                    Why::Link => queue.push_front(target),
                    _ => queue.push_back(target),
                }
            }
        }
        None
    }

    fn path_back(&self, from: u32, last: u32, why: Why) -> Path {
        let mut path = vec![(last, why)];
        let mut node = last;
        while node != from {
            let (before, why) = self.from[node as usize];
            path.push((before, why));
            node = before;
        }
        path.reverse();
        path
    }

    /// The transactions of a cycle, the earliest first, each with the reason why it comes before the next.
    fn hops(&self, cycle: &Path) -> Path {
        let transactions = cycle.iter().filter(|(node, _)| self.is_transaction(*node));
        let mut hops: Path = transactions.map(|(node, why)| (self.nodes[*node as usize], *why)).collect();
        let first = (0..hops.len()).min_by_key(|index| hops[*index].0).unwrap_or(0);
        hops.rotate_left(first);
        hops
    }
}

fn report(inference: &mut Inference<'_>, hops: &Path) {
    let (class, order) = name(hops);
    let mut story = format!("{}: ", words(class, order, hops));
    let mut keys = Vec::new();
    for (index, (transaction, why)) in hops.iter().enumerate() {
        let next = hops[(index + 1) % hops.len()].0;
        let key = evidence::key(&inference.view, *transaction, next, *why);
        let reason = match why {
            Why::WriteWrite | Why::WriteWriteInTime => "ww",
            Why::WriteRead => "wr",
            Why::ReadWrite | Why::ReadWriteInTime => "rw",
            Why::Process => "process",
            Why::Realtime | Why::Link => "realtime",
        };
        let seen = key.map(|key| format!(" key {}", inference.view.history.key_name(key))).unwrap_or_default();
        keys.extend(key.map(|key| inference.view.history.key_name(key)));
        story.push_str(&format!("t{transaction} -{reason}{seen}-> "));
    }
    let transactions: Vec<u32> = hops.iter().map(|(transaction, _)| *transaction).collect();
    story.push_str(&format!("t{}", transactions[0]));
    inference.verdict.report(AnomalyKind::Cycle(class, order), &transactions, &keys, story);
}

fn name(hops: &Path) -> (CycleClass, CycleOrder) {
    let count = |whys: &[Why]| hops.iter().filter(|(_, why)| whys.contains(why)).count();
    let order = match () {
        () if count(&[Why::Realtime, Why::WriteWriteInTime, Why::ReadWriteInTime]) > 0 => CycleOrder::Realtime,
        () if count(&[Why::Process]) > 0 => CycleOrder::Process,
        () => CycleOrder::Plain,
    };
    // Which of two writes was first in time follows from a read of one of them.
    let class = match count(&[Why::ReadWrite, Why::ReadWriteInTime]) {
        0 if count(&[Why::WriteWriteInTime]) > 0 => CycleClass::GSingle,
        0 if count(&[Why::WriteRead]) > 0 => CycleClass::G1c,
        0 => CycleClass::G0,
        1 => CycleClass::GSingle,
        _ => CycleClass::G2,
    };
    (class, order)
}

fn words(class: CycleClass, order: CycleOrder, hops: &Path) -> &'static str {
    let pairs = || hops.iter().zip(hops.iter().cycle().skip(1));
    // One write ended before another began, and somebody saw the second one only.
    let is_between_writers =
        pairs().any(|((_, why), (_, next))| matches!(why, Why::Realtime | Why::Process) && *next == Why::WriteRead);
    match (class, order) {
        (CycleClass::G0, _) => "dirty write",
        (CycleClass::G1c, CycleOrder::Plain) => "information flows in a circle",
        (CycleClass::G1c, _) => "read from the future",
        (CycleClass::GSingle, CycleOrder::Plain) => "read skew",
        (CycleClass::GSingle, _) if is_between_writers => "causal reverse",
        (CycleClass::GSingle, _) => "stale read",
        (CycleClass::G2, CycleOrder::Plain) => "write skew",
        (CycleClass::G2, _) => "write skew or long fork in time",
    }
}
