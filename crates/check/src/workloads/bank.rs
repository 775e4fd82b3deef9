//! Money moves between accounts, and none is made or lost.

use super::WorkloadReport;

/// A recorder of snapshots of all accounts. Reads are numbered from zero in the order in which they are recorded.
#[derive(Clone, Debug)]
pub struct Bank {
    accounts: usize,
    total: i128,
    report: WorkloadReport,
}

impl Bank {
    /// A bank of so many accounts with so much in all of them together.
    pub fn new(accounts: usize, total: i64) -> Bank {
        Bank { accounts, total: i128::from(total), report: WorkloadReport::default() }
    }

    /// Judges what one transaction read: the balance of each account, in their order; `None` for one that is missing.
    pub fn read(&mut self, balances: &[Option<i64>]) {
        let number = self.report.reads;
        self.report.reads += 1;
        if balances.len() != self.accounts {
            let accounts = self.accounts;
            self.report.find(|| format!("read {number} has {} accounts of {accounts}", balances.len()));
        }
        for (account, balance) in balances.iter().enumerate() {
            match balance {
                None => self.report.find(|| format!("read {number} misses account {account}")),
                Some(balance) if *balance < 0 => {
                    self.report.find(|| format!("read {number} has {balance} in account {account}"));
                }
                Some(_) => {}
            }
        }
        let (sum, total) = (balances.iter().flatten().map(|balance| i128::from(*balance)).sum::<i128>(), self.total);
        if sum != total {
            self.report.find(|| format!("read {number} has {sum} in all accounts instead of {total}"));
        }
    }

    /// What was found.
    pub fn check(self) -> WorkloadReport {
        self.report
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings(reads: &[&[Option<i64>]]) -> Vec<String> {
        let mut bank = Bank::new(3, 30);
        reads.iter().for_each(|read| bank.read(read));
        bank.check().findings
    }

    #[test]
    fn snapshots_have_every_account_the_same_total_and_no_debts() {
        assert!(findings(&[&[Some(10), Some(10), Some(10)], &[Some(0), Some(30), Some(0)]]).is_empty());
        assert_eq!(
            findings(&[&[Some(10), Some(10), Some(10)], &[Some(10), Some(10), Some(15)]]),
            ["read 1 has 35 in all accounts instead of 30"]
        );
        assert_eq!(findings(&[&[Some(-5), Some(30), Some(5)]]), ["read 0 has -5 in account 0"]);
        assert_eq!(findings(&[&[Some(25), None, Some(5)]]), ["read 0 misses account 1"]);
        assert_eq!(findings(&[&[Some(25), Some(5)]]), ["read 0 has 2 accounts of 3"]);
    }
}
