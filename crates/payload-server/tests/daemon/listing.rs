//! Listings over gRPC: pages, and everything that can be asked for.

use payload_proto::v1;

use crate::support::World;
use crate::support::samples::{allocate, delete, put};

fn all() -> v1::ListPayloadsRequest {
    v1::ListPayloadsRequest::default()
}

#[test]
fn listings_come_in_pages_that_join_up() {
    let world = World::start();
    let session = world.session();
    let mut created: Vec<String> = (0..25u8).map(|seed| session.put_id(&[seed])).collect();
    created.sort();
    let (allocation, _fd) = session.allocate(allocate(1)).unwrap();
    let grpc = world.grpc();
    let mut request = v1::ListPayloadsRequest {
        state: v1::State::Active.into(),
        page_size: 10,
        ..Default::default()
    };
    let (mut found, mut sizes) = (Vec::new(), Vec::new());
    loop {
        let page = grpc.list_payloads(request.clone()).unwrap();
        sizes.push(page.payloads.len());
        found.extend(page.payloads.into_iter().map(|payload| payload.payload_id));
        if page.next_page_token.is_empty() {
            break;
        }
        request.page_token = page.next_page_token;
    }
    assert_eq!(sizes, [10, 10, 5]);
    assert_eq!(found, created);
    let all = grpc.list_payloads(v1::ListPayloadsRequest::default()).unwrap().payloads;
    assert_eq!(all.len(), 26);
    assert!(all.iter().any(|payload| payload.payload_id == allocation.payload_id));
    world.namespace("other");
    let other = v1::ListPayloadsRequest {
        namespace: "other".to_owned(),
        ..Default::default()
    };
    assert!(grpc.list_payloads(other).unwrap().payloads.is_empty());
}

#[test]
fn a_listing_shows_what_is_asked_for() {
    let world = World::start();
    let grpc = world.grpc();
    let put = |content: &[u8], labels: &[(&str, &str)], tier: v1::Tier| {
        let labels = labels
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        let request = v1::PutRequest {
            labels: labels.collect(),
            tier: tier.into(),
            ..put(content)
        };
        grpc.put(request).unwrap().payload.unwrap()
    };
    let small = put(b"1", &[("kind", "frame"), ("take", "1")], v1::Tier::Ram);
    let large = put(&[7; 5_000], &[("kind", "frame")], v1::Tier::Disk);
    let plain = put(b"22", &[], v1::Tier::Ram);
    let gone = put(b"333", &[("kind", "frame")], v1::Tier::Ram);
    grpc.delete_payload(delete(&gone.payload_id)).unwrap();
    let shown = |request: v1::ListPayloadsRequest| -> Vec<String> {
        let page = grpc
            .list_payloads(v1::ListPayloadsRequest { count: true, ..request })
            .unwrap();
        assert_eq!((page.count, page.count_exact), (Some(page.payloads.len() as u64), true));
        page.payloads.into_iter().map(|payload| payload.payload_id).collect()
    };
    let labels = |pairs: &[(&str, &str)]| -> std::collections::HashMap<String, String> {
        let pairs = pairs
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        pairs.collect()
    };
    let active = v1::State::Active.into();
    let [small_id, large_id, plain_id, gone_id] =
        [&small, &large, &plain, &gone].map(|payload| payload.payload_id.clone());

    let mut of_kind = vec![small_id.clone(), large_id.clone(), gone_id];
    of_kind.sort();
    let frames = v1::ListPayloadsRequest {
        labels: labels(&[("kind", "frame")]),
        ..all()
    };
    assert_eq!(shown(frames.clone()), of_kind);
    of_kind.reverse();
    let order = v1::ListOrder::NewestFirst.into();
    assert_eq!(shown(v1::ListPayloadsRequest { order, ..frames }), of_kind);
    let both = labels(&[("kind", "frame"), ("take", "1")]);
    assert_eq!(shown(v1::ListPayloadsRequest { labels: both, ..all() }), [&*small_id]);
    let order = v1::ListOrder::LargestFirst.into();
    let by_size = v1::ListPayloadsRequest {
        state: active,
        order,
        ..all()
    };
    assert_eq!(shown(by_size.clone()), [&*large_id, &*plain_id, &*small_id]);
    let tier = v1::Tier::Disk.into();
    assert_eq!(
        shown(v1::ListPayloadsRequest {
            tier,
            ..by_size.clone()
        }),
        [&*large_id]
    );
    let middle = v1::ListPayloadsRequest {
        size_min: Some(2),
        size_max: Some(2),
        ..by_size
    };
    assert_eq!(shown(middle), [&*plain_id]);
    let moment = plain.created_at_us;
    let then = v1::ListPayloadsRequest {
        created_since_us: Some(moment),
        created_until_us: Some(moment + 1),
        state: active,
        ..all()
    };
    assert!(shown(then.clone()).contains(&plain_id));
    let until = v1::ListPayloadsRequest {
        created_since_us: None,
        created_until_us: Some(moment),
        ..then
    };
    assert!(!shown(until).contains(&plain_id));
    let committed = v1::ListPayloadsRequest {
        committed_since_us: Some(i64::MIN),
        committed_until_us: Some(large.committed_at_us.unwrap() + 1),
        ..all()
    };
    assert!(shown(committed).contains(&large_id));
}
