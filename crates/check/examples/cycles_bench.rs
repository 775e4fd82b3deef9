//! How fast histories of transactions are judged, and in how much memory.
//!
//! ```text
//! cargo run --release -p strata-check --example cycles_bench [TRANSACTIONS] [lists | registers | both]
//! ```
//! The history is that of a strictly serializable store: 50 clients, 1 to 6 steps a transaction, half of them reads,
//! 200 keys at a time, each of which is left after 32 writes.
#![allow(clippy::disallowed_methods, reason = "measures by the clock, and reads its own memory from /proc")]
#![allow(clippy::print_stdout, reason = "prints what it measured")]

use std::time::Instant;

use strata_check::check_strictly_serializable;
use strata_check::transactions::{Step, TransactionHistory, TransactionOutcome};
use strata_types::ClientId;

const CLIENTS: u64 = 50;
const KEYS: usize = 200;
const WRITES_PER_KEY: usize = 32;
const STEPS_MAX: u64 = 6;

fn main() {
    let mut arguments = std::env::args().skip(1);
    let transactions = arguments.next().and_then(|text| text.parse().ok()).unwrap_or(1_000_000);
    let kind = arguments.next().unwrap_or_else(|| "both".to_owned());
    let list_percent = match kind.as_str() {
        "lists" => 100,
        "registers" => 0,
        _ => 50,
    };
    let began = Instant::now();
    let history = history(transactions, list_percent);
    let recording = began.elapsed();
    let after_recording = peak_mib();
    let began = Instant::now();
    let verdict = check_strictly_serializable(&history);
    let checking = began.elapsed();
    let rate = |seconds: f64| transactions as f64 / seconds;
    println!("{kind}: {verdict}");
    println!("  made and recorded in {:.2} s, peak {after_recording} MiB", recording.as_secs_f64());
    println!(
        "  judged in {:.2} s: {:.0} transactions/s, {} edges, peak {} MiB",
        checking.as_secs_f64(),
        rate(checking.as_secs_f64()),
        verdict.edges,
        peak_mib()
    );
}

/// One key, and what it holds.
#[derive(Default)]
struct Held {
    name: u64,
    list: Vec<u64>,
    writes: usize,
    register: Option<u64>,
}

fn history(transactions: u64, list_percent: u64) -> TransactionHistory {
    let mut history = TransactionHistory::new();
    let mut dice = Dice(1);
    let mut keys: Vec<Held> = (0..KEYS as u64).map(|name| Held { name, ..Held::default() }).collect();
    let (mut names, mut value, mut steps) = (KEYS as u64, 0, Vec::new());
    for number in 0..transactions {
        steps.clear();
        for _ in 0..=dice.below(STEPS_MAX - 1) {
            let key = &mut keys[dice.below(KEYS as u64) as usize];
            let is_list = key.name % 100 < list_percent;
            steps.push(match (is_list, dice.below(2) == 0) {
                (true, true) => Step::ReadList { key: key.name, values: key.list.clone() },
                (false, true) => Step::Read { key: key.name, value: key.register },
                (_, false) => {
                    value += 1;
                    let step = key.write(value, is_list);
                    if key.writes == WRITES_PER_KEY {
                        *key = Held { name: names, ..Held::default() };
                        names += 1;
                    }
                    step
                }
            });
        }
        // It takes effect at `middle`; a client's next one comes 100 * CLIENTS later.
        let middle = (number + CLIENTS) * 100;
        let (before, after) = (dice.below(50 * CLIENTS), dice.below(50 * CLIENTS));
        let outcome = TransactionOutcome::Committed { at: middle + after };
        history.record(ClientId(number % CLIENTS), middle - before, &steps, outcome);
    }
    history
}

impl Held {
    fn write(&mut self, value: u64, is_list: bool) -> Step {
        self.writes += 1;
        if is_list {
            self.list.push(value);
            return Step::Append { key: self.name, value };
        }
        self.register = Some(value);
        Step::Write { key: self.name, value }
    }
}

/// SplitMix64.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) % bound
    }
}

/// The most memory this process had, as Linux tells it; 0 elsewhere.
fn peak_mib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok());
    kib.unwrap_or_default() / 1024
}
