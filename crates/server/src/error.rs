//! Why a server does not start.

use strata_cluster::StartError as ClusterError;
use strata_net::tls::TlsError;
use strata_storage::StorageError;

use crate::{DataDirectoryError, PortError};

/// A server cannot start. The message is the cause, [`StartError::hint`] the next step.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The data directory cannot be used.
    #[error(transparent)]
    DataDirectory(#[from] DataDirectoryError),
    /// A port cannot be taken.
    #[error(transparent)]
    Port(#[from] PortError),
    /// The certificates cannot be used.
    #[error(transparent)]
    Certificates(#[from] TlsError),
    /// The tablets cannot be opened.
    #[error("the tablets in the data directory cannot be opened: {0}")]
    Tablets(#[from] StorageError),
    /// The node cannot find its place in a cluster.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    /// The gRPC services cannot be built.
    #[error("the gRPC services cannot be built: {0}")]
    Services(#[from] strata_grpc::BuildError),
}

impl StartError {
    /// Whether the settings contradict each other or a limit, whatever else there is: the same start fails again.
    pub fn is_of_settings(&self) -> bool {
        let StartError::Cluster(error) = self else { return false };
        matches!(
            error,
            ClusterError::Settings { .. }
                | ClusterError::JoinListTwice { .. }
                | ClusterError::NotInJoinList { .. }
                | ClusterError::JoinsItself { .. }
        )
    }

    /// The next step.
    pub fn hint(&self) -> Option<String> {
        match self {
            StartError::DataDirectory(error) => Some(error.hint()),
            StartError::Port(error) => Some(error.hint()),
            StartError::Certificates(_) => Some(
                "`strata cert node` makes certificates; --certs names their directory, or --tls-ca, --tls-cert and \
                 --tls-key the files"
                    .to_owned(),
            ),
            StartError::Tablets(_) => Some("check the disk, and the permissions of the data directory".to_owned()),
            StartError::Cluster(error) => Some(error.hint().to_owned()),
            StartError::Services(_) => None,
        }
    }
}
