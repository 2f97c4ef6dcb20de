//! Bad input about watching events: places to begin that are none.

use payload_proto::v1;

use super::doors::{Bed, Door, Doors};
use crate::support::refusal::Refusal;

type Send = fn(&Bed, &dyn Door) -> Refusal;

fn refused(bed: &Bed, request: v1::WatchEventsRequest) -> Refusal {
    let answer = bed.grpc.watch_events(request);
    answer.err().expect("it is refused before it begins")
}

fn after(cursor: &str) -> v1::WatchEventsRequest {
    v1::WatchEventsRequest {
        cursor: cursor.to_owned(),
        ..Default::default()
    }
}

pub(super) const CASES: &[(&str, Doors, Send)] = &[
    ("watch: another namespace's id", Doors::Grpc, |bed, _| {
        let request = v1::WatchEventsRequest {
            namespace: "other".to_owned(),
            payload_id: bed.stranger.put_id(b"x"),
            ..Default::default()
        };
        refused(bed, request)
    }),
    ("watch: a namespace that is not there", Doors::Grpc, |bed, _| {
        let request = v1::WatchEventsRequest {
            namespace: "nobody".to_owned(),
            ..Default::default()
        };
        refused(bed, request)
    }),
    ("watch: a kind that is none", Doors::Grpc, |bed, _| {
        let request = v1::WatchEventsRequest {
            kinds: vec!["COMMITTED".to_owned()],
            ..Default::default()
        };
        refused(bed, request)
    }),
    ("watch: a cursor that is none", Doors::Grpc, |bed, _| {
        refused(bed, after("0.0.x"))
    }),
    ("watch: a cursor of another filter", Doors::Grpc, |bed, _| {
        let cursor = bed.grpc.list_events(v1::ListEventsRequest::default()).unwrap().cursor;
        let request = v1::WatchEventsRequest {
            kinds: vec!["committed".to_owned()],
            ..after(&cursor)
        };
        refused(bed, request)
    }),
    ("watch: a cursor, and another place to begin", Doors::Grpc, |bed, _| {
        let cursor = bed.grpc.list_events(v1::ListEventsRequest::default()).unwrap().cursor;
        let request = v1::WatchEventsRequest {
            from: v1::WatchFrom::Now.into(),
            ..after(&cursor)
        };
        refused(bed, request)
    }),
    ("watch: a place to begin that is none", Doors::Grpc, |bed, _| {
        let request = v1::WatchEventsRequest {
            from: 7,
            ..Default::default()
        };
        refused(bed, request)
    }),
];
