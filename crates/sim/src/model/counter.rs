//! The meta group's counter: blocks that are durable, and leaders that may have been deposed.

use strata_types::Timestamp;

/// Short, so that schedules come to their ends.
const BLOCK: u64 = 6;

/// What a meta leader has in memory.
#[derive(Clone, Copy)]
struct Block {
    next: u64,
    end: u64,
}

/// The counter.
pub(crate) struct Counter {
    /// Up to here timestamps may have been handed out: durable.
    bound: u64,
    leader: Block,
    /// Led before, and does not know that it does not any more.
    deposed: Option<Block>,
    /// What was answered last and may still be on its way.
    pub(crate) last_answer: Timestamp,
    /// Who waits, and what they were told: an answer may be shared by all who asked before it was given.
    questions: Vec<Option<Timestamp>>,
}

impl Counter {
    pub(crate) fn new() -> Counter {
        let leader = Block { next: 1, end: BLOCK };
        Counter { bound: BLOCK, leader, deposed: None, last_answer: Timestamp(0), questions: Vec::new() }
    }

    /// Another one leads: with a block of its own.
    pub(crate) fn elect(&mut self) {
        self.deposed = Some(self.leader);
        self.leader = Block { next: self.bound + 1, end: self.bound + BLOCK };
        self.bound += BLOCK;
    }

    /// Somebody asks.
    pub(crate) fn ask(&mut self) -> usize {
        self.questions.push(None);
        self.questions.len() - 1
    }

    /// The answer, which may be shared by others who wait.
    pub(crate) fn answer(&mut self, question: usize, deposed: bool, mut shares: impl FnMut() -> bool) -> Timestamp {
        if let Some(at) = self.questions[question] {
            return at;
        }
        let at = self.begin(deposed);
        self.questions[question] = Some(at);
        for other in self.questions.iter_mut().filter(|other| other.is_none()) {
            if shares() {
                *other = Some(at);
            }
        }
        at
    }

    /// A new timestamp. `deposed`: from who led before, if there is one.
    fn begin(&mut self, deposed: bool) -> Timestamp {
        if let (true, Some(block)) = (deposed, &mut self.deposed)
            && block.next <= block.end
        {
            block.next += 1;
            return Timestamp(block.next - 1);
        }
        if self.leader.next > self.leader.end {
            self.leader = Block { next: self.bound + 1, end: self.bound + BLOCK };
            self.bound += BLOCK;
        }
        self.leader.next += 1;
        self.last_answer = Timestamp(self.leader.next - 1);
        self.last_answer
    }

    /// The highest timestamp that may have been handed out.
    pub(crate) fn floor(&self, deposed: bool) -> Timestamp {
        let block = if deposed { self.deposed.unwrap_or(self.leader) } else { self.leader };
        Timestamp(block.next - 1)
    }
}
