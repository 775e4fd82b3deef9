//! Names to dense numbers, in the order in which they were met.

/// Marks a free slot.
const FREE: u32 = u32::MAX;
/// Slots of the smallest table.
const SLOTS_MIN: usize = 16;

/// An open-addressing table. Numbers depend on the order of the calls only, never on the table.
#[derive(Clone, Debug)]
pub(crate) struct Numbering {
    slots: Vec<u32>,
    names: Vec<u64>,
}

impl Default for Numbering {
    fn default() -> Numbering {
        Numbering { slots: vec![FREE; SLOTS_MIN], names: Vec::new() }
    }
}

impl Numbering {
    /// The number of a name, a new one if it was not met before.
    pub(crate) fn number(&mut self, name: u64) -> u32 {
        let slot = self.slot(name);
        if self.slots[slot] != FREE {
            return self.slots[slot];
        }
        let number = u32::try_from(self.names.len()).expect("fewer than 2^32 names fit memory");
        self.slots[slot] = number;
        self.names.push(name);
        if self.names.len() * 2 > self.slots.len() {
            self.grow();
        }
        number
    }

    /// All names, by their numbers.
    pub(crate) fn names(&self) -> &[u64] {
        &self.names
    }

    fn slot(&self, name: u64) -> usize {
        let mask = self.slots.len() - 1;
        // Fibonacci hashing: the upper bits of the product are the mixed ones.
        let mixed = name.wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let mut slot = (mixed >> 32) as usize & mask;
        while self.slots[slot] != FREE && self.names[self.slots[slot] as usize] != name {
            slot = (slot + 1) & mask;
        }
        slot
    }

    fn grow(&mut self) {
        self.slots = vec![FREE; self.slots.len() * 2];
        for number in 0..self.names.len() {
            let slot = self.slot(self.names[number]);
            self.slots[slot] = number as u32;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_get_numbers_in_order_and_keep_them() {
        let mut numbering = Numbering::default();
        let names: Vec<u64> = (0..1_000).map(|index| (index << 32) | (index % 7)).collect();
        for round in 0..2 {
            for (index, name) in names.iter().enumerate() {
                assert_eq!(numbering.number(*name), index as u32, "round {round}");
            }
        }
        assert_eq!(numbering.names(), names);
    }
}
