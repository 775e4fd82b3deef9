//! Moments at which work that nobody waits for is sent, so that it goes together.
//!
//! A transaction on several shards has more to say when its caller has the answer: to the other shards, that it is
//! committed; and when they know, that its record may go. Said at once by each, that is a log entry each, in the way of
//! those who wait for theirs. All transactions of a program say it at the next tick instead: the router sends what goes
//! to one shard as one batch, and it shares an entry. Who is left out, because too much is tidied up already or the
//! program ends, is found by the nodes; and who meets what is not said yet asks the record.

use std::time::Duration;

use strata_env::Env;

/// When shards are told that a transaction is committed: who comes to the same keys sooner waits a little for that.
pub(crate) const RESOLVE: Duration = Duration::from_millis(20);
/// When records are told that they may go: nobody waits for that.
pub(crate) const FORGET: Duration = Duration::from_millis(250);

/// Completes at the next tick: the same moment for all that wait in this program.
pub(crate) async fn next(env: &Env, tick: Duration) {
    let past = env.now().0.as_nanos() % tick.as_nanos();
    let left = tick.as_nanos() - past;
    env.sleep(Duration::from_nanos(u64::try_from(left).unwrap_or(u64::MAX))).await;
}
