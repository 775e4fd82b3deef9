//! What is done again and again until it is committed.

use strata_txn::Transaction;
use strata_types::{LockWait, Result};

use super::bank::{ACCOUNTS, EACH, account};
use super::doctors::all_doctors;
use super::notes::Notes;
use super::story::Story;

/// The work of one transaction.
#[derive(Clone, Debug)]
pub(crate) enum Work {
    /// All accounts get their money.
    OpenAccounts,
    /// Money moves.
    Transfer { from: String, to: String, amount: i64 },
    /// All doctors are on call.
    Hire,
    /// A counter is raised.
    Raise { key: String, locks: bool },
}

impl Work {
    pub(crate) fn story(&self) -> Story {
        match self {
            Work::OpenAccounts | Work::Transfer { .. } => Story::Bank,
            Work::Hire => Story::Doctors,
            Work::Raise { .. } => Story::Counters,
        }
    }

    pub(crate) async fn perform(&self, notes: &mut Notes, txn: &mut Transaction) -> Result<()> {
        match self {
            Work::OpenAccounts => {
                for number in 0..ACCOUNTS {
                    notes.put(txn, &account(number), EACH).await?;
                }
                Ok(())
            }
            Work::Hire => {
                for key in all_doctors() {
                    notes.put(txn, &key, "").await?;
                }
                Ok(())
            }
            Work::Transfer { from, to, amount } => {
                let has = notes.get_for_update(txn, from, LockWait::Wait).await?.map_or(0, |stored| stored.number());
                let had = notes.get_for_update(txn, to, LockWait::Wait).await?.map_or(0, |stored| stored.number());
                if has >= *amount {
                    notes.put(txn, from, has - amount).await?;
                    notes.put(txn, to, had + amount).await?;
                }
                Ok(())
            }
            Work::Raise { key, locks } => {
                let before = match locks {
                    true => notes.get_for_update(txn, key, LockWait::Wait).await?,
                    false => notes.get(txn, key).await?,
                };
                let before = before.map_or(0, |before| before.number());
                notes.put(txn, key, before + 1).await
            }
        }
    }
}
