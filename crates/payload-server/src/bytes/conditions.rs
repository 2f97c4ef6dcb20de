//! Conditional requests (RFC 9110, section 13). Content never changes, so a payload's id is its entity tag.

use payload_core::PayloadId;

use super::answer::Refusal;
use super::head::Head;

/// A payload's strong entity tag, with its quotes.
pub(super) fn tag(id: PayloadId) -> String {
    format!("\"{id}\"")
}

/// What the conditions of a request allow.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Go on.
    Proceed,
    /// The client has it already.
    NotModified,
}

/// Looks at `If-Match` and `If-None-Match` in the order that the RFC demands. `current` is absent where there is no
/// content yet.
pub(super) fn check(head: &Head, current: Option<&str>) -> Result<Verdict, Refusal> {
    let failed = || Refusal::new(412, "the content does not have that entity tag").reason("PRECONDITION_FAILED");
    if let Some(list) = head.field("if-match")
        && !current.is_some_and(|tag| names(list, tag, false))
    {
        return Err(failed());
    }
    match (head.field("if-none-match"), current) {
        (Some(list), Some(tag)) if names(list, tag, true) => Ok(Verdict::NotModified),
        _ => Ok(Verdict::Proceed),
    }
}

/// Whether a part may be sent: without `If-Range`, or with one that names exactly this content. Dates name nothing here.
pub(super) fn allows_range(head: &Head, tag: &str) -> bool {
    head.field("if-range").is_none_or(|named| named == tag)
}

/// Whether a list of entity tags has this one. Ours have no commas in them, so those of others may fall apart.
fn names(list: &str, tag: &str, weakly: bool) -> bool {
    list == "*"
        || list
            .split(',')
            .map(str::trim)
            .any(|named| match named.strip_prefix("W/") {
                Some(weak) => weakly && weak == tag,
                None => named == tag,
            })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_tags_are_compared_as_the_rfc_says() {
        let tag = "\"a\"";
        let cases = [
            ("*", true, true),
            ("\"a\"", true, true),
            ("\"b\", \"a\"", true, true),
            ("W/\"a\"", false, true),
            ("\"b\"", false, false),
            ("a", false, false),
            ("", false, false),
        ];
        for (list, strongly, weakly) in cases {
            assert_eq!(names(list, tag, false), strongly, "{list}");
            assert_eq!(names(list, tag, true), weakly, "{list}");
        }
    }
}
