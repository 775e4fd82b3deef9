//! The rules of `docs/transactions.md`, each with the switch that takes it out.

/// What is taken out, one at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Rule {
    /// TXN-1: who handed a timestamp out is confirmed before anybody is told what was read at it.
    MetaConfirms,
    /// TXN-1: a floor is answered by a confirmed meta leader.
    FloorConfirms,
    /// TXN-2: an answer that was given before is not shared.
    FreshQuestion,
    /// TXN-3: a new leader's clock is opened above a floor that was asked for after the election.
    FloorAfterElection,
    /// TXN-4: prepares and commits are stamped above the transaction's read timestamp.
    StampAboveRead,
    /// TXN-5: a resolve raises the clock to the commit timestamp.
    ResolveRaisesClock,
    /// TXN-6: an entry that was stamped in another term is refused.
    TermOfStamp,
    /// TXN-7: a single-key write is stamped no lower than what its session has seen.
    SessionSeen,
    /// TXN-8: a read at a timestamp raises the clock above it.
    ReadRaisesClock,
    /// TXN-9: the leader is confirmed after the read arrived.
    ReadConfirms,
    /// TXN-9: a witness looks at its vote when the timestamp is there.
    WitnessAfterTime,
    /// TXN-10: an entry of the leader's own term is committed and applied before it reads.
    OwnTermFirst,
    /// TXN-11: what was stamped before the clock was raised is applied before the read.
    WaitForStamped,
    /// TXN-12: a follower waits for a log id.
    LogId,
    /// TXN-13: reads wait for intents. (In the shard's code.)
    IntentsBlockReads,
    /// TXN-14: reads above what was handed out are refused.
    NoFuture,
    /// TXN-15: keys that were read are validated. (In the shard's code.)
    ReadsValidated,
    /// TXN-15: ranges that were read are validated. (In the shard's code.)
    RangesValidated,
    /// TXN-16: shards that were only read are prepared.
    ReadersPrepare,
    /// TXN-17: intents block. (In the shard's code.)
    IntentsBlock,
    /// TXN-17: shared locks block. (In the shard's code.)
    SharedLocksBlock,
    /// TXN-17: who has read what an intent writes does not commit. (In the shard's code.)
    ChecksSeeIntents,
    /// TXN-18: what was blocked gets a new stamp.
    NewStamp,
    /// TXN-19: the commit is not stamped below any prepare.
    HighestStamp,
    /// TXN-20: a repeated prepare gets the first answer. (In the shard's code.)
    RepeatedPrepare,
    /// TXN-20: what was resolved is remembered. (In the shard's code.)
    ResolvedRemembered,
    /// TXN-21: a commit after an abort is refused. (In the shard's code.)
    LateCommitFails,
    /// TXN-22: a late prepare fails. (In the shard's code.)
    LatePrepareFails,
    /// TXN-23: what is below the horizon is refused. (In the shard's code.)
    HorizonHolds,
    /// TXN-24: a committed record is forgotten last.
    ForgetLast,
    /// TXN-25: only what is committed is used at once.
    ResolveThenRead,
    /// TXN-26: "not committed" is said only after a refusal.
    UnknownIsSaid,
}

use Rule::{
    ChecksSeeIntents, FloorAfterElection, FloorConfirms, ForgetLast, FreshQuestion, HighestStamp, HorizonHolds,
    IntentsBlock, IntentsBlockReads, LateCommitFails, LatePrepareFails, LogId, MetaConfirms, NewStamp, NoFuture,
    OwnTermFirst, RangesValidated, ReadConfirms, ReadRaisesClock, ReadersPrepare, ReadsValidated, RepeatedPrepare,
    ResolveRaisesClock, ResolveThenRead, ResolvedRemembered, SessionSeen, SharedLocksBlock, StampAboveRead,
    TermOfStamp, UnknownIsSaid, WaitForStamped, WitnessAfterTime,
};

