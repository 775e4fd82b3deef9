//! Answers introductions.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;
use strata_env::Env;
use strata_net::{Introductions, NetError, Transport};
use strata_types::ClusterId;
use tokio::sync::Notify;

use crate::address_book::{AddressBook, Heard};
use crate::admission::Admission;
use crate::founding::Founding;
use crate::identity_file::Membership;
use crate::introduction::{
    Answer, Candidate, Greeting, Introduction, PROTOCOL_MAX, PROTOCOL_MIN, Refusal, Verdict, Who,
};
use crate::introduction_wire::{Arrived, decode_answer, decode_introduction, encode_answer, encode_introduction};
use crate::{Charter, ClusterName, InstanceId};

/// How long whoever is asked back may take: the one who asks waits a second in all.
const PROBE_DEADLINE: Duration = Duration::from_millis(500);

/// What this node is to others.
enum Role {
    /// It looks for its cluster.
    Fresh,
    /// It gathers candidates.
    Founder(Founding),
    /// It has a seat.
    Member(Membership),
}

/// Answers introductions from the first moment of a start to the end of the process.
pub(crate) struct Reception {
    env: Env,
    transport: Arc<dyn Transport>,
    book: Arc<AddressBook>,
    pub(crate) instance: InstanceId,
    pub(crate) incarnation: u64,
    pub(crate) peer_address: String,
    role: Mutex<Role>,
    /// The way into the founded cluster, once this node can be asked.
    admission: OnceLock<Admission>,
    /// A candidate was admitted.
    pub(crate) admitted: Notify,
}

impl Reception {
    pub(crate) fn new(
        env: Env,
        transport: Arc<dyn Transport>,
        book: Arc<AddressBook>,
        instance: InstanceId,
        peer_address: String,
    ) -> Arc<Reception> {
        let incarnation = env.rng.next_u64();
        let (role, admitted) = (Mutex::new(Role::Fresh), Notify::new());
        let admission = OnceLock::new();
        Arc::new(Reception { env, transport, book, instance, incarnation, peer_address, role, admission, admitted })
    }

    /// Candidates are admitted from now on.
    pub(crate) fn found(&self, founding: Founding) {
        *self.role.lock() = Role::Founder(founding);
    }

    /// This node founds nothing after all: there is a cluster already (CLUSTER-8).
    pub(crate) fn found_nothing(&self) {
        let mut role = self.role.lock();
        if matches!(*role, Role::Founder(_)) {
            *role = Role::Fresh;
        }
    }

    /// New nodes are taken into the cluster from now on.
    pub(crate) fn open(&self, admission: Admission) {
        assert!(self.admission.set(admission).is_ok(), "a process starts one node");
    }

    /// Candidates that are there; `None` when this node founds nothing.
    pub(crate) fn present(&self) -> Option<u32> {
        match &*self.role.lock() {
            Role::Founder(founding) => Some(founding.present(self.env.now())),
            Role::Fresh | Role::Member(_) => None,
        }
    }

    /// The cluster, if this node is to found it and everybody is there. Nobody else hears of it before
    /// [`Reception::seat`] (CLUSTER-1).
    pub(crate) fn decide(&self) -> Option<Charter> {
        let Role::Founder(founding) = &*self.role.lock() else { return None };
        let cluster = u128::from(self.env.rng.next_u64()) << 64 | u128::from(self.env.rng.next_u64());
        founding.decide(ClusterId(cluster), self.env.now())
    }

    /// This node has a seat, durably.
    pub(crate) fn seat(&self, membership: Membership) {
        *self.role.lock() = Role::Member(membership);
    }

    /// Introduces this node to an address.
    pub(crate) async fn ask(
        &self,
        address: &str,
        introduction: &Introduction,
        deadline: Duration,
    ) -> Result<Answer, String> {
        let body = encode_introduction(introduction);
        let answer = self.transport.introduce(address, body, deadline).await.map_err(|error| detail_of(&error))?;
        decode_answer(answer).map_err(|error| format!("it does not speak our language: {error}"))
    }

    fn who(&self) -> Who {
        let member = match &*self.role.lock() {
            Role::Member(membership) => Some((membership.charter.cluster, membership.node)),
            Role::Fresh | Role::Founder(_) => None,
        };
        let (instance, incarnation) = (self.instance, self.incarnation);
        Who { instance, incarnation, peer_address: self.peer_address.clone(), member }
    }

    async fn candidate(&self, candidate: Candidate) -> Verdict {
        if candidate.instance == self.instance {
            return self.own_instance();
        }
        if let Some(verdict) = self.verdict_on(&candidate, Checked::No) {
            return verdict;
        }
        // Nobody becomes a member who cannot be reached, or gives the address of another.
        match self.ask(&candidate.peer_address, &Introduction::Probe, PROBE_DEADLINE).await {
            Err(detail) => Verdict::Unreachable { detail },
            Ok(answer) if answer.who.instance != candidate.instance => {
                Verdict::Refused(Refusal::AddressTaken { address: candidate.peer_address })
            }
            Ok(_) => match self.verdict_on(&candidate, Checked::Yes) {
                Some(verdict) => verdict,
                None => self.admit(candidate).await,
            },
        }
    }

    /// A candidate with this node's data directory: this process under another name, or a copy.
    fn own_instance(&self) -> Verdict {
        match &*self.role.lock() {
            Role::Fresh | Role::Founder(_) => Verdict::Noted,
            Role::Member(membership) => {
                let (node, address) = (membership.node, self.peer_address.clone());
                Verdict::Refused(Refusal::IdentityTaken { node, address })
            }
        }
    }

