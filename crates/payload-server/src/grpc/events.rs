//! What is asked of a log, from the wire.

use payload_core::{Error, EventKind, LogFilter, Namespace, PayloadRef, Reason, Result};
use payload_engine::{Engine, WatchFrom};
use payload_proto::convert::{event, namespace, optional};
use payload_proto::v1;

/// Which events somebody wants to see; a name stands for what it points at when the call comes.
pub(super) struct Asked {
    namespace: Namespace,
    payload: Option<PayloadRef>,
    kinds: Vec<EventKind>,
}

impl Asked {
    pub(super) fn parse(of: &str, payload: &str, kinds: &[String]) -> Result<Self> {
        Ok(Self {
            namespace: namespace(of)?,
            payload: optional(payload)?,
            kinds: event::kinds(kinds)?,
        })
    }

    pub(super) fn filter(self, engine: &Engine) -> Result<LogFilter> {
        let payload = self.payload.map(|payload| engine.resolve(&self.namespace, &payload));
        Ok(LogFilter {
            payload: payload.transpose()?,
            namespace: self.namespace,
            kinds: self.kinds,
        })
    }
}

/// Where a watch is to begin.
pub(super) fn from(request: &v1::WatchEventsRequest) -> Result<WatchFrom> {
    let bad = |message| Err(Error::invalid(Reason::BadRequest, message).field("from"));
    match (v1::WatchFrom::try_from(request.from), &*request.cursor) {
        (Ok(v1::WatchFrom::Unspecified | v1::WatchFrom::Beginning), "") => Ok(WatchFrom::Beginning),
        (Ok(v1::WatchFrom::Now), "") => Ok(WatchFrom::Now),
        (Ok(v1::WatchFrom::Unspecified), cursor) => Ok(WatchFrom::Cursor(cursor.to_owned())),
        (Ok(_), _) => bad("a watch begins after its cursor or somewhere else, not both".to_owned()),
        (Err(_), _) => bad(format!("there is no place number {} to watch from", request.from)),
    }
}
