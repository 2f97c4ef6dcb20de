//! CatalogService over gRPC.

use payload_core::{PayloadRef, Revision};
use payload_proto::convert::{self, event, id, namespace, optional};
use payload_proto::v1;
use payload_proto::v1::catalog_service_server::CatalogService;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};

use super::events::{self, Asked};
use super::watch::{self, WatchTimes};
use super::{Messages, answer, lineage, listing, metadata, principal};
use crate::calls::{Calls, Rpc};
use crate::{update, wire};

pub(super) struct Service {
    calls: Calls,
    watch_times: WatchTimes,
    /// Ends the watches, which have no end of their own.
    stop: CancellationToken,
}

impl Service {
    pub(super) fn new(calls: Calls, watch_times: WatchTimes, stop: CancellationToken) -> Self {
        Self {
            calls,
            watch_times,
            stop,
        }
    }
}

#[tonic::async_trait]
impl CatalogService for Service {
    async fn get_payload(
        &self,
        request: Request<v1::GetPayloadRequest>,
    ) -> Result<Response<v1::GetPayloadResponse>, Status> {
        answer(&self.calls, Rpc::GetPayload, async {
            let request = request.get_ref();
            let (namespace, payload) = (namespace(&request.namespace)?, id::<PayloadRef>(&request.payload_id)?);
            let found = self.calls.run(move |engine| {
                let row = engine.get(&namespace, engine.resolve(&namespace, &payload)?)?;
                let names = engine.names_of(row.id)?;
                Ok((row, names))
            });
            let (row, names) = found.await?;
            Ok(v1::GetPayloadResponse {
                payload: Some((&*row).into()),
                names: names.iter().map(ToString::to_string).collect(),
            })
        })
        .await
    }

    async fn list_payloads(
        &self,
        request: Request<v1::ListPayloadsRequest>,
    ) -> Result<Response<v1::ListPayloadsResponse>, Status> {
        answer(&self.calls, Rpc::ListPayloads, async {
            let request = listing::request(request.into_inner())?;
            let page = self.calls.run(move |engine| engine.list(&request)).await?;
            Ok(listing::response(page))
        })
        .await
    }

    async fn delete_payload(
        &self,
        request: Request<v1::DeletePayloadRequest>,
    ) -> Result<Response<v1::DeletePayloadResponse>, Status> {
        let principal = principal(&request);
        answer(&self.calls, Rpc::DeletePayload, async {
            let (request, dry_run) = (wire::delete(request.get_ref())?, request.get_ref().dry_run);
            let deletion = self
                .calls
                .run(move |engine| match dry_run {
                    true => engine.try_delete(&request),
                    false => engine.delete(&principal, &request),
                })
                .await?;
            Ok(lineage::deletion(&deletion))
        })
        .await
    }

    async fn update_payload(
        &self,
        request: Request<v1::UpdatePayloadRequest>,
    ) -> Result<Response<v1::UpdatePayloadResponse>, Status> {
        let principal = principal(&request);
        answer(&self.calls, Rpc::UpdatePayload, async {
            let request = update::request(request.get_ref())?;
            let row = self
                .calls
                .run(move |engine| engine.update(&principal, &request))
                .await?;
            Ok(v1::UpdatePayloadResponse {
                payload: Some((&*row).into()),
            })
        })
        .await
    }

    async fn get_metadata(
        &self,
        request: Request<v1::GetMetadataRequest>,
    ) -> Result<Response<v1::GetMetadataResponse>, Status> {
        answer(&self.calls, Rpc::GetMetadata, async {
            let request = request.get_ref();
            let (namespace, payload) = (namespace(&request.namespace)?, id::<PayloadRef>(&request.payload_id)?);
            let revision = Revision::from_u64(request.revision);
            let found = self.calls.run(move |engine| {
                let payload = engine.resolve(&namespace, &payload)?;
                engine.metadata(&namespace, payload, revision)
            });
            let found = found.await?;
            Ok(convert::metadata::revision(found))
        })
        .await
    }

