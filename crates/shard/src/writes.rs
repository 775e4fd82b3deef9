//! What each command does to the data rows.

use bytes::Bytes;
use strata_codec::{Command, CommandBody, CommandHeader, StoredValue, data_key, encode_reply};
use strata_machine::ViewMut;
use strata_types::{Expected, Item, Mutation, Reply, Revision, Timestamp};

use crate::reads::decode_item;

/// Carries out a command and returns its encoded reply. Whatever it writes has the command's revision (SHARD-2).
pub(crate) fn execute(view: &mut dyn ViewMut, revision: Revision, command: &Command) -> Bytes {
    let header = &command.header;
    let reply = match &command.body {
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
        body => panic!("a committed command must be one that this version knows: {body:?}"),
    };
    encode_reply(&Ok(reply))
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

/// Whether a key holds what the client expects.
fn holds(current: Option<&Item>, expected: &Expected) -> bool {
    match expected {
        Expected::Absent => current.is_none(),
        Expected::Value(value) => current.is_some_and(|item| item.value == *value),
        Expected::Revision(revision) => current.is_some_and(|item| item.revision == *revision),
    }
}
