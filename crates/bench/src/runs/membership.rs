//! Nodes come and go under load: what clients notice, how much moves, and whether an acknowledged write is ever lost.
//!
//! ```text
//!   for each part:   start three nodes, measure the peak of 64 callers, put 30 % of it on them in an open loop
//!                    |-- 1 s --|---- 6 s ----|-- 1 s --|-- step --|-- step -- ... --|  read everything back
//!                      calm      p50, p99 and   calm     gap of the worst shard,
//!                                gap as normal           p50, p99, failures
//! ```
//! The load writes to the shards by turns, so that a shard that serves has a write every few milliseconds: a gap longer
//! than that is the cluster's and no accident of the keys.

mod arena;
mod disk;
mod effects;
mod faults;
mod found;
mod gaps;
mod join;
mod leaders;
mod waiting;

use anyhow::{Context, Result};
use serde_json::{Map, Value};

use self::found::Found;
use crate::args::{MembershipArgs, Part};
use crate::load::Attempts;
use crate::report::{Machine, Report, print_error};

/// Measures it.
pub(crate) async fn run(args: &MembershipArgs) -> Result<Report> {
    // From the beginning: what attempts ran into before a load begins is told of with no gap.
    Attempts::listen();
    let mut report = Report::new("membership");
    report.notes.extend(Machine::noise());
    let mut data = Map::new();
    for part in args.parts() {
        print_error(&format!("membership: {part}"));
        let found = measure(args, part).await.with_context(|| format!("membership, {part}"))?;
        for (name, found) in found {
            // A later part may fail, and this one took minutes.
            found.tables.iter().for_each(|table| print_error(&table.markdown()));
            report.lost += found.lost;
            report.figures.extend(found.figures);
            report.tables.extend(found.tables);
            report.notes.extend(found.notes);
            data.insert(name, found.data);
        }
    }
    report.data = Value::Object(data);
    Ok(report)
}

async fn measure(args: &MembershipArgs, part: Part) -> Result<Vec<(String, Found)>> {
    // Boxed: each of them holds a whole cluster.
    let found = match part {
        Part::Transfer => Box::pin(leaders::transfer(args)).await?,
        Part::Drain => Box::pin(leaders::drain(args)).await?,
        Part::Rolling => Box::pin(leaders::rolling(args)).await?,
        Part::Join => Box::pin(join::run(args)).await?,
        Part::Disk => Box::pin(disk::run(args)).await?,
        Part::Faults => {
            let mut all = Vec::new();
            for fault in args.faults() {
                all.push((fault.to_string(), Box::pin(faults::run(args, fault)).await?));
            }
            return Ok(all);
        }
    };
    Ok(vec![(part.to_string(), found)])
}
