//! gRPC by hand: a client that shares no code with ours, so that what it sends and gets is what the protocol says.
//!
//! Just enough of it: one call a connection, cleartext HTTP/2 with prior knowledge, messages that are numbers and bytes.
//! Headers that come back are not understood, only whether a message did.

use std::io::{Read, Write};
use std::net::TcpStream;

use super::LONG;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GO_AWAY: u8 = 7;
const ACK: u8 = 1;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
/// What a message of gRPC begins with: whether it is compressed, and its length.
const PREFIX: usize = 5;

/// A call that was sent.
pub struct Rpc {
    stream: TcpStream,
}

impl Rpc {
    /// Sends a call of `strata.v1` to a node: its path, such as `Txn/Commit`, and its message.
    pub fn send(address: &str, path: &str, message: &[u8]) -> Rpc {
        let mut stream = TcpStream::connect(address).expect("somebody listens");
        stream.set_read_timeout(Some(LONG)).expect("settable");
        let mut sent = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
        frame(&mut sent, SETTINGS, 0, 0, &[]);
        let path = format!("/strata.v1.{path}");
        let headers = [
            (":method", "POST"),
            (":scheme", "http"),
            (":path", &path),
            (":authority", address),
            ("content-type", "application/grpc"),
            ("te", "trailers"),
            ("grpc-timeout", "20S"),
        ];
        frame(&mut sent, HEADERS, END_HEADERS, 1, &headers.map(|(name, value)| header(name, value)).concat());
        let length = u32::try_from(message.len()).expect("a short message").to_be_bytes();
        frame(&mut sent, DATA, END_STREAM, 1, &[&[0][..], &length, message].concat());
        stream.write_all(&sent).expect("writable");
        Rpc { stream }
    }

    /// The message that comes back; `None` if the call failed.
    pub fn answer(mut self) -> Option<Vec<u8>> {
        let mut message = Vec::new();
        loop {
            let mut head = [0; 9];
            self.stream.read_exact(&mut head).expect("an answer, not an end");
            let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
            let mut payload = vec![0; usize::try_from(length).expect("a length")];
            self.stream.read_exact(&mut payload).expect("a whole frame");
            let (kind, flags) = (head[3], head[4]);
            match kind {
                DATA => message.extend(&payload),
                SETTINGS | PING if flags & ACK == 0 => {
                    let mut reply = Vec::new();
                    frame(&mut reply, kind, ACK, 0, if kind == PING { &payload } else { &[] });
                    self.stream.write_all(&reply).expect("writable");
                }
                GO_AWAY => panic!("the node does not want this: {}", String::from_utf8_lossy(&payload)),
                _ => {}
            }
            if matches!(kind, DATA | HEADERS) && flags & END_STREAM != 0 {
                return message.get(PREFIX..).map(<[u8]>::to_vec);
            }
        }
    }
}

fn frame(bytes: &mut Vec<u8>, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
    let length = u32::try_from(payload.len()).expect("a short frame").to_be_bytes();
    bytes.extend([length[1], length[2], length[3], kind, flags]);
    bytes.extend(stream.to_be_bytes());
    bytes.extend(payload);
}

/// A header that is written out and not remembered.
fn header(name: &str, value: &str) -> Vec<u8> {
    let text = |text: &str| [&[u8::try_from(text.len()).expect("below 127")][..], text.as_bytes()].concat();
    [vec![0], text(name), text(value)].concat()
}

/// A field of a message that is bytes, or another message.
pub fn bytes_field(number: u8, value: &[u8]) -> Vec<u8> {
    [vec![number << 3 | 2], varint(value.len() as u64), value.to_vec()].concat()
}

/// A field of a message that is a number.
pub fn number_field(number: u8, value: u64) -> Vec<u8> {
    [vec![number << 3], varint(value)].concat()
}

/// The bytes of a field, from a message that has only numbers and bytes.
pub fn bytes_of(message: &[u8], number: u8) -> Option<&[u8]> {
    fields(message).find_map(|(field, _, bytes)| (field == number).then_some(bytes).flatten())
}

/// The number in a field.
pub fn number_of(message: &[u8], number: u8) -> Option<u64> {
    fields(message).find_map(|(field, value, bytes)| (field == number && bytes.is_none()).then_some(value))
}

/// Each field: its number, its value or length, and its bytes if it has some.
fn fields(mut rest: &[u8]) -> impl Iterator<Item = (u8, u64, Option<&[u8]>)> {
    std::iter::from_fn(move || {
        let (tag, after) = rest.split_first()?;
        let length = 1 + after.iter().position(|byte| byte & 0x80 == 0)?;
        let (number, after) = after.split_at(length);
        let value = number.iter().rev().fold(0, |value, byte| value << 7 | u64::from(byte & 0x7f));
        let (bytes, after) = match tag & 7 {
            0 => (None, after),
            2 => after.split_at_checked(usize::try_from(value).ok()?).map(|(bytes, after)| (Some(bytes), after))?,
            other => panic!("a field of another kind: {other}"),
        };
        rest = after;
        Some((tag >> 3, value, bytes))
    })
}

fn varint(mut value: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value >= 0x80 {
        bytes.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
    bytes
}
