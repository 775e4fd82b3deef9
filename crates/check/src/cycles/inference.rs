//! What the inferences share: the view they read, and the edges and direct anomalies they find.

use super::anomaly::{AnomalyKind, CycleVerdict};
use super::edges::{EdgeList, Why};
use super::view::{Standing, View};
use super::writes::Written;

/// The state of one judgement.
#[derive(Debug)]
pub(crate) struct Inference<'a> {
    pub(crate) view: View<'a>,
    pub(crate) edges: EdgeList,
    pub(crate) verdict: CycleVerdict,
    /// Whether real time counts.
    pub(crate) is_strict: bool,
    /// Transactions of direct anomalies that close cycles too: such a cycle need not be told.
    pub(crate) explained: Vec<u32>,
}

impl Inference<'_> {
    /// Reports something about one key.
    pub(crate) fn report(&mut self, kind: AnomalyKind, transactions: &[u32], key: u32, story: String) {
        let name = self.view.history.key_name(key);
        self.verdict.report(kind, transactions, &[name], story);
    }

    /// Whether a transaction may have seen this; if not, says what is wrong.
    pub(crate) fn may_see(&mut self, reader: u32, key: u32, value: u64, written: Option<Written>) -> bool {
        let name = self.view.history.key_name(key);
        let Some(written) = written else {
            let story = format!("t{reader} read {value} of key {name}, which nobody wrote");
            self.report(AnomalyKind::GarbageRead, &[reader], key, story);
            return false;
        };
        let writer = written.transaction;
        if self.view.standing(writer) == Standing::Aborted {
            let story = format!("t{reader} read {value} of key {name}, which t{writer} wrote and aborted");
            self.report(AnomalyKind::AbortedRead, &[reader, writer], key, story);
            return false;
        }
        true
    }

    /// Reports a read that stopped at a write which is not its transaction's last.
    pub(crate) fn check_is_final(&mut self, reader: u32, key: u32, written: Written) {
        let (writer, value, name) = (written.transaction, written.value, self.view.history.key_name(key));
        if !written.is_last && writer != reader {
            self.explained.extend([reader, writer]);
            let story = format!("t{reader} read {value} of key {name}, which t{writer} itself wrote over");
            self.report(AnomalyKind::IntermediateRead, &[reader, writer], key, story);
        }
    }

    pub(crate) fn report_internal(&mut self, transaction: u32, key: u32, what: &str) {
        let story = format!("t{transaction} {what} of key {}", self.view.history.key_name(key));
        self.explained.push(transaction);
        self.report(AnomalyKind::Internal, &[transaction], key, story);
    }

    pub(crate) fn report_lost_update(&mut self, first: u32, second: u32, key: u32, version: &str) {
        let name = self.view.history.key_name(key);
        let story = format!("t{first} and t{second} both read {version} of key {name} and both replaced it");
        self.explained.extend([first, second]);
        self.report(AnomalyKind::LostUpdate, &[first, second], key, story);
    }

    /// Adds edges from each reader to each writer but itself, of which there may be many: through auxiliary nodes, so
    /// that there are no more edges than transactions. Both are in order.
    pub(crate) fn add_all(&mut self, readers: &[u32], writers: &[u32], why: Why) {
        if readers.len() <= 1 || writers.len() <= 1 {
            for reader in readers {
                writers.iter().for_each(|writer| self.edges.add(*reader, *writer, why));
            }
            return;
        }
        let all = self.edges.auxiliary();
        writers.iter().for_each(|writer| self.edges.add(all, *writer, Why::Link));
        // A reader among the writers must not come before itself. Where there are two of them, each comes before the
        // other, which is wrong already: all but the first need one edge.
        let mut first_both = None;
        for reader in readers {
            match (writers.binary_search(reader), first_both) {
                (Err(_), _) => self.edges.add(*reader, all, why),
                (Ok(_), Some(first)) => self.edges.add(*reader, first, why),
                (Ok(_), None) => {
                    first_both = Some(*reader);
                    writers.iter().for_each(|writer| self.edges.add(*reader, *writer, why));
                }
            }
        }
    }
}
