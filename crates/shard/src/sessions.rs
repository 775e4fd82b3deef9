//! Sessions: a write that is sent again is applied once.
//!
//! # Model
//! ```text
//!   sequence:   1 ... floor-1 | floor ...........................
//!               never applied | in results: answered from there
//!               again         | not in results: applied now
//! ```
//! A client has one row ([`SessionRow`]). Besides, it stands once in the order of last use, so that the session to
//! forget is found without looking at all of them. Moving it there on every write would cost two more writes and leave
//! a tombstone at the front of the order; so the row says where the session stands (`indexed`) and when it was really
//! used (`used`), and it is moved only
//! - when it is written [`SESSION_INDEX_LAG`] entries or more after the place where it stands, and
//! - when it is met at the front while a session to forget is sought.
//!
//! The first one met at the front that stands where it was used is the one that was used longest ago, because every
//! other one stands further back and was used no earlier than it stands.
//!
//! A repeated request is answered without a write; it does not count as a use.
//!
//! # A session that has no row
//! It is new, or it was forgotten, and then its writes may have been applied. Two things tell (SHARD-4):
//! - A client whose floor is above the first sequence had an answer: the shard knew the session.
//! - `opened`, the same in all requests of a session, is an index that the shard's log had reached when the client
//!   chose its number. Sessions are forgotten in the order of their last use, and the summary keeps the last use of the
//!   one that was forgotten last (`oldest`). A session that was opened before that may be among the forgotten ones and
//!   is refused. One that was opened there or later is not among them. For had one of its writes been applied, at `r`,
//!   then `opened < r`, because it was sent when the log was at `opened` already; and had the session been forgotten
//!   since, then `r <= oldest`, because `r` is not after its last use. Together: `opened < oldest`.
//!
//! So no write of a session that is taken for new was ever applied, and it does not matter how many of its requests are
//! still on their way, how often each of them comes, or in which order. The refusal says how far the log is: a session
//! opened there is taken, unless all others are forgotten in the meantime. The client number must be a new one with
//! each position, or `opened` would not be that of all its requests.

use bytes::Bytes;
use strata_codec::{
    FIRST_SEQUENCE, SESSION_SUMMARY_KEY, SessionResult, SessionRow, SessionSummary, encode_reply, session_key,
    session_use_client, session_use_key, session_use_range,
};
use strata_machine::{View, ViewMut};
use strata_types::limits::{SESSION_RESULTS_MAX, SESSIONS_PER_SHARD_MAX};
use strata_types::{ClientId, Error, ErrorCode, LogIndex, Revision, SessionRequest};

use crate::locks::Unless;

/// Log entries by which a session's place in the order of last use may lag behind its use. Large enough that a busy
/// session hardly ever moves, small enough that few lagging ones stand before the session to forget.
const SESSION_INDEX_LAG: u64 = 1024;

/// Longest reply that a session row keeps. Only a failed compare-and-set, which answers what the key holds, is longer;
/// keeping 64 values of 16 MiB in one row would make every write of the client rewrite them.
const SESSION_REPLY_BYTES_MAX: usize = 1024;

/// Applies a write of a session unless it was applied before (SHARD-3) or may have been (SHARD-4). One that is blocked by
/// a transaction was not applied, and is not remembered: it is new when it comes again.
pub(crate) fn apply_once(
    view: &mut dyn ViewMut,
    revision: Revision,
    request: SessionRequest,
    write: impl FnOnce(&mut dyn ViewMut) -> Unless<Bytes>,
) -> Unless<Bytes> {
    if request.sequence < FIRST_SEQUENCE {
        return Ok(refuse_zero(request));
    }
    let verdict = match load(view, request.client) {
        Some(row) => judge_known(row, request),
        None => judge_unknown(view, request),
    };
    Ok(match verdict {
        Verdict::Repeated(reply) => reply,
        Verdict::Expired => refuse_expired(request, revision.index),
        Verdict::New(place) => {
            let reply = write(view)?;
            record(view, revision, request, place, reply.clone());
            reply
        }
    })
}

/// What a request of a session is.
enum Verdict {
    /// It was applied and this was its reply.
    Repeated(Bytes),
    /// It may have been applied; nobody knows.
    Expired,
    /// It was never applied, and this is where its reply goes.
    New(Place),
}

/// Where the reply of a new request is remembered.
enum Place {
    /// In the session's row.
    Row(SessionRow),
    /// In a row that is made for it.
    NewRow(SessionSummary),
}

fn judge_known(row: SessionRow, request: SessionRequest) -> Verdict {
    if let Ok(at) = row.results.binary_search_by_key(&request.sequence, |result| result.sequence) {
        return Verdict::Repeated(row.results[at].reply.clone());
    }
    match request.sequence < row.floor.max(request.floor) {
        true => Verdict::Expired,
        false => Verdict::New(Place::Row(row)),
    }
}

/// Of a session without a row (SHARD-4).
fn judge_unknown(view: &dyn View, request: SessionRequest) -> Verdict {
    // The floor is above the first sequence only after this shard answered a write of the session.
    if request.floor > FIRST_SEQUENCE {
        return Verdict::Expired;
    }
    let summary = load_summary(view);
    match request.opened < summary.oldest.index {
        true => Verdict::Expired,
        false => Verdict::New(Place::NewRow(summary)),
    }
}