    async fn put_metadata(
        &self,
        request: Request<v1::PutMetadataRequest>,
    ) -> Result<Response<v1::PutMetadataResponse>, Status> {
        let principal = principal(&request);
        answer(&self.calls, Rpc::PutMetadata, async {
            let request = metadata::put(request.into_inner())?;
            let new = self
                .calls
                .run(move |engine| engine.put_metadata(&principal, &request))
                .await?;
            Ok(v1::PutMetadataResponse {
                payload_id: new.payload.to_string(),
                revision: new.revision.as_u64(),
                version: new.version.as_u64(),
            })
        })
        .await
    }

    async fn list_metadata_history(
        &self,
        request: Request<v1::ListMetadataHistoryRequest>,
    ) -> Result<Response<v1::ListMetadataHistoryResponse>, Status> {
        answer(&self.calls, Rpc::ListMetadataHistory, async {
            let request = request.into_inner();
            let (namespace, payload) = (namespace(&request.namespace)?, id::<PayloadRef>(&request.payload_id)?);
            let page = self.calls.run(move |engine| {
                let payload = engine.resolve(&namespace, &payload)?;
                engine.metadata_history(&namespace, payload, request.page_size, &request.page_token)
            });
            let page = page.await?;
            Ok(v1::ListMetadataHistoryResponse {
                revisions: page.revisions.iter().map(convert::metadata::info).collect(),
                next_page_token: page.next_token.unwrap_or_default(),
            })
        })
        .await
    }

    async fn append_event(
        &self,
        request: Request<v1::AppendEventRequest>,
    ) -> Result<Response<v1::AppendEventResponse>, Status> {
        let principal = principal(&request);
        answer(&self.calls, Rpc::AppendEvent, async {
            let request = metadata::append(request.into_inner())?;
            let appended = self
                .calls
                .run(move |engine| engine.append_event(&principal, &request))
                .await?;
            Ok(v1::AppendEventResponse {
                payload_id: appended.payload.to_string(),
                version: appended.version.as_u64(),
            })
        })
        .await
    }

    async fn list_events(
        &self,
        request: Request<v1::ListEventsRequest>,
    ) -> Result<Response<v1::ListEventsResponse>, Status> {
        answer(&self.calls, Rpc::ListEvents, async {
            let request = request.into_inner();
            let asked = Asked::parse(&request.namespace, &request.payload_id, &request.kinds)?;
            let page = self
                .calls
                .run(move |engine| engine.events(&asked.filter(engine)?, request.page_size, &request.cursor))
                .await?;
            Ok(v1::ListEventsResponse {
                events: page.events.iter().map(event::message).collect(),
                cursor: page.cursor,
                more: page.more,
            })
        })
        .await
    }

    type WatchEventsStream = Messages<v1::WatchEventsResponse>;

    async fn watch_events(
        &self,
        request: Request<v1::WatchEventsRequest>,
    ) -> Result<Response<Self::WatchEventsStream>, Status> {
        answer(&self.calls, Rpc::WatchEvents, async {
            let request = request.get_ref();
            let asked = Asked::parse(&request.namespace, &request.payload_id, &request.kinds)?;
            let from = events::from(request)?;
            watch::start(&self.calls, asked, from, self.watch_times, self.stop.clone()).await
        })
        .await
    }

    async fn add_lineage(
        &self,
        request: Request<v1::AddLineageRequest>,
    ) -> Result<Response<v1::AddLineageResponse>, Status> {
        let principal = principal(&request);
        answer(&self.calls, Rpc::AddLineage, async {
            let request = lineage::add(request.get_ref())?;
            self.calls
                .run(move |engine| engine.add_lineage(&principal, &request))
                .await?;
            Ok(v1::AddLineageResponse {})
        })
        .await
    }

