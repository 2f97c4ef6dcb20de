//! The one kind of resource there is: a payload's content.

use std::fmt::Display;
use std::net::SocketAddr;

use axum::http::Uri;
use payload_core::{Error, Namespace, PayloadId, Reason};
use payload_proto::convert;

use super::answer::Refusal;

/// Which payload a request is about.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) namespace: Namespace,
    pub(super) id: PayloadId,
}

/// Where a payload's content is read and written.
pub(crate) fn url(endpoint: SocketAddr, namespace: &Namespace, id: impl Display) -> String {
    let query = match *namespace == Namespace::default() {
        true => String::new(),
        false => format!("?namespace={namespace}"),
    };
    format!("http://{endpoint}/v1/payloads/{id}/content{query}")
}

/// `/v1/payloads/{id}/content`, with `?namespace=` if it is not the default one.
pub(super) fn parse(uri: &Uri) -> Result<Target, Refusal> {
    let id = uri
        .path()
        .strip_prefix("/v1/payloads/")
        .and_then(|rest| rest.strip_suffix("/content"))
        .filter(|id| !id.contains('/'))
        .ok_or_else(|| Refusal::new(404, "there is only /v1/payloads/{id}/content").reason("NOT_FOUND"))?;
    let namespace = match uri.query().map(|query| query.strip_prefix("namespace=")) {
        None => "",
        Some(Some(namespace)) => namespace,
        Some(None) => return Err(Error::invalid(Reason::BadRequest, "the only parameter is namespace").into()),
    };
    Ok(Target {
        id: convert::id(id)?,
        namespace: convert::namespace(namespace)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "0190a5c4-7d2f-7cc1-8b5e-2f1d3c4b5a69";

    fn status(target: &str) -> Result<Target, u16> {
        parse(&target.parse().unwrap()).map_err(|refusal| refusal.status)
    }

    #[test]
    fn what_is_told_is_understood() {
        let namespace: Namespace = "lab".parse().unwrap();
        let endpoint = "127.0.0.1:7602".parse().unwrap();
        for namespace in [namespace, Namespace::default()] {
            let id: PayloadId = ID.parse().unwrap();
            let told = url(endpoint, &namespace, id);
            assert_eq!(status(&told), Ok(Target { namespace, id }));
        }
    }

    #[test]
    fn fault_49_other_targets_are_refused() {
        let targets = [
            ("/".to_owned(), 404),
            ("*".to_owned(), 404),
            (format!("/v1/payloads/{ID}"), 404),
            (format!("/v1/payloads/{ID}/content/"), 404),
            (format!("/v1/payloads/../{ID}/content"), 404),
            (format!("//v1/payloads/{ID}/content"), 404),
            ("/v1/payloads//content".to_owned(), 400),
            ("/v1/payloads/..%2f..%2fetc/content".to_owned(), 400),
            (format!("/v1/payloads/{ID}%00/content"), 400),
            (format!("/v1/payloads/{ID}/content?namespace=../x"), 400),
            (format!("/v1/payloads/{ID}/content?namespace=a&b=c"), 400),
            (format!("/v1/payloads/{ID}/content?tenant=a"), 400),
        ];
        for (target, expected) in targets {
            assert_eq!(status(&target), Err(expected), "{target}");
        }
    }
}
