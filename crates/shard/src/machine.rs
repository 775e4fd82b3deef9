//! The [`Machine`] of a shard.

use bytes::Bytes;
use strata_codec::{Command, SHARD_STATE_KEY, decode_reply, encode_reply};
use strata_machine::{CommandContext, Machine, ViewMut};
use strata_types::{Error, Reply};

use crate::{sessions, writes};

/// Applies the commands of one shard. It has no state: all of it is in the tablet, and nothing but the view and the
/// command says what happens (SHARD-1, MACHINE-1). A command that cannot be carried out is answered (MACHINE-2).
#[derive(Clone, Copy, Debug, Default)]
pub struct ShardMachine;

impl Machine for ShardMachine {
    fn apply(&self, view: &mut dyn ViewMut, context: CommandContext, command: &Bytes) -> Bytes {
        let revision = context.revision();
        let command = Command::decode(command.clone())
            .unwrap_or_else(|error| panic!("a committed command must decode: revision=`{revision}`: {error}"));
        let reply = match command.header.session {
            None => writes::execute(view, context, &command),
            Some(request) => {
                sessions::apply_once(view, revision, request, |view| writes::execute(view, context, &command))
            }
        };
        // Who is blocked tries again: the session must not know of it, or it would get this for an answer.
        reply.unwrap_or_else(|by| encode_reply(&Ok(Reply::Blocked { by })))
    }

    fn withheld(&self, reply: &Bytes) -> Option<Bytes> {
        // The other replies are small, or tell of a change.
        match decode_reply(reply.clone()) {
            Ok(Ok(Reply::CompareAndSet { succeeded: false, current: Some(_), .. })) => {
                Some(encode_reply(&Err(Error::without_room())))
            }
            _ => None,
        }
    }

    fn common_rows(&self) -> &'static [&'static [u8]] {
        &[SHARD_STATE_KEY]
    }
}
