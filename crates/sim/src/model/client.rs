//! The actors: transactions up to their commit, readers of snapshots, sessions of single operations, and who collects
//! what nobody needs any more.

use bytes::Bytes;
use strata_shard::UnfinishedState;
use strata_types::{Expected, Operation, Timestamp};

use super::commit::Commit;
use super::context::{Context, Sent, order_of};
use super::group::Order;
use super::history::{KEYS, Kind, NOTHING, Op, Told};
use super::reading::{NotRead, Target, Values};
use super::rule::Rule;
use super::words::shown;
use super::world::World;

/// How far in the future a snapshot reads that is not kept from it.
const FUTURE: u64 = 5;

impl Context {
    fn start(&self, kind: Kind) -> usize {
        let mut world = self.world();
        let began = world.step;
        world.ops.push(Op::new(kind, began));
        world.ops.len() - 1
    }

    /// The client is told what became of its operation.
    pub(super) fn tell(&self, op: usize, told: Told) {
        let mut world = self.world();
        let step = world.step;
        let its = &mut world.ops[op];
        (its.told, its.ended) = (told, step);
        world.note(|| format!("operation {op} is told: {told:?}"));
    }

    /// Reads and writes down what was seen. What was seen before must be seen again.
    async fn observe(&self, op: usize, at: Timestamp, target: Target) -> Result<(), NotRead> {
        let shard = match target {
            Target::Key(key) => self.world().shard_of(key),
            Target::Range(shard) => shard,
        };
        let (values, _) = self.read(shard, Some(at), target).await?;
        self.note_seen(op, at, values);
        Ok(())
    }

    fn note_seen(&self, op: usize, at: Timestamp, values: Values) {
        let mut world = self.world();
        for (key, value) in values.into_iter().enumerate().filter(|(_, value)| *value != NOTHING) {
            world.note(|| format!("operation {op} reads {key} at {}: {}", at.0, shown(value)));
            let before = std::mem::replace(&mut world.ops[op].reads[key], value);
            if before != NOTHING && before != value {
                world.violate(|| {
                    let (before, value) = (shown(before), shown(value));
                    format!("the snapshot of operation {op} at {} changed: key {key} was {before}, is {value}", at.0)
                });
            }
        }
    }
}

/// A transaction that reads some keys and writes some.
pub(crate) async fn transaction(context: Context) {
    context.dawdle().await;
    let op = context.start(Kind::Transaction);
    let ((targets, writes), begins_with) = {
        let mut world = context.world();
        let script = script(&mut world, op);
        let begins_with = script.0.first().copied().filter(|_| world.dice.chance(600));
        (script, begins_with)
    };
    let (at, first) = match begins_with {
        None => (context.begin().await, None),
        Some(target) => match context.begin_with(target).await {
            Some((at, values)) => (at, Some(values)),
            None => return context.tell(op, Told::Refused),
        },
    };
    {
        let mut world = context.world();
        world.ops[op].read_at = at;
        world.note(|| {
            let writes: Vec<usize> = (0..KEYS).filter(|key| writes[*key] != NOTHING).collect();
            format!("operation {op} begins with {}: reads {targets:?}, then writes keys {writes:?}", at.0)
        });
    }
    if let Some(values) = first {
        context.note_seen(op, at, values);
    }
    for target in targets.iter().skip(usize::from(first.is_some())) {
        context.dawdle().await;
        if context.observe(op, at, *target).await.is_err() {
            return context.tell(op, Told::Refused);
        }
    }
    context.dawdle().await;
    context.world().ops[op].writes = writes;
    Commit { context, op, at, targets, writes }.run().await;
}

/// What a transaction is going to do.
fn script(world: &mut World, op: usize) -> (Vec<Target>, Values) {
    let (mut targets, mut writes) = (Vec::new(), [NOTHING; KEYS]);
    for _ in 0..world.dice.between(0, 2) {
        let key = world.dice.between(0, KEYS as u64 - 1) as usize;
        let is_range = world.dice.chance(200);
        targets.push(if is_range { Target::Range(world.shard_of(key)) } else { Target::Key(key) });
    }
    for _ in 0..world.dice.between(1, 2) {
        let key = world.dice.between(0, KEYS as u64 - 1) as usize;
        writes[key] = if world.dice.chance(150) { 0 } else { op as u8 + 1 };
    }
    (targets, writes)
}

/// A snapshot: reads everything, in some order, twice.
pub(crate) async fn snapshot(context: Context) {
    context.dawdle().await;
    let op = context.start(Kind::Transaction);
    let mut at = context.begin().await;
    let (start, by_range) = {
        let mut world = context.world();
        if world.is_without(Rule::NoFuture) && world.dice.chance(500) {
            at.0 += FUTURE;
        }
        world.ops[op].read_at = at;
        world.note(|| format!("operation {op} is a snapshot at {}", at.0));
        (world.dice.between(0, KEYS as u64 - 1) as usize, world.dice.chance(250))
    };
    for position in 0..KEYS * 2 {
        let key = (start + position) % KEYS;
        let target = if by_range { Target::Range(context.world().shard_of(key)) } else { Target::Key(key) };
        if context.observe(op, at, target).await.is_err() {
            break;
        }
        context.dawdle().await;
    }
    context.tell(op, Told::Done);
}

