//! The network between simulated nodes: delays, loses, duplicates, reorders and cuts, all from the seed.

mod transport;

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use strata_env::Env;
use strata_net::{Inbox, Lane, Message, MessageKind, NetError};
use strata_types::{GroupId, NodeId};
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::dice::Dice;
use crate::stragglers::{Late, Number, Stragglers};

pub(crate) use transport::{SimTransport, address_of};

/// A place that messages come from and go to. Nodes have a number before they have an id.
pub(crate) type Host = usize;

/// How bad the network is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Weather {
    /// Shortest and longest delay of a message, in microseconds.
    pub(crate) delay_micros: (u64, u64),
    /// Messages lost, of a thousand.
    pub(crate) lost: u64,
    /// Messages delivered twice, of a thousand.
    pub(crate) doubled: u64,
    /// Messages that may overtake others, of a thousand.
    pub(crate) overtaking: u64,
    /// Requests with steps of transactions that come after what was sent later, or seconds late, of a thousand; of other
    /// requests a tenth.
    pub(crate) straggling: u64,
}

impl Weather {
    pub(crate) const CALM: Weather =
        Weather { delay_micros: (50, 400), lost: 0, doubled: 0, overtaking: 0, straggling: 0 };
}

/// One message on its way.
enum Parcel {
    Message { lane: Lane, message: Message },
    Introduction { body: Bytes, answer: tokio::sync::oneshot::Sender<Result<Bytes, NetError>> },
}

/// Who takes what arrives at a host, and the environment that it runs in: if it panics, its machine stops itself.
type Door = (Env, Weak<dyn Inbox>);

struct State {
    dice: Dice,
    weather: Weather,
    /// Links that deliver nothing, one direction each.
    cut: BTreeSet<(Host, Host)>,
    doors: BTreeMap<Host, Door>,
    hosts: BTreeMap<NodeId, Host>,
    /// When the last message of a link and lane arrives: later ones do not overtake it.
    latest: BTreeMap<(Host, Host, Lane), Instant>,
    /// What is on its way, by arrival. The number keeps equal instants in the order of sending.
    queue: BTreeMap<Number, (Host, Parcel)>,
    queued: u64,
    /// What is held back, and is in the queue as well.
    stragglers: Stragglers,
    sent: u64,
    delivered: u64,
}

impl State {
    /// A request is sent: those of the same host to the same group that have waited for it go on. Returns what of it is
    /// held back.
    fn overtake(&mut self, from: Host, group: GroupId) -> Option<Late> {
        for (number, at) in self.stragglers.overtaken(from, group, &mut self.dice) {
            if let Some(late) = self.queue.remove(&number) {
                self.queue.insert((at, number.1), late);
            }
        }
        self.stragglers.take_expected(from, group)
    }
}

/// The network. One task delivers everything.
pub(crate) struct Fabric {
    state: Mutex<State>,
    changed: Notify,
}

impl Fabric {
    pub(crate) fn new(dice: Dice) -> Arc<Fabric> {
        let fabric = Arc::new(Fabric {
            state: Mutex::new(State {
                dice,
                weather: Weather::CALM,
                cut: BTreeSet::new(),
                doors: BTreeMap::new(),
                hosts: BTreeMap::new(),
                latest: BTreeMap::new(),
                queue: BTreeMap::new(),
                queued: 0,
                stragglers: Stragglers::default(),
                sent: 0,
                delivered: 0,
            }),
            changed: Notify::new(),
        });
        tokio::spawn(deliver_loop(Arc::downgrade(&fabric)));
        fabric
    }

    pub(crate) fn set_weather(&self, weather: Weather) {
        self.state.lock().weather = weather;
    }

    /// Cuts or mends one direction of a link.
    pub(crate) fn set_cut(&self, from: Host, to: Host, cut: bool) {
        let mut state = self.state.lock();
        if cut {
            state.cut.insert((from, to));
        } else {
            state.cut.remove(&(from, to));
        }
    }

    /// Mends every link.
    pub(crate) fn mend(&self) {
        self.state.lock().cut.clear();
    }

    /// Who takes what arrives at a host from now on. A dropped inbox takes nothing.
    pub(crate) fn attach(&self, host: Host, env: Env, inbox: Weak<dyn Inbox>) {
        self.state.lock().doors.insert(host, (env, inbox));
    }

    /// The node that a host has become, if it has.
    pub(crate) fn node_at(&self, host: Host) -> Option<NodeId> {
        self.state.lock().hosts.iter().find(|(_, at)| **at == host).map(|(node, _)| *node)
    }

    /// A host is no node any more.
    pub(crate) fn forget(&self, host: Host) {
        self.state.lock().hosts.retain(|_, at| *at != host);
    }

    /// Messages sent and delivered so far.
    pub(crate) fn counts(&self) -> (u64, u64) {
        let state = self.state.lock();
        (state.sent, state.delivered)
    }