/// Remembers the reply of an applied write.
fn record(view: &mut dyn ViewMut, revision: Revision, request: SessionRequest, place: Place, reply: Bytes) {
    let client = request.client;
    let mut row = match place {
        Place::Row(row) => {
            assert!(row.used < revision, "revisions rise: used=`{}` revision=`{revision}`", row.used);
            row
        }
        Place::NewRow(summary) => {
            enroll(view, summary, client, revision);
            SessionRow { indexed: revision, floor: FIRST_SEQUENCE, ..SessionRow::default() }
        }
    };
    if revision.index.0 - row.indexed.index.0 >= SESSION_INDEX_LAG {
        move_in_order(view, client, &mut row, revision);
    }
    row.used = revision;
    remember(&mut row, request, reply);
    view.put(session_key(client), row.encode());
}

/// Adds a result, and drops those that the client will not ask for and those beyond the limit.
fn remember(row: &mut SessionRow, request: SessionRequest, reply: Bytes) {
    row.floor = row.floor.max(request.floor);
    row.results.retain(|result| result.sequence >= row.floor);
    let at = row.results.partition_point(|result| result.sequence < request.sequence);
    row.results.insert(at, SessionResult { sequence: request.sequence, reply: keepable(request, reply) });
    if row.results.len() > SESSION_RESULTS_MAX {
        // Its result is gone, so it must never look new again.
        let dropped = row.results.remove(0);
        row.floor = dropped.sequence + 1;
    }
}

/// The reply as a row keeps it.
fn keepable(request: SessionRequest, reply: Bytes) -> Bytes {
    if reply.len() <= SESSION_REPLY_BYTES_MAX {
        return reply;
    }
    let message = format!(
        "write {} of session {} was not made because its condition failed; what the key held then was too large to \
         keep for this retry: read the key",
        request.sequence, request.client
    );
    encode_reply(&Err(Error::not_applied(ErrorCode::SessionExpired, message)))
}

/// Makes room for a new session and puts it at the end of the order of last use.
fn enroll(view: &mut dyn ViewMut, mut summary: SessionSummary, client: ClientId, revision: Revision) {
    if summary.count as usize >= SESSIONS_PER_SHARD_MAX {
        summary.oldest = forget_oldest(view, summary.oldest);
    } else {
        summary.count += 1;
    }
    view.put(Bytes::from_static(SESSION_SUMMARY_KEY), summary.encode());
    view.put(session_use_key(revision, client), Bytes::new());
}

/// Forgets the session that was used longest ago and returns when that was. No session stands before `from`: starting
/// there skips the tombstones that earlier searches left.
fn forget_oldest(view: &mut dyn ViewMut, mut from: Revision) -> Revision {
    loop {
        // A view that must not wait for the disk shows nothing there: the command is applied again where it may.
        let Some((indexed, client)) = oldest(view, from) else { return from };
        let Some(mut row) = load(view, client) else { return from };
        assert!(row.indexed == indexed, "a session stands where its row says: client=`{client}`");
        if row.used == indexed {
            view.delete(session_use_key(indexed, client));
            view.delete(session_key(client));
            return indexed;
        }
        let used = row.used;
        move_in_order(view, client, &mut row, used);
        view.put(session_key(client), row.encode());
        // What is left stands at or after the place that was just vacated: do not step over it again.
        from = indexed;
    }
}

fn oldest(view: &dyn View, from: Revision) -> Option<(Revision, ClientId)> {
    let (first, last) = session_use_range(from);
    let mut found = None;
    view.scan(&first, &last, &mut |key, _| {
        found = Some(session_use_client(key));
        false
    });
    found.map(|found| found.unwrap_or_else(|error| panic!("a session use key must decode: {error}")))
}

fn move_in_order(view: &mut dyn ViewMut, client: ClientId, row: &mut SessionRow, to: Revision) {
    view.delete(session_use_key(row.indexed, client));
    view.put(session_use_key(to, client), Bytes::new());
    row.indexed = to;
}

fn load(view: &dyn View, client: ClientId) -> Option<SessionRow> {
    let stored = view.get(&session_key(client))?;
    Some(SessionRow::decode(stored).unwrap_or_else(|error| panic!("a session row must decode: {error}")))
}

fn load_summary(view: &dyn View) -> SessionSummary {
    let Some(stored) = view.get(SESSION_SUMMARY_KEY) else { return SessionSummary::default() };
    SessionSummary::decode(stored).unwrap_or_else(|error| panic!("the session summary must decode: {error}"))
}

fn refuse_zero(request: SessionRequest) -> Bytes {
    let message = format!("write {} of session {}: sequences start at 1", request.sequence, request.client);
    encode_reply(&Err(Error::not_applied(ErrorCode::InvalidArgument, message)))
}

/// Refuses what nobody can tell about, with the position at which the client may open its next session.
fn refuse_expired(request: SessionRequest, position: LogIndex) -> Bytes {
    let message = format!(
        "the shard has no result of write {} of session {}, or has forgotten it: whether it was applied is unknown; \
         read the key, and go on with a new session",
        request.sequence, request.client
    );
    encode_reply(&Err(Error::unknown(ErrorCode::SessionExpired, message).at(position)))
}
