//! What the SDK's attempts ran into, as it tells whoever listens to its log: the load generator and the client are one
//! process.

use std::collections::VecDeque;
use std::fmt;
use std::sync::OnceLock;
use std::time::Instant;

use parking_lot::Mutex;
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

/// Who tells of attempts, and of connections.
const ATTEMPTS: &str = "strata_router::attempts";
const CONNECTIONS: &str = "strata_client::link::pipe";
/// The oldest are forgotten.
const TOLD_MAX: usize = 200_000;

/// What was told.
#[derive(Clone, Debug)]
pub(crate) struct Told {
    pub(crate) at: Instant,
    /// The shard that it is about; none when it is about a connection.
    pub(crate) shard: Option<u64>,
    pub(crate) text: String,
}

/// All that was told since the first call.
pub(crate) struct Attempts {
    told: Mutex<VecDeque<Told>>,
}

struct Listener(&'static Attempts);

impl Attempts {
    /// Listens from now on, in this process.
    pub(crate) fn listen() -> &'static Attempts {
        static ALL: OnceLock<Attempts> = OnceLock::new();
        let mut is_new = false;
        let all = ALL.get_or_init(|| {
            is_new = true;
            Attempts { told: Mutex::default() }
        });
        if is_new {
            // Somebody else listening is no reason to fail: then nothing is told here.
            let _ = tracing::subscriber::set_global_default(Listener(all));
        }
        all
    }

    /// What was told since a moment, in order.
    pub(crate) fn since(&self, begin: Instant) -> Vec<Told> {
        self.told.lock().iter().filter(|told| told.at >= begin).cloned().collect()
    }

    fn note(&self, told: Told) {
        let mut all = self.told.lock();
        if all.len() == TOLD_MAX {
            all.pop_front();
        }
        all.push_back(told);
    }
}

impl Subscriber for Listener {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.is_event() && [ATTEMPTS, CONNECTIONS].contains(&metadata.target())
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(LevelFilter::DEBUG)
    }

    fn new_span(&self, _span: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _span: &Id, _values: &Record<'_>) {}

    fn record_follows_from(&self, _span: &Id, _follows: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut told = Told { at: Instant::now(), shard: None, text: String::new() };
        event.record(&mut told);
        self.0.note(told);
    }

    fn enter(&self, _span: &Id) {}

    fn exit(&self, _span: &Id) {}
}

impl Visit for Told {
    fn record_u64(&mut self, field: &Field, value: u64) {
        if field.name() == "shard" {
            self.shard = Some(value);
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        match field.name() {
            "message" => self.text.insert_str(0, &format!("{value:?}")),
            "reason" => self.text += &format!(": {value:?}"),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attempts_and_connections_are_heard_and_nothing_else() {
        let all = Box::leak(Box::new(Attempts { told: Mutex::default() }));
        let begin = Instant::now();
        tracing::subscriber::with_default(Listener(all), || {
            let what = "n2 does not lead";
            tracing::debug!(target: "strata_router::attempts", shard = 5_u32, attempt = 1_u32, "{what}");
            tracing::debug!(target: "strata_client::link::pipe", reason = "closed", "connection ended");
            tracing::debug!(target: "strata_router::router", "no map");
            tracing::trace!(target: "strata_router::queue", "a batch");
        });
        let told: Vec<_> = all.since(begin).into_iter().map(|told| (told.shard, told.text)).collect();
        assert_eq!(told, [(Some(5), "n2 does not lead".to_owned()), (None, "connection ended: \"closed\"".to_owned())]);
        assert!(all.since(Instant::now()).is_empty());
    }
}