    /// One way of something that is no message here: how long it takes, unless it gets lost.
    pub(crate) fn journey(&self, from: Host, to: Host) -> Option<Duration> {
        let mut state = self.state.lock();
        let Weather { lost, delay_micros: (low, high), .. } = state.weather;
        if state.cut.contains(&(from, to)) || state.dice.chance(lost) {
            return None;
        }
        Some(Duration::from_micros(state.dice.between(low, high)))
    }

    /// The next request of a host to a group may come late. `per_mille` of what it is as likely as the weather says. Of one
    /// that may be sent again, perhaps only a copy comes late. Returns what does.
    pub(crate) fn may_straggle(&self, from: Host, group: GroupId, per_mille: u64, is_repeatable: bool) -> Option<Late> {
        let state = &mut *self.state.lock();
        let likely = state.weather.straggling * per_mille / 1_000;
        if likely == 0 || !state.dice.chance(likely) {
            return None;
        }
        let late = if is_repeatable && state.dice.chance(600) { Late::Copy } else { Late::Itself };
        state.stragglers.expect(from, group, late);
        Some(late)
    }

    /// The request that may have come late was not sent. Another one must not be taken for it, which perhaps nobody may
    /// send twice.
    pub(crate) fn sends_nothing(&self, from: Host, group: GroupId) {
        self.state.lock().stragglers.expect_no_more(from, group);
    }

    fn send(&self, from: Host, to: Host, lane: Lane, parcel: Parcel) {
        let state = &mut *self.state.lock();
        state.sent += 1;
        let weather = state.weather;
        let group = match &parcel {
            Parcel::Message { message, .. } if message.kind == MessageKind::Requests => Some(message.group),
            _ => None,
        };
        let late = group.and_then(|group| Some((group, state.overtake(from, group)?)));
        if state.cut.contains(&(from, to)) || state.dice.chance(weather.lost) {
            return;
        }
        let copy = match &parcel {
            // A connection brings everything once at most, and whoever sends a write without a session relies on that. The
            // groups' own messages are doubled all the same: Raft has to bear it.
            Parcel::Message { lane, message }
                if (state.dice.chance(weather.doubled) && message.kind != MessageKind::Requests)
                    || late.is_some_and(|(_, late)| late == Late::Copy) =>
            {
                Some(Parcel::Message { lane: *lane, message: message.clone() })
            }
            _ => None,
        };
        for (parcel, which) in [(Some(parcel), Late::Itself), (copy, Late::Copy)] {
            let Some(parcel) = parcel else { continue };
            let (low, high) = weather.delay_micros;
            let mut at = Instant::now() + Duration::from_micros(state.dice.between(low, high));
            if let Some((group, _)) = late.filter(|(_, late)| *late == which) {
                at = state.stragglers.hold((from, group), which, state.queued, &mut state.dice);
            } else if !state.dice.chance(weather.overtaking) {
                let latest = state.latest.entry((from, to, lane)).or_insert(at);
                at = at.max(*latest);
                *latest = at;
            }
            let number = state.queued;
            state.queued += 1;
            state.queue.insert((at, number), (to, parcel));
        }
        self.changed.notify_one();
    }

    /// Takes out what is due, in order.
    fn due(&self) -> (Vec<(Door, Parcel)>, Option<Instant>) {
        let mut state = self.state.lock();
        let now = Instant::now();
        let mut due = Vec::new();
        while let Some(entry) = state.queue.first_entry() {
            if entry.key().0 > now {
                break;
            }
            let (to, parcel) = entry.remove();
            // What is for a former node of the machine finds nobody.
            let is_here = |node: NodeId| state.hosts.get(&node) == Some(&to);
            let finds = match &parcel {
                Parcel::Message { message, .. } => is_here(message.to),
                Parcel::Introduction { .. } => true,
            };
            if let Some(door) = state.doors.get(&to).filter(|_| finds).cloned() {
                state.delivered += 1;
                due.push((door, parcel));
            }
        }
        (due, state.queue.first_key_value().map(|((at, _), _)| *at))
    }
}

async fn deliver_loop(fabric: Weak<Fabric>) {
    loop {
        let Some(strong) = fabric.upgrade() else { return };
        let (due, next) = strong.due();
        for ((env, inbox), parcel) in due {
            let Some(inbox) = inbox.upgrade() else { continue };
            match parcel {
                Parcel::Message { lane, message } => {
                    if catch_unwind(AssertUnwindSafe(|| inbox.deliver(lane, message))).is_err() {
                        env.halt("whoever takes messages panicked");
                    }
                }
                Parcel::Introduction { body, answer } => {
                    env.spawn("sim-introduction", async move {
                        let _ = answer.send(inbox.introduce(body).await);
                    });
                }
            }
        }
        let changed = strong.changed.notified();
        match next {
            Some(at) => tokio::select! {
                biased;
                () = changed => {}
                () = tokio::time::sleep_until(at) => {}
            },
            None => changed.await,
        }
    }
}
