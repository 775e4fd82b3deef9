//! Takes the ports, or says who has them and which ones are free.

use std::io;
use std::net::SocketAddr;

use tokio::net::{TcpListener, TcpSocket, lookup_host};

use crate::port_holder::port_holder;
use crate::settings::{Address, Settings};

/// How far above a taken port a free one is looked for.
const SEARCH_STEPS: u16 = 100;
/// A node takes two neighbouring ports, and the nodes of a demo are this far apart: suggestions keep to that grid.
const SEARCH_STRIDE: u16 = 10;
/// Connections that the system completes before the node takes them: as many as Linux allows unless it is told otherwise. With
/// the usual 128, clients that come all at once wait a second each time the queue is full, for their next SYN.
const BACKLOG: u32 = 4_096;

/// Both ports of a node, taken.
#[derive(Debug)]
pub struct Ports {
    /// Client port.
    pub client: TcpListener,
    /// Where it is, with the port that the system chose.
    pub client_address: Address,
    /// Peer port.
    pub peer: TcpListener,
    /// Where it is.
    pub peer_address: Address,
}

/// A port cannot be taken.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PortError {
    /// Somebody else has it.
    #[error("{what} {address} is taken{}", by(.holder))]
    Taken {
        /// Which port of ours.
        what: &'static str,
        /// Where.
        address: Address,
        /// Who has it.
        holder: Option<String>,
        /// A client port such that it and the peer port above it are free.
        free: Option<u16>,
    },
    /// Any other reason.
    #[error("{what} {address} cannot be opened: {source}")]
    Failed {
        /// Which port of ours.
        what: &'static str,
        /// Where.
        address: Address,
        /// What the system says.
        source: io::Error,
    },
}

impl PortError {
    /// The next step.
    pub fn hint(&self) -> String {
        match self {
            PortError::Taken { address, free: Some(port), .. } => {
                format!("the next free ones are {port} and {}: --listen {}", port + 1, address.with_port(*port))
            }
            PortError::Taken { .. } => "choose another one with --listen and --listen-peer".to_owned(),
            PortError::Failed { .. } => {
                "check --listen and --listen-peer: is it an address of this machine?".to_owned()
            }
        }
    }
}

fn by(holder: &Option<String>) -> String {
    holder.as_ref().map_or_else(String::new, |holder| format!(" by {holder}"))
}

impl Ports {
    /// Takes both ports.
    pub async fn take(settings: &Settings) -> Result<Ports, PortError> {
        let (client, client_address) = take("client port", &settings.listen).await?;
        let (peer, peer_address) = take("peer port", &settings.listen_peer).await?;
        Ok(Ports { client, client_address, peer, peer_address })
    }
}

async fn take(what: &'static str, address: &Address) -> Result<(TcpListener, Address), PortError> {
    let failed = |source| PortError::Failed { what, address: address.clone(), source };
    match listen(&address.host, address.port).await {
        Ok(listener) => {
            let port = listener.local_addr().map_err(failed)?.port();
            Ok((listener, address.with_port(port)))
        }
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
            let free = next_free(&address.host, address.port).await;
            Err(PortError::Taken { what, address: address.clone(), holder: port_holder(address.port), free })
        }
        Err(error) => Err(failed(error)),
    }
}

/// Listens at the first address of a host that can be taken.
async fn listen(host: &str, port: u16) -> io::Result<TcpListener> {
    let mut last = io::Error::new(io::ErrorKind::InvalidInput, "the host has no address");
    for address in lookup_host((host, port)).await? {
        match listen_at(address) {
            Ok(listener) => return Ok(listener),
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn listen_at(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    // A node that starts again takes its port back while connections of its former life still end.
    #[cfg(unix)]
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// The next client port on the grid such that it and the peer port above it can be taken.
pub async fn next_free(host: &str, taken: u16) -> Option<u16> {
    for step in 1..=SEARCH_STEPS {
        let port = taken.checked_add(step.checked_mul(SEARCH_STRIDE)?)?;
        if is_free(host, port).await && is_free(host, port.checked_add(1)?).await {
            return Some(port);
        }
    }
    None
}

/// Whether a port could be taken now.
pub async fn is_free(host: &str, port: u16) -> bool {
    TcpListener::bind((host, port)).await.is_ok()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::settings::{Layer, Resolved};

    fn settings(listen: &str, listen_peer: &str) -> Settings {
        let pairs = [("listen", listen), ("listen_peer", listen_peer)];
        let flags = pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).into();
        Resolved::of_layers(vec![Layer::of_flags(flags)]).expect("valid").settings
    }

    #[tokio::test]
    async fn a_taken_port_is_named_with_its_holder_and_a_free_one() {
        let first = Ports::take(&settings(":0", ":0")).await.expect("the system chooses");
        let taken = first.client_address.to_string();
        let error = Ports::take(&settings(&taken, ":0")).await.expect_err("taken");
        let text = error.to_string();
        assert!(text.starts_with(&format!("client port {taken} is taken")), "{text}");
        if cfg!(target_os = "linux") {
            assert!(text.contains(&format!("process {}", std::process::id())), "{text}");
        }
        let PortError::Taken { free, .. } = &error else { panic!("{error}") };
        if let Some(free) = free {
            assert!(error.hint().contains(&free.to_string()), "{}", error.hint());
        }
    }

    #[tokio::test]
    async fn an_address_of_another_machine_cannot_be_opened() {
        // 192.0.2.0/24 is reserved for documentation: no machine has it.
        let mut wrong = settings(":0", ":0");
        wrong.listen = Address::parse("192.0.2.1:7400").expect("an address");
        assert!(matches!(Ports::take(&wrong).await, Err(PortError::Failed { .. })));
    }

    #[tokio::test]
    async fn clients_that_come_all_at_once_find_room() {
        let ports = Ports::take(&settings(":0", ":0")).await.expect("the system chooses");
        let address = ports.client.local_addr().expect("bound");
        let limit =
            std::fs::read_to_string("/proc/sys/net/core/somaxconn").ok().and_then(|text| text.trim().parse().ok());
        // Nobody takes them here: those for whom the queue has no room are never connected.
        let clients = limit.unwrap_or(128_usize).min(500);
        let connected: Vec<_> = (0..clients)
            .map(|_| std::net::TcpStream::connect_timeout(&address, Duration::from_secs(30)).expect("there is room"))
            .collect();
        assert_eq!(connected.len(), clients);
    }
}