impl Rule {
    /// All of them, in the order of the document, with their ids and names.
    pub const ALL: [(Rule, &'static str, &'static str); 32] = [
        (MetaConfirms, "TXN-1", "meta-confirms"),
        (FloorConfirms, "TXN-1", "floor-confirms"),
        (FreshQuestion, "TXN-2", "fresh-question"),
        (FloorAfterElection, "TXN-3", "floor-after-election"),
        (StampAboveRead, "TXN-4", "stamp-above-read"),
        (ResolveRaisesClock, "TXN-5", "resolve-raises-clock"),
        (TermOfStamp, "TXN-6", "term-of-stamp"),
        (SessionSeen, "TXN-7", "session-seen"),
        (ReadRaisesClock, "TXN-8", "read-raises-clock"),
        (ReadConfirms, "TXN-9", "read-confirms"),
        (WitnessAfterTime, "TXN-9", "witness-after-time"),
        (OwnTermFirst, "TXN-10", "own-term-first"),
        (WaitForStamped, "TXN-11", "wait-for-stamped"),
        (LogId, "TXN-12", "log-id"),
        (IntentsBlockReads, "TXN-13", "intents-block-reads"),
        (NoFuture, "TXN-14", "no-future"),
        (ReadsValidated, "TXN-15", "reads-validated"),
        (RangesValidated, "TXN-15", "ranges-validated"),
        (ReadersPrepare, "TXN-16", "readers-prepare"),
        (IntentsBlock, "TXN-17", "intents-block"),
        (SharedLocksBlock, "TXN-17", "shared-locks-block"),
        (ChecksSeeIntents, "TXN-17", "checks-see-intents"),
        (NewStamp, "TXN-18", "new-stamp"),
        (HighestStamp, "TXN-19", "highest-stamp"),
        (RepeatedPrepare, "TXN-20", "repeated-prepare"),
        (ResolvedRemembered, "TXN-20", "resolved-remembered"),
        (LateCommitFails, "TXN-21", "late-commit-fails"),
        (LatePrepareFails, "TXN-22", "late-prepare-fails"),
        (HorizonHolds, "TXN-23", "horizon-holds"),
        (ForgetLast, "TXN-24", "forget-last"),
        (ResolveThenRead, "TXN-25", "resolve-then-read"),
        (UnknownIsSaid, "TXN-26", "unknown-is-said"),
    ];

    /// The rule with this name.
    pub fn named(name: &str) -> Option<Rule> {
        Rule::ALL.iter().find(|(_, _, its)| *its == name).map(|(rule, _, _)| *rule)
    }

    /// Whether the shard's code keeps it: it is taken out there, in debug builds only.
    pub fn is_of_the_shard(self) -> bool {
        matches!(
            self,
            IntentsBlockReads
                | ReadsValidated
                | RangesValidated
                | IntentsBlock
                | SharedLocksBlock
                | ChecksSeeIntents
                | RepeatedPrepare
                | ResolvedRemembered
                | LateCommitFails
                | LatePrepareFails
                | HorizonHolds
        )
    }

    /// The seeded bug that takes it out.
    #[cfg(debug_assertions)]
    pub fn mutant(self) -> Option<strata_shard::mutant::Mutant> {
        use strata_shard::mutant::Mutant;
        Some(match self {
            IntentsBlockReads => Mutant::IntentIgnoredByReads,
            ReadsValidated => Mutant::ReadUnvalidated,
            RangesValidated => Mutant::RangeUnvalidated,
            IntentsBlock => Mutant::WriteLockIgnored,
            SharedLocksBlock => Mutant::SharedLockIgnored,
            ChecksSeeIntents => Mutant::IntentIgnoredByChecks,
            RepeatedPrepare => Mutant::RepeatedPrepareAnew,
            ResolvedRemembered => Mutant::ResolvedForgotten,
            LateCommitFails => Mutant::LateCommitAllowed,
            LatePrepareFails => Mutant::LatePrepareAllowed,
            HorizonHolds => Mutant::HorizonIgnored,
            _ => return None,
        })
    }
}
