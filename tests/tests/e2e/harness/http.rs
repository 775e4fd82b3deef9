//! HTTP by hand.

use std::io::{Read, Write};
use std::net::TcpStream;

/// What is answered to these bytes, up to the end of the connection.
pub fn http(address: &str, request: &str) -> String {
    let mut stream = TcpStream::connect(address).expect("somebody listens");
    stream.write_all(request.as_bytes()).expect("writable");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("readable");
    answer
}

/// The answer to `GET path`, with its head.
pub fn get(address: &str, path: &str) -> String {
    http(address, &format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"))
}
