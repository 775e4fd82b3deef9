//! `strata cluster balance`.

use std::time::Duration;

use serde_json::{Value, json};
use strata_proto::v1;
use strata_types::{ChangeReason, Epoch};

use super::goal::Goal;
use super::operate::explain;
use super::waiting::wait;
use super::{bytes_text, name_of};
use crate::failure::Failure;
use crate::output::{Answer, Format, count, table};
use crate::session::Session;

/// Says what would be moved, or has it moved.
pub async fn balance(
    session: &Session,
    is_dry: bool,
    limit: Option<Duration>,
    format: Format,
) -> Result<Answer, Failure> {
    let reply = ask(session, is_dry).await?;
    if let Some(limit) = limit {
        wait(session, Goal::Balanced, Epoch(reply.epoch), limit, format).await?;
    }
    Ok(answer(&reply, is_dry, limit.is_some()))
}

/// Asks, or wishes.
pub async fn ask(session: &Session, dry_run: bool) -> Result<v1::BalanceReply, Failure> {
    let request = v1::BalanceRequest { dry_run };
    if dry_run {
        return session.admin_read(request, |mut client, request| async move { client.balance(request).await }).await;
    }
    let call = session.admin(request, |mut client, request| async move { client.balance(request).await });
    call.await.map_err(explain)
}

fn answer(reply: &v1::BalanceReply, is_dry: bool, is_done: bool) -> Answer {
    let changes = &reply.changes;
    let replicas = count(changes.len(), "replica");
    let mut lines = Vec::new();
    match (changes.is_empty(), is_dry, is_done) {
        (true, ..) => lines.push("nothing is to be moved".to_owned()),
        (false, true, _) => lines.push(format!("{replicas} would be moved:")),
        (false, false, true) => lines.push(format!("{replicas} moved:")),
        (false, false, false) => lines.push(format!("{replicas} to be moved, {} begun:", reply.started)),
    }
    if !changes.is_empty() {
        lines.push(table(&["shard", "from", "to", "size", "why"], &changes.iter().map(row).collect::<Vec<_>>()));
        lines.push(moved(changes, is_done));
    }
    if reply.cancelled > 0 {
        lines.push(format!("{} cancelled: they make no sense any more", count(reply.cancelled as usize, "change")));
    }
    let (before, after) = (reply.before.unwrap_or_default(), reply.after.unwrap_or_default());
    let (full, even) = (before.largest_over_mean, before.entropy);
    lines.push(match changes.is_empty() {
        true => format!("the fullest node holds {full:.2} x the mean; evenness {even:.3} (1 is best)"),
        false => format!(
            "the fullest node holds {full:.2} x the mean now and {:.2} x then; \
             evenness {even:.3} and {:.3} (1 is best)",
            after.largest_over_mean, after.entropy
        ),
    });
    lines.extend(leaders(reply, is_dry));
    if !is_dry && !is_done && !changes.is_empty() {
        lines.push("  watch    strata cluster jobs".to_owned());
    }
    let evenness = |evenness: v1::Evenness| json!({ "entropy": evenness.entropy, "largest_over_mean": evenness.largest_over_mean });
    let json = json!({
        "dry_run": is_dry,
        "changes": changes.iter().map(change_json).collect::<Vec<Value>>(),
        "bytes": changes.iter().map(|change| change.bytes).sum::<Option<u64>>(),
        "handovers": reply.handovers.iter().map(handover_json).collect::<Vec<Value>>(),
        "load_before": reply.load_before.map(evenness),
        "load_after": reply.load_after.map(evenness),
        "before": evenness(before),
        "after": evenness(after),
        "started": reply.started,
        "cancelled": reply.cancelled,
        "epoch": reply.epoch,
        "waited": is_done,
    });
    Answer::new(lines.join("\n"), json)
}

/// How many bytes that is in all, as far as the nodes told.
fn moved(changes: &[v1::PlannedChange], is_done: bool) -> String {
    let known = changes.iter().filter_map(|change| change.bytes).sum();
    let (text, verb) = (bytes_text(known), if is_done { "were" } else { "are" });
    match changes.iter().filter(|change| change.bytes.is_none()).count() {
        0 => format!("about {text} {verb} to be copied"),
        unknown => {
            format!("about {text} {verb} to be copied, and {} whose size is not known", count(unknown, "replica"))
        }
    }
}

/// Who should lead because of the loads, if anybody else.
fn leaders(reply: &v1::BalanceReply, is_dry: bool) -> Vec<String> {
    let Some((before, after)) = reply.load_before.zip(reply.load_after) else { return Vec::new() };
    let busiest = before.largest_over_mean;
    if reply.handovers.is_empty() {
        return vec![format!("the busiest leader node has {busiest:.2} x the mean load")];
    }
    let verb = if is_dry { "would change" } else { "change by themselves" };
    let row = |handover: &v1::PlannedHandover| {
        let v1::PlannedHandover { shard, from, to, operations_per_second } = handover;
        vec![format!("s{shard}"), format!("n{from}"), format!("n{to}"), format!("{operations_per_second}/s")]
    };
    vec![
        format!("{} {verb}, if the load stays as it is:", count(reply.handovers.len(), "leader")),
        table(&["shard", "from", "to", "load"], &reply.handovers.iter().map(row).collect::<Vec<_>>()),
        format!(
            "the busiest leader node has {busiest:.2} x the mean load now and {:.2} x then",
            after.largest_over_mean
        ),
    ]
}

