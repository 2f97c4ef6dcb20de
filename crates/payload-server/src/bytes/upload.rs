//! `PUT`: fill an allocation with what comes. Committing is another call, over gRPC.

use payload_core::digest::Hasher;
use payload_core::{AllocationToken, Digest, Error, Reason};
use payload_engine::{Engine, Upload};
use payload_proto::convert;

use super::answer::{self, Answer, Failure, Refusal};
use super::body::Body;
use super::conditions;
use super::head::Head;
use super::metrics::Metrics;
use super::target::Target;

/// What is read at once: small enough to be hashed and written while it is in the cache.
const PIECE: usize = 256 << 10;

/// Takes the body. An upload that is refused or breaks off leaves the allocation open for another one.
pub(super) fn put(
    engine: &Engine,
    metrics: &Metrics,
    head: &Head,
    target: &Target,
    body: &mut Body<'_>,
) -> Result<Answer, Failure> {
    let (token, digest) = check(head)?;
    let upload = engine.open_upload(&target.namespace, target.id, token)?;
    if body.length().is_some_and(|length| length > upload.size()) {
        return Err(too_much(&upload).into());
    }
    receive(metrics, body, &upload, digest)?;
    upload.check()?;
    let answer = Answer::new(204, answer::Body::Nothing);
    Ok(match digest {
        Some(digest) => answer.header("Payload-Digest", digest),
        None => answer,
    })
}

/// What must be right before a byte is read.
fn check(head: &Head) -> Result<(AllocationToken, Option<Digest>), Refusal> {
    let token = head.field("payload-allocation").unwrap_or_default();
    let token = convert::id(token).map_err(|error: Error| error.field("Payload-Allocation"))?;
    let digest = convert::optional(head.field("payload-digest").unwrap_or_default())?;
    if head.field("content-range").is_some() {
        return Err(Refusal::new(400, "an upload is always of the whole content"));
    }
    if let Some(coding) = head.field("content-encoding")
        && !coding.eq_ignore_ascii_case("identity")
    {
        return Err(Refusal::new(
            415,
            "content is stored as it comes; encoded content is not decoded",
        ));
    }
    // There is no content before the commit, and no uploading after it.
    conditions::check(head, None)?;
    Ok((token, digest))
}

fn receive(metrics: &Metrics, body: &mut Body<'_>, upload: &Upload, named: Option<Digest>) -> Result<(), Failure> {
    let mut piece = vec![0; PIECE];
    let mut hasher = named.map(|_| Hasher::new());
    let mut at = 0;
    loop {
        let mut filled = 0;
        while filled < piece.len() {
            match body.read(&mut piece[filled..])? {
                0 => break,
                read => filled += read,
            }
        }
        metrics.received(filled as u64);
        upload.check()?;
        upload.write(&piece[..filled], at)?;
        if let Some(hasher) = &mut hasher {
            hasher.update(&piece[..filled]);
        }
        at += filled as u64;
        if body.is_over() {
            break;
        }
    }
    match (named, hasher.map(|hasher| hasher.digest())) {
        (Some(named), Some(found)) if named != found => Err(Error::new(
            Reason::DigestMismatch,
            format!("the bytes have digest {found}, not {named} as the request says"),
        )
        .into()),
        _ => Ok(()),
    }
}

fn too_much(upload: &Upload) -> Error {
    let message = format!("only {} bytes were allocated", upload.size());
    Error::invalid(Reason::BadSize, message)
}
