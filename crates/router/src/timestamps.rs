//! Questions for timestamps: of each kind one is under way, and whoever comes meanwhile shares the next one.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use strata_env::Mono;
use strata_types::{Error, ErrorCode, Result, Retry, Timestamp, limits::REQUEST_DEADLINE_MAX};
use tokio::sync::oneshot;

use crate::core::Core;
use crate::verdict::{Pace, pause};
use crate::{Router, TimestampKind};

/// A question without an answer for this long is asked again, of another node where there is one.
const ATTEMPT_MAX: Duration = Duration::from_secs(1);

/// The questions of a router.
#[derive(Default)]
pub(crate) struct Questions {
    begin: Mutex<Queue>,
    floor: Mutex<Queue>,
}

/// Who waits for a timestamp of one kind.
#[derive(Default)]
struct Queue {
    is_asking: bool,
    waiting: Vec<Asker>,
}

struct Asker {
    deadline: Mono,
    answer: oneshot::Sender<Result<Timestamp>>,
}

impl Questions {
    fn of(&self, kind: TimestampKind) -> &Mutex<Queue> {
        match kind {
            TimestampKind::Begin => &self.begin,
            TimestampKind::Floor => &self.floor,
        }
    }
}

impl Router {
    /// A timestamp that the meta group gave after this was called. Several callers may get the same one.
    pub async fn timestamp(&self, kind: TimestampKind, deadline: Duration) -> Result<Timestamp> {
        let deadline = deadline.min(REQUEST_DEADLINE_MAX);
        let (answer, receiver) = oneshot::channel();
        let core = self.core();
        {
            let mut queue = core.questions.of(kind).lock();
            queue.waiting.push(Asker { deadline: core.env.now() + deadline, answer });
            if !std::mem::replace(&mut queue.is_asking, true) {
                core.env.spawn("router-timestamps", run(core.clone(), kind));
            }
        }
        // Whoever asks knows better why there is none, but an attempt may last longer than this caller has time.
        match core.env.timeout(deadline + core.options.sweep, receiver).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => Err(Error::not_applied(ErrorCode::NotReady, "the router stopped before a timestamp came")),
            Err(_) => Err(too_late(None)),
        }
    }

    /// Keeps what was committed up to `at` readable: see [`crate::Link::hold`].
    pub async fn hold(&self, at: Timestamp, deadline: Duration) -> Result<()> {
        self.core().link.hold(at, deadline.min(REQUEST_DEADLINE_MAX)).await
    }
}

/// Asks until nobody waits. An answer is for those who waited before its question was sent: it must not be older than
/// what they may know.
async fn run(core: Arc<Core>, kind: TimestampKind) {
    let mut askers: Vec<Asker> = Vec::new();
    let (mut attempt, mut trouble) = (0, None);
    loop {
        {
            let mut queue = core.questions.of(kind).lock();
            askers.append(&mut queue.waiting);
            let now = core.env.now();
            let late = askers.extract_if(.., |asker| asker.deadline <= now || asker.answer.is_closed());
            late.for_each(|asker| drop(asker.answer.send(Err(too_late(trouble.as_ref())))));
            if askers.is_empty() {
                queue.is_asking = false;
                return;
            }
        }
        let longest = askers.iter().map(|asker| asker.deadline).max().unwrap_or_default();
        let limit = longest.since(core.env.now()).min(ATTEMPT_MAX);
        // Whoever is asked ends a little sooner: its reason says more than that there was no answer.
        let asked = core.env.timeout(limit, core.link.timestamp(kind, limit - limit / 20)).await;
        let late = |_| Err(Error::not_applied(ErrorCode::DeadlineExceeded, format!("no answer within {limit:?}")));
        let error = match asked.unwrap_or_else(late) {
            Ok(timestamp) => {
                askers.drain(..).for_each(|asker| drop(asker.answer.send(Ok(timestamp))));
                (attempt, trouble) = (0, None);
                continue;
            }
            Err(error) => error,
        };
        if !is_passing(&error) {
            askers.drain(..).for_each(|asker| drop(asker.answer.send(Err(error.clone()))));
            (attempt, trouble) = (0, None);
            continue;
        }
        attempt += 1;
        // The last attempt is cut short by the deadline; why the one before it failed says more.
        if trouble.is_none() || error.code != ErrorCode::DeadlineExceeded {
            trouble = Some(error);
        }
        let now = core.env.now();
        let earliest = askers.iter().map(|asker| asker.deadline.since(now)).min().unwrap_or_default();
        core.env.sleep(pause(&core.env, &core.options, Pace::Soon, attempt).min(earliest)).await;
    }
}

/// Whether asking again may help.
fn is_passing(error: &Error) -> bool {
    match error.retry() {
        Retry::Reroute | Retry::Backoff => true,
        Retry::Restart | Retry::No => error.code == ErrorCode::DeadlineExceeded,
    }
}

fn too_late(trouble: Option<&Error>) -> Error {
    let code = trouble.map_or(ErrorCode::DeadlineExceeded, |trouble| trouble.code);
    let reason = trouble.map_or("nobody answered", |trouble| trouble.message.as_str());
    Error::not_applied(code, format!("no timestamp came by the deadline: {reason}"))
}
