//! What each command does to the rows.

use bytes::Bytes;
use strata_codec::{Command, CommandBody, CommandHeader, StoredValue, data_key, encode_reply};
use strata_machine::{CommandContext, ViewMut};
use strata_types::{Error, ErrorCode, Expected, Item, Mutation, Reply, Revision, SpaceKey, Timestamp};

use crate::locks::{Checker, Unless, in_space};
use crate::reads::decode_item;
use crate::work::Work;

/// Carries out a command and returns its encoded reply, or who is in the way: then nothing was written. Whatever it
/// writes has the command's revision (SHARD-2).
pub(crate) fn execute(view: &mut dyn ViewMut, context: CommandContext, command: &Command) -> Unless<Bytes> {
    let revision = context.revision();
    if context.stamp == Timestamp(0) {
        return Ok(encode_reply(&unstamped(view, revision, command)));
    }
    let mut work = Work::begin(view, revision, context.stamp);
    let reply = stamped(&mut work, command)?;
    work.finish();
    Ok(encode_reply(&reply))
}

/// With a timestamp: versions are kept, and what undecided transactions hold is not touched.
fn stamped(work: &mut Work<'_>, command: &Command) -> Unless<Result<Reply, Error>> {
    let (revision, stamp) = (work.revision, work.stamp);
    let key_of = |key: &Bytes| in_space(command.header.space(), key);
    let reply = match &command.body {
        CommandBody::Noop => Reply::Batch { revision },
        CommandBody::Put { key, value } => {
            let key = key_of(key);
            Checker::new(work, None).write(work, &key)?;
            work.write(&key, stamp, Some(value));
            Reply::Put { revision }
        }
        CommandBody::Delete { key } => {
            let key = key_of(key);
            Checker::new(work, None).write(work, &key)?;
            Reply::Delete { existed: work.write(&key, stamp, None), revision }
        }
        CommandBody::CompareAndSet { key, expected, value } => {
            compare_and_set_at(work, &key_of(key), expected, value.as_ref())?
        }
        CommandBody::Batch { mutations } => {
            let checker = Checker::new(work, None);
            mutations.iter().try_for_each(|mutation| checker.write(work, &key_of(mutation.key())))?;
            for mutation in mutations {
                let value = match mutation {
                    Mutation::Put { value, .. } => Some(value.as_ref()),
                    Mutation::Delete { .. } => None,
                };
                work.write(&key_of(mutation.key()), stamp, value);
            }
            Reply::Batch { revision }
        }
        body => return Ok(step(work, body)?.map(Reply::Transact)),
    };
    Ok(Ok(reply))
}

/// A step of a transaction, or of what keeps them small.
fn step(work: &mut Work<'_>, body: &CommandBody) -> Unless<crate::transactions::Answer> {
    match body {
        CommandBody::Commit(part) => work.commit(part),
        CommandBody::Prepare(part) => work.prepare(part),
        CommandBody::Abort { transaction } => Ok(work.abort(*transaction)),
        CommandBody::Resolve { transaction, decision, .. } => Ok(work.resolve(*transaction, *decision)),
        CommandBody::Forget { transaction } => Ok(work.forget(*transaction)),
        CommandBody::Collect { horizon, rows } => Ok(work.collect(*horizon, rows)),
        body => panic!("a committed command must be one that this version knows: {body:?}"),
    }
}

/// Without one: from before there were transactions, or from a cluster that has none.
fn unstamped(view: &mut dyn ViewMut, revision: Revision, command: &Command) -> Result<Reply, Error> {
    let header = &command.header;
    Ok(match &command.body {
        // A command that does nothing answers as the batch of no writes that it is.
        CommandBody::Noop => Reply::Batch { revision },
        CommandBody::Put { key, value } => {
            put(view, header, revision, key, value);
            Reply::Put { revision }
        }
        CommandBody::Delete { key } => Reply::Delete { existed: delete_existing(view, header, key), revision },
        CommandBody::CompareAndSet { key, expected, value } => {
            compare_and_set(view, header, revision, key, expected, value.as_ref())
        }
        CommandBody::Batch { mutations } => {
            for mutation in mutations {
                match mutation {
                    Mutation::Put { key, value } => put(view, header, revision, key, value),
                    Mutation::Delete { key } => view.delete(data_key(header.database, header.key_space, key)),
                }
            }
            Reply::Batch { revision }
        }
        _ => {
            // While the cluster begins to have transactions, a leader may hear of it before its clock is open.
            let message = "this shard does not keep time yet, which transactions need; retry in a moment";
            return Err(Error::not_applied(ErrorCode::Unavailable, message));
        }
    })
}

fn put(view: &mut dyn ViewMut, header: &CommandHeader, revision: Revision, key: &[u8], value: &[u8]) {
    let stored = StoredValue::encode_plain(Timestamp::default(), revision, value);
    view.put(data_key(header.database, header.key_space, key), stored);
}

/// Removes the key if it is there, so that deleting what is not there leaves no tombstone.
fn delete_existing(view: &mut dyn ViewMut, header: &CommandHeader, key: &[u8]) -> bool {
    let key = data_key(header.database, header.key_space, key);
    let existed = view.get(&key).is_some();
    if existed {
        view.delete(key);
    }
    existed
}

fn compare_and_set(
    view: &mut dyn ViewMut,
    header: &CommandHeader,
    revision: Revision,
    key: &Bytes,
    expected: &Expected,
    value: Option<&Bytes>,
) -> Reply {
    let tablet_key = data_key(header.database, header.key_space, key);
    let current = view.get(&tablet_key).map(|stored| decode_item(key.clone(), stored));
    if !holds(current.as_ref(), expected) {
        return Reply::CompareAndSet { succeeded: false, revision, current };
    }
    match (value, current) {
        (Some(value), _) => put(view, header, revision, key, value),
        (None, Some(_)) => view.delete(tablet_key),
        (None, None) => {}
    }
    Reply::CompareAndSet { succeeded: true, revision, current: None }
}

/// One that fails has read all the same; one that succeeds writes, too.
fn compare_and_set_at(
    work: &mut Work<'_>,
    key: &SpaceKey,
    expected: &Expected,
    value: Option<&Bytes>,
) -> Unless<Reply> {
    let revision = work.revision;
    let checker = Checker::new(work, None);
    checker.read(work, key)?;
    let stored = work.view.get(&data_key(key.space.database, key.space.key_space, &key.key));
    let current = stored.map(|stored| decode_item(key.key.clone(), stored));
    if !holds(current.as_ref(), expected) {
        return Ok(Reply::CompareAndSet { succeeded: false, revision, current });
    }
    checker.write(work, key)?;
    work.write(key, work.stamp, value.map(Bytes::as_ref));
    Ok(Reply::CompareAndSet { succeeded: true, revision, current: None })
}

/// Whether a key holds what the client expects.
fn holds(current: Option<&Item>, expected: &Expected) -> bool {
    match expected {
        Expected::Absent => current.is_none(),
        Expected::Value(value) => current.is_some_and(|item| item.value == *value),
        Expected::Revision(revision) => current.is_some_and(|item| item.revision == *revision),
    }
}
