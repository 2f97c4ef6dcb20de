//! Listings on the wire: what is asked for, checked, and a page of it.

use payload_core::listing::{Between, Filter, Order};
use payload_core::{Error, Reason, Result, Timestamp};
use payload_engine::{ListRequest, Page};
use payload_proto::convert::{labels, namespace, state, tier};
use payload_proto::v1;

pub(super) fn request(request: v1::ListPayloadsRequest) -> Result<ListRequest> {
    Ok(ListRequest {
        namespace: namespace(&request.namespace)?,
        filter: Filter {
            state: state(request.state)?,
            tier: tier(request.tier)?,
            labels: labels(&request.labels)?,
            size: Between::new(request.size_min, request.size_max, "size_max")?,
            created: times(request.created_since_us, request.created_until_us, "created_until_us")?,
            committed: times(
                request.committed_since_us,
                request.committed_until_us,
                "committed_until_us",
            )?,
        },
        order: order(request.order)?,
        page_size: request.page_size,
        page_token: request.page_token,
        count: request.count,
    })
}

/// From one moment to just before another.
fn times(since: Option<i64>, until: Option<i64>, field: &'static str) -> Result<Between<Timestamp>> {
    let last = until.map(|until| until.saturating_sub(1));
    Between::new(
        since.map(Timestamp::from_micros),
        last.map(Timestamp::from_micros),
        field,
    )
}

fn order(value: i32) -> Result<Order> {
    match v1::ListOrder::try_from(value) {
        Ok(v1::ListOrder::Unspecified | v1::ListOrder::OldestFirst) => Ok(Order::OldestFirst),
        Ok(v1::ListOrder::NewestFirst) => Ok(Order::NewestFirst),
        Ok(v1::ListOrder::SmallestFirst) => Ok(Order::SmallestFirst),
        Ok(v1::ListOrder::LargestFirst) => Ok(Order::LargestFirst),
        Err(_) => {
            let message = format!("there is no order number {value}");
            Err(Error::invalid(Reason::BadRequest, message).field("order"))
        }
    }
}

pub(super) fn response(page: Page) -> v1::ListPayloadsResponse {
    v1::ListPayloadsResponse {
        payloads: page.rows.iter().map(v1::Payload::from).collect(),
        next_page_token: page.next_token.unwrap_or_default(),
        count: page.count.map(|count| count.payloads),
        count_exact: page.count.is_some_and(|count| count.exact),
    }
}