fn handover_json(handover: &v1::PlannedHandover) -> Value {
    let v1::PlannedHandover { shard, from, to, operations_per_second } = handover;
    json!({ "shard": shard, "from": from, "to": to, "operations_per_second": operations_per_second })
}

fn row(change: &v1::PlannedChange) -> Vec<String> {
    let node = |node: u64| if node == 0 { "-".to_owned() } else { format!("n{node}") };
    let size = change.bytes.map_or_else(|| "?".to_owned(), bytes_text);
    let why = ChangeReason::from(change.reason()).to_string();
    vec![name_of(change.shard), node(change.remove), node(change.add), size, why]
}

fn change_json(change: &v1::PlannedChange) -> Value {
    let node = |node: u64| Some(node).filter(|node| *node > 0);
    json!({
        "group": name_of(change.shard),
        "from": node(change.remove),
        "to": node(change.add),
        "bytes": change.bytes,
        "reason": ChangeReason::from(change.reason()).to_string(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply() -> v1::BalanceReply {
        let change = |shard: Option<u32>, reason: v1::ChangeReason| v1::PlannedChange {
            shard,
            add: 4,
            remove: 2,
            reason: reason.into(),
            bytes: shard.map(|_| 3 << 20),
        };
        v1::BalanceReply {
            changes: vec![change(Some(1), v1::ChangeReason::Balance), change(None, v1::ChangeReason::NodeLost)],
            before: Some(v1::Evenness { entropy: 0.75, largest_over_mean: 4.0 / 3.0 }),
            after: Some(v1::Evenness { entropy: 1.0, largest_over_mean: 1.0 }),
            started: 1,
            ..v1::BalanceReply::default()
        }
    }

    fn text(reply: &v1::BalanceReply, is_dry: bool, is_done: bool) -> String {
        String::from_utf8(answer(reply, is_dry, is_done).text).expect("text")
    }

    #[test]
    fn a_dry_run_says_what_would_move_and_why() {
        assert_eq!(
            text(&reply(), true, false),
            "2 replicas would be moved:\n\
             shard  from  to  size   why\n\
             s1     n2    n4  3 MiB  evens out the nodes\n\
             meta   n2    n4  ?      the node is lost\n\
             about 3 MiB are to be copied, and 1 replica whose size is not known\n\
             the fullest node holds 1.33 x the mean now and 1.00 x then; evenness 0.750 and 1.000 (1 is best)"
        );
        let json = answer(&reply(), true, false).json;
        assert_eq!((&json["changes"][1]["group"], &json["dry_run"]), (&"meta".into(), &true.into()));
        assert_eq!((&json["changes"][0]["bytes"], &json["bytes"]), (&(3 << 20).into(), &Value::Null));
        let mut known = reply();
        known.changes.pop();
        assert_eq!(answer(&known, true, false).json["bytes"], 3 << 20);
        assert!(text(&known, true, false).contains("\nabout 3 MiB are to be copied\n"));
    }

    #[test]
    fn leaders_that_should_change_are_listed_with_their_load() {
        let evenness = |largest_over_mean| Some(v1::Evenness { entropy: 0.9, largest_over_mean });
        let handover = v1::PlannedHandover { shard: 2, from: 1, to: 3, operations_per_second: 900 };
        let uneven = v1::BalanceReply {
            changes: Vec::new(),
            handovers: vec![handover],
            load_before: evenness(2.0),
            load_after: evenness(1.25),
            ..reply()
        };
        let lines = text(&uneven, true, false);
        let expected = "1 leader would change, if the load stays as it is:\n\
                        shard  from  to  load\n\
                        s2     n1    n3  900/s\n\
                        the busiest leader node has 2.00 x the mean load now and 1.25 x then";
        assert!(lines.ends_with(expected), "{lines}");
        assert_eq!(answer(&uneven, true, false).json["handovers"][0]["operations_per_second"], 900);
        let even = v1::BalanceReply { handovers: Vec::new(), ..uneven };
        assert!(text(&even, true, false).ends_with("the busiest leader node has 2.00 x the mean load"));
        assert!(!text(&reply(), true, false).contains("load"), "nobody told");
    }

    #[test]
    fn an_even_cluster_is_left_alone() {
        let even = v1::BalanceReply { changes: Vec::new(), started: 0, ..reply() };
        assert!(text(&even, true, false).starts_with("nothing is to be moved\n"));
        assert!(!text(&even, false, false).contains("watch"));
        assert!(text(&reply(), false, false).contains("1 begun:") && text(&reply(), false, false).contains("watch"));
        assert!(text(&reply(), false, true).starts_with("2 replicas moved:"));
    }
}
