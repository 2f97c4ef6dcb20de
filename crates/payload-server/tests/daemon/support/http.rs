//! A plain HTTP request, as simple as can be.

use std::io::{Read, Write};
use std::net::TcpStream;

/// The whole answer to a request with these header lines; empty if the server closes without one.
pub(crate) fn send(url: &str, line: &str, headers: &str) -> String {
    let mut stream = TcpStream::connect(url.strip_prefix("http://").unwrap()).unwrap();
    write!(stream, "{line} HTTP/1.1\r\n{headers}Connection: close\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    // A refusal may come with a reset behind it.
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8(answer).unwrap()
}

pub(crate) fn get(url: &str, path: &str) -> String {
    send(url, &format!("GET {path}"), "Host: localhost\r\n")
}
