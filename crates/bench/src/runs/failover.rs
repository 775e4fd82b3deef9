//! Kill -9 of a shard's leader under an open loop, again and again: how long that shard takes no writes, what the
//! other shards notice, and whether an acknowledged write is ever lost.
//!
//! ```text
//!             normal        kill                   all shards write again; node started again
//!   |-- 1 s --|---- 2 s ----x---- 3 s or more ----|---- until healthy ----|-- next round
//!     calm      p99 of the    gap of the shard,
//!               others        p99 of the others
//! ```

mod analysis;

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::json;
use strata_client::Client;
use strata_types::ShardId;

use self::analysis::{Round, Window, analyse};
use super::peak::{Rate, rate};
use super::read_back::{read_back, refused_but_applied};
use crate::args::FailoverArgs;
use crate::load::{Dice, Event, OpenLoop, Outcome};
use crate::procs::StrataCluster;
use crate::report::{Figure, Goal, Machine, Report, Table, median, number, print_error, spread};

const NODES: usize = 3;
const VALUE_BYTES: usize = 64;
/// The peak is measured with so many callers.
const PEAK_CALLERS: usize = 256;
/// The first key that is written under the open loop; those of the peak are below.
const FIRST: u32 = 1_000_000;
/// Time after which a node that came back has caught up; time before a kill that counts as normal, and time after it during
/// which the others are watched.
const CALM: Duration = Duration::from_secs(1);
const NORMAL: Duration = Duration::from_secs(2);
const WATCHED: Duration = Duration::from_secs(3);
/// A shard that takes no writes for so long is not coming back.
const GIVE_UP: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(20);
/// Goals: the gap in seconds, and the p99 of other shards beside their normal one.
const GAP_MAX: f64 = 1.0;
const P99_MAX: f64 = 2.0;

/// Measures it.
pub(crate) async fn run(args: &FailoverArgs) -> Result<Report> {
    let mut report = Report::new("failover");
    report.notes.extend(Machine::noise());
    let mut cluster = StrataCluster::start(&args.common, NODES, args.shards).await?;
    let Rate { peak, rate } = rate(&args.common, &cluster, PEAK_CALLERS, args.percent, args.rate, VALUE_BYTES).await?;
    print_error(&format!("failover: {rate} writes/s in an open loop"));

    let client = Client::connect(cluster.addresses()).await?;
    let load = OpenLoop::start(client.clone(), FIRST, rate, VALUE_BYTES);
    let mut dice = Dice::new(u64::from(args.kills), u64::from(args.shards));
    let mut windows = Vec::new();
    for kill in 1..=args.common.times(args.kills) {
        let window = kill_once(&mut cluster, &load, &mut dice).await?;
        print_error(&format!("failover: kill {kill}: {}, led by n{}", window.shard, window.node + 1));
        windows.push(window);
    }
    let events = load.stop().await.events;

    let numbers = |outcome| of(&events, outcome).map(|event| event.number).collect::<Vec<u32>>();
    let (acked, refused) = (numbers(Outcome::Acked), numbers(Outcome::Refused));
    print_error(&format!("failover: reading {} acknowledged writes back", acked.len()));
    let (acked_count, refused_count) = (acked.len(), refused.len());
    let lost = read_back(&client, acked, VALUE_BYTES).await?;
    let applied = refused_but_applied(&client, refused).await?;
    cluster.stop().await?;

    report.lost = (lost.len() + applied.len()) as u64;
    let rounds: Vec<Round> = windows.iter().map(|window| analyse(window, &events)).collect();
    let wrong = [("acked writes lost", lost.len()), ("refused writes that were applied", applied.len())];
    fill_tables(&mut report, args, &rounds, &wrong);
    let unknown = of(&events, Outcome::Unknown).count();
    report.notes.push(format!(
        "{acked_count} writes were acknowledged and read back, {refused_count} refused, {unknown} ended as unknown; {} \
         lost. Load: {rate} writes/s, open loop; closed-loop peak with {PEAK_CALLERS} callers: {}.",
        lost.len(),
        peak.map_or("not measured".to_owned(), |peak| format!("{}/s", number(peak))),
    ));
    report.data = json!({
        "rate": rate, "peak": peak, "shards": args.shards, "acked": acked_count, "refused": refused_count,
        "unknown": unknown, "lost": lost, "refused_but_applied": applied, "rounds": rounds,
    });
    Ok(report)
}