/// A session of single operations, each of which tells the next one what it has seen.
pub(crate) async fn session(context: Context, number: u8) {
    let mut seen = Timestamp(0);
    let count = context.world().dice.between(1, 3);
    for _ in 0..count {
        context.dawdle().await;
        let (key, roll) = {
            let mut world = context.world();
            (world.dice.between(0, KEYS as u64 - 1) as usize, world.dice.between(0, 99))
        };
        let is_going_on = if roll < 25 {
            get(&context, number, key, &mut seen).await
        } else {
            write(&context, number, key, roll, &mut seen).await
        };
        if !is_going_on {
            return;
        }
    }
}

/// A get; whether the session goes on.
async fn get(context: &Context, session: u8, key: usize, seen: &mut Timestamp) -> bool {
    let op = context.start(Kind::Get);
    context.world().ops[op].session = Some(session);
    let shard = context.world().shard_of(key);
    let Ok((values, clock)) = context.read(shard, None, Target::Key(key)).await else {
        context.tell(op, Told::Refused);
        return false;
    };
    *seen = (*seen).max(clock);
    let mut world = context.world();
    world.note(|| format!("operation {op} gets {key}: {}", shown(values[key])));
    world.ops[op].reads = values;
    drop(world);
    context.tell(op, Told::Done);
    true
}

/// A put, a delete or a compare-and-set; whether the session goes on.
async fn write(context: &Context, session: u8, key: usize, roll: u64, seen: &mut Timestamp) -> bool {
    let op = context.start(Kind::Single);
    let (order, not_before, shard, call) = {
        let mut world = context.world();
        let (name, value) = (world.keys[key].clone(), Bytes::from(vec![op as u8 + 1]));
        let its = &mut world.ops[op];
        (its.session, its.writes[key]) = (Some(session), op as u8 + 1);
        let operation = match roll {
            25..75 => Operation::Put { key: name, value },
            75..85 => {
                its.writes[key] = 0;
                Operation::Delete { key: name }
            }
            _ => {
                its.reads[key] = 0;
                Operation::CompareAndSet { key: name, expected: Expected::Absent, value: Some(value) }
            }
        };
        let not_before = if world.is_without(Rule::SessionSeen) { Timestamp(0) } else { *seen };
        let (order, shard) = (order_of(operation, *seen), world.shard_of(key));
        let call = world.send("write", shard, Some(op), order.clone(), not_before, false);
        world.note(|| format!("operation {op} of session {session} writes {key}, having seen {}", not_before.0));
        (order, not_before, shard, call)
    };
    let sent = Sent { what: "write", shard, op: Some(op), order, not_before, repeatable: false };
    if context.follow(sent, call).await.is_none() {
        return false;
    }
    let effect = context.world().ops[op].effect.expect("what was answered was applied");
    *seen = (*seen).max(effect.0);
    context.tell(op, Told::Done);
    true
}

/// Raises the horizon of each shard, and has collected what is below it.
pub(crate) async fn collector(context: Context) {
    for _ in 0..2 {
        let pauses = context.world().dice.between(2, 12);
        for _ in 0..pauses {
            context.pause().await;
        }
        let (horizon, shards) = {
            let mut world = context.world();
            let floor = world.counter.floor(false);
            let horizon = Timestamp(world.dice.between(0, floor.0));
            world.note(|| format!("collects below {}", horizon.0));
            (horizon, world.groups.len())
        };
        for shard in 0..shards {
            context.dawdle().await;
            let mut world = context.world();
            let leader = world.groups[shard].leader();
            let found = strata_shard::garbage(world.groups[shard].rows(leader), horizon, None, 100);
            let command = strata_codec::encode_collect(horizon, &found.rows);
            let order = Order { command, reach: strata_types::Reach::ALL };
            world.send("collect", shard, None, order, Timestamp(0), true);
        }
    }
}

/// Rounds of recovery: more than it takes until somebody loses patience with each transaction.
const RECOVERIES: u32 = 30;

/// Resolves what coordinators have left behind.
pub(crate) async fn recovery(context: Context) {
    let shards = context.world().groups.len();
    for _ in 0..RECOVERIES {
        let mut is_done = true;
        for shard in 0..shards {
            let left = {
                let world = context.world();
                let leader = world.groups[shard].leader();
                strata_shard::unfinished(world.groups[shard].rows(leader), 100)
            };
            for unfinished in left {
                if !matches!(unfinished.state, UnfinishedState::Committed { .. }) {
                    is_done = false;
                    context.clear(shard, &unfinished.transaction).await;
                }
            }
        }
        if is_done {
            return;
        }
    }
}
