//! The [`Machine`] of a shard.

use bytes::Bytes;
use strata_codec::Command;
use strata_machine::{CommandContext, Machine, ViewMut};

use crate::{sessions, writes};

/// Applies the commands of one shard. It has no state: all of it is in the tablet.
#[derive(Clone, Copy, Debug, Default)]
pub struct ShardMachine;

impl Machine for ShardMachine {
    fn apply(&self, view: &mut dyn ViewMut, context: CommandContext, command: &Bytes) -> Bytes {
        let command = Command::decode(command.clone()).unwrap_or_else(|error| {
            panic!("a committed command must decode: revision=`{}`: {error}", context.revision())
        });
        let revision = context.revision();
        match command.header.session {
            None => writes::execute(view, revision, &command),
            Some(request) => {
                sessions::apply_once(view, revision, request, |view| writes::execute(view, revision, &command))
            }
        }
    }
}
