//! What is to be done for each request of a batch.

use bytes::Bytes;
use strata_codec::encode_command;
use strata_router::check_limits;
use strata_types::{Error, ReadLevel, Reply, Request, Result, ShardPlacement};

use crate::route::misrouted;

/// The requests of a batch by what they need, each with its position.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    /// Positions of the writes.
    pub(crate) writes: Vec<usize>,
    /// Their commands, in the same order.
    pub(crate) commands: Vec<Bytes>,
    /// Positions of the reads that see everything acknowledged before.
    pub(crate) linearizable: Vec<usize>,
    /// Positions of the reads that take what is here.
    pub(crate) local: Vec<usize>,
    /// Requests that are answered already.
    pub(crate) refused: Vec<(usize, Error)>,
}

impl Plan {
    pub(crate) fn new(placement: &ShardPlacement, requests: &[Request]) -> Plan {
        let mut plan = Plan::default();
        for (position, request) in requests.iter().enumerate() {
            if let Err(error) = plan.add(placement, position, request) {
                plan.refused.push((position, error));
            }
        }
        plan
    }

    fn add(&mut self, placement: &ShardPlacement, position: usize, request: &Request) -> Result<()> {
        check_limits(&request.operation)?;
        if let Some(error) = misrouted(placement, &request.operation) {
            return Err(error);
        }
        if !request.operation.is_read() {
            self.commands.push(encode_command(request)?);
            self.writes.push(position);
            return Ok(());
        }
        match request.header.level {
            ReadLevel::Linearizable => self.linearizable.push(position),
            ReadLevel::Local => self.local.push(position),
        }
        Ok(())
    }
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
    use strata_types::{ErrorCode, Operation, RequestHeader, ShardId, SlotRange};

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
        let plan = Plan::new(&whole, &requests);
        assert_eq!((plan.writes, plan.commands.len()), (vec![0, 4], 2));
        assert_eq!((plan.linearizable, plan.local), (vec![3], vec![1]));
        let refused: Vec<_> = plan.refused.iter().map(|(position, error)| (*position, error.code)).collect();
        assert_eq!(refused, [(2, ErrorCode::TooLarge), (5, ErrorCode::InvalidArgument)]);
    }
}
