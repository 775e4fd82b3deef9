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
/// How long a member may take: it asks back, and then the meta group.
const MEMBER_DEADLINE: Duration = Duration::from_secs(5);
/// Pause between two rounds.
const ROUND_PAUSE: Duration = Duration::from_millis(150);

/// A node that looks for its cluster.
///
/// ```text
///   who is there? --> members of one cluster: ask one of them, in turn --> Joined, or Seated since the founding
///                 --> members of two: refused
///                 --> nobody, or nodes without a cluster: ask them all; the founder answers --> Wait, Seated
/// ```
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
    /// This node has a seat since the founding.
    Seated(Charter),
    /// It was taken into a cluster.
    Joined(Charter),
    /// It never will be.
    Refused(StartError),
    /// The first join address is this node itself, under another name.
    FirstIsThis,
    /// Not yet.
    NotYet(Phase),
}

/// An address of the join list and what came from there.
type Heard<'a> = (&'a str, Result<Answer, String>);

impl Joining<'_> {
    /// Asks until there is a seat, or a refusal. Returns when the seat is durable.
    pub(crate) async fn join(&self) -> Result<Membership, StartError> {
        if self.settings.is_first() {
            self.found();
        }
        let (mut has_met_members, mut turn) = (false, 0);
        loop {
            turn += 1;
            // Also the founder asks, once at least: it may have lost its data directory.
            let heard = self.probe().await;
            let members: Vec<&str> =
                heard.iter().filter(|(_, answer)| is_member(answer)).map(|(address, _)| *address).collect();
            if !members.is_empty() {
                has_met_members = true;
                self.reception.found_nothing();
            } else if !has_met_members && self.settings.may_found() {
                self.settings.check_founding()?;
            }
            let round = match members.len() {
                0 => self.founding_round(heard).await,
                count => self.member_round(&heard, members[turn % count]).await,
            };
            match round {
                Round::Seated(charter) => return self.take_seat(charter, true).await,
                Round::Joined(charter) => return self.take_seat(charter, false).await,
                Round::Refused(error) => return Err(error),
                Round::FirstIsThis if self.reception.present().is_none() && !has_met_members => self.found(),
                Round::FirstIsThis => {}
                Round::NotYet(phase) => (self.report)(phase),
            }
            if let Some(charter) = self.decide() {
                return self.take_seat(charter, true).await;
            }
            let _ = self.env.timeout(self.env.jittered(ROUND_PAUSE), self.reception.admitted.notified()).await;
            if let Some(charter) = self.decide() {
                return self.take_seat(charter, true).await;
            }
        }
    }

    fn candidate(&self) -> Candidate {
        Candidate {
            cluster: self.settings.cluster.clone(),
            instance: self.reception.instance,
            peer_address: self.settings.peer_address.clone(),
            client_address: self.settings.client_address.clone(),
            zone: self.settings.zone.clone(),
            first: self.settings.join.first().cloned(),
            expect: if self.settings.may_found() { self.settings.expected() } else { 0 },
            shards: self.settings.shards,
            cores: self.settings.cores,
            weight: self.settings.weight,
            versions: self.settings.versions,
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

    async fn take_seat(&self, charter: Charter, is_founding: bool) -> Result<Membership, StartError> {
        let instance = self.reception.instance;
        let membership = Membership::new(self.settings.cluster.clone(), instance, charter, is_founding);
        let membership = membership.expect("a seat was given to this instance");
        self.directory.save(instance, membership.clone()).await?;
        self.reception.seat(membership.clone());
        Ok(membership)
    }

    /// Who answers at the join addresses, in the order of the list.
    async fn probe(&self) -> Vec<Heard<'_>> {
        let others = self.settings.join.iter().filter(|address| **address != self.settings.peer_address);
        let asked = others.map(|address| async {
            let answer = self.reception.ask(address, &Introduction::Probe, ASK_DEADLINE).await;
            (address.as_str(), answer)
        });
        futures_util::future::join_all(asked).await
    }

    /// There is a cluster, and `member` is of it.
    async fn member_round(&self, heard: &[Heard<'_>], member: &str) -> Round {
        if let Some(error) = two_clusters(heard) {
            return Round::Refused(error);
        }
        let question = Introduction::Candidate(self.candidate());
        let answer = self.reception.ask(member, &question, MEMBER_DEADLINE).await;
        let detail = answer.as_ref().err().map_or_else(String::new, |detail| format!(" ({detail})"));
        let refused = format!("the node at {member} did not take this node into its cluster{detail}");
        self.judge(&[(member, answer)], Phase::Waiting { reason: refused })
    }

    /// Nobody who answers has a cluster.
    async fn founding_round(&self, heard: Vec<Heard<'_>>) -> Round {
        if !self.settings.may_found() {
            return self.nobody_to_join(&heard);
        }
        let question = Introduction::Candidate(self.candidate());
        let asked = heard.into_iter().map(|(address, answer)| {
            let question = &question;
            async move {
                match answer {
                    Ok(_) => (address, self.reception.ask(address, question, ASK_DEADLINE).await),
                    Err(detail) => (address, Err(detail)),
                }
            }
        });
        let answers = futures_util::future::join_all(asked).await;
        match self.reception.present() {
            Some(known) => self.judge(&answers, Phase::Joining { known, expected: self.settings.expected() }),
            None => self.judge(&answers, Phase::Waiting { reason: self.nobody_founds(&answers) }),
        }
    }

    /// What the answers, in the order of the join list, come to; `otherwise` when they say nothing.
    fn judge(&self, answers: &[Heard<'_>], otherwise: Phase) -> Round {
        let own = self.reception.instance;
        let verdicts = || answers.iter().filter_map(|(address, answer)| Some((*address, answer.as_ref().ok()?)));
        for (_, answer) in verdicts() {
            match &answer.verdict {
                Verdict::Seated(charter) if charter.seat_of(own).is_some() => return Round::Seated(charter.clone()),
                Verdict::Joined(charter) if charter.seat_of(own).is_some() => return Round::Joined(charter.clone()),
                _ => {}
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
                        "the node at {address} does not reach this node at {own} ({detail}): \
                         give an address that other nodes can reach"
                    );
                    return Round::NotYet(Phase::Waiting { reason });
                }
                Verdict::Later { detail } => {
                    let reason = format!("the node at {address} cannot take this node in yet: {detail}");
                    return Round::NotYet(Phase::Waiting { reason });
                }
                Verdict::Noted | Verdict::Seated(_) | Verdict::Joined(_) | Verdict::Refused(_) => {}
            }
        }
        Round::NotYet(otherwise)
    }

    fn nobody_founds(&self, answers: &[Heard<'_>]) -> String {
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

    /// This node founds nothing, and no member answers.
    fn nobody_to_join(&self, heard: &[Heard<'_>]) -> Round {
        let is_this =
            |heard: &Heard<'_>| matches!(&heard.1, Ok(answer) if answer.who.instance == self.reception.instance);
        if heard.iter().all(is_this) {
            return Round::Refused(StartError::JoinsItself { own: self.settings.peer_address.clone() });
        }
        let without = heard.iter().find(|one| one.1.is_ok() && !is_this(one)).map(|(address, _)| *address);
        let reason = match (without, heard.iter().find_map(|(address, answer)| Some((address, answer.as_ref().err()?))))
        {
            (Some(address), _) => format!(
                "the node at {address} is in no cluster yet: this node joins when there is one; \
                 with --expect it would be founded with it"
            ),
            (None, Some((address, detail))) => {
                format!("no answer from {address} yet ({detail}): start that node, or correct --join")
            }
            (None, None) => "nobody to ask".to_owned(),
        };
        Round::NotYet(Phase::Waiting { reason })
    }
}

fn is_member(answer: &Result<Answer, String>) -> bool {
    matches!(answer, Ok(answer) if answer.who.member.is_some())
}

/// Whether the join list names members of different clusters.
fn two_clusters(heard: &[Heard<'_>]) -> Option<StartError> {
    let members = heard.iter().filter_map(|(address, answer)| Some((*address, answer.as_ref().ok()?.who.member?.0)));
    let mut members = members.collect::<Vec<_>>().into_iter();
    let (first, cluster) = members.next()?;
    let (second, _) = members.find(|(_, other)| *other != cluster)?;
    Some(StartError::TwoClusters { first: first.to_owned(), second: second.to_owned() })
}

/// What a refusal by the node at `address` means for a candidate; `None` for what only greetings are told.
fn start_error(refusal: &Refusal, address: &str) -> Option<StartError> {
    let address = address.to_owned();
    match refusal.clone() {
        Refusal::AddressTaken { address } => Some(StartError::AddressTaken { address }),
        Refusal::SettingsDiffer { detail } => Some(StartError::SettingsDiffer { address, detail }),
        Refusal::Protocol { min, max } => Some(StartError::Protocol { address, min, max }),
        Refusal::IdentityTaken { node, address } => Some(StartError::IdentityTaken { node, address }),
        Refusal::Removed { node } => Some(StartError::Removed { node }),
        Refusal::Version { version, versions } => Some(StartError::Version { address, version, versions }),
        Refusal::NotTaken { detail } => Some(StartError::NotTaken { address, detail }),
        Refusal::OtherCluster { .. } => None,
    }
}

#[cfg(test)]
#[path = "joining/tests.rs"]
mod tests;
