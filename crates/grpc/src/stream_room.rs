//! What the streams of SDKs hold together.
//!
//! A stream bounds what it holds by itself, but a connection may have a thousand, and a node thousands of connections.
//! So what was taken from streams and has not left again is counted once more, for the connection and for the node:
//! ```text
//!   reader: waits while its connection or the node is full -- takes a batch --> task -- reply --> queue -- leaves
//!                                                              | its requests      | + its reply        | all of it
//! ```
//! At the limit nothing is refused: the stream takes no more batches until others have left, and HTTP/2 stops its
//! client. Replies to what was taken before find as much room again beside it. Where that is full too, what changed
//! nothing is withheld and asked for again; all else is kept, since each such result is about as small as what its
//! request counts.
//!
//! Where only the node is full, a client that holds nothing gets on with one batch at a time, and those who do not read
//! cannot keep it out; but not where the node holds twice its limit, since there may be thousands of such clients. Then
//! all wait until others have read or have lost their connections: no frame of a stream may stay unread for long.
//!
//! So a connection holds twice its limit, a node twice its own, and above that such results and what each thread is
//! just adding. Beside that, of each stream the one message that waits: those of a connection have room in
//! `server/src/inbound_bodies.rs`.

use std::pin::pin;
use std::sync::Arc;

use futures_util::future::select;

use crate::Room;

/// Past so many bytes of requests under way and of replies that have not left, the streams of a connection take no more
/// batches: three of the largest messages. The one stream of our SDK comes near it only while the SDK does not read.
const CONNECTION_BYTES_MAX: usize = 64 << 20;
/// The same for all connections: far more than a node works on at a time.
const NODE_BYTES_MAX: usize = 256 << 20;

const _: () = assert!(CONNECTION_BYTES_MAX < NODE_BYTES_MAX, "one client must not take the room of all");

/// The room of the streams of one connection. Whoever serves connections puts one of each into the extensions of its
/// requests; a stream that comes without is alone on its connection.
#[derive(Clone)]
pub struct ConnectionRoom(Arc<Room>);

impl Default for ConnectionRoom {
    fn default() -> ConnectionRoom {
        ConnectionRoom(Arc::new(Room::new(CONNECTION_BYTES_MAX)))
    }
}

impl PartialEq for ConnectionRoom {
    /// Whether it is the room of the same connection.
    fn eq(&self, other: &ConnectionRoom) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for ConnectionRoom {}

/// The room of the streams of a node.
pub(crate) struct NodeRoom(Arc<Room>);

impl Default for NodeRoom {
    fn default() -> NodeRoom {
        NodeRoom(Arc::new(Room::new(NODE_BYTES_MAX)))
    }
}

impl NodeRoom {
    /// The room of one stream.
    pub(crate) fn of_stream(&self, connection: ConnectionRoom) -> StreamRoom {
        StreamRoom { node: self.0.clone(), connection: connection.0 }
    }
}

/// What one stream shares with others (GRPC-2).
pub(crate) struct StreamRoom {
    node: Arc<Room>,
    connection: Arc<Room>,
}

impl StreamRoom {
    /// Until another batch may be taken: at once, as a rule. Who takes it before anything else happens passes the limit
    /// by no more than that batch.
    pub(crate) async fn wait(&self) {
        while self.is_full() {
            let node = pin!(self.node.freed());
            let connection = pin!(self.connection.freed());
            // They are told of room that is given back from now on: was some given back just before?
            if self.is_full() {
                select(node, connection).await;
            }
        }
    }

    fn is_full(&self) -> bool {
        let is_idle = self.connection.held() == 0;
        self.connection.is_full() || self.node.is_overfull() || (self.node.is_full() && !is_idle)
    }

    /// Counts what a batch holds.
    pub(crate) fn take(&self, bytes: usize) {
        self.connection.take(bytes);
        self.node.take(bytes);
    }

