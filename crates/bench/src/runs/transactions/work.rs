//! What callers do: bare puts, transactions of one shard, transfers with us and with etcd.

use std::sync::Arc;

use bytes::Bytes;
use strata_client::{Client, Error, ShardMap};
use tonic::transport::Channel;

use super::accounts::{amount_in, amount_of, draw_pair, with_amount};
use super::drive::Work;
use crate::load::{Dice, key};
use crate::wire::etcd::compare::{CompareResult, CompareTarget, TargetUnion};
use crate::wire::etcd::kv_client::KvClient;
use crate::wire::etcd::request_op::Request;
use crate::wire::etcd::{Compare, PutRequest, RangeRequest, RequestOp, TxnRequest};

/// The accounts of one caller, which nobody else touches.
#[derive(Clone, Debug)]
pub(super) struct Own {
    pub(super) dice: Dice,
    pub(super) first: u64,
    pub(super) count: u64,
}

impl Own {
    /// The part of caller `number` of `callers`.
    pub(super) fn share(seed: u64, accounts: u64, number: usize, callers: usize) -> Own {
        let count = accounts / callers as u64;
        Own { dice: Dice::new(seed, number as u64), first: number as u64 * count, count }
    }

    fn draw(&mut self) -> u64 {
        self.first + self.dice.below(self.count)
    }
}

/// Any of ours.
pub(super) struct Ours {
    pub(super) client: Client,
    pub(super) own: Own,
    pub(super) kind: Kind,
}

/// What one of ours does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A durable put without a transaction.
    Put,
    /// begin, get, put, commit.
    Single,
    /// begin, two gets, two puts on two shards, commit.
    Transfer,
}

impl Work for Ours {
    async fn once(&mut self) -> Result<(), String> {
        match self.kind {
            Kind::Put => {
                let amount = self.own.dice.below(1_000);
                self.client.put(key(self.own.draw()), with_amount(amount)).await.map(drop).map_err(text)
            }
            Kind::Single => single(&self.client, key(self.own.draw())).await,
            Kind::Transfer => {
                let (from, to) = draw_pair(&mut self.own.dice, &self.client.map(), self.own.first, self.own.count);
                transfer(&self.client, key(from), key(to)).await
            }
        }
    }
}

/// Adds 1 to an account, in one attempt.
async fn single(client: &Client, account: Bytes) -> Result<(), String> {
    let mut txn = client.begin().await.map_err(text)?;
    let amount = amount_of(txn.get(account.clone()).await.map_err(text)?.as_ref())?;
    txn.put(account, with_amount(amount.wrapping_add(1))).await.map_err(text)?;
    txn.commit().await.map(drop).map_err(text)
}

/// Moves 1 from one account to another, in one attempt. One read after the other, as etcd's side does it.
async fn transfer(client: &Client, from: Bytes, to: Bytes) -> Result<(), String> {
    let mut txn = client.begin().await.map_err(text)?;
    let here = amount_of(txn.get(from.clone()).await.map_err(text)?.as_ref())?;
    let there = amount_of(txn.get(to.clone()).await.map_err(text)?.as_ref())?;
    txn.put(from, with_amount(here.wrapping_sub(1))).await.map_err(text)?;
    txn.put(to, with_amount(there.wrapping_add(1))).await.map_err(text)?;
    txn.commit().await.map(drop).map_err(text)
}

fn text(error: Error) -> String {
    error.to_string()
}

/// The same transfer, as etcd does it: two reads, then both writes if neither account was changed since.
pub(super) struct Etcd {
    pub(super) client: KvClient<Channel>,
    pub(super) own: Own,
    /// So that both sides draw the same pairs.
    pub(super) map: Arc<ShardMap>,
}

impl Work for Etcd {
    async fn once(&mut self) -> Result<(), String> {
        let (from, to) = draw_pair(&mut self.own.dice, &self.map, self.own.first, self.own.count);
        let (from, to) = (key(from), key(to));
        let (here, here_at) = self.read(&from).await?;
        let (there, there_at) = self.read(&to).await?;
        let request = TxnRequest {
            compare: vec![unchanged(&from, here_at), unchanged(&to, there_at)],
            success: vec![put(from, here.wrapping_sub(1)), put(to, there.wrapping_add(1))],
            failure: Vec::new(),
        };
        let reply = self.client.txn(request).await.map_err(|status| status.message().to_owned())?;
        if reply.into_inner().succeeded { Ok(()) } else { Err("an account was changed meanwhile".to_owned()) }
    }
}

impl Etcd {
    /// An amount, and the revision that wrote it.
    async fn read(&mut self, key: &Bytes) -> Result<(u64, i64), String> {
        let request = RangeRequest { key: key.clone(), ..RangeRequest::default() };
        let reply = self.client.range(request).await.map_err(|status| status.message().to_owned())?.into_inner();
        let found = reply.kvs.first().ok_or("the account is missing")?;
        let amount = amount_in(&found.value).ok_or("the account holds something else")?;
        Ok((amount, found.mod_revision))
    }
}

fn unchanged(key: &Bytes, revision: i64) -> Compare {
    Compare {
        result: CompareResult::Equal.into(),
        target: CompareTarget::Mod.into(),
        key: key.clone(),
        target_union: Some(TargetUnion::ModRevision(revision)),
    }
}

/// Writes an account.
pub(super) fn put(key: Bytes, amount: u64) -> RequestOp {
    RequestOp { request: Some(Request::RequestPut(PutRequest { key, value: with_amount(amount) })) }
}
