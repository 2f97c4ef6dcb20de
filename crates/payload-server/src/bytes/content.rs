//! `GET` and `HEAD`: a payload's content, or a part of it, under a lease for as long as the transfer takes.

use std::sync::Arc;

use payload_core::Principal;
use payload_engine::Engine;
use payload_proto::convert;

use super::answer::{Answer, Body, Refusal};
use super::conditions::{self, Verdict};
use super::head::{Head, Method};
use super::range::{Part, part};
use super::target::Target;

/// Decides what is sent. The lease is in the answer, and ends with it.
pub(super) fn get(engine: &Arc<Engine>, head: &Head, target: &Target) -> Result<Answer, Refusal> {
    let lease = convert::optional(head.field("payload-lease").unwrap_or_default())?;
    let content = engine.open_content(&Principal::loopback(), &target.namespace, target.id, lease)?;
    let (size, digest) = (content.row().size, content.row().digest);
    let tag = conditions::tag(target.id);
    let verdict = conditions::check(head, Some(&tag))?;
    let (part, status) = match (verdict, head.method) {
        (Verdict::NotModified, _) => (Part::Whole, 304),
        (Verdict::Proceed, Method::Get) if conditions::allows_range(head, &tag) => {
            let part = part(head.field("range"), size);
            (part, if part == Part::Whole { 200 } else { 206 })
        }
        (Verdict::Proceed, _) => (Part::Whole, 200),
    };
    let (first, length) = match part {
        Part::Whole => (0, size),
        Part::Bytes { first, length } => (first, length),
        Part::Nothing => {
            return Err(Refusal::new(416, "the content has no such bytes")
                .reason("RANGE_NOT_SATISFIABLE")
                .header("Content-Range", format!("bytes */{size}")));
        }
    };
    let body = match status {
        304 => Body::Nothing,
        _ => Body::Content { content, first, length },
    };
    let mut answer = Answer::new(status, body)
        .header("ETag", tag)
        // Nothing changes but whether it is there at all.
        .header("Cache-Control", "private, no-cache");
    if status != 304 {
        answer = answer.header("Accept-Ranges", "bytes");
    }
    if let Some(digest) = digest {
        answer = answer.header("Payload-Digest", digest);
    }
    if status == 206 {
        let last = first + length - 1;
        answer = answer.header("Content-Range", format!("bytes {first}-{last}/{size}"));
    }
    Ok(answer)
}
