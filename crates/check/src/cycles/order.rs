//! Edges from clients and clocks. Real time is a chain of auxiliary nodes, one for each time at which something began
//! after something ended, so that a history of any concurrency has at most three edges a transaction.
//!
//! ```text
//!   t1 --ends--> (a) <--ends-- t2        (a) --> t3 and t4, which began after both
//!                 |
//!                 v
//!   t3 --ends--> (b) --> t5 ...
//! ```

use super::edges::Why;
use super::inference::Inference;
use crate::transactions::TransactionHistory;

/// Adds the order of each client's transactions, and real time where it counts.
pub(crate) fn infer(inference: &mut Inference<'_>) {
    let history = inference.view.history;
    let counting = (0..inference.view.transactions()).filter(|transaction| inference.view.counts(*transaction));
    let mut by_beginning: Vec<u32> = counting.collect();
    // Stable sorts, because these are nearly in order.
    by_beginning.sort_by_key(|transaction| history.began(*transaction));
    sessions(inference, history, &by_beginning);
    if inference.is_strict {
        let mut by_end = by_beginning.clone();
        by_end.retain(|transaction| history.is_committed(*transaction));
        by_end.sort_by_key(|transaction| history.ended(*transaction));
        time(inference, history, &by_beginning, &by_end);
    }
}

/// A transaction of unknown outcome may take effect after its client's next one: nothing follows from it.
fn sessions(inference: &mut Inference<'_>, history: &TransactionHistory, by_beginning: &[u32]) {
    let mut clients = crate::transactions::Numbering::default();
    let mut last: Vec<Option<u32>> = Vec::new();
    for &transaction in by_beginning {
        let client = clients.number(history.client(transaction).0) as usize;
        if client == last.len() {
            last.push(None);
        }
        if let Some(before) = last[client].filter(|before| history.ended(*before) <= history.began(transaction)) {
            inference.edges.add(before, transaction, Why::Process);
        }
        if history.is_committed(transaction) {
            last[client] = Some(transaction);
        }
    }
}

fn time(inference: &mut Inference<'_>, history: &TransactionHistory, by_beginning: &[u32], by_end: &[u32]) {
    let (mut ended, mut barrier) = (0, None);
    for &transaction in by_beginning {
        let began = history.began(transaction);
        let from = ended;
        while ended < by_end.len() && history.ended(by_end[ended]) < began {
            ended += 1;
        }
        if from < ended {
            let next = inference.edges.auxiliary();
            by_end[from..ended].iter().for_each(|before| inference.edges.add(*before, next, Why::Realtime));
            if let Some(barrier) = barrier {
                inference.edges.add(barrier, next, Why::Link);
            }
            barrier = Some(next);
        }
        if let Some(barrier) = barrier {
            inference.edges.add(barrier, transaction, Why::Link);
        }
    }
}