fn of(events: &[Event], outcome: Outcome) -> impl Iterator<Item = &Event> {
    events.iter().filter(move |event| event.outcome == outcome)
}

/// One round: normal load, a kill, the way back.
async fn kill_once(cluster: &mut StrataCluster, load: &OpenLoop, dice: &mut Dice) -> Result<Window> {
    tokio::time::sleep(CALM).await;
    let settled = load.now();
    tokio::time::sleep(NORMAL).await;
    let leaders = cluster.leaders().await?;
    let victim = leaders[dice.below(leaders.len() as u64) as usize];
    let orphans: BTreeSet<ShardId> =
        leaders.iter().filter(|leader| leader.node == victim.node).map(|l| l.shard).collect();

    let killed = load.now();
    cluster.kill(victim.node)?;
    cluster.gone(victim.node).await?;
    // No write that is sent from here on can be answered by the node that was killed.
    let gone = load.now();
    tokio::time::sleep(WATCHED).await;
    let watched = load.now();
    let mut waited = WATCHED;
    loop {
        let silent = load.silent_since(gone);
        if silent.is_empty() {
            break;
        }
        if waited > GIVE_UP {
            bail!("{} s after the kill of n{}, no writes to {silent:?}", GIVE_UP.as_secs(), victim.node + 1);
        }
        tokio::time::sleep(POLL).await;
        waited += POLL;
    }
    let back = load.now();
    cluster.restart(victim.node)?;
    cluster.settled().await.with_context(|| format!("after the restart of n{}", victim.node + 1))?;
    Ok(Window { shard: victim.shard, node: victim.node, orphans, settled, killed, watched, back, healthy: load.now() })
}

fn fill_tables(report: &mut Report, args: &FailoverArgs, rounds: &[Round], wrong: &[(&str, usize)]) {
    let gaps = || rounds.iter().map(|round| round.gap_seconds);
    let worst = || rounds.iter().map(|round| round.worst_gap_seconds);
    let normal = || rounds.iter().map(|round| round.normal_p99_ms);
    let others = || rounds.iter().map(|round| round.others_p99_ms);
    let ratios = || rounds.iter().map(|round| round.others_p99_ms / round.normal_p99_ms);
    let returns = || rounds.iter().map(|round| round.return_seconds);
    let failed = || rounds.iter().map(|round| round.others_failed);
    let mut table = Table::new(&["over the kills", "median", "least", "most"]);
    let mut row = |what: &str, values: Vec<f64>, unit: &str| {
        let (least, most) = spread(values.iter().copied());
        let cells = [median(values), least, most].map(|value| format!("{}{unit}", number(value)));
        table.row(std::iter::once(what.to_owned()).chain(cells));
    };
    row("write gap of the chosen shard", gaps().collect(), " s");
    row("longest write gap of any shard that the node led", worst().collect(), " s");
    row("p99 of other shards before the kill", normal().collect(), " ms");
    row("p99 of other shards in the 3 s after it", others().collect(), " ms");
    row("the latter beside the former", ratios().collect(), "x");
    row("writes to other shards that failed", failed().map(|count| count as f64).collect(), "");
    row("restart until every replica answers", returns().collect(), " s");
    report.tables.push(table);

    let what = format!("kill -9 of a leader, {} times, {} shards", rounds.len(), args.shards);
    let figure =
        |name: &str, measured, unit, most| Figure::new(format!("{what}: {name}"), measured, unit, Goal::AtMost(most));
    report.figures.extend([
        figure("write gap of that shard, median", median(gaps()), "s", GAP_MAX),
        figure("write gap of that shard, longest", spread(gaps()).1, "s", GAP_MAX),
        figure("p99 of other shards beside normal, median of rounds", median(ratios()), "x", P99_MAX)
            .with_failed(failed().sum()),
    ]);
    report.figures.extend(wrong.iter().map(|&(name, count)| figure(name, count as f64, "", 0.0)));
}
