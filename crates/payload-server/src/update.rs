//! An update from the wire: which fields it names, and that it gives values to those and to no others.

use std::sync::Arc;

use payload_core::{Error, Label, Reason, Result, Timestamp, Version, limits, name};
use payload_engine::{Expiry, LabelEdit, UpdateRequest};
use payload_proto::convert::{id, labels, namespace, request_id, span};
use payload_proto::v1;

/// More than a mask ever needs: every label that a payload can have, set or removed, and the expiry.
const MASK_MAX: usize = 2 * limits::LABELS_MAX + 1;

pub(crate) fn request(request: &v1::UpdatePayloadRequest) -> Result<UpdateRequest> {
    let mask = Mask::parse(&request.update_mask)?;
    Ok(UpdateRequest {
        namespace: namespace(&request.namespace)?,
        payload: id(&request.payload_id)?,
        request_id: request_id(&request.request_id)?,
        if_version: request.if_version.map(Version::from_u64),
        labels: mask.label_edit(request)?,
        expiry: mask.expiry(request)?,
        reason: name::reason(&request.reason)?,
    })
}

/// The fields that an update names.
#[derive(Default)]
struct Mask<'a> {
    all_labels: bool,
    keys: Vec<&'a str>,
    expiry: bool,
}

impl<'a> Mask<'a> {
    fn parse(words: &'a [String]) -> Result<Self> {
        if words.is_empty() || words.len() > MASK_MAX {
            return Err(bad(format!("update_mask names 1 to {MASK_MAX} fields"), "update_mask"));
        }
        let mut mask = Self::default();
        for word in words {
            match (word.as_str(), word.strip_prefix("labels.")) {
                ("labels", _) => mask.all_labels = true,
                ("expiry", _) => mask.expiry = true,
                (_, Some(key)) => mask.keys.push(key),
                _ => {
                    let message = "update_mask has labels, labels.KEY and expiry, and nothing else";
                    return Err(bad(message.to_owned(), "update_mask"));
                }
            }
        }
        if mask.all_labels && !mask.keys.is_empty() {
            let message = "update_mask names all labels, or some by their keys";
            return Err(bad(message.to_owned(), "update_mask"));
        }
        Ok(mask)
    }

    /// All labels are replaced; of those that are named, the ones that have a value are set and the others removed.
    fn label_edit(&self, request: &v1::UpdatePayloadRequest) -> Result<LabelEdit> {
        let given = labels(&request.labels)?;
        if self.all_labels {
            return Ok(LabelEdit::Replace(given));
        }
        if let Some(label) = given.iter().find(|label| !self.keys.contains(&&*label.key)) {
            let message = format!("label {} is given, but update_mask does not name it", label.key);
            return Err(bad(message, "labels"));
        }
        let mut remove: Vec<Arc<str>> = Vec::new();
        for key in self.keys.iter().filter(|key| !request.labels.contains_key(**key)) {
            remove.push(Label::new(key, "")?.key);
        }
        Ok(LabelEdit::Change { set: given, remove })
    }

    fn expiry(&self, request: &v1::UpdatePayloadRequest) -> Result<Option<Expiry>> {
        let expiry = match (request.expires_at_us, span(request.expires_in_ms)) {
            (Some(_), Some(_)) => {
                let message = "expires_at_us and expires_in_ms contradict each other";
                return Err(bad(message.to_owned(), "expires_in_ms"));
            }
            (Some(at), None) => Expiry::At(Timestamp::from_micros(at)),
            (None, Some(span)) => Expiry::In(span),
            (None, None) => Expiry::Never,
        };
        match (self.expiry, expiry) {
            (true, expiry) => Ok(Some(expiry)),
            (false, Expiry::Never) => Ok(None),
            (false, _) => Err(bad(
                "an expiry is given, but update_mask does not name it".to_owned(),
                "expiry",
            )),
        }
    }
}

fn bad(message: String, field: &'static str) -> Error {
    Error::invalid(Reason::BadRequest, message).field(field)
}
