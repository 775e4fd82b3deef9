//! One port, many protocols: the first bytes of a connection say which.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::sync::watch;

use crate::prefixed::Prefixed;

/// Bytes that are enough to tell any protocol.
pub const FIRST_BYTES_MAX: usize = 64;
/// How long a client may take to send them. An idle connection that never said anything costs no more than this.
pub const HANDSHAKE_DEADLINE: Duration = Duration::from_secs(10);

/// What a protocol thinks of the first bytes of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is this protocol.
    Yes,
    /// It is another one.
    No,
    /// It may be; more bytes will tell.
    NeedMore,
}

/// A connection that a protocol takes over.
pub struct Connection {
    /// The bytes, from the very first.
    pub stream: Prefixed,
    /// Becomes true when the server stops: finish what is under way and close.
    pub stopping: watch::Receiver<bool>,
}

/// A protocol spoken on the client port.
#[async_trait]
pub trait Protocol: Send + Sync + 'static {
    /// Its name, for metrics and for the line that a client of no known protocol gets.
    fn name(&self) -> &'static str;

    /// Whether a connection that starts with `first` is its own. Must decide on at most [`FIRST_BYTES_MAX`] bytes.
    fn matches(&self, first: &[u8]) -> Verdict;

    /// Whether operators speak it, who find a place where clients have taken all of theirs.
    fn is_for_operators(&self) -> bool {
        false
    }

    /// Serves a connection to its end.
    async fn serve(&self, connection: Connection);
}

/// How sniffing ended.
pub(crate) enum Sniffed {
    /// This protocol, and the bytes that were read to know it.
    Protocol(Arc<dyn Protocol>, Bytes),
    /// No protocol; these were the bytes.
    Unknown(Bytes),
    /// The client said nothing, or too little, in time.
    Silent,
    /// The client went away before it said enough.
    Closed,
}

/// Reads just as many bytes as it takes to know the protocol.
pub(crate) async fn sniff(
    stream: &mut (impl AsyncRead + Unpin),
    protocols: &[Arc<dyn Protocol>],
    deadline: Duration,
) -> Sniffed {
    match tokio::time::timeout(deadline, read_first_bytes(stream, protocols)).await {
        Ok(sniffed) => sniffed,
        Err(_) => Sniffed::Silent,
    }
}

async fn read_first_bytes(stream: &mut (impl AsyncRead + Unpin), protocols: &[Arc<dyn Protocol>]) -> Sniffed {
    // Part of the task: nothing more is allocated before there is something to read, so idle connections stay cheap.
    let mut room = [0; FIRST_BYTES_MAX];
    let mut length = 0;
    loop {
        match stream.read(&mut room[length..]).await {
            Ok(0) | Err(_) => return Sniffed::Closed,
            Ok(count) => length += count,
        }
        let first = &room[..length];
        match judge(first, protocols) {
            Judgement::Is(protocol) => return Sniffed::Protocol(protocol, Bytes::copy_from_slice(first)),
            Judgement::Undecided if length < FIRST_BYTES_MAX => {}
            Judgement::Nobody | Judgement::Undecided => return Sniffed::Unknown(Bytes::copy_from_slice(first)),
        }
    }
}

enum Judgement {
    Is(Arc<dyn Protocol>),
    Nobody,
    Undecided,
}

/// The first protocol in the list that says yes, unless one before it still needs more.
fn judge(first: &[u8], protocols: &[Arc<dyn Protocol>]) -> Judgement {
    for protocol in protocols {
        match protocol.matches(first) {
            Verdict::Yes => return Judgement::Is(protocol.clone()),
            Verdict::NeedMore => return Judgement::Undecided,
            Verdict::No => {}
        }
    }
    Judgement::Nobody
}

/// Compares the first bytes with a fixed beginning.
pub(crate) fn starts_with(first: &[u8], beginning: &[u8]) -> Verdict {
    let length = first.len().min(beginning.len());
    if first[..length] != beginning[..length] {
        Verdict::No
    } else if length == beginning.len() {
        Verdict::Yes
    } else {
        Verdict::NeedMore
    }
}

