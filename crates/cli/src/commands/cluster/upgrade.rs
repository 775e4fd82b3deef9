//! `strata cluster upgrade`.

use serde_json::json;
use strata_proto::v1;
use strata_types::ClusterVersion;

use super::ask_status;
use super::operate::explain;
use crate::failure::Failure;
use crate::output::Answer;
use crate::session::Session;

/// Raises the version of the cluster, or says how far it could be raised.
pub async fn upgrade(session: &Session, to: Option<ClusterVersion>, dry_run: bool) -> Result<Answer, Failure> {
    if dry_run {
        return Ok(outlook(&ask_status(session).await?));
    }
    let request = v1::RaiseVersionRequest { version: to.map_or(0, |version| version.0) };
    let raised = session.admin(request, |mut client, request| async move { client.raise_version(request).await });
    raised.await.map(|reply| answer(&reply)).map_err(explain)
}

fn outlook(status: &v1::ClusterStatusReply) -> Answer {
    let (present, reach) = (ClusterVersion(status.cluster_version), ClusterVersion(status.version_within_reach));
    let text = match reach > present {
        true => format!("the cluster has version {present}, and every node knows {reach}"),
        false => format!("the cluster has version {present}, the newest that every node knows"),
    };
    Answer::new(text, json!({ "version": present.0, "within_reach": reach.0 }))
}

fn answer(reply: &v1::RaiseVersionReply) -> Answer {
    let (before, now) = (ClusterVersion(reply.before), ClusterVersion(reply.version));
    let text = match before == now {
        true => format!("the cluster has version {now} already"),
        false => format!("the cluster has version {now}: programs that do not know it are refused from now on"),
    };
    Answer::new(text, json!({ "before": before.0, "version": now.0, "epoch": reply.epoch }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(answer: Answer) -> String {
        String::from_utf8(answer.text).expect("text")
    }

    #[test]
    fn it_is_said_how_far_the_cluster_could_go_and_what_became_of_it() {
        let status = |cluster_version, version_within_reach| v1::ClusterStatusReply {
            cluster_version,
            version_within_reach,
            ..v1::ClusterStatusReply::default()
        };
        assert!(text(outlook(&status(1, 2))).ends_with("every node knows v2"));
        assert!(text(outlook(&status(2, 2))).ends_with("v2, the newest that every node knows"));
        let reply = |before, version| v1::RaiseVersionReply { before, version, epoch: 7 };
        assert!(text(answer(&reply(1, 2))).starts_with("the cluster has version v2: programs"));
        assert!(text(answer(&reply(2, 2))).ends_with("already"));
        assert_eq!(answer(&reply(1, 2)).json, json!({ "before": 1, "version": 2, "epoch": 7 }));
    }
}
