//! The framing of gRPC: `[flag: 1][length: 4][payload] [flag: 1]...`

/// What stands before each message: a flag and the length.
pub(super) const HEADER_BYTES: usize = 5;

/// Where in the messages of a body we are.
#[derive(Default)]
pub(super) struct Framing {
    /// Bytes of the header of this message that were seen.
    header: usize,
    /// What the header says, as far as it was seen.
    length: usize,
    /// Bytes of the payload that were seen.
    payload: usize,
}

impl Framing {
    /// Whether a message ended in these bytes.
    pub(super) fn follow(&mut self, mut data: &[u8]) -> bool {
        let mut has_ended_one = false;
        while let Some((first, rest)) = data.split_first() {
            if self.header < HEADER_BYTES {
                // The very first is the flag.
                if self.header > 0 {
                    self.length = (self.length << 8) | usize::from(*first);
                }
                self.header += 1;
                data = rest;
            } else {
                let seen = data.len().min(self.length - self.payload);
                self.payload += seen;
                data = &data[seen..];
            }
            if self.header == HEADER_BYTES && self.payload == self.length {
                *self = Framing::default();
                has_ended_one = true;
            }
        }
        has_ended_one
    }

    /// Bytes of a message that is not whole yet.
    pub(super) fn unfinished(&self) -> usize {
        self.header + self.payload
    }
}
