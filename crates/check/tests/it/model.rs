//! A linearizable register with clients that overlap, time out and fail, driven by a seed.

use bytes::Bytes;
use strata_check::{Answer, Call, History, OperationId};
use strata_types::ClientId;

/// A small fixed generator of pseudo-random numbers (SplitMix64).
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Dice {
        Dice(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    pub(crate) fn percent(&mut self, chance: u64) -> bool {
        self.below(100) < chance
    }
}

/// What a generated history looks like.
pub(crate) struct Shape {
    pub(crate) operations: usize,
    pub(crate) clients: usize,
    pub(crate) keys: usize,
    /// Values are drawn from this many; 0 makes each one unique.
    pub(crate) values: u64,
    pub(crate) unknown_percent: u64,
}

enum Client {
    Idle,
    Sent { id: OperationId, key: usize, call: Call },
    Applied { id: OperationId, answer: Answer },
}

/// A history of registers that are right by construction: each operation takes effect at one moment between its ends.
pub(crate) fn valid_history(seed: u64, shape: &Shape) -> History {
    let mut dice = Dice::new(seed);
    let mut history = History::new();
    let mut registers: Vec<Option<Bytes>> = vec![None; shape.keys];
    let mut clients: Vec<Client> = (0..shape.clients).map(|_| Client::Idle).collect();
    let mut limbo: Vec<(usize, Call)> = Vec::new();
    let (mut now, mut sent) = (0, 0);
    while sent < shape.operations || clients.iter().any(|client| !matches!(client, Client::Idle)) {
        now += dice.below(2);
        if !limbo.is_empty() && dice.percent(10) {
            let (key, call) = limbo.swap_remove(dice.below(limbo.len() as u64) as usize);
            apply(&mut registers[key], &call, false);
        }
        let number = dice.below(shape.clients as u64) as usize;
        clients[number] = match std::mem::replace(&mut clients[number], Client::Idle) {
            Client::Idle if sent < shape.operations => {
                sent += 1;
                let key = dice.below(shape.keys as u64) as usize;
                let call = random_call(&mut dice, shape.values, sent as u64, &registers[key]);
                let id = history.invoke(ClientId(number as u64), format!("k{key}"), call.clone(), now);
                Client::Sent { id, key, call }
            }
            Client::Idle => Client::Idle,
            Client::Sent { id, key, call } if dice.percent(shape.unknown_percent) => {
                history.unknown(id);
                limbo.push((key, call));
                Client::Idle
            }
            Client::Sent { id, .. } if dice.percent(5) => {
                history.fail(id, now);
                Client::Idle
            }
            Client::Sent { id, key, call } => {
                let detailed = dice.percent(50);
                Client::Applied { id, answer: apply(&mut registers[key], &call, detailed) }
            }
            Client::Applied { id, .. } if dice.percent(shape.unknown_percent) => {
                history.unknown(id);
                Client::Idle
            }
            Client::Applied { id, answer } => {
                history.ok(id, answer, now);
                Client::Idle
            }
        };
    }
    history
}

/// A call; conditional writes often expect what the register holds.
pub(crate) fn random_call(dice: &mut Dice, values: u64, unique: u64, held: &Option<Bytes>) -> Call {
    let value = |dice: &mut Dice| match values {
        0 => Bytes::from(format!("v{unique}")),
        values => Bytes::from(format!("v{}", dice.below(values))),
    };
    match dice.below(10) {
        0..4 => Call::Get,
        4..7 => Call::Put { value: value(dice) },
        7 => Call::Delete,
        _ => {
            let expected = match dice.below(4) {
                0 => None,
                1 => Some(value(dice)),
                _ => held.clone(),
            };
            let value = (!dice.percent(20)).then(|| value(dice));
            Call::CompareAndSet { expected, value }
        }
    }
}

/// Applies a call to a register and answers as a correct one would.
pub(crate) fn apply(register: &mut Option<Bytes>, call: &Call, detailed: bool) -> Answer {
    match call {
        Call::Get => Answer::Value(register.clone()),
        Call::Put { value } => {
            *register = Some(value.clone());
            Answer::Done
        }
        Call::Delete => match register.take() {
            held if detailed => Answer::Existed(held.is_some()),
            _ => Answer::Done,
        },
        Call::CompareAndSet { expected, value } if expected == register => {
            *register = value.clone();
            Answer::Done
        }
        Call::CompareAndSet { .. } if detailed => Answer::MismatchHolds(register.clone()),
        Call::CompareAndSet { .. } => Answer::Mismatch,
    }
}
