//! Whom the load is put on. The harness is the same for all of them.

use anyhow::Result;
use bytes::Bytes;
use strata_client::Client;
use strata_proto::v1;
use strata_proto::v1::kv_client::KvClient as StrataKv;
use tonic::transport::Channel;

use crate::wire::etcd::kv_client::KvClient as EtcdKv;
use crate::wire::{connect, etcd};

/// HTTP/2 connections of unary callers: what one connection's lock and socket buffer cost is then no part of it.
const CONNECTIONS: usize = 8;

/// A database with the way to talk to it.
#[derive(Clone)]
pub(crate) enum Target {
    /// etcd's unary calls.
    Etcd(Vec<EtcdKv<Channel>>),
    /// Strata's unary calls.
    Unary(Vec<StrataKv<Channel>>),
    /// Strata's SDK.
    Sdk(Client),
}

/// One caller, with its own handle.
pub(crate) enum Caller {
    /// On one of etcd's connections.
    Etcd(EtcdKv<Channel>),
    /// On one of Strata's connections.
    Unary(StrataKv<Channel>),
    /// Shares everything with the other callers.
    Sdk(Client),
}

impl Target {
    /// etcd at these addresses, the connections dealt out to them in turn.
    pub(crate) async fn etcd(addresses: &[String]) -> Result<Target> {
        Ok(Target::Etcd(channels(addresses).await?.into_iter().map(EtcdKv::new).collect()))
    }

    /// Strata's unary interface at these addresses, the connections dealt out to them in turn.
    pub(crate) async fn unary(addresses: &[String]) -> Result<Target> {
        Ok(Target::Unary(channels(addresses).await?.into_iter().map(StrataKv::new).collect()))
    }

    /// Strata's SDK with its default settings.
    pub(crate) async fn sdk(addresses: &[String]) -> Result<Target> {
        Ok(Target::Sdk(Client::connect(addresses.iter().cloned()).await?))
    }

    /// The handle of caller number `number`.
    pub(crate) fn caller(&self, number: usize) -> Caller {
        match self {
            Target::Etcd(clients) => Caller::Etcd(clients[number % clients.len()].clone()),
            Target::Unary(clients) => Caller::Unary(clients[number % clients.len()].clone()),
            Target::Sdk(client) => Caller::Sdk(client.clone()),
        }
    }
}

async fn channels(addresses: &[String]) -> Result<Vec<Channel>> {
    let mut channels = Vec::with_capacity(CONNECTIONS);
    for address in addresses.iter().cycle().take(CONNECTIONS) {
        channels.push(connect(address).await?);
    }
    Ok(channels)
}

impl Caller {
    /// A durable put.
    pub(crate) async fn put(&mut self, key: Bytes, value: Bytes) -> Result<(), String> {
        match self {
            Caller::Etcd(client) => {
                let sent = client.put(etcd::PutRequest { key, value }).await;
                sent.map(drop).map_err(|status| status.message().to_owned())
            }
            Caller::Unary(client) => {
                let sent = client.put(v1::PutRequest { key, value, ..v1::PutRequest::default() }).await;
                sent.map(drop).map_err(|status| status.message().to_owned())
            }
            Caller::Sdk(client) => client.put(key, value).await.map(drop).map_err(|error| error.to_string()),
        }
    }

    /// A linearizable get of a key that is there.
    pub(crate) async fn get(&mut self, key: Bytes) -> Result<(), String> {
        let is_found = match self {
            Caller::Etcd(client) => {
                let request = etcd::RangeRequest { key, ..etcd::RangeRequest::default() };
                let reply = client.range(request).await.map_err(|status| status.message().to_owned())?;
                !reply.into_inner().kvs.is_empty()
            }
            Caller::Unary(client) => {
                let request = v1::GetRequest { key, ..v1::GetRequest::default() };
                let reply = client.get(request).await.map_err(|status| status.message().to_owned())?;
                reply.into_inner().item.is_some()
            }
            Caller::Sdk(client) => client.get(key).await.map_err(|error| error.to_string())?.is_some(),
        };
        if is_found { Ok(()) } else { Err("the key is missing".to_owned()) }
    }
}
