//! Clients of other clusters (GRPC-7).

use strata_proto::{CLUSTER_METADATA, status_of};
use strata_types::{ClusterId, Error, ErrorCode};
use tonic::Status;
use tonic::metadata::MetadataMap;

/// An address may be handed to a node of another cluster, where shards hold other data and time is another one. A client
/// that says nothing is believed.
pub(crate) fn check_cluster(own: ClusterId, metadata: &MetadataMap) -> Result<(), Status> {
    let Some(wanted) = metadata.get(CLUSTER_METADATA).filter(|_| own != ClusterId::default()) else { return Ok(()) };
    if wanted.as_bytes() == own.to_string().as_bytes() {
        return Ok(());
    }
    let sentence = format!("this is a node of cluster {own}, the client belongs to another one");
    Err(status_of(&Error::not_applied(ErrorCode::IdentityRefused, sentence)))
}
