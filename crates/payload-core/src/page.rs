//! Pages of a listing: what is asked for, and the opaque token that goes on from there.

use crate::digest::Digest;
use crate::error::{Error, Reason};
use crate::id::PayloadId;
use crate::lifecycle::StateKind;
use crate::limits;
use crate::name::Namespace;

/// Which payloads to list, in order of creation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListQuery {
    /// Of which tenant.
    pub namespace: Namespace,
    /// In which state, or in any.
    pub state: Option<StateKind>,
    /// Only those that come after this one.
    pub after: Option<PayloadId>,
    /// At most so many.
    pub limit: u32,
}

/// Checks a page size from the wire, where zero means "you choose".
pub fn page_size(asked: u32) -> Result<u32, Error> {
    match asked {
        0 => Ok(limits::PAGE_SIZE_DEFAULT),
        1..=limits::PAGE_SIZE_MAX => Ok(asked),
        _ => Err(Error::invalid(
            Reason::BadSize,
            format!("page size must be at most {}", limits::PAGE_SIZE_MAX),
        )
        .field("page_size")),
    }
}

/// Cuts off what was only asked for to see whether there is more.
pub fn page_of<T>(mut rows: Vec<T>, limit: u32) -> (Vec<T>, bool) {
    let more = rows.len() > limit as usize;
    rows.truncate(limit as usize);
    (rows, more)
}

/// The refusal of a token that is damaged or was made for another query.
pub fn bad_token() -> Error {
    Error::invalid(Reason::BadPageToken, "page token does not belong to this query").field("page_token")
}

/// The token that lists on after `last`; it only fits a query with the same filters.
pub fn encode_token(query: &ListQuery, last: PayloadId) -> String {
    let check = filters(query);
    format!("{last}.{check}")
}

/// Reads a token back; refuses one that is damaged or belongs to another query.
pub fn decode_token(query: &ListQuery, token: &str) -> Result<PayloadId, Error> {
    let (id, check) = token
        .split_once('.')
        .filter(|_| token.len() <= limits::PAGE_TOKEN_LEN_MAX)
        .ok_or_else(bad_token)?;
    if check != filters(query) {
        return Err(bad_token());
    }
    id.parse().map_err(|_| bad_token())
}

fn filters(query: &ListQuery) -> String {
    let state = query.state.map_or("", StateKind::as_str);
    let digest = Digest::of(format!("1\0{}\0{state}", query.namespace).as_bytes());
    digest.as_bytes()[..6]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_fit_only_their_query() {
        let query = ListQuery {
            namespace: Namespace::default(),
            state: None,
            after: None,
            limit: 10,
        };
        let last = PayloadId::from_parts(1, [1; 10]);
        let token = encode_token(&query, last);
        assert_eq!(decode_token(&query, &token).unwrap(), last);
        let other = ListQuery {
            state: Some(StateKind::Active),
            ..query.clone()
        };
        for (query, token) in [
            (&other, token.as_str()),
            (&query, ""),
            (&query, "."),
            (&query, "x.y"),
            (&query, &token[1..]),
            (&query, &"a".repeat(300)),
        ] {
            assert_eq!(decode_token(query, token).unwrap_err().reason(), Reason::BadPageToken);
        }
    }
}
