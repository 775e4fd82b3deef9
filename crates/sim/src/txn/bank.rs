//! [`Story::Bank`].

use strata_types::{LockWait, Result};

use super::desk::Desk;
use super::stored::Stored;
use super::story::Story;
use super::work::Work;

pub(crate) const ACCOUNTS: u64 = 5;
pub(crate) const EACH: i64 = 100;
const TOTAL: i64 = ACCOUNTS as i64 * EACH;
/// All accounts.
const START: &str = "b/";
const END: &str = "b0";

pub(crate) fn account(number: u64) -> String {
    format!("b/{number}")
}

impl Desk {
    pub(crate) async fn open_accounts(&mut self) -> Result<()> {
        self.transact(Work::OpenAccounts).await
    }

    pub(crate) async fn bank(&mut self) -> Result<()> {
        match self.dice.between(0, 9) {
            0..=4 => self.transfer().await,
            5 => self.transfer_surely().await,
            6 => self.audit().await,
            _ => self.total().await,
        }
    }

    fn order(&mut self) -> (String, String, i64) {
        let from = self.dice.between(0, ACCOUNTS - 1);
        let to = (from + self.dice.between(1, ACCOUNTS - 1)) % ACCOUNTS;
        (account(from), account(to), self.dice.between(1, 30) as i64)
    }

    async fn transfer(&mut self) -> Result<()> {
        let (from, to, amount) = self.order();
        let locks = self.dice.chance(500);
        let mut attempt = self.begin(Story::Bank).await?;
        let (notes, txn) = (&mut attempt.notes, &mut attempt.txn);
        let mut balances = Vec::new();
        for key in [&from, &to] {
            balances.push(match locks {
                true => notes.get_for_update(txn, key, LockWait::Wait).await?,
                false => notes.get(txn, key).await?,
            });
            self.think().await;
        }
        let balances: Vec<i64> = balances.into_iter().flatten().map(|stored| stored.number()).collect();
        let [has, had] = balances[..] else {
            self.book.report(format!("SIM-TXN-5 the bank: {from} or {to} is gone: {balances:?}"));
            return Ok(());
        };
        if has >= amount {
            notes.put(txn, &from, has - amount).await?;
            notes.put(txn, &to, had + amount).await?;
        }
        self.finish(attempt).await.map(drop)
    }

    /// With locks, and again until it is done.
    async fn transfer_surely(&mut self) -> Result<()> {
        let (from, to, amount) = self.order();
        self.transact(Work::Transfer { from, to, amount }).await
    }

    /// Reads all, and writes down the total.
    async fn audit(&mut self) -> Result<()> {
        let mut attempt = self.begin(Story::Bank).await?;
        let (notes, txn) = (&mut attempt.notes, &mut attempt.txn);
        let items = notes.scan(txn, START, END).await?;
        let total = self.check(items.iter().map(|(_, stored)| stored));
        attempt.notes.put(&mut attempt.txn, "audit", total).await?;
        self.finish(attempt).await.map(drop)
    }

    pub(crate) async fn total(&mut self) -> Result<()> {
        let (mut notes, snapshot) = self.snapshot(Story::Bank).await?;
        let mut found = Vec::new();
        if self.dice.chance(500) {
            found = notes.look_over(&snapshot, START, END).await?.into_iter().map(|(_, stored)| stored).collect();
        } else {
            for number in 0..ACCOUNTS {
                found.extend(notes.look(&snapshot, &account(number)).await?);
                self.think().await;
            }
        }
        self.check(found.iter());
        notes.committed(Some(snapshot.timestamp()));
        Ok(())
    }

    /// SIM-TXN-5: at every timestamp there is as much money as at the beginning, and no debt.
    fn check<'a>(&self, found: impl Iterator<Item = &'a Stored>) -> i64 {
        let balances: Vec<i64> = found.map(Stored::number).collect();
        let total: i64 = balances.iter().sum();
        if total != TOTAL || balances.iter().any(|balance| *balance < 0) {
            self.book.report(format!("SIM-TXN-5 the bank: {balances:?} are {total} instead of {TOTAL}"));
        }
        total
    }
}
