//! What the load goes through.

use strata_client::Client;
use strata_proto::v1;
use strata_proto::v1::kv_client::KvClient;
use strata_types::ErrorCode;
use tonic::transport::Channel;

use crate::args::BenchKvArgs;
use crate::bench::mix::Drawn;
use crate::bench::recorder::Kind;
use crate::failure::Failure;
use crate::session::{connect, dialer_of};

/// The SDK, or plain calls.
#[derive(Clone)]
pub enum Target {
    /// Routes by itself, many operations a message.
    Sdk(Client),
    /// One operation a call, over several connections.
    Unary(Vec<KvClient<Channel>>, std::time::Duration),
}

impl Target {
    /// Connects as the arguments say.
    pub async fn open(args: &BenchKvArgs) -> Result<Target, Failure> {
        let addresses = &args.connect.addr;
        let tls = args.connect.tls.read()?;
        if !args.unary {
            let mut builder = Client::builder().deadline(args.connect.timeout);
            if let Some(tls) = tls {
                builder = builder.tls(tls);
            }
            let client = builder.connect(addresses.iter().cloned()).await;
            return Ok(Target::Sdk(client.map_err(|error| Failure::from(error).of_read())?));
        }
        let dialer = dialer_of(tls.as_ref())?;
        let mut clients = Vec::new();
        for address in addresses.iter().cycle().take(args.connections as usize) {
            let channel = connect(address, dialer.as_ref()).await;
            let channel = channel.map_err(|reason| Failure::new(format!("nobody answers at {address} ({reason})")))?;
            clients.push(KvClient::new(channel));
        }
        Ok(Target::Unary(clients, args.connect.timeout))
    }

    /// Its name in reports.
    pub fn name(&self) -> &'static str {
        match self {
            Target::Sdk(_) => "sdk",
            Target::Unary(..) => "unary",
        }
    }

    /// Carries out one operation of one caller; the error is its code.
    pub async fn carry_out(&self, caller: usize, drawn: Drawn) -> (Kind, Result<(), ErrorCode>) {
        match (self, drawn) {
            (Target::Sdk(client), Drawn::Get(key)) => {
                (Kind::Read, client.get(key).await.map(drop).map_err(|error| error.code))
            }
            (Target::Sdk(client), Drawn::Put(key, value)) => {
                (Kind::Write, client.put(key, value).await.map(drop).map_err(|error| error.code))
            }
            (Target::Sdk(client), Drawn::Delete(key)) => {
                (Kind::Write, client.delete(key).await.map(drop).map_err(|error| error.code))
            }
            (Target::Unary(clients, timeout), Drawn::Get(key)) => {
                let mut request = tonic::Request::new(v1::GetRequest { key, ..v1::GetRequest::default() });
                request.set_timeout(*timeout);
                let reply = clients[caller % clients.len()].clone().get(request).await;
                (Kind::Read, reply.map(drop).map_err(|status| strata_proto::error_of(&status).code))
            }
            (Target::Unary(clients, timeout), Drawn::Put(key, value)) => {
                let mut request = tonic::Request::new(v1::PutRequest { key, value, ..v1::PutRequest::default() });
                request.set_timeout(*timeout);
                let reply = clients[caller % clients.len()].clone().put(request).await;
                (Kind::Write, reply.map(drop).map_err(|status| strata_proto::error_of(&status).code))
            }
            (Target::Unary(clients, timeout), Drawn::Delete(key)) => {
                let mut request = tonic::Request::new(v1::DeleteRequest { key, ..v1::DeleteRequest::default() });
                request.set_timeout(*timeout);
                let reply = clients[caller % clients.len()].clone().delete(request).await;
                (Kind::Write, reply.map(drop).map_err(|status| strata_proto::error_of(&status).code))
            }
        }
    }
}
