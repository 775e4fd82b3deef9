//! What a node shows and whom it believes, kept up to date.

use std::sync::{Arc, Weak};
use std::time::Duration;

use arc_swap::ArcSwap;
use strata_env::{Disk, Env};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

use super::accept::Acceptor;
use super::config::{NodeTime, Own, Trust, client_server, peer_dialer, peer_server, unusable};
use super::explain::{Asked, Knowledge};
use super::files::Contents;
use super::{ClientAuth, Dialer, Facts, TlsError, TlsFiles, TlsStream};
use crate::metrics;

/// How often the files are read again. They are small, and an operator waits.
const LOOK_INTERVAL: Duration = Duration::from_secs(5);
/// From so long before the end of a certificate on, the log says so ...
const WARN_BEFORE: Duration = Duration::from_secs(14 * 24 * 3600);
/// ... this often.
const WARN_INTERVAL: Duration = Duration::from_secs(24 * 3600);

/// The certificates of a node.
pub struct NodeTls {
    env: Env,
    disk: Arc<dyn Disk>,
    files: TlsFiles,
    clients: ClientAuth,
    current: ArcSwap<Loaded>,
}

/// One set of files, ready to use.
struct Loaded {
    contents: Contents,
    facts: Facts,
    expires: i64,
    peers: Acceptor,
    clients: Acceptor,
    dialer: Dialer,
}

impl NodeTls {
    /// Reads the files of a node. `disk` is what their paths are relative to; `clients` says what clients must show.
    pub async fn open(
        env: Env,
        disk: Arc<dyn Disk>,
        files: TlsFiles,
        clients: ClientAuth,
    ) -> Result<Arc<NodeTls>, TlsError> {
        let loaded = Loaded::new(&env, &files, files.read(&disk).await?, clients)?;
        metrics::certificate_expires(loaded.expires);
        Ok(Arc::new(NodeTls { env, disk, files, clients, current: ArcSwap::from_pointee(loaded) }))
    }

    /// Looks at the files every few seconds from now on, as long as somebody holds this.
    pub fn keep_fresh(self: &Arc<NodeTls>) {
        // A thread of its own: reading files blocks.
        self.env.dedicated("net-tls-files", keep_fresh(self.env.clone(), Arc::downgrade(self)));
    }

    /// Looks at the files now. Says whether they hold something new, which new connections then begin with. When they
    /// cannot be used, everything stays as it is (TLS-3).
    pub async fn reload(&self) -> Result<bool, TlsError> {
        let contents = self.files.read(&self.disk).await?;
        if contents == self.current.load().contents {
            return Ok(false);
        }
        let loaded = Loaded::new(&self.env, &self.files, contents, self.clients)?;
        metrics::certificate_expires(loaded.expires);
        self.current.store(Arc::new(loaded));
        Ok(true)
    }

    /// What the node's certificate says.
    pub fn facts(&self) -> Facts {
        self.current.load().facts.clone()
    }

    /// The end of its validity, in seconds since 1970.
    pub fn expires(&self) -> i64 {
        self.current.load().expires
    }

    /// How this node dials others, just now.
    pub fn dialer(&self) -> Dialer {
        self.current.load().dialer.clone()
    }

    /// Lets another node in, or refuses whoever it is.
    pub async fn accept_peer(&self, stream: TcpStream) -> Result<TlsStream<TcpStream>, TlsError> {
        let acceptor = self.current.load().peers.clone();
        acceptor.accept_socket(stream).await
    }

    /// Lets a client in, or refuses it.
    pub async fn accept_client(&self, stream: TcpStream) -> Result<TlsStream<TcpStream>, TlsError> {
        let acceptor = self.current.load().clients.clone();
        acceptor.accept_socket(stream).await
    }

    /// The same as [`NodeTls::accept_peer`] over any connection that begins with a handshake.
    pub async fn handshake_peer<S>(&self, stream: S) -> Result<TlsStream<S>, TlsError>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let acceptor = self.current.load().peers.clone();
        acceptor.handshake(stream).await
    }

    /// The same as [`NodeTls::accept_client`] over any connection that begins with a handshake, as after a protocol's
    /// own request for TLS.
    pub async fn handshake_client<S>(&self, stream: S) -> Result<TlsStream<S>, TlsError>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let acceptor = self.current.load().clients.clone();
        acceptor.handshake(stream).await
    }

    /// Warns when the certificate ends soon.
    fn warn_of_the_end(&self) -> bool {
        let left =
            self.expires().saturating_sub(i64::try_from(self.env.clock.unix_millis() / 1000).unwrap_or(i64::MAX));
        let is_soon = left < WARN_BEFORE.as_secs().cast_signed();
        if is_soon {
            let days = left.max(0) / (24 * 3600);
            let file = self.files.certificate.display();
            tracing::warn!(days, certificate = %self.facts(), %file, "the certificate of this node ends soon: replace its file");
        }
        is_soon
    }
}

impl Loaded {
    fn new(env: &Env, files: &TlsFiles, contents: Contents, auth: ClientAuth) -> Result<Loaded, TlsError> {
        let time = Arc::new(NodeTime(env.clock.clone()));
        let trust = Trust::read(&contents.ca, &files.ca)?;
        let own = Own::read(&contents.certificate, &files.certificate, &contents.key, &files.key)?;
        trust.check(&own, &time, &files.certificate)?;
        let knowledge = |asks| Knowledge { asks, trusted: trust.names.clone(), own: Some(own.describe()) };
        let (of_peers, of_clients) = (Arc::new(knowledge(Asked::Node)), Arc::new(knowledge(Asked::Client)));
        let wrong = |error: rustls::Error| unusable(&files.certificate)(format!("cannot be used: {error}"));
        let acceptor = |config, knowledge: &Arc<Knowledge>| Acceptor {
            env: env.clone(),
            config: Arc::new(config),
            knowledge: knowledge.clone(),
        };
        let clients = client_server(&trust, &own, time.clone(), auth).map_err(wrong)?;
        Ok(Loaded {
            peers: acceptor(peer_server(&trust, &own, time.clone()).map_err(wrong)?, &of_peers),
            clients: acceptor(clients, &of_clients),
            dialer: Dialer::new(peer_dialer(&trust, &own, time).map_err(wrong)?, of_peers, None),
            expires: own.expires,
            facts: own.facts,
            contents,
        })
    }
}

async fn keep_fresh(env: Env, tls: Weak<NodeTls>) {
    let (mut last_failure, mut warned) = (None, None);
    loop {
        let Some(tls) = tls.upgrade() else { return };
        match tls.reload().await {
            Ok(false) => last_failure = None,
            Ok(true) => {
                last_failure = None;
                tracing::info!(certificate = %tls.facts(), "new certificates are in use");
            }
            // Said once: the old ones serve, and the files may be half written.
            Err(error) if last_failure.as_ref() == Some(&error) => {}
            Err(error) => {
                metrics::certificates_unusable();
                tracing::warn!(%error, "new certificates cannot be used; the old ones stay");
                last_failure = Some(error);
            }
        }
        let now = env.now();
        if warned.is_none_or(|when| now.since(when) >= WARN_INTERVAL) && tls.warn_of_the_end() {
            warned = Some(now);
        }
        drop(tls);
        env.sleep(LOOK_INTERVAL).await;
    }
}
