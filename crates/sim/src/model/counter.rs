//! The meta group's counter: blocks that are durable, and leaders that may have been deposed. Whoever takes itself for the
//! leader answers at once; whether it was one is asked afterwards, by who uses the answer (`time`).

use strata_types::Timestamp;

/// Short, so that schedules come to their ends.
const BLOCK: u64 = 6;

/// A meta leader, and what it has in memory.
#[derive(Clone, Copy)]
struct Leader {
    term: u32,
    next: u64,
    end: u64,
}

/// A timestamp, and the term of who handed it out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Claim {
    pub(crate) at: Timestamp,
    term: u32,
}

/// The counter.
pub(crate) struct Counter {
    /// Up to here timestamps may have been handed out: durable.
    bound: u64,
    leader: Leader,
    /// Led before, and does not know that it does not any more.
    deposed: Option<Leader>,
    /// What was answered last and may still be on its way.
    pub(crate) last_answer: Option<Claim>,
    /// Who waits, and what they were told: an answer may be shared by all who asked before it was given.
    questions: Vec<Option<Claim>>,
}

impl Counter {
    pub(crate) fn new() -> Counter {
        let leader = Leader { term: 1, next: 1, end: BLOCK };
        Counter { bound: BLOCK, leader, deposed: None, last_answer: None, questions: Vec::new() }
    }

    /// Another one leads: with a block of its own.
    pub(crate) fn elect(&mut self) {
        self.deposed = Some(self.leader);
        self.leader.term += 1;
        self.reserve();
    }

    fn reserve(&mut self) {
        (self.leader.next, self.leader.end) = (self.bound + 1, self.bound + BLOCK);
        self.bound += BLOCK;
    }

    /// Somebody asks.
    pub(crate) fn ask(&mut self) -> usize {
        self.questions.push(None);
        self.questions.len() - 1
    }

    /// The answer, which may be shared by others who wait. `deposed`: it is asked who led before, if there is one.
    pub(crate) fn answer(&mut self, question: usize, deposed: bool, mut shares: impl FnMut() -> bool) -> Claim {
        if let Some(claim) = self.questions[question] {
            return claim;
        }
        let claim = self.begin(deposed);
        self.last_answer = Some(claim);
        self.questions[question] = Some(claim);
        for other in self.questions.iter_mut().filter(|other| other.is_none()) {
            if shares() {
                *other = Some(claim);
            }
        }
        claim
    }

    fn begin(&mut self, deposed: bool) -> Claim {
        // Without a majority it gets no other block.
        if let (true, Some(leader)) = (deposed, &mut self.deposed)
            && leader.next <= leader.end
        {
            return leader.hand_out();
        }
        if self.leader.next > self.leader.end {
            self.reserve();
        }
        self.leader.hand_out()
    }

    /// Whether a majority votes, now, for who handed it out: then nobody else had led until the question came.
    pub(crate) fn is_confirmed(&self, claim: Claim) -> bool {
        claim.term == self.leader.term
    }

    /// The highest timestamp that may have been handed out.
    pub(crate) fn floor(&self, deposed: bool) -> Timestamp {
        let leader = if deposed { self.deposed.unwrap_or(self.leader) } else { self.leader };
        Timestamp(leader.next - 1)
    }
}

impl Leader {
    fn hand_out(&mut self) -> Claim {
        self.next += 1;
        Claim { at: Timestamp(self.next - 1), term: self.term }
    }
}
