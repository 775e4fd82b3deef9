//! What is to be done for each request of a batch.

use std::time::Duration;

use bytes::Bytes;
use strata_codec::encode_command;
use strata_router::check_limits;
use strata_types::{
    Error, ErrorCode, Feature, Operation, Reach, ReadLevel, ReadPreference, Reply, Request, Result, ShardPlacement,
    Timestamp, TransactionCall,
};

use crate::route::misrouted;
use crate::times::not_before;

/// The requests of a batch by what they need, each with its position.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    /// Positions of the writes.
    pub(crate) writes: Vec<usize>,
    /// Their commands, in the same order.
    pub(crate) commands: Vec<Bytes>,
    /// What each of them may change.
    pub(crate) reaches: Vec<Reach>,
    /// The latest of the timestamps before which none of them may be stamped.
    pub(crate) not_before: Timestamp,
    /// Positions of the steps of transactions that need the leader's memory or a round of it, but not the log.
    pub(crate) steps: Vec<usize>,
    /// Positions of the reads of what was committed up to a timestamp.
    pub(crate) dated: Vec<usize>,
    /// The latest of these timestamps.
    pub(crate) latest: Timestamp,
    /// What is read at them.
    pub(crate) dated_reach: Reach,
    /// Positions of the reads that see everything acknowledged before, if this replica leads.
    pub(crate) leading: Vec<usize>,
    /// Positions of the reads that see everything acknowledged before, whoever leads.
    pub(crate) anywhere: Vec<usize>,
    /// Positions of the reads that are content with a lease, while there may be one.
    pub(crate) leased: Vec<usize>,
    /// Positions of the reads that may be old by a bound.
    pub(crate) bounded: Vec<usize>,
    /// The shortest of their bounds.
    pub(crate) bound: Duration,
    /// Positions of the reads that take what is here.
    pub(crate) local: Vec<usize>,
    /// Requests that are answered already.
    pub(crate) refused: Vec<(usize, Error)>,
}

impl Plan {
    /// What some nodes of the cluster do not understand is done without it, or refused: before all know what a follower
    /// asks its leader, only leaders read what is not local.
    pub(crate) fn new(
        placement: &ShardPlacement,
        requests: &[Request],
        has: impl Fn(Feature) -> bool,
        refused: Vec<(usize, Error)>,
    ) -> Plan {
        let mut plan = Plan { refused, ..Plan::default() };
        let known = plan.refused.len();
        let has_time = has(Feature::Transactions);
        for (position, request) in requests.iter().enumerate() {
            if plan.refused[..known].binary_search_by_key(&position, |(refused, _)| *refused).is_ok() {
                continue;
            }
            if let Err(error) = plan.add(placement, position, request, has_time) {
                plan.refused.push((position, error));
            }
        }
        if !has(Feature::LeaseReads) {
            plan.without_lease(requests);
        }
        if !has(Feature::FollowerReads) {
            let others = [std::mem::take(&mut plan.anywhere), std::mem::take(&mut plan.bounded)];
            plan.leading.extend(others.concat());
        }
        plan
    }

    /// There is no lease: a round keeps its promise, of the leader or of whoever is asked.
    pub(crate) fn without_lease(&mut self, requests: &[Request]) {
        for position in std::mem::take(&mut self.leased) {
            match requests[position].header.prefer {
                ReadPreference::Leader => self.leading.push(position),
                ReadPreference::Any => self.anywhere.push(position),
            }
        }
    }

    /// The same, but no read asks anybody: a bug, for the simulator to find.
    #[cfg(debug_assertions)]
    pub(crate) fn all_local(self) -> Plan {
        let local = [self.local, self.leading, self.anywhere, self.bounded, self.leased].concat();
        let (leading, anywhere, bounded, leased) = Default::default();
        Plan { local, leading, anywhere, bounded, leased, ..self }
    }

    fn add(&mut self, placement: &ShardPlacement, position: usize, request: &Request, has_time: bool) -> Result<()> {
        check_limits(&request.operation)?;
        if let Some(error) = misrouted(placement, &request.operation) {
            return Err(error);
        }
        let is_step = is_step(&request.operation);
        let is_dated = request.header.at.is_some() || request.header.begins;
        if !has_time && (is_dated || matches!(request.operation, Operation::Transact(_))) {
            return Err(no_time());
        }
        if is_step {
            self.steps.push(position);
            return Ok(());
        }
        if !request.operation.is_read() {
            self.commands.push(encode_command(request)?);
            self.reaches.push(Reach::of(&request.operation));
            self.writes.push(position);
            self.not_before = self.not_before.max(not_before(request));
            return Ok(());
        }
        if let Some(at) = request.header.at {
            self.dated.push(position);
            self.latest = self.latest.max(at);
            self.dated_reach = self.dated_reach.and(Reach::of(&request.operation));
            return Ok(());
        }
        match request.header.level {
            ReadLevel::Lease => self.leased.push(position),
            ReadLevel::Linearizable => match request.header.prefer {
                ReadPreference::Leader => self.leading.push(position),
                ReadPreference::Any => self.anywhere.push(position),
            },
            ReadLevel::Bounded { max_staleness } => {
                self.bound = if self.bounded.is_empty() { max_staleness } else { self.bound.min(max_staleness) };
                self.bounded.push(position);
            }
            ReadLevel::Local => self.local.push(position),
        }
        Ok(())
    }
}

