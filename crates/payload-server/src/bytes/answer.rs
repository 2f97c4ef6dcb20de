//! Answers: status line, headers, and the little bodies that say what went wrong.

use std::borrow::Cow;
use std::fmt::Write;
use std::io;
use std::time::{Duration, UNIX_EPOCH};

use axum::http::StatusCode;
use payload_core::{Error, Span};
use payload_engine::Content;
use serde_json::json;

use super::status;
use super::wire::Wire;

/// What a request gets.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    headers: String,
    pub(super) body: Body,
}

/// What comes after the headers.
#[derive(Debug)]
pub(super) enum Body {
    /// Nothing, and no length is told.
    Nothing,
    /// A text for people and programs.
    Text(String),
    /// A part of a payload.
    Content { content: Content, first: u64, length: u64 },
}

/// A request that is not served.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) status: u16,
    reason: &'static str,
    message: Cow<'static, str>,
    retry_after: Option<Span>,
    header: Option<(&'static str, String)>,
}

/// Why the handling of a request ended early.
#[derive(Debug)]
pub(super) enum Failure {
    /// The client is told.
    Refused(Refusal),
    /// There is nobody to be told any more.
    Broken(io::Error),
}

impl Answer {
    pub(super) fn new(status: u16, body: Body) -> Self {
        Self {
            status,
            headers: String::new(),
            body,
        }
    }

    /// With one more header.
    pub(super) fn header(mut self, name: &str, value: impl std::fmt::Display) -> Self {
        let value = value.to_string();
        debug_assert!(!value.contains(['\r', '\n']), "a header is one line");
        // Writing to a string cannot fail.
        let _ = write!(self.headers, "{name}: {value}\r\n");
        self
    }

    /// Everything before the body. `close`: this is the last answer of the connection.
    pub(super) fn head(&self, wire: &Wire, close: bool) -> String {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let micros = u64::try_from(wire.clock().wall().as_micros()).unwrap_or(0);
        let date = httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_micros(micros));
        let mut head = format!(
            "HTTP/1.1 {} {}\r\nDate: {date}\r\nX-Content-Type-Options: nosniff\r\nCross-Origin-Resource-Policy: same-origin\r\n{}",
            self.status,
            status.canonical_reason().unwrap_or("Unknown"),
            self.headers
        );
        let length = match &self.body {
            Body::Nothing => None,
            Body::Text(text) => {
                head.push_str("Content-Type: application/json\r\n");
                Some(text.len() as u64)
            }
            Body::Content { length, .. } => {
                head.push_str("Content-Type: application/octet-stream\r\n");
                Some(*length)
            }
        };
        if let Some(length) = length {
            let _ = write!(head, "Content-Length: {length}\r\n");
        }
        if close {
            head.push_str("Connection: close\r\n");
        }
        head.push_str("\r\n");
        head
    }
}

impl Refusal {
    /// Of what is wrong with the request as HTTP.
    pub(super) fn new(status: u16, message: impl Into<Cow<'static, str>>) -> Self {
        Self {
            status,
            reason: "BAD_REQUEST",
            message: message.into(),
            retry_after: None,
            header: None,
        }
    }

    /// With another reason than that the request is bad.
    pub(super) fn reason(mut self, reason: &'static str) -> Self {
        self.reason = reason;
        self
    }

    /// With a header of its own.
    pub(super) fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.header = Some((name, value.into()));
        self
    }

    /// Says when to try again.
    pub(super) fn retry_after(mut self, span: Span) -> Self {
        self.retry_after = Some(span);
        self
    }
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        Self {
            status: status::of(error.reason()),
            reason: error.reason().as_str(),
            message: error.message().to_owned().into(),
            retry_after: error.retry_delay(),
            header: None,
        }
    }
}

impl From<Refusal> for Answer {
    fn from(refusal: Refusal) -> Self {
        let body = json!({ "reason": refusal.reason, "message": refusal.message });
        let mut answer = Self::new(refusal.status, Body::Text(format!("{body}\n")));
        if let Some(after) = refusal.retry_after {
            // Whole seconds, and never at once.
            let seconds = after.as_millis().div_ceil(1_000).max(1);
            answer = answer.header("Retry-After", seconds);
        }
        match refusal.header {
            Some((name, value)) => answer.header(name, value),
            None => answer,
        }
    }
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Refused(error.into())
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Broken(error)
    }
}
