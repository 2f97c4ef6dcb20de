//! Listings: which payloads are wanted, and in what order.

use payload_core::{Result, Tier};
use payload_proto::v1;
use payload_proto::v1::catalog_service_client::CatalogServiceClient;

use crate::catalog::Catalog;

/// Which payloads are wanted: those of which all that is asked for is true. The default is all, oldest first.
#[derive(Clone, Debug, Default)]
pub struct ListOptions {
    /// In this state; in any, if unspecified.
    pub state: v1::State,
    /// With a replica in this tier that can be read.
    pub tier: Option<Tier>,
    /// With all these labels, keys and values.
    pub labels: Vec<(String, String)>,
    /// Of at least so many bytes.
    pub size_min: Option<u64>,
    /// Of at most so many bytes.
    pub size_max: Option<u64>,
    /// Created at or after this moment, in microseconds since the Unix epoch.
    pub created_since_us: Option<i64>,
    /// Created before this moment.
    pub created_until_us: Option<i64>,
    /// Committed at or after this moment.
    pub committed_since_us: Option<i64>,
    /// Committed before this moment.
    pub committed_until_us: Option<i64>,
    /// Which comes first. By size only active payloads can be listed.
    pub order: v1::ListOrder,
    /// How many on a page; the server's choice, if zero.
    pub page_size: u32,
    /// Whether the answer says how many there are on all pages.
    pub count: bool,
}

impl Catalog {
    /// One page of payloads, from where `page_token` says. The page's own token leads to the next one; it is empty on the
    /// last, and only there: a page may be short, or empty, because the server has looked at enough for one call.
    pub async fn list(&self, options: &ListOptions, page_token: &str) -> Result<v1::ListPayloadsResponse> {
        let request = v1::ListPayloadsRequest {
            namespace: self.namespace.clone(),
            state: options.state.into(),
            page_size: options.page_size,
            page_token: page_token.to_owned(),
            tier: options.tier.map_or(v1::Tier::Unspecified, v1::Tier::from).into(),
            labels: options.labels.iter().cloned().collect(),
            size_min: options.size_min,
            size_max: options.size_max,
            created_since_us: options.created_since_us,
            created_until_us: options.created_until_us,
            committed_since_us: options.committed_since_us,
            committed_until_us: options.committed_until_us,
            order: options.order.into(),
            count: options.count,
        };
        let ask = |channel| {
            let request = request.clone();
            async move { CatalogServiceClient::new(channel).list_payloads(request).await }
        };
        self.grpc.call(ask).await
    }
}