    /// Counts no more what it held.
    pub(crate) fn give_back(&self, bytes: usize) {
        self.node.give_back(bytes);
        self.connection.give_back(bytes);
    }

    /// How large the reply to a batch may be that holds `own` bytes itself. A batch that is alone on its connection may
    /// have it whatever others hold, as long as such batches are taken.
    pub(crate) fn left_for_reply(&self, own: usize) -> usize {
        let left = |room: &Room| (2 * room.bytes_max()).saturating_sub(room.held());
        let is_alone = self.connection.held() <= own;
        let of_connection = left(&self.connection);
        if is_alone && !self.node.is_overfull() { of_connection } else { of_connection.min(left(&self.node)) }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use strata_env::sim::SimWorld;

    use super::*;

    /// Streams of two connections: the first one has two.
    fn streams(node: usize, connection: usize) -> [StreamRoom; 3] {
        let node = NodeRoom(Arc::new(Room::new(node)));
        let [one, other] = [0, 1].map(|_| ConnectionRoom(Arc::new(Room::new(connection))));
        [node.of_stream(one.clone()), node.of_stream(one), node.of_stream(other)]
    }

    /// Whether a stream has to wait.
    async fn waits(stream: &StreamRoom) -> bool {
        SimWorld::new(1).node(1).env().timeout(Duration::from_millis(1), stream.wait()).await.is_err()
    }

    /// GRPC-2
    #[tokio::test(start_paused = true)]
    async fn streams_of_a_connection_wait_for_each_other_and_not_for_those_of_another_one() {
        let [first, second, other] = streams(1_000, 100);
        first.take(60);
        assert!(!waits(&second).await);
        second.take(60);
        assert!(waits(&first).await && waits(&second).await && !waits(&other).await);
        let waiting = async {
            second.wait().await;
            second.take(10);
        };
        let reading = async { first.give_back(60) };
        tokio::join!(waiting, reading);
        assert_eq!((first.connection.held(), first.node.held()), (70, 70));
    }

    /// GRPC-2
    #[tokio::test(start_paused = true)]
    async fn where_the_node_is_full_each_connection_goes_on_with_one_batch() {
        let [lazy, _, eager] = streams(100, 1_000);
        lazy.take(150);
        for _ in 0..3 {
            assert!(!waits(&eager).await, "it holds nothing");
            eager.take(10);
            assert!(waits(&eager).await);
            assert_eq!(eager.left_for_reply(10), 1_990, "whatever others hold");
            eager.take(500);
            assert!(waits(&eager).await);
            eager.give_back(510);
        }
        lazy.give_back(150);
        eager.take(10);
        assert!(!waits(&eager).await);
    }

    /// GRPC-2
    #[tokio::test(start_paused = true)]
    async fn where_the_node_holds_twice_its_limit_also_those_wait_that_hold_nothing() {
        let [lazy, _, eager] = streams(100, 1_000);
        lazy.take(200);
        assert!(waits(&eager).await);
        assert_eq!(eager.left_for_reply(0), 0);
        let waiting = async {
            eager.wait().await;
            eager.take(10);
        };
        let reading = async { lazy.give_back(20) };
        tokio::join!(waiting, reading);
        assert_eq!((eager.connection.held(), eager.node.held()), (10, 190), "the node is full all the while");
    }

    /// GRPC-2
    #[test]
    fn replies_have_as_much_room_again() {
        let [first, second, other] = streams(150, 100);
        first.take(100);
        assert_eq!((first.left_for_reply(100), second.left_for_reply(0)), (100, 100));
        second.take(90);
        assert_eq!((first.left_for_reply(100), second.left_for_reply(90)), (10, 10));
        other.take(50);
        other.take(50);
        assert_eq!(other.left_for_reply(50), 10, "what is left of the node");
        first.take(200);
        assert_eq!((first.left_for_reply(300), other.left_for_reply(50)), (0, 0));
    }
}
