//! Strongly connected components: the transactions of each must come before one another, so something is wrong.
//!
//! Tarjan's algorithm in Pearce's form, which needs four bytes a node, with a stack of its own: the graph of a long
//! history has paths of millions of nodes.

use super::edges::{Graph, Whys};

/// The rank of nodes that are left out.
const LEFT_OUT: u32 = u32::MAX;

/// Components of two nodes and more over edges of the given kinds, each with its nodes in order, in the order of
/// their first nodes. Nodes of which `is_left_out` says so are not there.
pub(crate) fn components(graph: &Graph, whys: Whys, is_left_out: impl Fn(u32) -> bool) -> Vec<Vec<u32>> {
    let nodes = 0..graph.node_count() as u32;
    let mut walk = Walk {
        graph,
        whys,
        rank: nodes.map(|node| if is_left_out(node) { LEFT_OUT } else { 0 }).collect(),
        rank_next: 1,
        component_next: LEFT_OUT - 1,
        path: Vec::new(),
        waiting: Vec::new(),
        found: Vec::new(),
    };
    for node in 0..graph.node_count() as u32 {
        if walk.rank[node as usize] == 0 {
            walk.visit(node);
        }
    }
    let mut found = walk.found;
    found.iter_mut().for_each(|component| component.sort_unstable());
    found.sort_unstable();
    found
}

struct Walk<'a> {
    graph: &'a Graph,
    whys: Whys,
    /// 0: not visited; small: the smallest rank of a node that is reached and not in a component yet; large (counted
    /// down from the top): the number of its component.
    rank: Vec<u32>,
    rank_next: u32,
    component_next: u32,
    path: Vec<Frame>,
    /// Nodes that are done and whose component is not.
    waiting: Vec<u32>,
    found: Vec<Vec<u32>>,
}

struct Frame {
    node: u32,
    /// Position of the next edge to look at.
    next: u32,
    is_root: bool,
}

impl Walk<'_> {
    fn visit(&mut self, start: u32) {
        self.enter(start);
        while let Some(mut frame) = self.path.pop() {
            let node = frame.node as usize;
            let end = self.graph.span(frame.node).end;
            let mut child = None;
            while frame.next < end {
                let edge = self.graph.edge(frame.next);
                if self.whys.has(edge.why()) {
                    let target = edge.target();
                    if self.rank[target as usize] == 0 {
                        // The same edge is looked at again when the child is done.
                        child = Some(target);
                        break;
                    }
                    if self.rank[target as usize] < self.rank[node] {
                        self.rank[node] = self.rank[target as usize];
                        frame.is_root = false;
                    }
                }
                frame.next += 1;
            }
            match child {
                Some(child) => {
                    self.path.push(frame);
                    self.enter(child);
                }
                None => self.leave(&frame),
            }
        }
    }

    fn enter(&mut self, node: u32) {
        self.rank[node as usize] = self.rank_next;
        self.rank_next += 1;
        self.path.push(Frame { node, next: self.graph.span(node).start, is_root: true });
    }

    fn leave(&mut self, frame: &Frame) {
        if !frame.is_root {
            self.waiting.push(frame.node);
            return;
        }
        self.rank_next -= 1;
        let mut members = Vec::new();
        while let Some(&node) = self.waiting.last() {
            if self.rank[node as usize] < self.rank[frame.node as usize] {
                break;
            }
            self.waiting.pop();
            self.rank[node as usize] = self.component_next;
            self.rank_next -= 1;
            members.push(node);
        }
        self.rank[frame.node as usize] = self.component_next;
        self.component_next -= 1;
        if !members.is_empty() {
            members.push(frame.node);
            self.found.push(members);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::edges::{EdgeList, Why};
    use super::*;

    fn graph(nodes: usize, edges: &[(u32, u32)]) -> Graph {
        let mut list = EdgeList::new(nodes, edges.len());
        edges.iter().for_each(|(source, target)| list.add(*source, *target, Why::WriteRead));
        list.into_graph()
    }

    #[test]
    fn nested_and_separate_cycles_are_told_apart() {
        let edges = [(0, 1), (1, 2), (2, 0), (2, 3), (3, 4), (4, 5), (5, 3), (5, 4), (6, 0), (7, 6), (8, 9), (9, 8)];
        assert_eq!(components(&graph(10, &edges), Whys::ALL, |_| false), [vec![0, 1, 2], vec![3, 4, 5], vec![8, 9]]);
        let without = components(&graph(10, &edges), Whys::ALL, |node| matches!(node, 1 | 3 | 9));
        assert_eq!(without, [vec![4, 5]]);
        assert!(components(&graph(10, &edges), Whys::of(&[Why::WriteWrite]), |_| false).is_empty());
    }

    #[test]
    fn components_are_those_of_plain_reachability() {
        let mut state = 7u64;
        for _ in 0..500 {
            let mut draw = |bound: u64| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                (state >> 33) % bound
            };
            let nodes = 2 + draw(9) as usize;
            let edges: Vec<(u32, u32)> =
                (0..draw(20)).map(|_| (draw(nodes as u64) as u32, draw(nodes as u64) as u32)).collect();
            let mut reaches = vec![vec![false; nodes]; nodes];
            edges.iter().for_each(|(source, target)| reaches[*source as usize][*target as usize] = true);
            for middle in 0..nodes {
                for source in 0..nodes {
                    for target in 0..nodes {
                        reaches[source][target] |= reaches[source][middle] && reaches[middle][target];
                    }
                }
            }
            let members = |node: usize| -> Vec<u32> {
                let both_ways = (0..nodes).filter(|other| reaches[node][*other] && reaches[*other][node]);
                both_ways.map(|other| other as u32).collect()
            };
            let mut expected: Vec<Vec<u32>> = (0..nodes).map(members).filter(|members| members.len() > 1).collect();
            expected.sort();
            expected.dedup();
            assert_eq!(components(&graph(nodes, &edges), Whys::ALL, |_| false), expected, "{edges:?}");
        }
    }

    #[test]
    fn a_cycle_of_a_million_nodes_needs_no_deep_stack() {
        let edges: Vec<(u32, u32)> = (0..1_000_000).map(|node| (node, (node + 1) % 1_000_000)).collect();
        assert_eq!(components(&graph(1_000_000, &edges), Whys::ALL, |_| false)[0].len(), 1_000_000);
    }
}
