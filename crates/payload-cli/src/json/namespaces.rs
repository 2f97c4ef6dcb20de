//! The documents of `namespace`.

use payload_client::v1;
use serde::Serialize;

/// `namespace ls`.
#[derive(Debug, Serialize)]
pub(crate) struct Namespaces {
    pub(crate) namespaces: Vec<Namespace>,
}

/// `namespace create` and `show`.
#[derive(Debug, Serialize)]
pub(crate) struct OneNamespace {
    pub(crate) namespace: Namespace,
}

#[derive(Debug, Serialize)]
pub(crate) struct Namespace {
    pub(crate) name: String,
    pub(crate) version: u64,
    pub(crate) quota: Quota,
    pub(crate) created_at_us: i64,
    pub(crate) created_by: String,
}

#[derive(Debug, Serialize)]
pub(crate) struct Quota {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) payloads: Option<u64>,
}

/// `quota`.
#[derive(Debug, Serialize)]
pub(crate) struct NamespaceQuota {
    pub(crate) namespace: Namespace,
    pub(crate) used: Used,
}

#[derive(Debug, Serialize)]
pub(crate) struct Used {
    pub(crate) bytes: u64,
    pub(crate) payloads: u64,
}

/// `namespace rm`.
#[derive(Debug, Serialize)]
pub(crate) struct RemovedNamespace {
    pub(crate) name: String,
}

impl NamespaceQuota {
    pub(crate) fn new(namespace: v1::Namespace, used: v1::NamespaceUse) -> Self {
        let v1::NamespaceUse { bytes, payloads } = used;
        Self {
            namespace: namespace.into(),
            used: Used { bytes, payloads },
        }
    }
}

impl From<v1::Namespace> for Namespace {
    fn from(namespace: v1::Namespace) -> Self {
        let v1::Quota { bytes, payloads } = namespace.quota.unwrap_or_default();
        Self {
            name: namespace.name,
            version: namespace.version,
            quota: Quota { bytes, payloads },
            created_at_us: namespace.created_at_us,
            created_by: namespace.created_by,
        }
    }
}
