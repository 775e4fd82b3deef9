//! strata.v1.Txn: messages to and from the transactions that a node keeps for its clients, which are the same whatever
//! a client speaks: [`strata_txn::OpenTransactions`].

mod calls;
mod pages;
mod service;

pub(crate) use service::TxnService;

#[cfg(test)]
mod tests;
