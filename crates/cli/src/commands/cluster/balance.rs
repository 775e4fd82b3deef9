//! `strata cluster balance`.

use std::time::Duration;

use serde_json::{Value, json};
use strata_proto::v1;
use strata_types::{ChangeReason, Epoch};

use super::goal::Goal;
use super::operate::explain;
use super::waiting::wait;
use super::{count, name_of};
use crate::failure::Failure;
use crate::output::{Answer, Format, table};
use crate::session::Session;

/// Says what would be moved, or has it moved.
pub async fn balance(
    session: &Session,
    is_dry: bool,
    limit: Option<Duration>,
    format: Format,
) -> Result<Answer, Failure> {
    let reply = ask(session, is_dry).await.map_err(explain)?;
    if let Some(limit) = limit {
        wait(session, Goal::Balanced, Epoch(reply.epoch), limit, format).await?;
    }
    Ok(answer(&reply, is_dry, limit.is_some()))
}

/// Asks, or wishes.
pub async fn ask(session: &Session, dry_run: bool) -> Result<v1::BalanceReply, Failure> {
    let request = v1::BalanceRequest { dry_run };
    session.admin(request, |mut client, request| async move { client.balance(request).await }).await
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
        lines.push(table(&["shard", "from", "to", "why"], &changes.iter().map(row).collect::<Vec<_>>()));
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
    if !is_dry && !is_done && !changes.is_empty() {
        lines.push("  watch    strata cluster jobs".to_owned());
    }
    let evenness = |evenness: v1::Evenness| json!({ "entropy": evenness.entropy, "largest_over_mean": evenness.largest_over_mean });
    let json = json!({
        "dry_run": is_dry,
        "changes": changes.iter().map(change_json).collect::<Vec<Value>>(),
        "before": evenness(before),
        "after": evenness(after),
        "started": reply.started,
        "cancelled": reply.cancelled,
        "epoch": reply.epoch,
        "waited": is_done,
    });
    Answer::new(lines.join("\n"), json)
}

fn row(change: &v1::PlannedChange) -> Vec<String> {
    let node = |node: u64| if node == 0 { "-".to_owned() } else { format!("n{node}") };
    vec![name_of(change.shard), node(change.remove), node(change.add), ChangeReason::from(change.reason()).to_string()]
}

fn change_json(change: &v1::PlannedChange) -> Value {
    let node = |node: u64| Some(node).filter(|node| *node > 0);
    json!({
        "group": name_of(change.shard),
        "from": node(change.remove),
        "to": node(change.add),
        "reason": ChangeReason::from(change.reason()).to_string(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply() -> v1::BalanceReply {
        let change =
            |shard, reason: v1::ChangeReason| v1::PlannedChange { shard, add: 4, remove: 2, reason: reason.into() };
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
             shard  from  to  why\n\
             s1     n2    n4  evens out the nodes\n\
             meta   n2    n4  the node is lost\n\
             the fullest node holds 1.33 x the mean now and 1.00 x then; evenness 0.750 and 1.000 (1 is best)"
        );
        let json = answer(&reply(), true, false).json;
        assert_eq!((&json["changes"][1]["group"], &json["dry_run"]), (&"meta".into(), &true.into()));
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
