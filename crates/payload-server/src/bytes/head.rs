//! The head of a request: parsed once, and refused where HTTP leaves room for two readings.

use axum::http::Uri;
use httparse::{EMPTY_HEADER, Header, Request, Status};

use super::answer::Refusal;

/// The most headers of a request.
const HEADERS_MAX: usize = 64;

/// What a request says before its body.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) method: Method,
    pub(super) uri: Uri,
    /// The `Host` header; without it nobody gets further.
    pub(super) host: String,
    pub(super) origin: Option<String>,
    pub(super) framing: Framing,
    /// The client waits for `100 Continue` before it sends the body.
    pub(super) expects_continue: bool,
    /// The client wants to send another request on this connection.
    pub(super) keep_alive: bool,
    fields: Vec<(&'static str, String)>,
}

/// The methods that something is done about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Method {
    Get,
    Head,
    Put,
    /// Any other.
    Other,
}

/// Where the body ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    /// After so many bytes; zero without a body.
    Length(u64),
    /// With the last chunk.
    Chunked,
}

/// Headers whose values are kept: those that mean something here.
const KEPT: [&str; 7] = [
    "content-encoding",
    "content-range",
    "if-range",
    "payload-allocation",
    "payload-digest",
    "payload-lease",
    "range",
];
/// The same for those that are lists, and may come on several lines.
const LISTS: [&str; 2] = ["if-match", "if-none-match"];

/// The head at the beginning of `bytes` and its length; `None` while it is not complete.
pub(super) fn parse(bytes: &[u8]) -> Result<Option<(Head, usize)>, Refusal> {
    let mut headers = [EMPTY_HEADER; HEADERS_MAX];
    let mut request = Request::new(&mut headers);
    let length = match request.parse(bytes) {
        Ok(Status::Complete(length)) => length,
        Ok(Status::Partial) => return Ok(None),
        Err(httparse::Error::TooManyHeaders) => {
            return Err(Refusal::new(431, "too many headers"));
        }
        Err(httparse::Error::Version) => return Err(Refusal::new(505, "the request line does not end with HTTP/1.1")),
        Err(_) => return Err(Refusal::new(400, "this is not an HTTP request")),
    };
    Head::new(&request).map(|head| Some((head, length)))
}

impl Head {
    fn new(request: &Request<'_, '_>) -> Result<Self, Refusal> {
        let newer = request.version == Some(1);
        let uri = request.path.unwrap_or_default().parse();
        let uri: Uri = uri.map_err(|_| Refusal::new(400, "the target is not a URI"))?;
        let headers = &*request.headers;
        let host = only(headers, "host")?.ok_or_else(|| Refusal::new(400, "the Host header is missing"))?;
        let expects_continue = match only(headers, "expect")? {
            None => false,
            Some(what) if what.eq_ignore_ascii_case("100-continue") => newer,
            Some(_) => return Err(Refusal::new(417, "no such expectation can be met")),
        };
        let close = tokens(headers, "connection")?.any(|token| token.eq_ignore_ascii_case("close"));
        let mut fields = Vec::new();
        for name in KEPT {
            if let Some(value) = only(headers, name)? {
                fields.push((name, value.to_owned()));
            }
        }
        for name in LISTS {
            let list = tokens(headers, name)?.collect::<Vec<_>>().join(",");
            if !list.is_empty() {
                fields.push((name, list));
            }
        }
        Ok(Self {
            method: Method::of(request.method.unwrap_or_default()),
            uri,
            host: host.to_owned(),
            origin: only(headers, "origin")?.map(str::to_owned),
            framing: framing(headers, newer)?,
            expects_continue,
            keep_alive: newer && !close,
            fields,
        })
    }

    /// The value of a header that is kept.
    pub(super) fn field(&self, name: &str) -> Option<&str> {
        debug_assert!(KEPT.contains(&name) || LISTS.contains(&name), "{name} is not kept");
        self.fields
            .iter()
            .find(|(field, _)| *field == name)
            .map(|(_, value)| value.as_str())
    }
}

impl Method {
    fn of(name: &str) -> Self {
        match name {
            "GET" => Self::Get,
            "HEAD" => Self::Head,
            "PUT" => Self::Put,
            _ => Self::Other,
        }
    }

    /// The word for it in metrics and logs.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Head => "HEAD",
            Self::Put => "PUT",
            Self::Other => "other",
        }
    }
}

/// Who reads the length differently than the next server takes the rest for a request of its own: what is ambiguous is
/// refused (RFC 9112, section 6).
fn framing(headers: &[Header<'_>], newer: bool) -> Result<Framing, Refusal> {
    let length = only(headers, "content-length")?;
    let mut codings = tokens(headers, "transfer-encoding")?.peekable();
    if codings.peek().is_none() {
        return length.map_or(Ok(Framing::Length(0)), |text| number(text).map(Framing::Length));
    }
    if length.is_some() || !newer {
        return Err(Refusal::new(400, "the body's length is told in two ways"));
    }
    match (codings.next(), codings.next()) {
        (Some(coding), None) if coding.eq_ignore_ascii_case("chunked") => Ok(Framing::Chunked),
        _ => Err(Refusal::new(501, "the only transfer coding is chunked")),
    }
}

fn number(text: &str) -> Result<u64, Refusal> {
    let digits = !text.is_empty() && text.bytes().all(|c| c.is_ascii_digit());
    digits
        .then(|| text.parse().ok())
        .flatten()
        .ok_or_else(|| Refusal::new(400, "Content-Length is not a number"))
}

fn values<'a>(headers: &'a [Header<'_>], name: &'a str) -> impl Iterator<Item = &'a [u8]> {
    headers
        .iter()
        .filter(move |header| header.name.eq_ignore_ascii_case(name))
        .map(|header| header.value.trim_ascii())
}