/// Whether an operation is a step of a transaction that does not go into the log.
fn is_step(operation: &Operation) -> bool {
    let Operation::Transact(call) = operation else { return false };
    match **call {
        TransactionCall::Lock { .. }
        | TransactionCall::Unlock { .. }
        | TransactionCall::Push { .. }
        | TransactionCall::Status { .. } => true,
        TransactionCall::Commit(_)
        | TransactionCall::Prepare(_)
        | TransactionCall::Abort { .. }
        | TransactionCall::Resolve { .. }
        | TransactionCall::Forget { .. } => false,
    }
}

fn no_time() -> Error {
    let since = Feature::Transactions.since();
    let message = format!(
        "the cluster has no transactions yet: run `strata cluster upgrade` when all its nodes run a program of {since}"
    );
    Error::not_applied(ErrorCode::Refused, message)
}

/// Results by position.
pub(crate) struct Results(Vec<Option<Result<Reply>>>);

impl Results {
    pub(crate) fn new(count: usize) -> Results {
        Results(vec![None; count])
    }

    pub(crate) fn set(&mut self, position: usize, result: Result<Reply>) {
        debug_assert!(self.0[position].is_none(), "a request is answered once");
        self.0[position] = Some(result);
    }

    /// One result for each request (KV-2).
    pub(crate) fn finish(self) -> Vec<Result<Reply>> {
        self.0.into_iter().map(|result| result.expect("every request of a plan is answered")).collect()
    }
}

#[cfg(test)]
mod tests {
    use strata_types::limits::KEY_BYTES_MAX;
    use strata_types::{RequestHeader, ShardId, SlotRange};

    use super::*;

    fn request(operation: Operation, level: ReadLevel) -> Request {
        Request { header: RequestHeader { level, ..RequestHeader::default() }, operation }
    }

    #[test]
    fn requests_are_split_and_keep_their_positions() {
        let slots = SlotRange { start: 0, end: 16_384 };
        let whole = ShardPlacement { shard: ShardId(0), slots, ..ShardPlacement::default() };
        let key = || Bytes::from_static(b"k");
        let put = |key: Bytes| Operation::Put { key, value: Bytes::from_static(b"v") };
        let requests = [
            request(put(key()), ReadLevel::Linearizable),
            request(Operation::Get { key: key() }, ReadLevel::Local),
            request(put(vec![0; KEY_BYTES_MAX + 1].into()), ReadLevel::Linearizable),
            request(Operation::Get { key: key() }, ReadLevel::Linearizable),
            request(Operation::Delete { key: key() }, ReadLevel::Local),
            request(Operation::Scan { start: key(), end: None, limit: 0 }, ReadLevel::Local),
        ];
        let plan = Plan::new(&whole, &requests, |_| true, Vec::new());
        assert_eq!((plan.writes, plan.commands.len()), (vec![0, 4], 2));
        assert_eq!((plan.leading, plan.local), (vec![3], vec![1]));
        let refused: Vec<_> = plan.refused.iter().map(|(position, error)| (*position, error.code)).collect();
        assert_eq!(refused, [(2, ErrorCode::TooLarge), (5, ErrorCode::InvalidArgument)]);
    }

    #[test]
    fn reads_are_split_by_what_they_need_and_the_shortest_bound_counts() {
        let slots = SlotRange { start: 0, end: 16_384 };
        let whole = ShardPlacement { shard: ShardId(0), slots, ..ShardPlacement::default() };
        let bounded = |seconds| ReadLevel::Bounded { max_staleness: Duration::from_secs(seconds) };
        let get = |level, prefer| Request {
            header: RequestHeader { level, prefer, ..RequestHeader::default() },
            operation: Operation::Get { key: Bytes::from_static(b"k") },
        };
        let requests = [
            get(ReadLevel::Linearizable, ReadPreference::Any),
            get(bounded(5), ReadPreference::Leader),
            get(ReadLevel::Lease, ReadPreference::Leader),
            get(bounded(2), ReadPreference::Any),
            get(bounded(9), ReadPreference::Any),
            get(ReadLevel::Local, ReadPreference::Leader),
        ];
        let mut plan = Plan::new(&whole, &requests, |_| true, Vec::new());
        assert_eq!((&plan.leading, &plan.leased), (&vec![], &vec![2]));
        plan.without_lease(&requests);
        assert_eq!((plan.leading, plan.leased), (vec![2], vec![]));
        assert_eq!((plan.anywhere, plan.local), (vec![0], vec![5]));
        assert_eq!((plan.bounded, plan.bound), (vec![1, 3, 4], Duration::from_secs(2)));
        let before = Plan::new(&whole, &requests, |_| false, Vec::new());
        assert_eq!((before.leading, before.local), (vec![2, 0, 1, 3, 4], vec![5]), "not every node could answer");
        assert!(before.anywhere.is_empty() && before.bounded.is_empty() && before.leased.is_empty());
    }
}
