//! `strata cluster`, and the same in the shell.

mod balance;
mod estimate;
mod goal;
mod jobs;
mod nodes;
mod operate;
mod shards;
mod status;
mod transactions;
mod upgrade;
mod waiting;

use strata_proto::v1;
use strata_types::ShardMap;

use crate::args::{ClusterArgs, ClusterCommand};
use crate::failure::Failure;
use crate::output::{Answer, Format};
use crate::session::Session;

/// Asks or wishes, and prints the answer.
pub async fn run(args: ClusterArgs, format: Format) -> Result<(), Failure> {
    let session = Session::new(&args.connect)?;
    format.print(&ask(&session, &args.command, format).await?)
}

/// Asks any node that answers. Who waits is told on standard error how it goes, unless it is a script.
pub async fn ask(session: &Session, command: &ClusterCommand, format: Format) -> Result<Answer, Failure> {
    match command {
        ClusterCommand::Status => Ok(status::answer(&ask_status(session).await?)),
        ClusterCommand::Upgrade { to, dry_run } => upgrade::upgrade(session, *to, *dry_run).await,
        ClusterCommand::Nodes => Ok(nodes::answer(&ask_nodes(session).await?)),
        ClusterCommand::Shards => Ok(shards::answer(&ask_shards(session).await?)),
        ClusterCommand::Jobs => {
            let map = ask_map(session).await?;
            // Without them it is not said how far a replica is, which is no reason to say nothing.
            let shards = ask_shards(session).await.unwrap_or_default();
            let nodes = ask_nodes(session).await.unwrap_or_default();
            Ok(jobs::answer(&map, &shards, &nodes))
        }
        ClusterCommand::Transactions { abort } => transactions::transactions(session, *abort).await,
        ClusterCommand::Balance { dry_run, wait } => balance::balance(session, *dry_run, wait.wait, format).await,
        ClusterCommand::Drain { .. }
        | ClusterCommand::Undrain { .. }
        | ClusterCommand::Remove { .. }
        | ClusterCommand::Replace { .. }
        | ClusterCommand::Move { .. }
        | ClusterCommand::Transfer { .. } => operate::operate(session, command, format).await,
    }
}

async fn ask_status(session: &Session) -> Result<v1::ClusterStatusReply, Failure> {
    let request = v1::ClusterStatusRequest {};
    session.admin_read(request, |mut client, request| async move { client.cluster_status(request).await }).await
}

async fn ask_nodes(session: &Session) -> Result<Vec<v1::NodeStatus>, Failure> {
    let request = v1::NodesRequest {};
    let reply = session.admin_read(request, |mut client, request| async move { client.nodes(request).await });
    Ok(reply.await?.nodes)
}

async fn ask_shards(session: &Session) -> Result<Vec<v1::ShardStatus>, Failure> {
    let request = v1::ShardsRequest {};
    let reply = session.admin_read(request, |mut client, request| async move { client.shards(request).await });
    Ok(reply.await?.shards)
}

async fn ask_map(session: &Session) -> Result<ShardMap, Failure> {
    let request = v1::ShardMapRequest { newer_than: 0 };
    let reply = session.admin_read(request, |mut client, request| async move { client.shard_map(request).await });
    let map = reply.await?.into_map()?.ok_or_else(|| Failure::new("the cluster is not founded yet"))?;
    Ok(map.as_ref().clone())
}

/// What people call a group.
fn name_of(shard: Option<u32>) -> String {
    shard.map_or_else(|| "meta".to_owned(), |shard| format!("s{shard}"))
}

/// "12 KiB", "3 MiB": coarse, and never nothing for something.
fn bytes_text(bytes: u64) -> String {
    const MIB: u64 = 1 << 20;
    match bytes {
        0..MIB => format!("{} KiB", bytes.div_ceil(1 << 10)),
        MIB..0x1_0000_0000 => format!("{} MiB", bytes.div_ceil(MIB)),
        _ => format!("{:.1} GiB", bytes as f64 / f64::from(1 << 30)),
    }
}
