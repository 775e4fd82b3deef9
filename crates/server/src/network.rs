//! What is between this node and the others.

use std::sync::Arc;

use strata_env::Env;
use strata_net::grpc::{GrpcSettings, GrpcTransport, PeerServer};
use strata_net::tls::NodeTls;
use strata_net::{Caller, Switchboard};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::stopping::stopped;

/// Everything between this node and the others.
pub(crate) struct Network {
    pub(crate) transport: Arc<GrpcTransport>,
    pub(crate) caller: Arc<Caller>,
    pub(crate) switchboard: Arc<Switchboard>,
}

impl Network {
    pub(crate) fn new(env: &Env, tls: Option<Arc<NodeTls>>) -> Network {
        let transport = GrpcTransport::with_tls(env.clone(), GrpcSettings::default(), tls);
        let caller = Caller::new(env.clone(), transport.clone());
        let switchboard = Switchboard::new(caller.clone(), transport.clone());
        Network { transport, caller, switchboard }
    }

    /// Hears the others until the server stops.
    pub(crate) fn serve(&self, listener: TcpListener, mut stopping: watch::Receiver<bool>) -> JoinHandle<()> {
        let server = PeerServer::new(&self.transport, self.switchboard.clone());
        tokio::spawn(async move {
            let served = server.serve(listener, async move { stopped(&mut stopping).await }).await;
            if let Err(error) = served {
                tracing::error!(%error, "the peer port failed");
            }
        })
    }
}
