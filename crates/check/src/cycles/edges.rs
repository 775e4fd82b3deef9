//! Who must come before whom, and why. Kept as four bytes an edge.

/// Nodes above this do not fit beside the kind.
const NODES_MAX: u32 = 1 << 28;

/// Why one transaction comes before another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Why {
    /// It wrote a version that the other replaced.
    WriteWrite = 0,
    /// It wrote the version that the other read.
    WriteRead = 1,
    /// It read a version that the other replaced.
    ReadWrite = 2,
    /// The same client ran it before the other.
    Process = 3,
    /// It ended before the other began.
    Realtime = 4,
    /// Like [`Why::WriteWrite`], and which version came first follows from real time.
    WriteWriteInTime = 5,
    /// Like [`Why::ReadWrite`], and which version came first follows from real time.
    ReadWriteInTime = 6,
    /// From or between nodes that stand for many edges: the way in says why.
    Link = 7,
}

const WHYS: [Why; 8] = [
    Why::WriteWrite,
    Why::WriteRead,
    Why::ReadWrite,
    Why::Process,
    Why::Realtime,
    Why::WriteWriteInTime,
    Why::ReadWriteInTime,
    Why::Link,
];

/// A set of reasons.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Whys(u8);

/// An edge without its source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Edge(u32);

/// Edges in the order in which they are found. Nodes from the number of transactions on are auxiliary.
#[derive(Debug)]
pub(crate) struct EdgeList {
    edges: Vec<(u32, Edge)>,
    nodes: u32,
}

/// Edges by their source.
#[derive(Debug)]
pub(crate) struct Graph {
    starts: Vec<u32>,
    edges: Vec<Edge>,
}

impl Whys {
    pub(crate) const ALL: Whys = Whys(u8::MAX);

    /// The given ones, and [`Why::Link`], which belongs to every set.
    pub(crate) const fn of(whys: &[Why]) -> Whys {
        let (mut bits, mut index) = (1 << Why::Link as u8, 0);
        while index < whys.len() {
            bits |= 1 << whys[index] as u8;
            index += 1;
        }
        Whys(bits)
    }

    pub(crate) const fn with(self, more: Whys) -> Whys {
        Whys(self.0 | more.0)
    }

    pub(crate) const fn without(self, fewer: &[Why]) -> Whys {
        let (mut bits, mut index) = (self.0, 0);
        while index < fewer.len() {
            bits &= !(1 << fewer[index] as u8);
            index += 1;
        }
        Whys(bits)
    }

    pub(crate) fn has(self, why: Why) -> bool {
        self.0 & (1 << why as u8) != 0
    }
}

impl Edge {
    fn new(target: u32, why: Why) -> Edge {
        Edge(target | (why as u32) << 28)
    }

    pub(crate) fn target(self) -> u32 {
        self.0 & (NODES_MAX - 1)
    }

    pub(crate) fn why(self) -> Why {
        WHYS[(self.0 >> 28) as usize & 7]
    }
}

impl EdgeList {
    /// No edges between this many transactions.
    pub(crate) fn new(transactions: usize, edges_expected: usize) -> EdgeList {
        let nodes = u32::try_from(transactions).expect("fewer than 2^32 transactions");
        assert!(nodes < NODES_MAX, "too many transactions for one history");
        EdgeList { edges: Vec::with_capacity(edges_expected), nodes }
    }

    /// A node that is no transaction.
    pub(crate) fn auxiliary(&mut self) -> u32 {
        self.nodes += 1;
        assert!(self.nodes < NODES_MAX, "too many nodes for one history");
        self.nodes - 1
    }

    /// Adds an edge, unless it leads back to where it starts.
    pub(crate) fn add(&mut self, source: u32, target: u32, why: Why) {
        if source != target {
            self.edges.push((source, Edge::new(target, why)));
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.edges.len()
    }

    /// Sorts them by their sources, those of one source as they were added.
    pub(crate) fn into_graph(self) -> Graph {
        assert!(u32::try_from(self.edges.len()).is_ok(), "too many edges for one history");
        let mut starts = vec![0u32; self.nodes as usize + 2];
        for (source, _) in &self.edges {
            starts[*source as usize + 2] += 1;
        }
        for node in 2..starts.len() {
            starts[node] += starts[node - 1];
        }
        // While edges are placed, the entry after a source's own says where its next one goes.
        let mut edges = vec![Edge(0); self.edges.len()];
        for (source, edge) in self.edges {
            let place = &mut starts[source as usize + 1];
            edges[*place as usize] = edge;
            *place += 1;
        }
        starts.pop();
        Graph { starts, edges }
    }
}

impl Graph {
    pub(crate) fn node_count(&self) -> usize {
        self.starts.len() - 1
    }

    /// The positions of a node's edges.
    pub(crate) fn span(&self, node: u32) -> std::ops::Range<u32> {
        self.starts[node as usize]..self.starts[node as usize + 1]
    }

    pub(crate) fn edge(&self, position: u32) -> Edge {
        self.edges[position as usize]
    }

    pub(crate) fn edges(&self, node: u32) -> &[Edge] {
        let span = self.span(node);
        &self.edges[span.start as usize..span.end as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edges_are_sorted_by_source_and_keep_their_reason() {
        let mut list = EdgeList::new(3, 4);
        let auxiliary = list.auxiliary();
        list.add(2, 0, Why::ReadWrite);
        list.add(0, auxiliary, Why::Realtime);
        list.add(1, 1, Why::WriteWrite);
        list.add(auxiliary, 2, Why::Link);
        list.add(0, 2, Why::WriteRead);
        assert_eq!(list.len(), 4);
        let graph = list.into_graph();
        let edges =
            |node| -> Vec<(u32, Why)> { graph.edges(node).iter().map(|edge| (edge.target(), edge.why())).collect() };
        assert_eq!(graph.node_count(), 4);
        assert_eq!(edges(0), [(3, Why::Realtime), (2, Why::WriteRead)]);
        assert_eq!(edges(1), []);
        assert_eq!(edges(2), [(0, Why::ReadWrite)]);
        assert_eq!(edges(3), [(2, Why::Link)]);
    }

    #[test]
    fn sets_of_reasons_always_have_links() {
        let set = Whys::of(&[Why::WriteWrite, Why::ReadWrite]);
        assert!(set.has(Why::WriteWrite) && set.has(Why::Link) && !set.has(Why::WriteRead));
        assert!(!set.without(&[Why::ReadWrite]).has(Why::ReadWrite));
        assert!(set.with(Whys::of(&[Why::Process])).has(Why::Process));
    }
}
