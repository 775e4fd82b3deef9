//! The block of timestamps in a leader's memory.
//!
//! ```text
//!   row `time`    1 ............................................. bound
//!   blocks        [ somebody's ][ this process ][ this process's next ]
//!                                    ^ last                     end ^
//! ```
//! Blocks of this process that follow each other are one. An answer needs `bound <= end`: then nobody has reserved,
//! hence handed out, anything above `last` but this process.

use strata_types::{ReplicaId, Term, Timestamp};

use crate::time::Ask;

/// Timestamps of one block: a second of very busy times, so that writes for time are rare.
pub(crate) const BLOCK: u32 = 100_000;
/// With fewer left than this, the next block is reserved, so that nobody waits for it.
const LOW: u64 = BLOCK as u64 / 2;

/// The block in memory.
#[derive(Debug, Default)]
pub(crate) struct Desk {
    /// The last timestamp that was handed out, here or by anybody before.
    last: u64,
    /// The last one of the block.
    end: u64,
    /// The highest bound that was met.
    bound: u64,
    /// The leadership of this replica under which an answer was certain last.
    pub(crate) certain: Option<Leadership>,
}

impl Desk {
    /// The answer, if the block in memory is the newest of all, and holds one.
    pub(crate) fn answer(&mut self, ask: Ask, bound: Timestamp) -> Option<Timestamp> {
        self.bound = self.bound.max(bound.0);
        if bound.0 > self.end {
            return None;
        }
        match ask {
            Ask::Floor => {}
            Ask::Begin if self.last < self.end => self.last += 1,
            Ask::Begin => return None,
        }
        Some(Timestamp(self.last))
    }

    /// A new timestamp for somebody who makes sure that this leadership is not over: nobody reserved a block under
    /// another one before it, and nobody but this process does under it.
    pub(crate) fn claim(&mut self, leadership: Leadership) -> Option<Timestamp> {
        if self.certain == Some(leadership) { self.answer(Ask::Begin, Timestamp(self.bound)) } else { None }
    }

    /// A block was reserved.
    pub(crate) fn add(&mut self, first: Timestamp, count: u32) {
        assert!(first.0 > self.end, "META-10: reserved twice: first=`{first}` end=`{}`", self.end);
        #[cfg(debug_assertions)]
        if crate::mutant::is(crate::mutant::Mutant::TimestampsGoBack) {
            self.end = first.0 - 1;
        }
        if first.0 != self.end + 1 {
            // Somebody else has reserved meanwhile, and may have handed out all of it.
            self.last = first.0 - 1;
        }
        self.end = first.0 - 1 + u64::from(count);
    }

    pub(crate) fn is_low(&self) -> bool {
        self.bound > self.end || self.end - self.last < LOW
    }
}

/// The term and the replica of a leader of the meta group: no two leaders have the same.
pub(crate) type Leadership = (Term, ReplicaId);

#[cfg(test)]
mod tests {
    use super::*;

    fn begin(desk: &mut Desk, bound: u64) -> Option<u64> {
        desk.answer(Ask::Begin, Timestamp(bound)).map(|at| at.0)
    }

    fn floor(desk: &mut Desk, bound: u64) -> Option<u64> {
        desk.answer(Ask::Floor, Timestamp(bound)).map(|at| at.0)
    }

    #[test]
    fn a_block_is_handed_out_to_its_end() {
        let mut desk = Desk::default();
        assert_eq!((floor(&mut desk, 0), begin(&mut desk, 0)), (Some(0), None), "nothing was reserved ever");
        desk.add(Timestamp(1), 2);
        assert_eq!(floor(&mut desk, 2), Some(0));
        assert_eq!([begin(&mut desk, 2), begin(&mut desk, 2), begin(&mut desk, 2)], [Some(1), Some(2), None]);
        assert_eq!(floor(&mut desk, 2), Some(2));
        desk.add(Timestamp(3), 10);
        assert_eq!([begin(&mut desk, 12), floor(&mut desk, 12)], [Some(3); 2], "blocks that follow each other are one");
    }

    /// TIME-1, TIME-2: what others reserved they may have handed out.
    #[test]
    fn who_leads_again_after_others_hands_out_nothing_of_before() {
        let mut desk = Desk::default();
        desk.add(Timestamp(1), 100);
        assert_eq!(begin(&mut desk, 100), Some(1));
        assert_eq!((begin(&mut desk, 200), floor(&mut desk, 200)), (None, None), "somebody has reserved up to 200");
        assert!(desk.is_low(), "so that a block is reserved");
        desk.add(Timestamp(201), 100);
        assert_eq!((floor(&mut desk, 300), begin(&mut desk, 300)), (Some(200), Some(201)));
        // The question of before is answered from the new block, too: it is above all that was reserved when it came.
        assert_eq!(begin(&mut desk, 200), Some(202));
    }

    /// TIME-3
    #[test]
    fn nothing_is_claimed_under_a_leadership_that_nothing_is_known_under() {
        let (first, second) = ((Term(1), ReplicaId(1)), (Term(3), ReplicaId(1)));
        let mut desk = Desk::default();
        desk.add(Timestamp(1), 2);
        assert_eq!(desk.claim(first), None, "others may have reserved before");
        desk.certain = Some(first);
        assert_eq!([desk.claim(first), desk.claim(second)], [Some(Timestamp(1)), None], "others may have led between");
        assert_eq!((begin(&mut desk, 100), desk.claim(first)), (None, None), "somebody has reserved");
        desk.add(Timestamp(101), 2);
        assert_eq!([desk.claim(first), desk.claim(first)], [101, 102].map(|at| Some(Timestamp(at))));
        assert_eq!(desk.claim(first), None, "the block is used up");
    }

    #[test]
    fn the_next_block_is_wanted_before_the_present_one_is_used_up() {
        let mut desk = Desk::default();
        desk.add(Timestamp(1), BLOCK);
        let used =
            (1..=u64::from(BLOCK)).take_while(|_| !desk.is_low() && desk.answer(Ask::Begin, Timestamp(0)).is_some());
        assert_eq!(used.count() as u64, u64::from(BLOCK) - LOW + 1);
    }

    #[test]
    #[should_panic(expected = "META-10")]
    fn what_was_reserved_is_not_reserved_again() {
        let mut desk = Desk::default();
        desk.add(Timestamp(1), 100);
        desk.add(Timestamp(51), 100);
    }
}
