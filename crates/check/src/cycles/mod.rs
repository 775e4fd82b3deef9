//! Is a history of transactions serializable? In the manner of Elle: direct anomalies first, then cycles.
//!
//! # Path of a history
//! ```text
//!   TransactionHistory
//!     | view      who counts: committed, or unknown and seen; who touched which key
//!     v
//!   lists, registers   for each key: G1a, G1b, internal, duplicate, ...; edges ww, wr, rw
//!   order              edges of clients and of real time
//!     | edges     sorted by source, four bytes each
//!     v
//!   components    Tarjan: none of two nodes or more = nothing is wrong
//!     | search    in each one, from the weakest promise up: a short cycle, its name, its keys
//!     v
//!   CycleVerdict
//! ```
//! Every edge holds in each order of the transactions that explains the answers, so a cycle proves that there is none
//! (CHECK-4). Of lists all edges are known, and without a cycle any order along them explains everything (CHECK-5);
//! registers that are written without being read hide some. All steps take time linear in the history but for sorts within keys and by time; no step recurses; and
//! nothing depends on chance or on the addresses of things (CHECK-6).

mod anomaly;
mod components;
mod edges;
mod evidence;
mod inference;
mod lists;
mod order;
mod registers;
mod search;
mod view;
mod writes;

pub use anomaly::{Anomaly, AnomalyKind, CycleClass, CycleOrder, CycleVerdict};

use components::components;
use edges::{EdgeList, Whys};
use inference::Inference;
use view::View;

use crate::transactions::TransactionHistory;

/// Judges whether some order of the transactions, in which each client's own stay in its order, explains all answers.
/// Keys are lists that are empty and registers that hold nothing before the history begins.
///
/// # Panics
/// When a value was written to one key twice: a mistake of the test.
pub fn check_serializable(history: &TransactionHistory) -> CycleVerdict {
    check(history, false)
}

/// Judges the same, and whether that order respects real time too: who ended before another began comes first.
///
/// # Panics
/// As [`check_serializable`].
pub fn check_strictly_serializable(history: &TransactionHistory) -> CycleVerdict {
    check(history, true)
}

fn check(history: &TransactionHistory, is_strict: bool) -> CycleVerdict {
    let view = View::new(history);
    let judged = (0..view.transactions()).filter(|transaction| view.counts(*transaction)).count();
    // A read gives two edges, a write one or two, time and clients four for each transaction.
    let edges_expected = 2 * history.all_steps().len() + 4 * history.len();
    let edges = EdgeList::new(history.len(), edges_expected);
    let mut inference = Inference { view, edges, verdict: CycleVerdict::default(), is_strict, explained: Vec::new() };
    for key in 0..history.key_count() as u32 {
        match history.is_list(key) {
            true => lists::infer(&mut inference, key),
            false => registers::infer(&mut inference, key),
        }
    }
    order::infer(&mut inference);
    let edges = std::mem::replace(&mut inference.edges, EdgeList::new(0, 0));
    let edge_count = edges.len();
    let graph = edges.into_graph();
    for component in components(&graph, Whys::ALL, |_| false) {
        search::name_cycles(&mut inference, &graph, &component);
    }
    inference.verdict.anomalies.sort_by_key(|anomaly| match anomaly.kind {
        AnomalyKind::Cycle(class, order) => Some((order, class)),
        _ => None,
    });
    CycleVerdict { judged, edges: edge_count, ..inference.verdict }
}
