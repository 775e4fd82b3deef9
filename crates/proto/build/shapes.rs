//! Which fields of which messages may hold many of something: what must be known to count before decoding.

use std::collections::BTreeMap;
use std::fmt::Write as _;

/// How a field is written, as far as counting goes.
#[derive(Clone)]
pub(crate) enum Kind {
    /// A message of this full name.
    Message(String),
    /// A string or bytes.
    Bytes,
    /// A number of any length.
    Varint,
    /// A number of so many bytes.
    Fixed(u8),
}

/// A field of a message.
#[derive(Clone)]
pub(crate) struct Field {
    pub(crate) number: i32,
    pub(crate) is_repeated: bool,
    pub(crate) kind: Kind,
    /// The type of one of them in Rust; empty for messages, whose types follow from their names.
    pub(crate) rust: &'static str,
}

/// Messages by full name without the leading dot.
pub(crate) type Messages = BTreeMap<String, Vec<Field>>;

/// One file for each package: the shapes of its messages. `requests` are those that a server gets.
pub(crate) fn render(package: &str, messages: &Messages, requests: &[String]) -> String {
    let mut out = String::from("// Generated from the .proto files.\n\n");
    let own = messages.iter().filter(|(name, _)| name.starts_with(&format!("{package}.")));
    for (name, fields) in own {
        let rows: String = fields.iter().filter_map(|field| row(package, messages, field)).collect();
        let _ = writeln!(
            out,
            "static {}: crate::bounded::Shape = crate::bounded::Shape {{ fields: &[{rows}] }};",
            constant(package, name)
        );
        if name[package.len() + 1..].contains('.') {
            continue;
        }
        let _ = writeln!(
            out,
            "impl crate::bounded::Bounded for {} {{\n    const IS_REQUEST: bool = {};\n    fn shape() -> &'static \
             crate::bounded::Shape {{\n        &{}\n    }}\n}}",
            path(package, name),
            requests.contains(name),
            constant(package, name),
        );
    }
    out
}

/// `None` for what cannot make the message hold more than its bytes.
fn row(package: &str, messages: &Messages, field: &Field) -> Option<String> {
    let (kind, rust) = match &field.kind {
        Kind::Message(name) => (format!("Message(&{})", constant(package, name)), path(package, name)),
        Kind::Bytes => ("Bytes".to_owned(), field.rust.to_owned()),
        Kind::Varint => ("Varint".to_owned(), field.rust.to_owned()),
        Kind::Fixed(bytes) => (format!("Fixed({bytes})"), field.rust.to_owned()),
    };
    let weight = match &field.kind {
        _ if field.is_repeated => format!("size_of::<{rust}>()"),
        Kind::Message(name) if holds_many(messages, name) => "0".to_owned(),
        _ => return None,
    };
    Some(format!(
        "crate::bounded::Field {{ number: {}, kind: crate::bounded::Kind::{kind}, weight: {weight} }}, ",
        field.number
    ))
}

/// Whether a message, or one in it, has a field that may occur many times.
fn holds_many(messages: &Messages, name: &str) -> bool {
    messages
        .get(name)
        .into_iter()
        .flatten()
        .any(|field| field.is_repeated || matches!(&field.kind, Kind::Message(inner) if holds_many(messages, inner)))
}

/// `strata.v1.KvStreamRequest.Numbered` is `kv_stream_request::Numbered`.
fn path(package: &str, name: &str) -> String {
    let parts: Vec<&str> = name[package.len() + 1..].split('.').collect();
    let (last, modules) = parts.split_last().expect("a name has a part");
    modules.iter().map(|module| format!("{}::", snake(module))).chain([(*last).to_owned()]).collect()
}

fn constant(package: &str, name: &str) -> String {
    let parts: Vec<String> = name[package.len() + 1..].split('.').map(|part| snake(part).to_uppercase()).collect();
    format!("SHAPE_OF_{}", parts.join("_IN_"))
}

fn snake(camel: &str) -> String {
    let mut out = String::new();
    for (at, letter) in camel.char_indices() {
        if at > 0 && letter.is_ascii_uppercase() {
            out.push('_');
        }
        out.push(letter.to_ascii_lowercase());
    }
    out
}
