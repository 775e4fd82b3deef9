//! A strictly serializable store of lists and registers with clients that overlap, abort and time out, by a seed.

use std::collections::BTreeMap;

use strata_check::transactions::{Step, TransactionHistory, TransactionOutcome};
use strata_types::ClientId;

use crate::model::Dice;

/// What a generated history looks like.
pub(crate) struct TransactionShape {
    pub(crate) transactions: usize,
    pub(crate) clients: usize,
    /// Of each kind; the first half are lists.
    pub(crate) keys: u64,
    pub(crate) steps_max: u64,
    pub(crate) unknown_percent: u64,
    pub(crate) abort_percent: u64,
}

/// A transaction before it is recorded, so that a test may bend it.
#[derive(Clone)]
pub(crate) struct Recorded {
    pub(crate) client: u64,
    pub(crate) began: u64,
    pub(crate) steps: Vec<Step>,
    pub(crate) outcome: TransactionOutcome,
}

pub(crate) fn recorded(transactions: &[Recorded]) -> TransactionHistory {
    let mut history = TransactionHistory::new();
    for transaction in transactions {
        history.record(ClientId(transaction.client), transaction.began, &transaction.steps, transaction.outcome);
    }
    history
}

#[derive(Default)]
struct Store {
    lists: BTreeMap<u64, Vec<u64>>,
    registers: BTreeMap<u64, u64>,
}

enum Client {
    Idle,
    Sent { began: u64 },
    Executed { began: u64, steps: Vec<Step>, is_aborted: bool },
}

/// Each transaction takes effect as a whole at one moment between its ends; one of unknown outcome at any moment
/// after its beginning, or never. In the order in which they end.
pub(crate) fn valid_transactions(seed: u64, shape: &TransactionShape) -> Vec<Recorded> {
    let mut dice = Dice::new(seed);
    let (mut store, mut done, mut limbo) = (Store::default(), Vec::new(), Vec::new());
    let mut clients: Vec<Client> = (0..shape.clients).map(|_| Client::Idle).collect();
    let (mut now, mut sent, mut value) = (0, 0, 0);
    while sent < shape.transactions || clients.iter().any(|client| !matches!(client, Client::Idle)) {
        now += dice.below(2);
        if !limbo.is_empty() && dice.percent(10) {
            let (number, began) = limbo.swap_remove(dice.below(limbo.len() as u64) as usize);
            let steps = store.execute(&mut dice, shape, &mut value, true);
            done.push(Recorded { client: number, began, steps, outcome: TransactionOutcome::Unknown });
        }
        let number = dice.below(shape.clients as u64) as usize;
        let client = number as u64;
        clients[number] = match std::mem::replace(&mut clients[number], Client::Idle) {
            Client::Idle if sent < shape.transactions => {
                sent += 1;
                Client::Sent { began: now }
            }
            Client::Idle => Client::Idle,
            Client::Sent { began } if dice.percent(shape.unknown_percent) => {
                limbo.push((client, began));
                Client::Idle
            }
            Client::Sent { began } => {
                let is_aborted = dice.percent(shape.abort_percent);
                Client::Executed { began, steps: store.execute(&mut dice, shape, &mut value, !is_aborted), is_aborted }
            }
            Client::Executed { began, steps, is_aborted } => {
                let outcome = match (is_aborted, dice.percent(shape.unknown_percent)) {
                    (_, true) => TransactionOutcome::Unknown,
                    (true, false) => TransactionOutcome::Aborted,
                    (false, false) => TransactionOutcome::Committed { at: now },
                };
                done.push(Recorded { client, began, steps, outcome });
                Client::Idle
            }
        };
    }
    done
}

impl Store {
    fn execute(&mut self, dice: &mut Dice, shape: &TransactionShape, value: &mut u64, is_applied: bool) -> Vec<Step> {
        let (mut lists, mut registers) = (self.lists.clone(), self.registers.clone());
        let mut steps = Vec::new();
        for _ in 0..1 + dice.below(shape.steps_max) {
            let key = dice.below(shape.keys);
            *value += 1;
            let value = *value;
            steps.push(match (key < shape.keys.div_ceil(2), dice.percent(50)) {
                (true, true) => Step::ReadList { key, values: lists.get(&key).cloned().unwrap_or_default() },
                (true, false) => {
                    lists.entry(key).or_default().push(value);
                    Step::Append { key, value }
                }
                (false, true) => Step::Read { key, value: registers.get(&key).copied() },
                (false, false) => {
                    registers.insert(key, value);
                    Step::Write { key, value }
                }
            });
        }
        if is_applied {
            (self.lists, self.registers) = (lists, registers);
        }
        steps
    }
}
