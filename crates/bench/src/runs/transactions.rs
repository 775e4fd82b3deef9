//! What transactions cost, and what they hold out.
//!
//! ```text
//!   single      one shard: begin, get, put, commit        beside a bare put, 1 and 64 callers
//!   transfer    two shards: begin, 2 gets, 2 puts, commit beside a bare put, 1 caller
//!   etcd        the same transfer, 64 callers             beside etcd: 2 gets, then a Txn that compares and puts
//!   hot         64 callers on 10 accounts                 beside 10 callers with an account each; deposits are counted
//!   scan        all rows at one point in time             under transfers: the total is constant
//!   overwrites  one key, again and again, no reader       how many versions are stored
//!   check       the checker of histories, alone
//! ```
//! Whatever stands beside something else is measured in the same round, with the same loop, on the same cluster.

mod accounts;
mod arena;
mod checker;
mod drive;
mod hot;
mod overwrites;
mod pace;
mod points;
mod scan;
mod work;

use anyhow::{Context, Result};
use serde_json::{Map, Value};

use crate::args::{TransactionsArgs, TransactionsPart as Part};
use crate::report::{Machine, Report, print_error};

const NODES: usize = 3;

/// Measures it.
pub(crate) async fn run(args: &TransactionsArgs) -> Result<Report> {
    let mut report = Report::new("transactions");
    report.notes.extend(Machine::noise());
    let mut data = Map::new();
    for part in args.parts() {
        print_error(&format!("transactions: {part}"));
        let (tables, notes) = (report.tables.len(), report.notes.len());
        let found = measure(args, part, &mut report).await.with_context(|| format!("transactions, {part}"))?;
        // A later part may fail, and this one took minutes.
        report.tables[tables..].iter().for_each(|table| print_error(&table.markdown()));
        report.notes[notes..].iter().for_each(|note| print_error(note));
        data.insert(part.to_string(), found);
    }
    report.data = Value::Object(data);
    Ok(report)
}

async fn measure(args: &TransactionsArgs, part: Part, report: &mut Report) -> Result<Value> {
    // Boxed: each of them holds a whole cluster.
    match part {
        Part::Single => Box::pin(points::single(args, report)).await,
        Part::Transfer => Box::pin(points::transfer(args, report)).await,
        Part::Etcd => Box::pin(points::etcd(args, report)).await,
        Part::Hot => Box::pin(hot::run(args, report)).await,
        Part::Scan => Box::pin(scan::run(args, report)).await,
        Part::Overwrites => Box::pin(overwrites::run(args, report)).await,
        Part::Check => checker::run(args, report).await,
    }
}
