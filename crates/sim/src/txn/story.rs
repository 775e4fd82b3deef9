//! What transactions of a run are about.

use std::str::FromStr;

use crate::dice::Dice;

/// A kind of work whose result can be judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Story {
    /// Money moves between accounts; there is always the same amount of it.
    Bank,
    /// Values are appended to lists, and lists are read.
    Lists,
    /// Registers are read and overwritten.
    Registers,
    /// Somebody is always on call, and not too many are booked: each looks at all before it changes its own.
    Doctors,
    /// Each key is written once, by transactions that know nothing of each other; readers agree on the order.
    Fork,
    /// One key is written after the other; nobody sees the later one without the earlier one.
    Reverse,
    /// Counters are raised.
    Counters,
    /// Elements are added to a set.
    Sets,
    /// The registers of those clients that know of no transactions.
    Mixed,
}

/// What clients with transactions are to do, whatever the seed says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stories(u16);

impl FromStr for Stories {
    type Err = String;

    /// Names with commas between them, such as `bank,lists`; or `none`.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let name = |story: &Story| format!("{story:?}").to_lowercase();
        let mut chosen = 0;
        for word in text.split(',').filter(|word| *word != "none") {
            let found = Story::ALL.iter().position(|story| name(story) == word);
            let names = || Story::ALL.iter().map(name).collect::<Vec<_>>().join(", ");
            chosen |= 1 << found.ok_or_else(|| format!("no story `{word}`; there are {}", names()))?;
        }
        Ok(Stories(chosen))
    }
}

impl Stories {
    /// Each of them.
    pub(crate) fn list(self) -> Vec<Story> {
        Story::ALL
            .into_iter()
            .enumerate()
            .filter(|(index, _)| self.0 & (1 << index) != 0)
            .map(|(_, story)| story)
            .collect()
    }
}

impl Story {
    pub(crate) const ALL: [Story; 9] = [
        Story::Bank,
        Story::Lists,
        Story::Registers,
        Story::Doctors,
        Story::Fork,
        Story::Reverse,
        Story::Counters,
        Story::Sets,
        Story::Mixed,
    ];

    /// Up to two of them; none in some runs.
    pub(crate) fn roll(dice: &mut Dice) -> Vec<Story> {
        let count = *dice.pick(&[0, 1, 1, 2, 2, 2, 2, 2]);
        let mut stories: Vec<Story> = (0..count).map(|_| *dice.pick(&Story::ALL)).collect();
        stories.sort();
        stories.dedup();
        stories
    }
}
