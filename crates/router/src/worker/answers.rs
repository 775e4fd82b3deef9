//! What an attempt brought, request by request: who is answered, and who stays for the next attempt.

use std::sync::Arc;

use strata_types::{Error, ErrorCode, NodeId, Outcome, Reply, Result, ShardPlacement};

use super::{Flight, Trouble};
use crate::leader::Miss;
use crate::load::{can_move, outcome};
use crate::verdict::{Pace, give_up, is_charged, judge};
use crate::{LinkError, ShardReply};

impl Flight<'_> {
    /// Answers what can be answered and keeps the rest for the next attempt. Tells how soon that may be.
    pub(super) fn digest(
        &mut self,
        node: NodeId,
        placement: &ShardPlacement,
        result: std::result::Result<ShardReply, LinkError>,
    ) -> Pace {
        let leader = &self.queue.leader;
        match &result {
            Ok(_) => self.core.shunned.forgive(node),
            Err(_) => self.core.shunned.note(node, self.core.env.now()),
        }
        match result {
            Ok(ShardReply::Done { results, .. }) => self.settle(node, placement, results),
            Ok(ShardReply::NotLeader { leader: hint }) => {
                leader.note(node, Miss::Follows);
                let hint = hint.filter(|hint| Some(*hint) != self.silent);
                let is_news = hint.is_some_and(|hint| leader.hint(node, hint, placement));
                if !is_news {
                    leader.miss(node, placement);
                }
                let known = hint.map_or_else(|| "knows no leader".to_owned(), |hint| format!("says that {hint} does"));
                self.note(ErrorCode::NotLeader, format!("{node} does not lead shard {} and {known}", placement.shard));
                if is_news { Pace::Now } else { Pace::Soon }
            }
            Ok(ShardReply::StaleRoute(map)) => {
                let epoch = map.epoch;
                self.note(ErrorCode::StaleRoute, format!("{node} refused the route; its shard map is {epoch}"));
                if self.core.install(map) {
                    return Pace::Now;
                }
                // By a map that is no newer this node ought to have the shard: another one may have its address by now.
                leader.note(node, Miss::Follows);
                leader.miss(node, placement);
                Pace::Soon
            }
            Err(LinkError::NotSent { detail }) => {
                leader.note(node, Miss::Silent);
                leader.miss(node, placement);
                self.silent = Some(node);
                self.note(ErrorCode::Unavailable, format!("{node} cannot be reached ({detail})"));
                Pace::Soon
            }
            Err(LinkError::Unknown { detail }) => {
                leader.note(node, Miss::Silent);
                leader.miss(node, placement);
                self.silent = Some(node);
                self.note_silence(format!("{node} did not answer ({detail})"));
                self.answer_unrepeatable(node, &detail);
                self.is_charged = true;
                Pace::Soon
            }
        }
    }

    /// The batch was carried out; single requests of it may still have failed.
    fn settle(&mut self, node: NodeId, placement: &ShardPlacement, results: Vec<Result<Reply>>) -> Pace {
        if results.len() != self.requests.len() {
            self.answer_miscount(node, results.len());
            return Pace::Soon;
        }
        // Those without room go again at once, as often as it takes: each time some others are answered.
        let has_answers = results.iter().any(Result::is_ok);
        let is_only_without_room =
            has_answers && results.iter().flat_map(|it| it.as_ref().err()).all(Error::is_without_room);
        let mut pace = Pace::Now;
        let mut is_leading = true;
        let mut keep = Vec::new();
        for (index, (result, waiter)) in results.into_iter().zip(&mut self.waiters).enumerate() {
            let error = match result {
                Ok(reply) => {
                    waiter.answer(Ok(reply));
                    continue;
                }
                Err(error) => error,
            };
            let request = &mut self.requests[index];
            if error.code == ErrorCode::SessionExpired && waiter.numbered {
                // The session is not forgotten: only what an earlier attempt met is, and that nothing was written is known.
                // If that attempt was answered, and only had no room, it is made anew.
                if waiter.uncertain && error.outcome == Outcome::NotApplied && error.position.is_none() {
                    waiter.answer(Err(error));
                    continue;
                }
                if let Some(session) = request.header.session.take() {
                    let (fresh, is_wanted) = (self.core.fresh_client(), !waiter.uncertain);
                    request.header.session = self.queue.renew_session(session.client, fresh, error.position, is_wanted);
                }
                waiter.numbered = request.header.session.is_some();
                // The shard did not apply it now: if this was the first attempt, nothing was done.
                if !waiter.uncertain {
                    keep.push(index);
                    continue;
                }
            }
            match judge(request, &error).filter(|_| waiter.is_open()) {
                Some(_) if has_answers && error.is_without_room() => keep.push(index),
                Some(wanted) => {
                    pace = pace.max(wanted);
                    waiter.uncertain |= error.outcome == Outcome::Unknown && !request.operation.is_read();
                    is_leading &= !matches!(error.code, ErrorCode::NotLeader | ErrorCode::Corrupt);
                    self.is_charged |= is_charged(error.code) && !error.is_without_room();
                    if keep.is_empty() {
                        tracing::debug!(target: "strata_router::attempts", shard = self.queue.shard.0, "{node}: {error}");
                    }
                    keep.push(index);
                    self.trouble = Some(Arc::new(Trouble::told(error, self.trouble.as_deref())));
                }
                None => {
                    let outcome = worse(error.outcome, outcome(request, waiter, false));
                    waiter.answer(Err(Error { outcome, ..error }));
                }
            }
        }
        match is_leading {
            true => self.queue.leader.confirm(node),
            false => self.queue.leader.miss(node, placement),
        }
        self.retain(&keep);
        if is_only_without_room {
            (self.attempt, self.hops, self.pauses) = (0, 0, 0);
        }
        pace
    }

    /// After an attempt without an answer: what may be repeated stays, the rest is answered.
    fn answer_unrepeatable(&mut self, node: NodeId, detail: &str) {
        let before = Trouble::suffix_of_cut(self.trouble.as_deref());
        let mut keep = Vec::new();
        for (index, (request, waiter)) in self.requests.iter().zip(&mut self.waiters).enumerate() {
            if can_move(request, waiter) {
                waiter.uncertain |= !request.operation.is_read();
                keep.push(index);
                continue;
            }
            let reason = format!("the write was sent to {node}, which did not answer ({detail}){before}");
            waiter.answer(Err(give_up(ErrorCode::Unavailable, Outcome::Unknown, &reason, false, "")));
        }
        self.retain(&keep);
    }

    /// Nobody can tell which of so many results is whose.
    fn answer_miscount(&mut self, node: NodeId, results: usize) {
        let detail = format!("{node} sent {results} results for {} requests", self.requests.len());
        for (request, waiter) in self.requests.iter().zip(&mut self.waiters) {
            let outcome = outcome(request, waiter, true);
            waiter.answer(Err(Error::new(ErrorCode::Internal, outcome, detail.clone())));
        }
        self.retain(&[]);
    }

    /// Keeps the requests at these positions, which rise.
    pub(super) fn retain(&mut self, keep: &[usize]) {
        if keep.len() == self.requests.len() {
            return;
        }
        if self.core.options.sessions {
            let gone = (0..self.requests.len()).filter(|index| keep.binary_search(index).is_err());
            let numbered = gone.filter(|index| self.waiters[*index].numbered);
            self.queue.close(numbered.map(|index| &self.requests[index]));
        }
        keep_positions(&mut self.requests, keep);
        keep_positions(&mut self.waiters, keep);
    }

    fn note(&mut self, code: ErrorCode, message: String) {
        self.tell(&message);
        let error = Error::not_applied(code, message);
        self.trouble = Some(Arc::new(Trouble::met(error, self.trouble.as_deref(), false)));
    }

    /// A node did not answer, or it did not do so in the time that was left.
    fn note_silence(&mut self, message: String) {
        self.tell(&message);
        let now = self.core.env.now();
        let is_cut = self.waiters.iter().all(|waiter| waiter.deadline <= now);
        let error = Error::not_applied(ErrorCode::Unavailable, message);
        self.trouble = Some(Arc::new(Trouble::met(error, self.trouble.as_deref(), is_cut)));
    }
}

/// Keeps the items at these positions, which rise.
fn keep_positions<T>(items: &mut Vec<T>, keep: &[usize]) {
    for (to, from) in keep.iter().enumerate() {
        items.swap(to, *from);
    }
    items.truncate(keep.len());
}

fn worse(left: Outcome, right: Outcome) -> Outcome {
    match (left, right) {
        (Outcome::Applied, _) | (_, Outcome::Applied) => Outcome::Applied,
        (Outcome::Unknown, _) | (_, Outcome::Unknown) => Outcome::Unknown,
        (Outcome::NotApplied, Outcome::NotApplied) => Outcome::NotApplied,
    }
}
