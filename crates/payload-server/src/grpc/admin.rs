//! AdminService over gRPC.

use std::sync::Arc;

use futures_util::stream::{self, Stream};
use payload_core::page;
use payload_core::{Namespace, PayloadId, Result, Version, name};
use payload_engine::{Engine, Fault, Stats, TierStats, Verified};
use payload_proto::convert::{self, millis, namespace, optional};
use payload_proto::v1::admin_service_server::AdminService;
use payload_proto::{status, v1};
use tonic::{Request, Response, Status};

use super::{Messages, answer, placement, principal, verify_bytes};
use crate::calls::{Calls, Rpc};
use crate::identity::Identity;
use crate::wire;

pub(super) struct Service {
    calls: Calls,
    identity: Arc<Identity>,
}

impl Service {
    pub(super) fn new(calls: Calls, identity: Arc<Identity>) -> Self {
        Self { calls, identity }
    }
}

#[tonic::async_trait]
impl AdminService for Service {
    async fn get_stats(
        &self,
        _request: Request<v1::GetStatsRequest>,
    ) -> Result<Response<v1::GetStatsResponse>, Status> {
        answer(&self.calls, Rpc::GetStats, async {
            let stats = self.calls.run(|engine| engine.stats()).await?;
            Ok(stats_message(&stats, &self.identity, self.calls.engine.epoch()))
        })
        .await
    }

    async fn list_leases(
        &self,
        request: Request<v1::ListLeasesRequest>,
    ) -> Result<Response<v1::ListLeasesResponse>, Status> {
        answer(&self.calls, Rpc::ListLeases, async {
            let request = request.into_inner();
            let payload = optional(&request.payload_id)?;
            let size = page::page_size(request.page_size)? as usize;
            let after = lease_token(&request.page_token)?;
            // All leases are looked at, which may take a while.
            let mut views = self
                .calls
                .run(move |engine| Ok(engine.list_leases(payload, after, size + 1)))
                .await?;
            let more = views.len() > size;
            views.truncate(size);
            let next_page_token = views
                .last()
                .filter(|_| more)
                .map(|view| view.serial.to_string())
                .unwrap_or_default();
            Ok(v1::ListLeasesResponse {
                leases: views.into_iter().map(wire::lease_info).collect(),
                next_page_token,
            })
        })
        .await
    }

    async fn revoke_lease(
        &self,
        request: Request<v1::RevokeLeaseRequest>,
    ) -> Result<Response<v1::RevokeLeaseResponse>, Status> {
        answer(&self.calls, Rpc::RevokeLease, async {
            let request = request.into_inner();
            let reason = name::reason(&request.reason)?;
            self.calls
                .run(move |engine| engine.revoke(request.lease_serial, &reason))
                .await?;
            Ok(v1::RevokeLeaseResponse {})
        })
        .await
    }

    async fn list_holders(
        &self,
        _request: Request<v1::ListHoldersRequest>,
    ) -> Result<Response<v1::ListHoldersResponse>, Status> {
        placement::holders(&self.calls).await
    }

    async fn explain(&self, request: Request<v1::ExplainRequest>) -> Result<Response<v1::ExplainResponse>, Status> {
        placement::explain(&self.calls, request).await
    }

    async fn list_tiers(
        &self,
        _request: Request<v1::ListTiersRequest>,
    ) -> Result<Response<v1::ListTiersResponse>, Status> {
        placement::tiers(&self.calls).await
    }

    async fn list_transfers(
        &self,
        _request: Request<v1::ListTransfersRequest>,
    ) -> Result<Response<v1::ListTransfersResponse>, Status> {
        placement::transfers(&self.calls).await
    }

    async fn cancel_transfer(
        &self,
        request: Request<v1::CancelTransferRequest>,
    ) -> Result<Response<v1::CancelTransferResponse>, Status> {
        placement::cancel(&self.calls, request).await
    }

    async fn create_namespace(
        &self,
        request: Request<v1::CreateNamespaceRequest>,
    ) -> Result<Response<v1::CreateNamespaceResponse>, Status> {
        let principal = principal(&request);
        answer(&self.calls, Rpc::CreateNamespace, async {
            let request = request.get_ref();
            let (name, quota) = (
                convert::id::<Namespace>(&request.name)?,
                convert::quota(request.quota.as_ref())?,
            );
            let record = self
                .calls
                .run(move |engine| engine.create_namespace(&principal, name, quota))
                .await?;
            Ok(v1::CreateNamespaceResponse {
                namespace: Some((&record).into()),
            })
        })
        .await
    }

    async fn get_namespace(
        &self,
        request: Request<v1::GetNamespaceRequest>,
    ) -> Result<Response<v1::GetNamespaceResponse>, Status> {
        answer(&self.calls, Rpc::GetNamespace, async {
            let name = convert::namespace(&request.get_ref().name)?;
            let both = move |engine: &Engine| Ok((engine.namespace(&name)?, engine.namespace_use(&name)?));
            let (record, used) = self.calls.run(both).await?;
            Ok(v1::GetNamespaceResponse {
                namespace: Some((&record).into()),
                used: Some(v1::NamespaceUse {
                    bytes: used.bytes,
                    payloads: used.payloads,
                }),
            })
        })
        .await
    }

    async fn list_namespaces(
        &self,
        request: Request<v1::ListNamespacesRequest>,
    ) -> Result<Response<v1::ListNamespacesResponse>, Status> {
        answer(&self.calls, Rpc::ListNamespaces, async {
            let request = request.into_inner();
            let page = self
                .calls
                .run(move |engine| engine.namespaces(request.page_size, &request.page_token))
                .await?;
            Ok(v1::ListNamespacesResponse {
                namespaces: page.rows.iter().map(v1::Namespace::from).collect(),
                next_page_token: page.next_token.unwrap_or_default(),
            })
        })
        .await
    }