    async fn set_name(&self, request: Request<v1::SetNameRequest>) -> Result<Response<v1::SetNameResponse>, Status> {
        let principal = principal(&request);
        answer(&self.calls, Rpc::SetName, async {
            let request = wire::set_name(request.get_ref())?;
            let named = self.calls.run(move |engine| engine.set_name(&principal, &request));
            Ok(v1::SetNameResponse {
                payload_id: named.await?.to_string(),
            })
        })
        .await
    }

    async fn get_lineage(
        &self,
        request: Request<v1::GetLineageRequest>,
    ) -> Result<Response<v1::GetLineageResponse>, Status> {
        answer(&self.calls, Rpc::GetLineage, async {
            let request = lineage::get(request.into_inner())?;
            let found = self.calls.run(move |engine| engine.lineage(&request)).await?;
            Ok(lineage::page(found))
        })
        .await
    }

    async fn remove_name(
        &self,
        request: Request<v1::RemoveNameRequest>,
    ) -> Result<Response<v1::RemoveNameResponse>, Status> {
        let principal = principal(&request);
        answer(&self.calls, Rpc::RemoveName, async {
            let request = request.get_ref();
            let (namespace, name) = (namespace(&request.namespace)?, id(&request.name)?);
            let from = optional(&request.if_payload_id)?;
            let reason = payload_core::name::reason(&request.reason)?;
            self.calls
                .run(move |engine| engine.remove_name(&principal, &namespace, name, from, &reason))
                .await?;
            Ok(v1::RemoveNameResponse {})
        })
        .await
    }

    async fn get_name(&self, request: Request<v1::GetNameRequest>) -> Result<Response<v1::GetNameResponse>, Status> {
        answer(&self.calls, Rpc::GetName, async {
            let request = request.get_ref();
            let (namespace, name) = (namespace(&request.namespace)?, id(&request.name)?);
            let record = self.calls.run(move |engine| engine.name(&namespace, &name)).await?;
            Ok(v1::GetNameResponse {
                name: Some((&record).into()),
            })
        })
        .await
    }

    async fn list_names(
        &self,
        request: Request<v1::ListNamesRequest>,
    ) -> Result<Response<v1::ListNamesResponse>, Status> {
        answer(&self.calls, Rpc::ListNames, async {
            let request = request.into_inner();
            let namespace = namespace(&request.namespace)?;
            let page = self
                .calls
                .run(move |engine| engine.names(&namespace, &request.prefix, request.page_size, &request.page_token))
                .await?;
            Ok(v1::ListNamesResponse {
                names: page.rows.iter().map(v1::Name::from).collect(),
                next_page_token: page.next_token.unwrap_or_default(),
            })
        })
        .await
    }

    async fn list_name_history(
        &self,
        request: Request<v1::ListNameHistoryRequest>,
    ) -> Result<Response<v1::ListNameHistoryResponse>, Status> {
        answer(&self.calls, Rpc::ListNameHistory, async {
            let request = request.into_inner();
            let (namespace, name) = (namespace(&request.namespace)?, id(&request.name)?);
            let page = self
                .calls
                .run(move |engine| engine.name_history(&namespace, &name, request.page_size, &request.page_token))
                .await?;
            Ok(v1::ListNameHistoryResponse {
                moves: page.moves.iter().map(v1::NameMove::from).collect(),
                next_page_token: page.next_token.unwrap_or_default(),
            })
        })
        .await
    }

    async fn get_impact(
        &self,
        request: Request<v1::GetImpactRequest>,
    ) -> Result<Response<v1::GetImpactResponse>, Status> {
        answer(&self.calls, Rpc::GetImpact, async {
            let request = request.get_ref();
            let (namespace, payload) = (namespace(&request.namespace)?, id(&request.payload_id)?);
            let limit = request.page_size;
            let impact = self
                .calls
                .run(move |engine| engine.impact(&namespace, payload, limit))
                .await?;
            Ok(lineage::impact(&impact))
        })
        .await
    }
}
