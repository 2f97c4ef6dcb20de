//! An HTTP client that does exactly what a test says, and nothing on its own.

use std::io::{Read, Write};
use std::net::TcpStream;

/// One connection.
pub(super) struct Connection {
    pub(super) stream: TcpStream,
    ahead: Vec<u8>,
}

/// One answer.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) head: String,
    pub(super) body: Vec<u8>,
}

impl Connection {
    pub(super) fn open(url: &str) -> Self {
        Self {
            stream: TcpStream::connect(url.strip_prefix("http://").unwrap()).unwrap(),
            ahead: Vec::new(),
        }
    }

    /// Sends bytes; the server may have closed before it has read them all.
    pub(super) fn send(&mut self, bytes: impl AsRef<[u8]>) {
        let _ = self.stream.write_all(bytes.as_ref());
    }

    pub(super) fn request(&mut self, method: &str, path: &str, headers: &str) {
        self.send(format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n"));
    }

    pub(super) fn put(&mut self, path: &str, token: &str, headers: &str, body: &[u8]) {
        let length = body.len();
        self.request(
            "PUT",
            path,
            &format!("Payload-Allocation: {token}\r\nContent-Length: {length}\r\n{headers}"),
        );
        self.send(body);
    }

    pub(super) fn reply(&mut self) -> Reply {
        self.reply_to("GET")
    }

    /// The next answer; what it may have as a body depends on what was asked.
    pub(super) fn reply_to(&mut self, method: &str) -> Reply {
        let head = self.head().expect("the server answers");
        let status: u16 = head.split(' ').nth(1).unwrap().parse().unwrap();
        let mut reply = Reply {
            status,
            head,
            body: Vec::new(),
        };
        let length = reply.header("Content-Length").map_or(0, |text| text.parse().unwrap());
        if method != "HEAD" {
            reply.body = self.take(length);
        }
        reply
    }

    /// The next head, or `None` if the server has closed.
    pub(super) fn head(&mut self) -> Option<String> {
        loop {
            if let Some(end) = self.ahead.windows(4).position(|window| window == b"\r\n\r\n") {
                let head = self.ahead.drain(..end + 4).collect();
                return Some(String::from_utf8(head).unwrap());
            }
            if !self.more() {
                assert!(self.ahead.is_empty(), "half an answer");
                return None;
            }
        }
    }

    pub(super) fn take(&mut self, length: usize) -> Vec<u8> {
        while self.ahead.len() < length {
            assert!(self.more(), "the body ends after {} of {length}", self.ahead.len());
        }
        self.ahead.drain(..length).collect()
    }

    fn more(&mut self) -> bool {
        let mut piece = vec![0; 1 << 20];
        let read = self.stream.read(&mut piece).unwrap_or(0);
        self.ahead.extend_from_slice(&piece[..read]);
        read > 0
    }

    /// Waits for the server to close, and says how much came before.
    pub(super) fn drained(mut self) -> usize {
        while self.more() {}
        self.ahead.len()
    }
}

impl Reply {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (found, value) = line.split_once(": ")?;
            found.eq_ignore_ascii_case(name).then_some(value)
        })
    }

    /// The reason in the body of a refusal.
    pub(super) fn reason(&self) -> String {
        let body: serde_json::Value = serde_json::from_slice(&self.body).expect("refusals are JSON");
        assert!(body["message"].is_string(), "{body}");
        body["reason"].as_str().unwrap().to_owned()
    }
}
