//! Those who wait for an answer, one question at a time.
//!
//! ```text
//!   waiting:   a b        c d e             f         who comes while a question is on its way waits for the next one:
//!   questions:    [a b .....] [c d e .....] [f ...]   its answer must be given after they asked (TIME-1, TIME-2)
//! ```
//! A question that failed is asked again, then also for those who have come since.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use strata_env::{Env, courtesy};
use strata_raft::{Ballot, Claim, Witness};
use strata_types::NodeId;
use tokio::sync::{Notify, oneshot};

use crate::node::Node;
use crate::question::{Question, Reply};
use crate::time::aim::Aim;
use crate::time::{Ask, Begun, TimeError};

/// Pause before a question that failed is asked again: short, because a shard may be waiting for a clock, and a meta
/// group that elects a leader says so at once.
const PAUSE: Duration = Duration::from_millis(20);

struct Waiter {
    answer: oneshot::Sender<Begun>,
    /// The leader on this node on whose behalf it asks.
    leader: Option<Ballot>,
}

/// Those who wait for the next question.
#[derive(Default)]
pub(crate) struct Line {
    waiting: Mutex<Waiting>,
    arrived: Notify,
}

#[derive(Default)]
struct Waiting {
    waiters: Vec<Waiter>,
    is_closed: bool,
    /// Why the last question failed, if it did.
    failure: Option<String>,
}

impl Line {
    /// Waits for the answer to a question that is not asked yet; on behalf of a leader, if there is one.
    pub(crate) async fn join(&self, env: &Env, leader: Option<Ballot>, deadline: Duration) -> Result<Begun, TimeError> {
        let (sender, answer) = oneshot::channel();
        {
            let mut waiting = self.waiting.lock();
            if waiting.is_closed {
                return Err(TimeError::Stopped);
            }
            waiting.waiters.push(Waiter { answer: sender, leader });
        }
        self.arrived.notify_one();
        match env.timeout(deadline, answer).await {
            Ok(answer) => answer.map_err(|_| TimeError::Stopped),
            Err(_) => {
                let failure = self.waiting.lock().failure.clone();
                let detail = failure.unwrap_or_else(|| "no node has answered yet".to_owned());
                Err(TimeError::NoAnswer { detail })
            }
        }
    }

    /// Nobody is answered any more.
    pub(crate) fn close(&self) {
        let mut waiting = self.waiting.lock();
        waiting.is_closed = true;
        // A waiter that is dropped has its answer.
        waiting.waiters.clear();
    }

    /// All who have come since.
    fn take(&self) -> Vec<Waiter> {
        std::mem::take(&mut self.waiting.lock().waiters)
    }

    fn note(&self, failure: Option<String>) {
        self.waiting.lock().failure = failure;
    }
}

/// Asks for those who wait, for ever.
pub(crate) async fn run(node: Arc<Node>, ask: Ask) {
    let (timestamps, env) = (node.timestamps().clone(), node.env().clone());
    let line = timestamps.line(ask);
    let doubt = Arc::new(AtomicBool::new(false));
    let (mut waiters, mut aim): (Vec<Waiter>, _) = (Vec::new(), Aim::new(&env));
    loop {
        // A question costs far more than one more who shares its answer.
        courtesy().await;
        let came = line.take();
        metrics::counter!("strata_time_waiters_total", "ask" => ask.name()).increment(came.len() as u64);
        waiters.extend(came);
        waiters.retain(|waiter| !waiter.answer.is_closed());
        if waiters.is_empty() {
            line.arrived.notified().await;
            continue;
        }
        metrics::counter!("strata_time_questions_total", "ask" => ask.name()).increment(1);
        let began = env.now();
        let mut claims = Vec::new();
        let question = |target| match ask {
            Ask::Floor => Question::Floor,
            Ask::Begin if doubt.swap(false, Ordering::Relaxed) || !node.host().roll_call().is_understood() => {
                Question::Begin
            }
            Ask::Begin => {
                claims = claims_on(target, &waiters);
                Question::BeginAtOnce { claims: claims.iter().map(|(_, claim)| *claim).collect() }
            }
        };
        let answer = aim.ask(&node, question).await.map(|reply| match reply {
            Reply::Timestamp(at) => Ok(Begun::certain(at)),
            Reply::Begun { at, ballot, are_true } => {
                let begun = Begun::claimed(at, ballot, node.host(), doubt.clone());
                let said = claims.into_iter().zip(are_true).filter(|(_, is_true)| *is_true);
                Ok(begun.with(said.filter_map(|((ballot, claim), _)| Witness::new(ballot, claim.voter(), at))))
            }
            other => Err(other),
        });
        let failure = match answer {
            Ok(Ok(answer)) => {
                timestamps.note(answer.at());
                line.note(None);
                let took = env.now().since(began).as_secs_f64();
                metrics::histogram!("strata_time_question_seconds", "ask" => ask.name()).record(took);
                for waiter in waiters.drain(..) {
                    // Whoever gave up is nobody's error.
                    let _ = waiter.answer.send(answer.clone());
                }
                continue;
            }
            Ok(Err(other)) => format!("an answer to another question: {other:?}"),
            Err(failure) => failure,
        };
        metrics::counter!("strata_time_failures_total", "ask" => ask.name()).increment(1);
        tracing::debug!(ask = ask.name(), failure, "no timestamp");
        line.note(Some(failure));
        env.sleep(env.jittered(PAUSE)).await;
    }
}

/// What may be asked of a node for the leaders that wait, each once.
fn claims_on(target: NodeId, waiters: &[Waiter]) -> Vec<(Ballot, Claim)> {
    let leaders: BTreeMap<_, _> =
        waiters.iter().filter_map(|it| it.leader.as_ref()).map(|it| (it.group(), it)).collect();
    let claims = leaders.into_values().filter_map(|ballot| Some((ballot.clone(), ballot.claim_on(target)?)));
    claims.filter(|(ballot, claim)| ballot.needs_only(claim.voter())).collect()
}

#[cfg(test)]
mod tests {
    use strata_env::sim::SimWorld;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn who_waits_is_told_why_there_is_no_answer() {
        let env = SimWorld::new(1).node(1).env();
        let line = Line::default();
        let wait = Duration::from_secs(1);
        let said = |detail: &str| Err(TimeError::NoAnswer { detail: detail.to_owned() });
        assert_eq!(line.join(&env, None, wait).await.map(|begun| begun.at()), said("no node has answered yet"));
        line.note(Some("node n1: no majority".to_owned()));
        assert_eq!(line.join(&env, None, wait).await.map(|begun| begun.at()), said("node n1: no majority"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_closed_line_lets_nobody_wait() {
        let env = SimWorld::new(1).node(1).env();
        let line = Line::default();
        let close = async { line.close() };
        let (waited, ()) = tokio::join!(line.join(&env, None, Duration::from_secs(9)), close);
        assert_eq!(waited.map(|begun| begun.at()), Err(TimeError::Stopped));
        assert_eq!(
            line.join(&env, None, Duration::from_secs(9)).await.map(|begun| begun.at()),
            Err(TimeError::Stopped)
        );
    }
}
