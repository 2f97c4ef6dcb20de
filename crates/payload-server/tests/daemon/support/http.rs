//! A plain HTTP request, as simple as can be.

use std::io::{Read, Write};
use std::net::TcpStream;

use payload_proto::v1;

/// The whole answer to a request with these header lines; empty if the server closes without one.
pub(crate) fn send(url: &str, line: &str, headers: &str) -> String {
    let mut stream = TcpStream::connect(url.strip_prefix("http://").unwrap()).unwrap();
    write!(stream, "{line} HTTP/1.1\r\n{headers}Connection: close\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    // A refusal may come with a reset behind it.
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8(answer).unwrap()
}

/// Sends a request that the server has signed, as any client would; status and body of the answer.
pub(crate) fn send_signed(request: &v1::SignedRequest, body: &[u8]) -> (u16, Vec<u8>) {
    let (host, path) = request.url.strip_prefix("http://").unwrap().split_once('/').unwrap();
    let mut head = format!(
        "{} /{path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n",
        request.method
    );
    for (name, value) in &request.headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    if request.method == "PUT" {
        head.push_str(&format!("content-length: {}\r\n", body.len()));
    }
    let mut stream = TcpStream::connect(host).unwrap();
    stream.write_all(format!("{head}\r\n").as_bytes()).unwrap();
    // Who refuses need not read the content.
    let _ = stream.write_all(body);
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n").unwrap();
    let status = std::str::from_utf8(&answer[9..12]).unwrap().parse().unwrap();
    (status, answer.split_off(end + 4))
}

pub(crate) fn get(url: &str, path: &str) -> String {
    send(url, &format!("GET {path}"), "Host: localhost\r\n")
}