    async fn update_namespace(
        &self,
        request: Request<v1::UpdateNamespaceRequest>,
    ) -> Result<Response<v1::UpdateNamespaceResponse>, Status> {
        answer(&self.calls, Rpc::UpdateNamespace, async {
            let request = request.get_ref();
            let (name, quota) = (
                convert::id::<Namespace>(&request.name)?,
                convert::quota(request.quota.as_ref())?,
            );
            let if_version = request.if_version.map(Version::from_u64);
            let record = self
                .calls
                .run(move |engine| engine.update_namespace(&name, quota, if_version))
                .await?;
            Ok(v1::UpdateNamespaceResponse {
                namespace: Some((&record).into()),
            })
        })
        .await
    }

    async fn delete_namespace(
        &self,
        request: Request<v1::DeleteNamespaceRequest>,
    ) -> Result<Response<v1::DeleteNamespaceResponse>, Status> {
        let principal = principal(&request);
        answer(&self.calls, Rpc::DeleteNamespace, async {
            let request = request.get_ref();
            let name = convert::id::<Namespace>(&request.name)?;
            let if_version = request.if_version.map(Version::from_u64);
            self.calls
                .run(move |engine| engine.remove_namespace(&principal, &name, if_version))
                .await?;
            Ok(v1::DeleteNamespaceResponse {})
        })
        .await
    }

    type VerifyBytesStream = Messages<v1::VerifyBytesResponse>;

    async fn verify_bytes(
        &self,
        request: Request<v1::VerifyBytesRequest>,
    ) -> Result<Response<Self::VerifyBytesStream>, Status> {
        verify_bytes::run(&self.calls, request).await
    }

    type VerifyEventsStream = Messages<v1::VerifyEventsResponse>;

    async fn verify_events(
        &self,
        request: Request<v1::VerifyEventsRequest>,
    ) -> Result<Response<Self::VerifyEventsStream>, Status> {
        answer(&self.calls, Rpc::VerifyEvents, async {
            let request = request.get_ref();
            let namespace = namespace(&request.namespace)?;
            let Some(payload) = optional(&request.payload_id)? else {
                return Ok(Box::pin(verified(self.calls.clone(), namespace)) as Self::VerifyEventsStream);
            };
            let one = self
                .calls
                .run(move |engine| engine.verify_events_of(&namespace, payload))
                .await?;
            Ok(Box::pin(stream::once(async { Ok(verified_message(one)) })) as Self::VerifyEventsStream)
        })
        .await
    }
}

/// Verifies a few payloads after the other, as fast as the caller reads what was found.
fn verified(calls: Calls, namespace: Namespace) -> impl Stream<Item = Result<v1::VerifyEventsResponse, Status>> {
    /// The next page begins after this payload, if there is one.
    enum Next {
        Page(Option<PayloadId>),
        End,
    }
    stream::unfold(Next::Page(None), move |next| {
        let (calls, namespace) = (calls.clone(), namespace.clone());
        async move {
            let Next::Page(after) = next else { return None };
            let page = calls.run(move |engine| engine.verify_events(&namespace, after)).await;
            Some(match page {
                Ok(page) => {
                    let next = page.last.map_or(Next::End, |last| Next::Page(Some(last)));
                    (Ok(verified_message(page)), next)
                }
                Err(error) => (Err(status::to_status(&error)), Next::End),
            })
        }
    })
}

fn verified_message(verified: Verified) -> v1::VerifyEventsResponse {
    let fault = |(payload, fault): (PayloadId, Fault)| v1::EventFault {
        payload_id: payload.to_string(),
        message: fault.to_string(),
    };
    v1::VerifyEventsResponse {
        payloads: verified.payloads,
        trimmed: verified.trimmed,
        faults: verified.faults.into_iter().map(fault).collect(),
    }
}

fn lease_token(token: &str) -> Result<u64> {
    match token {
        "" => Ok(0),
        text => text.parse().map_err(|_| page::bad_token()),
    }
}

fn stats_message(stats: &Stats, identity: &Identity, epoch: u64) -> v1::GetStatsResponse {
    v1::GetStatsResponse {
        node_id: identity.node.to_string(),
        epoch,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        uptime_ms: millis(stats.uptime),
        tiers: stats.tiers.iter().map(tier_message).collect(),
        sessions: stats.sessions as u64,
        leases: stats.leases as u64,
        allocations: stats.allocations as u64,
        payloads_known: stats.payloads_known as u64,
        keeper: Some(v1::KeeperStats {
            kind: identity.keeper_kind.to_owned(),
            connected: (identity.keeper_connected)(),
        }),
    }
}

pub(super) fn tier_message(tier: &TierStats) -> v1::TierStats {
    v1::TierStats {
        tier: v1::Tier::from(tier.tier).into(),
        capacity_bytes: tier.usage.capacity,
        used_bytes: tier.usage.used,
        slack_bytes: tier.slack(),
        containers: tier.usage.containers,
        replicas: tier.replicas,
        charged_bytes: tier.charged,
        staging_bytes: tier.usage.staging,
        pool_bytes: tier.usage.pool,
        zombie_bytes: tier.usage.zombie,
        huge_pages: tier.usage.huge_pages,
        unavailable: tier.usage.unavailable,
        failing: tier.usage.failing,
        ceiling_bytes: tier.ceiling,
        pinned_bytes: tier.pinned,
    }
}