    /// `None` when the candidate's address must be checked first, and then when the cluster must be asked. Who has a seat
    /// in the charter has it for ever (CLUSTER-2).
    fn verdict_on(&self, candidate: &Candidate, checked: Checked) -> Option<Verdict> {
        match &mut *self.role.lock() {
            Role::Fresh => Some(Verdict::Noted),
            // CLUSTER-10
            Role::Member(Membership { cluster, .. }) if *cluster != candidate.cluster => {
                let (address, wanted) = (&candidate.peer_address, &candidate.cluster);
                tracing::warn!(%address, %wanted, own = %cluster, "a node of another cluster's name wants to join");
                Some(Verdict::Refused(Refusal::NotTaken { detail: other_name(cluster, wanted) }))
            }
            Role::Member(Membership { charter, is_founding, .. }) => {
                let has_seat = *is_founding && charter.seat_of(candidate.instance).is_some();
                has_seat.then(|| Verdict::Seated(charter.clone()))
            }
            Role::Founder(_) if candidate.expect == 0 => Some(Verdict::Noted),
            Role::Founder(founding) => {
                if checked == Checked::No && !founding.knows(candidate) {
                    return None;
                }
                let verdict = founding.admit(candidate.clone(), self.env.now());
                self.admitted.notify_one();
                Some(verdict)
            }
        }
    }

    /// The cluster takes a candidate in that answers at its address.
    async fn admit(&self, candidate: Candidate) -> Verdict {
        let Some(admission) = self.admission.get() else {
            return Verdict::Later { detail: "it is starting".to_owned() };
        };
        // Of two copies of a data directory that is in no cluster yet, one becomes a member.
        if let Some((node, address)) = admission.known(candidate.instance)
            && address != candidate.peer_address
            && let Ok(answer) = self.ask(&address, &Introduction::Probe, PROBE_DEADLINE).await
            && answer.who.instance == candidate.instance
        {
            return Verdict::Refused(Refusal::IdentityTaken { node, address });
        }
        admission.admit(candidate.joiner()).await
    }

    async fn greeting(&self, greeting: Greeting) -> Verdict {
        let taken = |address: String| Verdict::Refused(Refusal::IdentityTaken { node: greeting.node, address });
        let member = match &*self.role.lock() {
            Role::Fresh | Role::Founder(_) => return Verdict::Noted,
            Role::Member(membership) => {
                let cluster = membership.charter.cluster;
                if cluster != greeting.cluster {
                    return Verdict::Refused(Refusal::OtherCluster { cluster });
                }
                if membership.node == greeting.node {
                    let is_this = greeting.incarnation == self.incarnation;
                    return if is_this { Verdict::Noted } else { taken(self.peer_address.clone()) };
                }
                let seat = membership.charter.seat(greeting.node);
                let seat = seat.map(|seat| (seat.instance, seat.peer_address.clone()));
                self.book.member(greeting.node).or(seat)
            }
        };
        if let Some((_, address)) = member.filter(|(instance, _)| *instance != greeting.instance) {
            return taken(self.book.heard(greeting.node).map_or(address, |heard| heard.address));
        }
        let own = Heard { incarnation: greeting.incarnation, address: greeting.peer_address.clone() };
        loop {
            let former = self.book.heard(greeting.node);
            if let Some(former) = &former
                && self.is_copy_of(&own, former).await
            {
                return taken(former.address.clone());
            }
            // Another copy may have come while the former process was asked.
            if self.book.hear_after(greeting.node, former.as_ref(), own.clone()) {
                return Verdict::Noted;
            }
        }
    }

    /// Whether one process has what another one has that lives. One address has one process; at another one the former
    /// may live on.
    async fn is_copy_of(&self, process: &Heard, former: &Heard) -> bool {
        if former.incarnation == process.incarnation || former.address == process.address {
            return false;
        }
        let answer = self.ask(&former.address, &Introduction::Probe, PROBE_DEADLINE).await;
        answer.is_ok_and(|answer| answer.who.incarnation == former.incarnation)
    }
}

fn other_name(own: &ClusterName, wanted: &ClusterName) -> String {
    format!(
        "it is called {own}, and this node was started for a cluster called {wanted}: start it with --cluster {own}, or \
         name nodes of {wanted} with --join"
    )
}

/// Whether the address of a candidate was checked.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Checked {
    Yes,
    No,
}

#[async_trait]
impl Introductions for Reception {
    async fn introduce(&self, body: Bytes) -> Result<Bytes, String> {
        let verdict = match decode_introduction(body).map_err(|error| error.to_string())? {
            Arrived::Foreign => Verdict::Refused(Refusal::Protocol { min: PROTOCOL_MIN, max: PROTOCOL_MAX }),
            Arrived::Introduction(Introduction::Probe) => Verdict::Noted,
            Arrived::Introduction(Introduction::Candidate(candidate)) => self.candidate(candidate).await,
            Arrived::Introduction(Introduction::Greeting(greeting)) => self.greeting(greeting).await,
        };
        Ok(encode_answer(&Answer { who: self.who(), verdict }))
    }
}

/// Why nobody answered, without the address, which the sentence around it has.
fn detail_of(error: &NetError) -> String {
    match error {
        NetError::Unreachable { detail, .. } | NetError::NoAnswer { detail, .. } | NetError::Refused { detail, .. } => {
            detail.clone()
        }
        error => error.to_string(),
    }
}
