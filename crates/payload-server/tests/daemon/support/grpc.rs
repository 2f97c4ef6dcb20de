//! A client of the gRPC door, over TCP or over the unix socket; blocks, as the local one does.

use std::path::Path;

use hyper_util::rt::TokioIo;
use payload_proto::v1;
use payload_proto::v1::admin_service_client::AdminServiceClient;
use payload_proto::v1::catalog_service_client::CatalogServiceClient;
use payload_proto::v1::data_service_client::DataServiceClient;
use payload_proto::v1::stream_service_client::StreamServiceClient;
use tokio::net::UnixStream;
use tokio::runtime::Runtime;
use tonic::transport::{Channel, Endpoint, Uri};

use super::refusal::Answer;

/// One connection with all services.
pub(crate) struct Grpc {
    pub(crate) runtime: Runtime,
    pub(crate) channel: Channel,
}

impl Grpc {
    pub(crate) fn tcp(url: &str) -> Self {
        let runtime = runtime();
        let endpoint = Endpoint::from_shared(url.to_owned()).unwrap();
        let channel = runtime.block_on(endpoint.connect()).unwrap();
        Self { runtime, channel }
    }

    pub(crate) fn unix(socket: &Path) -> Self {
        Self::try_unix(socket).unwrap()
    }

    pub(crate) fn try_unix(socket: &Path) -> Result<Self, tonic::transport::Error> {
        let runtime = runtime();
        let socket = socket.to_owned();
        let connector = tower_service_fn(socket);
        let endpoint = Endpoint::from_static("http://localhost");
        let channel = runtime.block_on(endpoint.connect_with_connector(connector))?;
        Ok(Self { runtime, channel })
    }
}

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
}

fn tower_service_fn(
    socket: std::path::PathBuf,
) -> impl tower::Service<
    Uri,
    Response = TokioIo<UnixStream>,
    Error = std::io::Error,
    Future = impl Future<Output = std::io::Result<TokioIo<UnixStream>>> + Send,
> + Send
+ 'static {
    tower::service_fn(move |_| {
        let socket = socket.clone();
        async move { Ok(TokioIo::new(UnixStream::connect(socket).await?)) }
    })
}

macro_rules! calls {
    ($($client:ident { $($name:ident($request:ident) -> $response:ident;)* })*) => {
        impl Grpc {$($(
            pub(crate) fn $name(&self, request: v1::$request) -> Answer<v1::$response> {
                let mut client = $client::new(self.channel.clone());
                let answer = self.runtime.block_on(client.$name(request))?;
                Ok(answer.into_inner())
            }
        )*)*}
    };
}

/// A watch of events; nobody reads it between two calls of `next`.
pub(crate) struct Watching<'g> {
    grpc: &'g Grpc,
    messages: tonic::Streaming<v1::WatchEventsResponse>,
}

impl Watching<'_> {
    /// The next message; `None` at the end.
    pub(crate) fn next(&mut self) -> Answer<Option<v1::WatchEventsResponse>> {
        Ok(self.grpc.runtime.block_on(self.messages.message())?)
    }
}

impl Grpc {
    pub(crate) fn watch_events(&self, request: v1::WatchEventsRequest) -> Answer<Watching<'_>> {
        let mut client = CatalogServiceClient::new(self.channel.clone());
        let answer = self.runtime.block_on(client.watch_events(request))?;
        Ok(Watching {
            grpc: self,
            messages: answer.into_inner(),
        })
    }

    /// All that the server sends.
    pub(crate) fn verify_bytes(&self, request: v1::VerifyBytesRequest) -> Answer<Vec<v1::VerifyBytesResponse>> {
        let mut client = AdminServiceClient::new(self.channel.clone());
        let messages = self.runtime.block_on(async {
            let mut stream = client.verify_bytes(request).await?.into_inner();
            let mut messages = Vec::new();
            while let Some(message) = stream.message().await? {
                messages.push(message);
            }
            Ok::<_, tonic::Status>(messages)
        })?;
        Ok(messages)
    }

    /// All that the server sends.
    pub(crate) fn verify_events(&self, request: v1::VerifyEventsRequest) -> Answer<Vec<v1::VerifyEventsResponse>> {
        let mut client = AdminServiceClient::new(self.channel.clone());
        let messages = self.runtime.block_on(async {
            let mut stream = client.verify_events(request).await?.into_inner();
            let mut messages = Vec::new();
            while let Some(message) = stream.message().await? {
                messages.push(message);
            }
            Ok::<_, tonic::Status>(messages)
        })?;
        Ok(messages)
    }
}

