//! A cluster with accounts, and an etcd with the same ones if it is wished.

use std::path::Path;

use anyhow::{Context, Result, bail};
use strata_client::Client;

use super::NODES;
use super::accounts::{OPENING, open};
use super::drive::{Driven, drive};
use super::work::{Etcd, Kind, Ours, Own, put};
use crate::args::{Common, TransactionsArgs};
use crate::load::{Target, key};
use crate::procs::{EtcdCluster, StrataCluster};
use crate::wire::etcd::TxnRequest;

/// Accounts of all callers together: each of them has its share.
pub(super) const ACCOUNTS: u32 = 6_400;
/// Puts of one of etcd's transactions; it takes 128.
const ETCD_PUTS: usize = 100;

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Who {
    /// A bare put.
    Put,
    /// A transaction of one shard.
    Single,
    /// A transfer over two shards.
    Transfer,
    /// The same transfer with etcd.
    Etcd,
}

impl Who {
    /// Its name in tables.
    pub(super) fn name(self) -> &'static str {
        match self {
            Who::Put => "put",
            Who::Single => "transaction of one shard",
            Who::Transfer => "transfer over two shards",
            Who::Etcd => "transfer with etcd",
        }
    }
}

/// The clusters.
pub(super) struct Arena {
    strata: StrataCluster,
    client: Client,
    etcd: Option<EtcdCluster>,
}

impl Arena {
    /// Starts three nodes, and opens the accounts.
    pub(super) async fn start(args: &TransactionsArgs) -> Result<Arena> {
        let strata = StrataCluster::start(&args.common, NODES, args.shards).await?;
        let client = Client::connect(strata.addresses()).await?;
        open(&client, ACCOUNTS).await?;
        Ok(Arena { strata, client, etcd: None })
    }

    /// Starts etcd beside it, and opens the same accounts there. Returns its version.
    pub(super) async fn start_etcd(&mut self, program: &Path, common: &Common) -> Result<String> {
        let hint = "install Debian's package etcd-server, or name the program with --etcd";
        let mut etcd = EtcdCluster::start(program, &common.directory()).await.context(hint)?;
        let Target::Etcd(clients) = Target::etcd(&[etcd.leader().await?]).await? else { bail!("no client of etcd") };
        let mut client = clients.into_iter().next().context("no connection to etcd")?;
        let accounts: Vec<u64> = (0..u64::from(ACCOUNTS)).collect();
        for accounts in accounts.chunks(ETCD_PUTS) {
            let success = accounts.iter().map(|&account| put(key(account), OPENING)).collect();
            client.txn(TxnRequest { success, ..TxnRequest::default() }).await.context("etcd takes no accounts")?;
        }
        let version = etcd.version().to_owned();
        self.etcd = Some(etcd);
        Ok(version)
    }

    /// Measures one of them with so many callers.
    pub(super) async fn measure(
        &mut self,
        args: &TransactionsArgs,
        who: Who,
        callers: usize,
        seed: u64,
    ) -> Result<Driven> {
        let (warmup, measured) = (args.common.span(args.warmup), args.common.span(args.seconds));
        let own = |number| Own::share(seed, u64::from(ACCOUNTS), number, callers);
        let kind = match who {
            Who::Put => Kind::Put,
            Who::Single => Kind::Single,
            Who::Transfer => Kind::Transfer,
            Who::Etcd => {
                // The leader may have moved.
                let leader = self.etcd.as_mut().context("etcd does not run")?.leader().await?;
                let Target::Etcd(clients) = Target::etcd(&[leader]).await? else { bail!("no client of etcd") };
                let map = self.client.map();
                let worker = |number: usize| Etcd {
                    client: clients[number % clients.len()].clone(),
                    own: own(number),
                    map: map.clone(),
                };
                return drive((0..callers).map(worker).collect(), warmup, measured).await;
            }
        };
        let worker = |number| Ours { client: self.client.clone(), own: own(number), kind };
        drive((0..callers).map(worker).collect(), warmup, measured).await
    }

    /// Ends it.
    pub(super) async fn stop(self) -> Result<()> {
        self.strata.stop().await?;
        match self.etcd {
            Some(etcd) => etcd.stop().await,
            None => Ok(()),
        }
    }
}
