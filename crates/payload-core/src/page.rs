//! Pages of a listing: how long they are, and the opaque token that goes on from there.

use std::fmt;
use std::str::FromStr;

use crate::digest::Hasher;
use crate::error::{Error, Reason};
use crate::limits;

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

/// The token that lists on after `position`; it only fits the query that it was made for, in all its words.
pub fn token(position: impl fmt::Display, query: &[&str]) -> String {
    format!("{position}!{}", check(query))
}

/// Reads the position in a token; none if there is no token. One that is damaged or belongs to another query is refused.
pub fn position<T: FromStr>(token: &str, query: &[&str]) -> Result<Option<T>, Error> {
    if token.is_empty() {
        return Ok(None);
    }
    let (position, found) = token
        .rsplit_once('!')
        .filter(|_| token.len() <= limits::PAGE_TOKEN_LEN_MAX)
        .ok_or_else(bad_token)?;
    if found != check(query) {
        return Err(bad_token());
    }
    position.parse().map(Some).map_err(|_| bad_token())
}

/// Enough of a digest to notice that a token is used with another query than it was made for.
pub(crate) fn check(query: &[&str]) -> String {
    let mut hasher = Hasher::new();
    for word in query {
        hasher.update(&(word.len() as u64).to_le_bytes());
        hasher.update(word.as_bytes());
    }
    hasher.digest().as_bytes()[..6]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::PayloadId;

    #[test]
    fn tokens_fit_only_their_query() {
        let query = ["list", "default", ""];
        let last = PayloadId::from_parts(1, [1; 10]);
        let token = token(last, &query);
        assert_eq!(position::<PayloadId>(&token, &query).unwrap(), Some(last));
        assert_eq!(position::<PayloadId>("", &query).unwrap(), None);
        for query in [
            ["list", "default", "x"],
            ["list", "defaul", "t"],
            ["listd", "efault", ""],
        ] {
            let refused = position::<PayloadId>(&token, &query).unwrap_err();
            assert_eq!(refused.reason(), Reason::BadPageToken);
        }
        let long = "a".repeat(1_000);
        for damaged in ["!", "x!y", &token[1..], &token[..token.len() - 1], &long] {
            let refused = position::<PayloadId>(damaged, &query).unwrap_err();
            assert_eq!(refused.reason(), Reason::BadPageToken, "{damaged}");
        }
    }
}
