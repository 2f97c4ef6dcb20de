//! StreamService over gRPC.

use payload_core::Result;
use payload_core::stream::Start;
use payload_proto::convert::namespace;
use payload_proto::convert::streams::{start, stream_ref};
use payload_proto::v1;
use payload_proto::v1::stream_service_server::StreamService;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use super::subscribe::{self, Outgoing};
use super::{answer, principal};
use crate::calls::{Calls, Rpc};
use crate::subscribe::Desk;
use crate::wire::streams as wire;

pub(super) struct Service {
    calls: Calls,
    desk: Desk,
}

impl Service {
    pub(super) fn new(desk: Desk) -> Self {
        Self {
            calls: desk.calls.clone(),
            desk,
        }
    }
}

#[tonic::async_trait]
impl StreamService for Service {
    type SubscribeStream = ReceiverStream<Outgoing>;

    async fn subscribe(
        &self,
        request: Request<Streaming<v1::SubscribeRequest>>,
    ) -> Result<Response<Self::SubscribeStream>, Status> {
        answer(&self.calls, Rpc::Subscribe, async {
            let outgoing = subscribe::open(&self.desk, request.into_inner()).await?;
            Ok(ReceiverStream::new(outgoing))
        })
        .await
    }

    async fn create_stream(
        &self,
        request: Request<v1::CreateStreamRequest>,
    ) -> Result<Response<v1::CreateStreamResponse>, Status> {
        answer(&self.calls, Rpc::CreateStream, async {
            let request = request.get_ref();
            let (namespace, name) = (namespace(&request.namespace)?, request.stream.parse()?);
            let settings = wire::settings(request)?;
            let row = self
                .calls
                .run(move |engine| engine.create_stream(&namespace, &name, settings))
                .await?;
            Ok(v1::CreateStreamResponse {
                stream: Some((&row).into()),
            })
        })
        .await
    }

    async fn get_stream(
        &self,
        request: Request<v1::GetStreamRequest>,
    ) -> Result<Response<v1::GetStreamResponse>, Status> {
        answer(&self.calls, Rpc::GetStream, async {
            let stream = stream_ref(request.get_ref().stream.as_ref())?;
            let row = self.calls.run(move |engine| engine.stream(&stream)).await?;
            Ok(v1::GetStreamResponse {
                stream: Some((&row).into()),
            })
        })
        .await
    }

    async fn list_streams(
        &self,
        request: Request<v1::ListStreamsRequest>,
    ) -> Result<Response<v1::ListStreamsResponse>, Status> {
        answer(&self.calls, Rpc::ListStreams, async {
            let request = request.into_inner();
            let namespace = namespace(&request.namespace)?;
            let page = self
                .calls
                .run(move |engine| engine.list_streams(&namespace, request.page_size, &request.page_token))
                .await?;
            Ok(v1::ListStreamsResponse {
                streams: page.rows.iter().map(v1::Stream::from).collect(),
                next_page_token: page.next_token.unwrap_or_default(),
            })
        })
        .await
    }

    async fn update_stream(
        &self,
        request: Request<v1::UpdateStreamRequest>,
    ) -> Result<Response<v1::UpdateStreamResponse>, Status> {
        answer(&self.calls, Rpc::UpdateStream, async {
            let request = request.get_ref();
            let stream = stream_ref(request.stream.as_ref())?;
            let edit = wire::edit(request)?;
            let row = self
                .calls
                .run(move |engine| engine.update_stream(&stream, &edit))
                .await?;
            Ok(v1::UpdateStreamResponse {
                stream: Some((&row).into()),
            })
        })
        .await
    }

    async fn delete_stream(
        &self,
        request: Request<v1::DeleteStreamRequest>,
    ) -> Result<Response<v1::DeleteStreamResponse>, Status> {
        answer(&self.calls, Rpc::DeleteStream, async {
            let stream = stream_ref(request.get_ref().stream.as_ref())?;
            self.calls.run(move |engine| engine.delete_stream(&stream)).await?;
            Ok(v1::DeleteStreamResponse {})
        })
        .await
    }

    async fn append(&self, request: Request<v1::AppendRequest>) -> Result<Response<v1::AppendResponse>, Status> {
        let principal = principal(&request);
        answer(&self.calls, Rpc::Append, async {
            let request = wire::append(request.get_ref())?;
            let placed = self
                .calls
                .run(move |engine| engine.append(&principal, &request))
                .await?;
            Ok(wire::placed(&placed))
        })
        .await
    }

    async fn read_stream(
        &self,
        request: Request<v1::ReadStreamRequest>,
    ) -> Result<Response<v1::ReadStreamResponse>, Status> {
        answer(&self.calls, Rpc::ReadStream, async {
            let request = wire::read(request.get_ref())?;
            let page = self.calls.run(move |engine| engine.read_stream(&request)).await?;
            Ok(wire::page(&page))
        })
        .await
    }

    async fn commit_offset(
        &self,
        request: Request<v1::CommitOffsetRequest>,
    ) -> Result<Response<v1::CommitOffsetResponse>, Status> {
        answer(&self.calls, Rpc::CommitOffset, async {
            let request = wire::progress(request.get_ref())?;
            let view = self.calls.run(move |engine| engine.commit_offset(&request)).await?;
            Ok(v1::CommitOffsetResponse {
                group: Some(wire::group(&view)),
            })
        })
        .await
    }

    async fn reset_offset(
        &self,
        request: Request<v1::ResetOffsetRequest>,
    ) -> Result<Response<v1::ResetOffsetResponse>, Status> {
        answer(&self.calls, Rpc::ResetOffset, async {
            let request = request.get_ref();
            let stream = stream_ref(request.stream.as_ref())?;
            let group = request.group.parse()?;
            let to = start(request.to.as_ref(), Start::Earliest)?;
            let view = self
                .calls
                .run(move |engine| engine.reset_offset(&stream, &group, to))
                .await?;
            Ok(v1::ResetOffsetResponse {
                group: Some(wire::group(&view)),
            })
        })
        .await
    }

    async fn get_group(&self, request: Request<v1::GetGroupRequest>) -> Result<Response<v1::GetGroupResponse>, Status> {
        answer(&self.calls, Rpc::GetGroup, async {
            let request = request.get_ref();
            let (stream, group) = (stream_ref(request.stream.as_ref())?, request.group.parse()?);
            let view = self.calls.run(move |engine| engine.group(&stream, &group)).await?;
            Ok(v1::GetGroupResponse {
                group: Some(wire::group(&view)),
            })
        })
        .await
    }

    async fn list_groups(
        &self,
        request: Request<v1::ListGroupsRequest>,
    ) -> Result<Response<v1::ListGroupsResponse>, Status> {
        answer(&self.calls, Rpc::ListGroups, async {
            let stream = stream_ref(request.get_ref().stream.as_ref())?;
            let views = self.calls.run(move |engine| engine.groups(&stream)).await?;
            Ok(v1::ListGroupsResponse {
                groups: views.iter().map(wire::group).collect(),
            })
        })
        .await
    }
}