/// What somebody who speaks none of our protocols should read.
pub(crate) fn helpful_line(first: &[u8], protocols: &[Arc<dyn Protocol>]) -> String {
    let names: Vec<_> = protocols.iter().map(|protocol| protocol.name()).collect();
    let shown = first[..first.len().min(16)].escape_ascii();
    let guess = match first {
        [0x16, 0x03, ..] => ": this looks like TLS, and this node has no certificates (--certs)",
        [0, 0, 0, _, 0x04 | 0, ..] => ": this looks like PostgreSQL, which is not supported yet",
        [b'*', b'0'..=b'9', ..] => ": this looks like Redis, which is not supported yet",
        _ => "",
    };
    format!("strata: this port speaks {}; \"{shown}\" begins none of them{guess}\r\n", names.join(" and "))
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use tokio::net::{TcpListener, TcpStream};

    use super::*;
    use crate::protocols::{is_http1, is_http2};

    struct Named(&'static str, fn(&[u8]) -> Verdict);

    #[async_trait]
    impl Protocol for Named {
        fn name(&self) -> &'static str {
            self.0
        }

        fn matches(&self, first: &[u8]) -> Verdict {
            (self.1)(first)
        }

        async fn serve(&self, _: Connection) {}
    }

    fn protocols() -> Vec<Arc<dyn Protocol>> {
        vec![Arc::new(Named("gRPC", is_http2)), Arc::new(Named("HTTP", is_http1))]
    }

    fn name_of(first: &[u8]) -> &'static str {
        match judge(first, &protocols()) {
            Judgement::Is(protocol) => protocol.name(),
            Judgement::Nobody => "nobody",
            Judgement::Undecided => "undecided",
        }
    }

    #[test]
    fn first_bytes_tell_the_protocol() {
        assert_eq!(name_of(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), "gRPC");
        assert_eq!(name_of(b"GET /metrics HTTP/1.1\r\n"), "HTTP");
        assert_eq!(name_of(b"DELETE / HTTP/1.1\r\n"), "HTTP");
        assert_eq!(name_of(b"P"), "undecided");
        assert_eq!(name_of(b"PU"), "undecided");
        assert_eq!(name_of(b"PUT "), "HTTP");
        assert_eq!(name_of(b"PRI * HTTP/1"), "nobody");
        assert_eq!(name_of(b"*1\r\n$4\r\nPING\r\n"), "nobody");
        assert_eq!(name_of(&[0x16, 0x03, 0x01]), "nobody");
        assert_eq!(name_of(b"GETTING"), "nobody");
    }

    #[test]
    fn the_line_for_strangers_helps() {
        let line = helpful_line(b"*1\r\n$4\r\nPING\r\n", &protocols());
        assert_eq!(
            line,
            "strata: this port speaks gRPC and HTTP; \"*1\\r\\n$4\\r\\nPING\\r\\n\" begins none of them: this looks \
             like Redis, which is not supported yet\r\n"
        );
    }

    async fn pair() -> (std::net::TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let client = tokio::task::spawn_blocking(move || std::net::TcpStream::connect(address));
        let (server, _) = listener.accept().await.expect("a connection");
        (client.await.expect("no panic").expect("connected"), server)
    }

    #[tokio::test]
    async fn bytes_may_come_one_by_one_and_none_is_lost() {
        let (mut client, mut server) = pair().await;
        let request = b"GET / HTTP/1.1\r\n\r\n";
        let writer = tokio::task::spawn_blocking(move || {
            client.set_nodelay(true).expect("settable");
            for byte in request {
                client.write_all(&[*byte]).expect("writable");
            }
        });
        let Sniffed::Protocol(protocol, prefix) = sniff(&mut server, &protocols(), HANDSHAKE_DEADLINE).await else {
            panic!("a known protocol");
        };
        assert_eq!(protocol.name(), "HTTP");
        writer.await.expect("no panic");
        let mut rest = Vec::new();
        Prefixed::new(prefix, server).read_to_end(&mut rest).await.expect("readable");
        assert_eq!(rest, request);
    }

    #[tokio::test]
    async fn silence_and_departure_are_told_apart() {
        let (_client, mut server) = pair().await;
        assert!(matches!(sniff(&mut server, &protocols(), Duration::from_millis(5)).await, Sniffed::Silent));
        let (client, mut server) = pair().await;
        drop(client);
        assert!(matches!(sniff(&mut server, &protocols(), HANDSHAKE_DEADLINE).await, Sniffed::Closed));
    }
}
