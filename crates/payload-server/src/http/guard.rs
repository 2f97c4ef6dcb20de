//! Keeps web pages out: a browser on this host would carry their requests to a loopback port.
//!
//! With DNS rebinding, a page's own host name comes to mean 127.0.0.1; the `Host` header still tells. A page that asks
//! across origins is told by `Origin`. Both must name this host, and no answer ever carries a CORS header.

use std::net::{IpAddr, SocketAddr};

use axum::extract::{Request, State};
use axum::http::header::{HOST, ORIGIN};
use axum::http::{HeaderMap, HeaderName, StatusCode, Uri};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

const BAD_HOST: &str = "the Host header does not name this host\n";
const BAD_ORIGIN: &str = "the Origin header does not name this host\n";

/// Lets a request through that was addressed to `bound` by a name of this host.
pub(super) async fn check(State(bound): State<SocketAddr>, request: Request, next: Next) -> Response {
    match refuse(bound.ip(), &request) {
        Some(refusal) => refusal.into_response(),
        None => next.run(request).await,
    }
}

fn refuse(bound: IpAddr, request: &Request) -> Option<(StatusCode, &'static str)> {
    let headers = request.headers();
    let authority = request.uri().authority().map(axum::http::uri::Authority::as_str);
    let refused = match (only(headers, &HOST), only(headers, &ORIGIN)) {
        (Ok(Some(host)), Ok(origin)) => refusal(bound, host, authority, origin),
        (Ok(Some(_)), Err(())) => Some(BAD_ORIGIN),
        _ => Some(BAD_HOST),
    };
    refused.map(|message| (StatusCode::FORBIDDEN, message))
}

/// What is wrong with a request that was addressed to `host`, and to `authority` if its target named one.
pub(crate) fn refusal(
    bound: IpAddr,
    host: &str,
    authority: Option<&str>,
    origin: Option<&str>,
) -> Option<&'static str> {
    if !is_this_host(host, bound) || !authority.is_none_or(|name| is_this_host(name, bound)) {
        return Some(BAD_HOST);
    }
    let ours = |origin: &str| origin_host(origin).is_some_and(|host| is_this_host(host, bound));
    (!origin.is_none_or(ours)).then_some(BAD_ORIGIN)
}

/// The header's value, if it comes at most once and is text.
fn only<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Result<Option<&'h str>, ()> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (None, _) => Ok(None),
        (Some(value), None) => value.to_str().map(Some).map_err(|_| ()),
        (Some(_), Some(_)) => Err(()),
    }
}

fn origin_host(origin: &str) -> Option<&str> {
    origin
        .strip_prefix("http://")
        .or_else(|| origin.strip_prefix("https://"))
}

/// Whether `host`, with a port or without, is `localhost`, a loopback address, or the address that is listened on.
fn is_this_host(host: &str, bound: IpAddr) -> bool {
    let Ok(uri) = host.parse::<Uri>() else { return false };
    let (Some(authority), None) = (uri.authority(), uri.path_and_query()) else {
        return false;
    };
    if authority.as_str().contains('@') {
        return false;
    }
    let name = authority.host();
    if name.eq_ignore_ascii_case("localhost") {
        return true;
    }
    let address = name
        .strip_prefix('[')
        .and_then(|name| name.strip_suffix(']'))
        .unwrap_or(name);
    address
        .parse::<IpAddr>()
        .is_ok_and(|ip| ip.is_loopback() || ip == bound)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fault_55_only_names_of_this_host_pass() {
        let bound: IpAddr = "192.0.2.7".parse().unwrap();
        for host in [
            "localhost",
            "LOCALHOST:80",
            "127.0.0.1",
            "127.0.0.1:7601",
            "127.9.9.9",
            "[::1]:7601",
            "192.0.2.7:1",
        ] {
            assert!(is_this_host(host, bound), "{host}");
        }
        let strangers = [
            "",
            "evil.example",
            "evil.example:7601",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "localhost:7601@evil.example",
            "user@localhost",
            "localhost/path",
            "http://localhost",
            "192.0.2.8",
            "0.0.0.0",
            "[::]",
            "null",
            "localhost ",
        ];
        for host in strangers {
            assert!(!is_this_host(host, bound), "{host:?}");
        }
    }

    #[test]
    fn fault_55_origins_are_web_pages_of_this_host() {
        assert_eq!(origin_host("http://localhost:3000"), Some("localhost:3000"));
        assert_eq!(origin_host("https://evil.example"), Some("evil.example"));
        assert_eq!(origin_host("null"), None);
        assert_eq!(origin_host("file://localhost"), None);
    }
}