calls! {
    DataServiceClient {
        allocate(AllocateRequest) -> AllocateResponse;
        commit(CommitRequest) -> CommitResponse;
        abort(AbortRequest) -> AbortResponse;
        put(PutRequest) -> PutResponse;
        acquire(AcquireRequest) -> AcquireResponse;
        renew(RenewRequest) -> RenewResponse;
        release(ReleaseRequest) -> ReleaseResponse;
        promote(MoveRequest) -> MoveResponse;
        prefetch(MoveRequest) -> MoveResponse;
        spill(MoveRequest) -> MoveResponse;
        pin_payload(PinPayloadRequest) -> PinPayloadResponse;
        unpin_payload(UnpinPayloadRequest) -> UnpinPayloadResponse;
    }
    CatalogServiceClient {
        get_payload(GetPayloadRequest) -> GetPayloadResponse;
        list_payloads(ListPayloadsRequest) -> ListPayloadsResponse;
        delete_payload(DeletePayloadRequest) -> DeletePayloadResponse;
        update_payload(UpdatePayloadRequest) -> UpdatePayloadResponse;
        list_events(ListEventsRequest) -> ListEventsResponse;
        get_metadata(GetMetadataRequest) -> GetMetadataResponse;
        put_metadata(PutMetadataRequest) -> PutMetadataResponse;
        list_metadata_history(ListMetadataHistoryRequest) -> ListMetadataHistoryResponse;
        append_event(AppendEventRequest) -> AppendEventResponse;
        add_lineage(AddLineageRequest) -> AddLineageResponse;
        get_lineage(GetLineageRequest) -> GetLineageResponse;
        get_impact(GetImpactRequest) -> GetImpactResponse;
        set_name(SetNameRequest) -> SetNameResponse;
        remove_name(RemoveNameRequest) -> RemoveNameResponse;
        get_name(GetNameRequest) -> GetNameResponse;
        list_names(ListNamesRequest) -> ListNamesResponse;
        list_name_history(ListNameHistoryRequest) -> ListNameHistoryResponse;
    }
    StreamServiceClient {
        create_stream(CreateStreamRequest) -> CreateStreamResponse;
        get_stream(GetStreamRequest) -> GetStreamResponse;
        list_streams(ListStreamsRequest) -> ListStreamsResponse;
        update_stream(UpdateStreamRequest) -> UpdateStreamResponse;
        delete_stream(DeleteStreamRequest) -> DeleteStreamResponse;
        append(AppendRequest) -> AppendResponse;
        read_stream(ReadStreamRequest) -> ReadStreamResponse;
        commit_offset(CommitOffsetRequest) -> CommitOffsetResponse;
        reset_offset(ResetOffsetRequest) -> ResetOffsetResponse;
        get_group(GetGroupRequest) -> GetGroupResponse;
        list_groups(ListGroupsRequest) -> ListGroupsResponse;
    }
    AdminServiceClient {
        get_stats(GetStatsRequest) -> GetStatsResponse;
        list_leases(ListLeasesRequest) -> ListLeasesResponse;
        revoke_lease(RevokeLeaseRequest) -> RevokeLeaseResponse;
        list_holders(ListHoldersRequest) -> ListHoldersResponse;
        explain(ExplainRequest) -> ExplainResponse;
        list_tiers(ListTiersRequest) -> ListTiersResponse;
        list_transfers(ListTransfersRequest) -> ListTransfersResponse;
        cancel_transfer(CancelTransferRequest) -> CancelTransferResponse;
        create_namespace(CreateNamespaceRequest) -> CreateNamespaceResponse;
        get_namespace(GetNamespaceRequest) -> GetNamespaceResponse;
        list_namespaces(ListNamespacesRequest) -> ListNamespacesResponse;
        update_namespace(UpdateNamespaceRequest) -> UpdateNamespaceResponse;
        delete_namespace(DeleteNamespaceRequest) -> DeleteNamespaceResponse;
    }
}
