//! The search for an order that explains one key's answers.
//!
//! It walks the ends of operations in time. A read takes effect as soon as it is open and the value fits: it changes
//! nothing, so earlier is never worse. A write takes effect only when an answer that has just arrived cannot be
//! explained otherwise; then every open write that may come next is tried. Configurations that were found hopeless are
//! remembered, so that the work is bounded by the number of distinct configurations, not of orders; and one that used
//! the same unanswered writes and more is hopeless too. None of these leaves out an order that explains more (CHECK-1),
//! and an order is called an explanation only when every answer fitted the register as it went (CHECK-2).

use std::collections::{BTreeMap, BTreeSet};

use crate::OperationId;
use crate::register::{ABSENT, State, Step};

/// What the search found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// An order that explains every answer.
    Order,
    /// There is none; this is the answer that was reached last and could not be explained.
    Contradiction(OperationId),
    /// The budget was spent first.
    OutOfSteps,
}

/// Searches with at most `steps_max` configurations.
pub(crate) fn search(steps: &[Step], steps_max: u64) -> Found {
    Search::new(steps).run(steps_max)
}

#[derive(Clone, Copy, Debug)]
enum Event {
    Invoke(usize),
    Return(usize),
}

/// Which open operations took effect, one bit for each slot.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Effects(Vec<u64>);

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Configuration {
    event: usize,
    state: State,
    effects: Effects,
}

struct Frame {
    configuration: Configuration,
    candidates: std::vec::IntoIter<usize>,
}

struct Search<'a> {
    steps: &'a [Step],
    events: Vec<Event>,
    /// For each `Return` event the operations that are open then, in the order of their beginnings.
    open: Vec<Vec<usize>>,
    /// For each step a number that no other step has while both are open.
    slots: Vec<usize>,
    /// The slots of unanswered writes.
    optional: Effects,
}

/// Configurations that lead nowhere: by position, value and answered writes, the sets of unanswered writes used.
#[derive(Default)]
struct Hopeless {
    used: BTreeMap<(usize, State, Effects), Vec<Effects>>,
}

impl Hopeless {
    /// Adds a configuration and returns whether it was not known to be hopeless.
    fn insert(&mut self, configuration: &Configuration, optional: &Effects) -> bool {
        let answered = configuration.effects.outside(optional);
        let unanswered = configuration.effects.within(optional);
        let known = self.used.entry((configuration.event, configuration.state, answered)).or_default();
        if known.iter().any(|known| known.is_subset(&unanswered)) {
            return false;
        }
        known.push(unanswered);
        true
    }
}

impl Effects {
    fn contains(&self, slot: usize) -> bool {
        self.0[slot / 64] & (1 << (slot % 64)) != 0
    }

    fn insert(&mut self, slot: usize) {
        self.0[slot / 64] |= 1 << (slot % 64);
    }

    fn remove(&mut self, slot: usize) {
        self.0[slot / 64] &= !(1 << (slot % 64));
    }

    fn within(&self, mask: &Effects) -> Effects {
        Effects(self.0.iter().zip(&mask.0).map(|(word, mask)| word & mask).collect())
    }

    fn outside(&self, mask: &Effects) -> Effects {
        Effects(self.0.iter().zip(&mask.0).map(|(word, mask)| word & !mask).collect())
    }

    fn is_subset(&self, of: &Effects) -> bool {
        self.0.iter().zip(&of.0).all(|(word, of)| word & !of == 0)
    }
}

