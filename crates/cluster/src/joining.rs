//! How a node without a cluster gets its seat.

use std::sync::Arc;
use std::time::Duration;

use strata_env::Env;

use crate::data_directory::DataDirectory;
use crate::founding::Founding;
use crate::identity_file::Membership;
use crate::introduction::{Answer, Candidate, Introduction, Refusal, Verdict};
use crate::reception::Reception;
use crate::{Charter, NodeSettings, Phase, StartError};

/// How long one address may take to answer. The node behind it may have to ask back.
const ASK_DEADLINE: Duration = Duration::from_secs(1);
/// Pause between two rounds.
const ROUND_PAUSE: Duration = Duration::from_millis(150);

/// A node that looks for its cluster.
pub(crate) struct Joining<'a> {
    pub(crate) env: &'a Env,
    pub(crate) settings: &'a NodeSettings,
    pub(crate) directory: &'a DataDirectory,
    pub(crate) reception: &'a Arc<Reception>,
    pub(crate) report: &'a (dyn Fn(Phase) + Send + Sync),
}

/// What one round of asking came to.
#[derive(Debug, PartialEq, Eq)]
enum Round {
    /// This node has a seat.
    Seated(Charter),
    /// It never will.
    Refused(StartError),
    /// The first join address is this node itself, under another name.
    FirstIsThis,
    /// Not yet.
    NotYet(Phase),
}

impl Joining<'_> {
    /// Asks until there is a seat, or a refusal. Returns when the seat is durable.
    pub(crate) async fn join(&self) -> Result<Membership, StartError> {
        self.settings.check_fresh()?;
        if self.settings.is_first() {
            self.found();
        }
        loop {
            // Also the founder asks, once at least: it may have lost its data directory.
            let charter = match self.round().await {
                Round::Seated(charter) => Some(charter),
                Round::Refused(error) => return Err(error),
                Round::FirstIsThis => {
                    if self.reception.present().is_none() {
                        self.found();
                    }
                    None
                }
                Round::NotYet(phase) => {
                    (self.report)(phase);
                    None
                }
            };
            if let Some(charter) = charter.or_else(|| self.decide()) {
                return self.take_seat(charter).await;
            }
            let _ = self.env.timeout(self.env.jittered(ROUND_PAUSE), self.reception.admitted.notified()).await;
            if let Some(charter) = self.decide() {
                return self.take_seat(charter).await;
            }
        }
    }

    fn candidate(&self) -> Candidate {
        Candidate {
            instance: self.reception.instance,
            peer_address: self.settings.peer_address.clone(),
            client_address: self.settings.client_address.clone(),
            zone: self.settings.zone.clone(),
            first: self.settings.join.first().cloned(),
            expect: self.settings.expect,
            shards: self.settings.shards,
            cores: self.settings.cores,
        }
    }

    fn found(&self) {
        self.reception.found(Founding::new(self.candidate(), self.settings.join.clone()));
    }

    fn decide(&self) -> Option<Charter> {
        let charter = self.reception.decide()?;
        (self.report)(Phase::Founding);
        Some(charter)
    }

    async fn take_seat(&self, charter: Charter) -> Result<Membership, StartError> {
        let seat = charter.seat_of(self.reception.instance).expect("a seat was given to this instance");
        let membership = Membership { node: seat.node, charter: charter.clone() };
        self.directory.save(self.reception.instance, membership.clone()).await?;
        self.reception.seat(membership.clone());
        Ok(membership)
    }

    async fn round(&self) -> Round {
        let question = Introduction::Candidate(self.candidate());
        let others = self.settings.join.iter().filter(|address| **address != self.settings.peer_address);
        let asked = others
            .map(|address| async { (address.as_str(), self.reception.ask(address, &question, ASK_DEADLINE).await) });
        let answers = futures_util::future::join_all(asked).await;
        match self.reception.present() {
            Some(known) => self.judge(&answers, Phase::Joining { known, expected: self.settings.expect }),
            None => self.judge(&answers, Phase::Waiting { reason: self.nobody_founds(&answers) }),
        }
    }

    /// What the answers, in the order of the join list, come to; `otherwise` when they say nothing.
    fn judge(&self, answers: &[(&str, Result<Answer, String>)], otherwise: Phase) -> Round {
        let own = self.reception.instance;
        let verdicts = || answers.iter().filter_map(|(address, answer)| Some((*address, answer.as_ref().ok()?)));
        for (_, answer) in verdicts() {
            if let Verdict::Seated(charter) = &answer.verdict
                && charter.seat_of(own).is_some()
            {
                return Round::Seated(charter.clone());
            }
        }
        for (address, answer) in verdicts() {
            if let Verdict::Refused(refusal) = &answer.verdict
                && let Some(error) = start_error(refusal, address)
            {
                return Round::Refused(error);
            }
        }
        if let Some((first, Ok(answer))) = answers.first()
            && answer.who.instance == own
            && self.settings.join.first().is_some_and(|address| address == first)
        {
            return Round::FirstIsThis;
        }
        for (address, answer) in verdicts() {
            match &answer.verdict {
                Verdict::Wait { known, expected } => {
                    return Round::NotYet(Phase::Joining { known: *known, expected: *expected });
                }
                Verdict::Unreachable { detail } => {
                    let own = &self.settings.peer_address;
                    let reason = format!(
                        "the founder at {address} does not reach this node at {own} ({detail}): \
                         give an address that other nodes can reach"
                    );
                    return Round::NotYet(Phase::Waiting { reason });
                }
                Verdict::Noted | Verdict::Seated(_) | Verdict::Refused(_) => {}
            }
        }
        Round::NotYet(otherwise)
    }

    fn nobody_founds(&self, answers: &[(&str, Result<Answer, String>)]) -> String {
        match answers.first() {
            Some((first, Err(detail))) => {
                format!("no answer from {first} yet ({detail}): start that node, or correct --join")
            }
            Some((first, Ok(_))) => format!(
                "the node at {first} does not found a cluster yet: every node must be started with the same --join list"
            ),
            None => "nobody to ask".to_owned(),
        }
    }
}

/// What a refusal by the node at `address` means for a candidate; `None` for what only greetings are told.
fn start_error(refusal: &Refusal, address: &str) -> Option<StartError> {
    let address = address.to_owned();
    match refusal.clone() {
        Refusal::Complete { nodes } => Some(StartError::Complete { address, nodes }),
        Refusal::AddressTaken { address } => Some(StartError::AddressTaken { address }),
        Refusal::SettingsDiffer { detail } => Some(StartError::SettingsDiffer { address, detail }),
        Refusal::Protocol { min, max } => Some(StartError::Protocol { address, min, max }),
        Refusal::OtherCluster { .. } | Refusal::IdentityTaken { .. } => None,
    }
}

#[cfg(test)]
#[path = "joining/tests.rs"]
mod tests;