/// The header's value, if it comes at most once and is text.
fn only<'a>(headers: &'a [Header<'_>], name: &'static str) -> Result<Option<&'a str>, Refusal> {
    let mut values = values(headers, name);
    match (values.next(), values.next()) {
        (None, _) => Ok(None),
        (Some(value), None) => text(value, name).map(Some),
        (Some(_), Some(_)) => Err(Refusal::new(400, format!("{name} comes more than once"))),
    }
}

/// The parts of a header that is a list.
fn tokens<'a>(headers: &'a [Header<'_>], name: &'static str) -> Result<std::vec::IntoIter<&'a str>, Refusal> {
    let mut tokens = Vec::new();
    for value in values(headers, name) {
        tokens.extend(
            text(value, name)?
                .split(',')
                .map(str::trim)
                .filter(|token| !token.is_empty()),
        );
    }
    Ok(tokens.into_iter())
}

fn text<'a>(value: &'a [u8], name: &str) -> Result<&'a str, Refusal> {
    let ascii = value.is_ascii().then(|| std::str::from_utf8(value).ok()).flatten();
    ascii.ok_or_else(|| Refusal::new(400, format!("{name} is not ASCII")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(text: &str) -> Result<Head, u16> {
        match parse(text.as_bytes()) {
            Ok(Some((head, length))) => {
                assert_eq!(length, text.len());
                Ok(head)
            }
            Ok(None) => panic!("{text:?} is not complete"),
            Err(refusal) => Err(refusal.status),
        }
    }

    fn with(headers: &str) -> Result<Head, u16> {
        head(&format!("PUT /x HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n"))
    }

    #[test]
    fn a_head_says_where_its_body_ends() {
        assert_eq!(with("").unwrap().framing, Framing::Length(0));
        assert_eq!(with("Content-Length: 17\r\n").unwrap().framing, Framing::Length(17));
        assert_eq!(
            with("transfer-encoding: Chunked\r\n").unwrap().framing,
            Framing::Chunked
        );
    }

    #[test]
    fn fault_54_bodies_whose_end_is_in_doubt_are_refused() {
        let doubtful = [
            ("Content-Length: 5\r\nContent-Length: 6\r\n", 400),
            ("Content-Length: 5\r\nContent-Length: 5\r\n", 400),
            ("Content-Length: 5, 5\r\n", 400),
            ("Content-Length: +5\r\n", 400),
            ("Content-Length: -1\r\n", 400),
            ("Content-Length: 0x10\r\n", 400),
            ("Content-Length: 18446744073709551616\r\n", 400),
            ("Content-Length:\r\n", 400),
            ("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", 400),
            ("Transfer-Encoding: gzip, chunked\r\n", 501),
            ("Transfer-Encoding: chunked, chunked\r\n", 501),
            ("Transfer-Encoding: identity\r\n", 501),
            ("Transfer-Encoding: \u{b}chunked\r\n", 400),
            ("Transfer-Encoding : chunked\r\n", 400),
            ("A: b\r\n c: d\r\n", 400),
        ];
        for (headers, status) in doubtful {
            assert_eq!(with(headers), Err(status), "{headers:?}");
        }
        let old = "PUT /x HTTP/1.0\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n";
        assert_eq!(head(old), Err(400));
    }

    #[test]
    fn fault_54_what_is_no_request_of_http_1_is_refused() {
        let bad = [
            ("GET / HTTP/1.1\r\n\r\n", 400),
            ("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
            ("GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505),
            ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
            ("GET /a b HTTP/1.1\r\nHost: a\r\n\r\n", 505),
            ("GET / HTTP/1.1\r\nHost: \u{e4}\r\n\r\n", 400),
            ("PUT / HTTP/1.1\r\nHost: a\r\nExpect: the best\r\n\r\n", 417),
            ("\u{16}\u{3}\u{1}\u{2}", 400),
        ];
        for (text, status) in bad {
            assert_eq!(head(text), Err(status), "{text:?}");
        }
        let many = format!("GET / HTTP/1.1\r\n{}\r\n", "A: b\r\n".repeat(65));
        assert_eq!(head(&many), Err(431));
    }

    #[test]
    fn a_connection_stays_unless_the_client_or_its_age_says_otherwise() {
        assert!(with("").unwrap().keep_alive);
        assert!(with("Connection: keep-alive, x\r\n").unwrap().keep_alive);
        assert!(!with("Connection: x, Close\r\n").unwrap().keep_alive);
        assert!(!head("GET / HTTP/1.0\r\nHost: a\r\n\r\n").unwrap().keep_alive);
        assert!(with("Expect: 100-Continue\r\n").unwrap().expects_continue);
    }
}
