//! strata.v1.Txn: transactions of clients that leave them to a node.
//!
//! ```text
//!   Begin ------> OpenTransactions: id -> Entry { what is told of it | State }
//!   Get, Put ---> enter(id): one call at a time holds the State; waits for it by its deadline
//!   Commit -----> a task holds the State until the answer is there, also if the client has left; the answer is kept
//!   another node asks: what is kept here, and is it to end? (Keeper); of what is not kept here the others are asked
//!   each second:  who was idle or is open for too long is rolled back; what was kept for long enough is forgotten
//! ```

mod calls;
mod entry;
mod keeping;
mod open;
mod over;
mod pages;
mod registry;
mod service;

pub use open::OpenTransactions;
pub(crate) use service::TxnService;

#[cfg(test)]
mod tests;
