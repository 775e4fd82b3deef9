//! Messages are counted before they are decoded.
//!
//! # Problem
//! An operation without content takes two bytes on the wire and hundreds of them in memory, so a message of 20 MiB would
//! become gigabytes before anybody could look at its limits.
//!
//! # Model
//! ```text
//!   bytes --walk the fields, add up what repeats--> over MESSAGE_MEMORY_MAX: refused, nothing was made of it
//!                                             +---> below: prost decodes
//! ```
//! [`Shape`] says which fields of a message repeat, or hold messages with such fields, and what one more of them takes in
//! memory; `build/shapes.rs` writes the shapes from the `.proto` files, so that a new field is counted without anybody
//! remembering it. The walk makes nothing, skips what cannot repeat, and goes as deep as the types do. What is not repeated lies
//! within what holds it, and payloads are slices of the message, so nothing else takes memory.
//!
//! Replies are not counted: a client reads what the cluster says that it chose.

use std::marker::PhantomData;

use bytes::{Buf, Bytes};
use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field};
use prost::{DecodeError, Message};
use strata_types::limits::MESSAGE_MEMORY_MAX;
use strata_types::{Error, ErrorCode};
use tonic::Status;
use tonic::codec::{BufferSettings, Codec, DecodeBuf, Decoder};
use tonic_prost::{ProstCodec, ProstEncoder};

use crate::status_of;

/// What of a message may repeat.
#[derive(Debug)]
pub struct Shape {
    /// The fields that count.
    pub fields: &'static [Field],
}

/// A field that repeats, or that holds a message with such fields.
#[derive(Debug)]
pub struct Field {
    /// Its tag.
    pub number: u32,
    /// How it is written.
    pub kind: Kind,
    /// What one more of it takes in memory; 0 if it does not repeat.
    pub weight: usize,
}

/// How a field is written.
#[derive(Debug)]
pub enum Kind {
    /// A message.
    Message(&'static Shape),
    /// A string or bytes.
    Bytes,
    /// A number; many may be packed.
    Varint,
    /// A number of so many bytes; many may be packed.
    Fixed(u8),
}

/// A message whose shape is known.
pub trait Bounded {
    /// Whether a server gets it from outside.
    const IS_REQUEST: bool;

    /// Its shape.
    fn shape() -> &'static Shape;
}

/// Why a message is not decoded.
#[derive(Debug, thiserror::Error)]
enum Refusal {
    #[error("the message cannot be decoded: {0}")]
    Malformed(#[from] DecodeError),
    #[error(
        "the message holds too many operations: decoded, they take more than {} MiB of memory; send fewer in one message",
        MESSAGE_MEMORY_MAX >> 20
    )]
    TooMany,
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Error {
        let code = match refusal {
            Refusal::Malformed(_) => ErrorCode::InvalidArgument,
            Refusal::TooMany => ErrorCode::TooLarge,
        };
        Error::not_applied(code, refusal.to_string())
    }
}

/// Decodes a request, unless it would take too much memory (PROTO-3).
pub fn decode<M: Message + Default + Bounded>(bytes: Bytes) -> Result<M, Error> {
    Ok(decode_counted(bytes)?)
}

/// What a message of these bytes takes in memory when it is decoded, beside the bytes themselves: at least what prost makes
/// of it, and exactly that when nothing occurs twice which a later occurrence replaces. Vectors that grow take up to twice
/// as much. `None` when it is no message, or when that is more than `most`.
pub fn memory_of<M: Bounded>(bytes: &[u8], most: usize) -> Option<usize> {
    let mut left = most;
    walk(M::shape(), bytes, &mut left).ok().map(|()| most - left)
}

fn decode_counted<M: Message + Default + Bounded>(bytes: Bytes) -> Result<M, Refusal> {
    walk(M::shape(), &bytes, &mut MESSAGE_MEMORY_MAX.clone())?;
    Ok(M::decode(bytes)?)
}

/// Takes what the fields of a message need from what is `left`. Whatever prost would refuse may be refused here.
fn walk(shape: &Shape, mut bytes: &[u8], left: &mut usize) -> Result<(), Refusal> {
    while !bytes.is_empty() {
        let (number, wire) = decode_key(&mut bytes)?;
        let Some(field) = shape.fields.iter().find(|field| field.number == number) else {
            skip_field(wire, number, &mut bytes, DecodeContext::default())?;
            continue;
        };
        if wire != WireType::LengthDelimited {
            // A single number; or a mistake, which prost finds.
            skip_field(wire, number, &mut bytes, DecodeContext::default())?;
            take(field.weight, 1, left)?;
            continue;
        }
        let content = delimited(number, &mut bytes)?;
        match field.kind {
            Kind::Message(inner) => {
                take(field.weight, 1, left)?;
                walk(inner, content, left)?;
            }
            Kind::Bytes => take(field.weight, 1, left)?,
            // The last byte of each has its highest bit clear.
            Kind::Varint => take(field.weight, content.iter().filter(|byte| **byte < 0x80).count(), left)?,
            Kind::Fixed(size) => take(field.weight, content.len() / usize::from(size.max(1)), left)?,
        }
    }
    Ok(())
}

fn take(weight: usize, count: usize, left: &mut usize) -> Result<(), Refusal> {
    *left = weight.checked_mul(count).and_then(|sum| left.checked_sub(sum)).ok_or(Refusal::TooMany)?;
    Ok(())
}

/// The content of a field, which ends where the field does: nothing in it may reach further.
fn delimited<'a>(number: u32, bytes: &mut &'a [u8]) -> Result<&'a [u8], DecodeError> {
    let mut content = *bytes;
    skip_field(WireType::LengthDelimited, number, bytes, DecodeContext::default())?;
    content = &content[..content.len() - bytes.len()];
    decode_varint(&mut content)?;
    Ok(content)
}

/// The codec of all services: prost's, with requests counted first (PROTO-3).
#[derive(Debug, Clone)]
pub struct BoundedCodec<T, U> {
    inner: ProstCodec<T, U>,
}

impl<T, U> Default for BoundedCodec<T, U> {
    fn default() -> Self {
        BoundedCodec { inner: ProstCodec::default() }
    }
}

impl<T, U> Codec for BoundedCodec<T, U>
where
    T: Message + Send + 'static,
    U: Message + Default + Bounded + Send + 'static,
{
    type Encode = T;
    type Decode = U;
    type Encoder = ProstEncoder<T>;
    type Decoder = BoundedDecoder<U>;

    fn encoder(&mut self) -> Self::Encoder {
        self.inner.encoder()
    }

    fn decoder(&mut self) -> Self::Decoder {
        BoundedDecoder(PhantomData)
    }
}

/// Counts requests, then has prost decode them.
#[derive(Debug, Clone)]
pub struct BoundedDecoder<U>(PhantomData<U>);

impl<U: Message + Default + Bounded> Decoder for BoundedDecoder<U> {
    type Item = U;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<U>, Status> {
        // No copy: these bytes are split off.
        let bytes = buffer.copy_to_bytes(buffer.remaining());
        if U::IS_REQUEST {
            return decode(bytes).map(Some).map_err(|error| status_of(&error));
        }
        // Nobody knows what became of a request whose reply cannot be read.
        U::decode(bytes).map(Some).map_err(|error| Status::internal(error.to_string()))
    }

    fn buffer_settings(&self) -> BufferSettings {
        BufferSettings::default()
    }
}

#[cfg(test)]
mod tests;
