//! Keys and values as text: plain, hexadecimal or base64.

use bytes::Bytes;
use clap::Args;
use serde_json::{Value, json};

use crate::failure::Failure;

/// How keys and values are written on the command line and in answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Args)]
pub struct Encoding {
    /// Keys and values are hexadecimal
    #[arg(long, global = true, conflicts_with = "base64")]
    pub hex: bool,
    /// Keys and values are base64
    #[arg(long, global = true)]
    pub base64: bool,
}

impl Encoding {
    /// Bytes of an argument.
    pub fn decode(self, text: &str) -> Result<Bytes, Failure> {
        let decoded = match self {
            Encoding { hex: true, .. } => decode_hex(text),
            Encoding { base64: true, .. } => decode_base64(text),
            Encoding { .. } => Some(text.as_bytes().to_vec()),
        };
        decoded.map(Bytes::from).ok_or_else(|| {
            Failure::usage(format!("not {}: `{text}`", if self.hex { "hexadecimal" } else { "base64" }))
                .hint("leave out --hex and --base64 for plain text")
        })
    }

    /// Bytes for people, alone on their line: plain bytes go out as they are.
    pub fn encode(self, bytes: &[u8]) -> Vec<u8> {
        match self {
            Encoding { hex: true, .. } => encode_hex(bytes).into_bytes(),
            Encoding { base64: true, .. } => encode_base64(bytes).into_bytes(),
            Encoding { .. } => bytes.to_vec(),
        }
    }

    /// Bytes for people, as one column of a line: what would break the line is escaped.
    pub fn encode_column(self, bytes: &[u8]) -> String {
        match self {
            Encoding { hex: false, base64: false } => match std::str::from_utf8(bytes) {
                Ok(text) if !text.chars().any(char::is_control) => text.to_owned(),
                _ => bytes.escape_ascii().to_string(),
            },
            Encoding { hex, .. } => {
                if hex {
                    encode_hex(bytes)
                } else {
                    encode_base64(bytes)
                }
            }
        }
    }

    /// Bytes for scripts: a string, or `{"base64": ...}` for bytes that are no text and were not asked for otherwise.
    pub fn to_json(self, bytes: &[u8]) -> Value {
        match self {
            Encoding { hex: true, .. } => json!(encode_hex(bytes)),
            Encoding { base64: true, .. } => json!(encode_base64(bytes)),
            Encoding { .. } => match std::str::from_utf8(bytes) {
                Ok(text) => json!(text),
                Err(_) => json!({ "base64": encode_base64(bytes) }),
            },
        }
    }
}

fn encode_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn decode_hex(text: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u8>> = text.chars().map(|c| c.to_digit(16).map(|digit| digit as u8)).collect();
    let digits = digits.filter(|digits| digits.len() % 2 == 0)?;
    Some(digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect())
}

const BASE64: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

fn encode_base64(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let at = |index: usize| u32::from(group.get(index).copied().unwrap_or(0));
        let bits = at(0) << 16 | at(1) << 8 | at(2);
        for position in 0..4 {
            let digit = (bits >> (18 - 6 * position)) as usize & 63;
            text.push(if position <= group.len() { char::from(BASE64[digit]) } else { '=' });
        }
    }
    text
}

fn decode_base64(text: &str) -> Option<Vec<u8>> {
    let digits = text.trim_end_matches('=');
    if text.len() - digits.len() > 2 || digits.len() % 4 == 1 {
        return None;
    }
    let mut bytes = Vec::with_capacity(digits.len() * 3 / 4);
    let (mut bits, mut count) = (0_u32, 0);
    for digit in digits.bytes() {
        // The letters of URLs mean the same.
        let digit = match digit {
            b'-' => b'+',
            b'_' => b'/',
            digit => digit,
        };
        let value = BASE64.iter().position(|known| *known == digit)?;
        bits = bits << 6 | value as u32;
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push((bits >> count) as u8);
            bits &= (1 << count) - 1;
        }
    }
    // Leftover bits that are not zero mean that the text was cut.
    (bits == 0).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEX: Encoding = Encoding { hex: true, base64: false };
    const BASE64: Encoding = Encoding { hex: false, base64: true };
    const PLAIN: Encoding = Encoding { hex: false, base64: false };

    #[test]
    fn every_length_round_trips() {
        let bytes: Vec<u8> = (0..=255).rev().collect();
        for length in 0..=bytes.len() {
            for encoding in [HEX, BASE64] {
                let text = String::from_utf8(encoding.encode(&bytes[..length])).expect("text");
                assert_eq!(encoding.decode(&text).expect("decodable"), bytes[..length], "{text}");
            }
        }
    }

    #[test]
    fn known_examples() {
        assert_eq!(encode_base64(b"foob"), "Zm9vYg==");
        assert_eq!(decode_base64("Zm9vYmE"), Some(b"fooba".to_vec()));
        assert_eq!(decode_base64("_-8="), Some(vec![0xff, 0xef]));
        assert_eq!(encode_hex(b"\x00\xff"), "00ff");
        assert_eq!(decode_hex("00FF"), Some(vec![0, 255]));
    }

    #[test]
    fn wrong_text_is_refused() {
        for wrong in ["0", "0g", "é0"] {
            assert!(HEX.decode(wrong).is_err(), "{wrong}");
        }
        for wrong in ["A", "AB===", "A*==", "AB=A", "Zh=="] {
            assert!(BASE64.decode(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn bytes_that_are_no_text_are_marked() {
        assert_eq!(PLAIN.to_json(b"text"), json!("text"));
        assert_eq!(PLAIN.to_json(b"\xff"), json!({ "base64": "/w==" }));
        assert_eq!(PLAIN.encode_column(b"a\tb"), "a\\tb");
        assert_eq!(PLAIN.encode_column("grüße".as_bytes()), "grüße");
        assert_eq!(HEX.encode_column(b"a"), "61");
    }
}