impl<'a> Search<'a> {
    fn new(steps: &'a [Step]) -> Search<'a> {
        let mut events: Vec<(u64, bool, usize)> = Vec::with_capacity(2 * steps.len());
        for (index, step) in steps.iter().enumerate() {
            events.push((step.invoked, false, index));
            events.extend(step.returned.map(|returned| (returned, true, index)));
        }
        // At equal times beginnings come first: such operations are concurrent.
        events.sort_unstable();
        let mut search = Search {
            steps,
            events: Vec::new(),
            open: Vec::new(),
            slots: vec![0; steps.len()],
            optional: Effects(Vec::new()),
        };
        let (mut now_open, mut free, mut slot_count) = (Vec::new(), BTreeSet::new(), 0);
        for (_, is_return, index) in events {
            if is_return {
                search.events.push(Event::Return(index));
                search.open.push(now_open.clone());
                now_open.retain(|open| *open != index);
                free.insert(search.slots[index]);
            } else {
                search.events.push(Event::Invoke(index));
                search.open.push(Vec::new());
                now_open.push(index);
                // An unanswered write gets a slot of its own, which no step had before or has later.
                let reused = steps[index].returned.and_then(|_| free.pop_first());
                search.slots[index] = reused.unwrap_or_else(|| {
                    slot_count += 1;
                    slot_count - 1
                });
            }
        }
        search.optional = Effects(vec![0; usize::div_ceil(slot_count, 64)]);
        for index in (0..steps.len()).filter(|index| steps[*index].returned.is_none()) {
            search.optional.insert(search.slots[index]);
        }
        search
    }

    fn run(&self, steps_max: u64) -> Found {
        let mut configuration =
            Configuration { event: 0, state: ABSENT, effects: Effects(vec![0; self.optional.0.len()]) };
        let (mut hopeless, mut path, mut steps, mut furthest) = (Hopeless::default(), Vec::<Frame>::new(), 0, (0, 0));
        loop {
            let Some(unexplained) = self.advance(&mut configuration) else { return Found::Order };
            furthest = furthest.max((configuration.event, unexplained));
            steps += 1;
            if steps > steps_max {
                return Found::OutOfSteps;
            }
            if hopeless.insert(&configuration, &self.optional) {
                let candidates = self.candidates(&configuration, unexplained).into_iter();
                path.push(Frame { configuration, candidates });
            }
            configuration = loop {
                let Some(frame) = path.last_mut() else {
                    return Found::Contradiction(self.steps[furthest.1].id);
                };
                match frame.candidates.next() {
                    Some(index) => break self.take_effect(&frame.configuration, index),
                    None => drop(path.pop()),
                }
            };
        }
    }

    /// Goes on to the next answer that is not explained yet and returns its step; `None` at the end.
    fn advance(&self, configuration: &mut Configuration) -> Option<usize> {
        while let Some(event) = self.events.get(configuration.event) {
            match *event {
                Event::Invoke(index) => self.absorb(configuration, index),
                Event::Return(index) if configuration.effects.contains(self.slots[index]) => {
                    configuration.effects.remove(self.slots[index]);
                }
                Event::Return(index) => return Some(index),
            }
            configuration.event += 1;
        }
        None
    }

    /// Lets a read take effect if the value fits.
    fn absorb(&self, configuration: &mut Configuration, index: usize) {
        let step = &self.steps[index];
        if step.becomes.is_none() && step.condition.holds(configuration.state) {
            configuration.effects.insert(self.slots[index]);
        }
    }

    fn take_effect(&self, before: &Configuration, index: usize) -> Configuration {
        let mut configuration = before.clone();
        configuration.effects.insert(self.slots[index]);
        configuration.state = self.steps[index].becomes.expect("only writes are candidates");
        for open in &self.open[configuration.event] {
            self.absorb(&mut configuration, *open);
        }
        configuration
    }

    /// Open writes that may take effect now, the most promising first.
    fn candidates(&self, configuration: &Configuration, unexplained: usize) -> Vec<usize> {
        let mut candidates: Vec<(u8, u64, usize)> = Vec::new();
        let mut optional = Vec::new();
        for &index in &self.open[configuration.event] {
            let step = &self.steps[index];
            let Some(becomes) = step.becomes else { continue };
            if configuration.effects.contains(self.slots[index]) || !step.condition.holds(configuration.state) {
                continue;
            }
            if step.returned.is_none() {
                // Unanswered writes of one kind are interchangeable once they are open: the oldest stands for all.
                let kind = (step.condition, becomes);
                if becomes == configuration.state || optional.contains(&kind) || !self.is_useful(configuration, index) {
                    continue;
                }
                optional.push(kind);
            }
            let target = &self.steps[unexplained];
            let rank = match index == unexplained {
                true => 0,
                false if target.becomes.is_none() && target.condition.holds(becomes) => 1,
                false => 2,
            };
            candidates.push((rank, step.returned.unwrap_or(u64::MAX), index));
        }
        candidates.sort_unstable();
        candidates.into_iter().map(|(_, _, index)| index).collect()
    }

    /// Whether an operation that could come next depends on what this unanswered write leaves behind. If none does,
    /// the same order without the write is as good.
    fn is_useful(&self, configuration: &Configuration, index: usize) -> bool {
        let becomes = self.steps[index].becomes.expect("only writes are candidates");
        self.open[configuration.event].iter().any(|&next| {
            let is_open = next != index && !configuration.effects.contains(self.slots[next]);
            is_open && self.steps[next].condition.depends_on(becomes)
        })
    }
}
