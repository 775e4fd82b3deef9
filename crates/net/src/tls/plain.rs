//! What somebody gets who speaks without TLS to a port that wants it.

pub(super) const SENTENCE: &str =
    "this port speaks TLS only: connect with the CA of the cluster (--ca FILE or --certs DIR)";

/// How an HTTP/2 connection begins.
const HTTP2: &[u8] = b"PRI ";
/// Frames of HTTP/2: types, and the reason "inadequate security".
const FRAME_SETTINGS: u8 = 4;
const FRAME_GOAWAY: u8 = 7;
const INADEQUATE_SECURITY: u32 = 0xc;

/// A refusal in the protocol that the first bytes belong to; one line for unknown ones.
pub(super) fn refusal(first: &[u8]) -> Vec<u8> {
    if first.starts_with(HTTP2) {
        http2()
    } else if first.first().is_some_and(u8::is_ascii_uppercase) {
        http1()
    } else {
        format!("strata: {SENTENCE}\r\n").into_bytes()
    }
}

fn http1() -> Vec<u8> {
    let body = format!("{SENTENCE}; with HTTP, use https and ca.crt (curl --cacert ca.crt https://...)\n");
    format!(
        "HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

/// Empty settings, and a good-bye with a reason that clients show.
fn http2() -> Vec<u8> {
    let mut bytes = frame(FRAME_SETTINGS, &[]);
    let mut goaway = 0_u32.to_be_bytes().to_vec();
    goaway.extend(INADEQUATE_SECURITY.to_be_bytes());
    goaway.extend(SENTENCE.as_bytes());
    bytes.extend(frame(FRAME_GOAWAY, &goaway));
    bytes
}

fn frame(kind: u8, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("our frames are short");
    let mut bytes = length.to_be_bytes()[1..].to_vec();
    bytes.extend([kind, 0, 0, 0, 0, 0]);
    bytes.extend(payload);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_protocol_is_refused_in_its_own_words() {
        let text = |first: &[u8]| String::from_utf8_lossy(&refusal(first)).into_owned();
        let answer = text(b"GET /metrics HTTP/1.1\r\n");
        assert!(answer.starts_with("HTTP/1.1 400") && answer.ends_with("https://...)\n"), "{answer}");
        assert!(text(b"\0\0\0\x08").starts_with("strata: this port speaks TLS only"));
        let frames = refusal(b"PRI * HTTP/2.0\r\n");
        assert_eq!(frames[..9], [0, 0, 0, FRAME_SETTINGS, 0, 0, 0, 0, 0]);
        assert_eq!(usize::from(frames[11]) + 18, frames.len(), "the length of the second frame");
        assert_eq!((frames[12], frames[25]), (FRAME_GOAWAY, 0xc));
    }
}
