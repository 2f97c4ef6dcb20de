//! Bad input of listings.

use payload_proto::v1;

use super::doors::{Bed, Door, Doors, refused};
use crate::support::refusal::Refusal;
use crate::support::samples::put;

type Send = fn(&Bed, &dyn Door) -> Refusal;

fn all() -> v1::ListPayloadsRequest {
    v1::ListPayloadsRequest::default()
}

/// Sends the token of one question with another.
fn token_of_another(bed: &Bed, another: v1::ListPayloadsRequest) -> Refusal {
    for content in [b"1", b"2"] {
        bed.grpc.put(put(content)).unwrap();
    }
    let first = v1::ListPayloadsRequest { page_size: 1, ..all() };
    let page_token = bed.grpc.list_payloads(first).unwrap().next_page_token;
    refused(
        bed.grpc
            .list_payloads(v1::ListPayloadsRequest { page_token, ..another }),
    )
}

pub(super) const CASES: &[(&str, Doors, Send)] = &[
    ("list: a page of 1,001", Doors::Grpc, |bed, _| {
        refused(bed.grpc.list_payloads(v1::ListPayloadsRequest {
            page_size: 1_001,
            ..all()
        }))
    }),
    ("list: a page token that is none", Doors::Grpc, |bed, _| {
        let page_token = "x' OR 1=1 --".to_owned();
        refused(bed.grpc.list_payloads(v1::ListPayloadsRequest { page_token, ..all() }))
    }),
    ("list: a page token of another query", Doors::Grpc, |bed, _| {
        let state = v1::State::Active.into();
        token_of_another(bed, v1::ListPayloadsRequest { state, ..all() })
    }),
    ("list: a page token of another order", Doors::Grpc, |bed, _| {
        let order = v1::ListOrder::NewestFirst.into();
        token_of_another(bed, v1::ListPayloadsRequest { order, ..all() })
    }),
    ("list: a page token of another label", Doors::Grpc, |bed, _| {
        let labels = [("a".to_owned(), String::new())].into();
        token_of_another(bed, v1::ListPayloadsRequest { labels, ..all() })
    }),
    ("list: state number 99", Doors::Grpc, |bed, _| {
        refused(bed.grpc.list_payloads(v1::ListPayloadsRequest { state: 99, ..all() }))
    }),
    ("list: tier number 99", Doors::Grpc, |bed, _| {
        refused(bed.grpc.list_payloads(v1::ListPayloadsRequest { tier: 99, ..all() }))
    }),
    ("list: order number 99", Doors::Grpc, |bed, _| {
        refused(bed.grpc.list_payloads(v1::ListPayloadsRequest { order: 99, ..all() }))
    }),
    ("list: tombstones in order of size", Doors::Grpc, |bed, _| {
        refused(bed.grpc.list_payloads(v1::ListPayloadsRequest {
            order: v1::ListOrder::LargestFirst.into(),
            state: v1::State::Deleted.into(),
            ..all()
        }))
    }),
    ("list: any state in order of size", Doors::Grpc, |bed, _| {
        refused(bed.grpc.list_payloads(v1::ListPayloadsRequest {
            order: v1::ListOrder::SmallestFirst.into(),
            ..all()
        }))
    }),
    ("list: at least 2 bytes and at most 1", Doors::Grpc, |bed, _| {
        refused(bed.grpc.list_payloads(v1::ListPayloadsRequest {
            size_min: Some(2),
            size_max: Some(1),
            ..all()
        }))
    }),
    (
        "list: created since and before the same moment",
        Doors::Grpc,
        |bed, _| {
            refused(bed.grpc.list_payloads(v1::ListPayloadsRequest {
                created_since_us: Some(7),
                created_until_us: Some(7),
                ..all()
            }))
        },
    ),
    (
        "list: committed between the last and the first moment there is",
        Doors::Grpc,
        |bed, _| {
            refused(bed.grpc.list_payloads(v1::ListPayloadsRequest {
                committed_since_us: Some(i64::MAX),
                committed_until_us: Some(i64::MIN),
                ..all()
            }))
        },
    ),
    ("list: a label key with a space", Doors::Grpc, |bed, _| {
        refused(bed.grpc.list_payloads(v1::ListPayloadsRequest {
            labels: [("a b".to_owned(), "c".to_owned())].into(),
            ..all()
        }))
    }),
    ("list: 9 labels", Doors::Grpc, |bed, _| {
        refused(bed.grpc.list_payloads(v1::ListPayloadsRequest {
            labels: (0..9).map(|number| (format!("k{number}"), String::new())).collect(),
            ..all()
        }))
    }),
];
