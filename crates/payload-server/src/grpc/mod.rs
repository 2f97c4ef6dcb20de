//! The gRPC door: four services, health and reflection, over TCP on loopback and over a unix socket.

mod admin;
mod catalog;
mod data;
mod events;
mod incoming;
mod lineage;
mod listing;
mod metadata;
mod moves;
mod pins;
mod placement;
mod stream;
mod subscribe;
mod verify_bytes;
mod watch;

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;

use futures_util::stream::Stream;
use payload_core::{Principal, Result};
use payload_engine::{Engine, Holder};
use payload_proto::v1::admin_service_server::AdminServiceServer;
use payload_proto::v1::catalog_service_server::CatalogServiceServer;
use payload_proto::v1::data_service_server::DataServiceServer;
use payload_proto::v1::stream_service_server::StreamServiceServer;
use payload_proto::{DESCRIPTORS, status};
use tokio::net::{TcpListener, UnixListener};
use tokio_util::sync::CancellationToken;
use tonic::service::InterceptorLayer;
use tonic::transport::Server;
use tonic::transport::server::UdsConnectInfo;
use tonic::{Request, Response, Status};

use self::incoming::connections;
pub(crate) use self::watch::WatchTimes;
use crate::calls::{Calls, Door, Rpc};
use crate::identity::Identity;
use crate::peers::Peers;
use crate::subscribe::Desk;

/// Streams of one HTTP/2 connection; further ones wait in the client.
const STREAMS_MAX: u32 = 256;
/// Largest request; a put of 64 KiB with its labels is far below.
const MESSAGE_MAX: usize = 1 << 20;

/// Where gRPC listens.
pub(crate) struct Listeners {
    pub(crate) tcp: TcpListener,
    pub(crate) unix: UnixListener,
}

/// What the services have to know about the rest of the server.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Options {
    /// Where the byte endpoint listens.
    pub(crate) bytes: SocketAddr,
    /// How patient it is with those who watch events.
    pub(crate) watch_times: WatchTimes,
}

/// Serves both listeners until `stop`, then lets calls that are under way finish.
pub(crate) async fn serve(
    desk: Desk,
    identity: Identity,
    listeners: Listeners,
    peers: Peers,
    options: Options,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let (health, health_service) = tonic_health::server::health_reporter();
    health.set_serving::<DataServiceServer<data::Service>>().await;
    health.set_serving::<CatalogServiceServer<catalog::Service>>().await;
    health.set_serving::<AdminServiceServer<admin::Service>>().await;
    health.set_serving::<StreamServiceServer<stream::Service>>().await;
    let reflection = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(DESCRIPTORS)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        .build_v1()?;
    let identity = Arc::new(identity);
    let admit = move |request: Request<()>| match peer_uid(&request).map_or(Ok(()), |uid| peers.check(uid)) {
        Ok(()) => Ok(request),
        Err(error) => Err(status::to_status(&error)),
    };
    let calls = desk.calls.clone();
    let router = || {
        Server::builder()
            .layer(InterceptorLayer::new(admit.clone()))
            .max_concurrent_streams(STREAMS_MAX)
            .http2_max_pending_accept_reset_streams(Some(32))
            .add_service(health_service.clone())
            .add_service(reflection.clone())
            .add_service(
                DataServiceServer::new(data::Service::new(calls.clone(), options.bytes))
                    .max_decoding_message_size(MESSAGE_MAX),
            )
            .add_service(
                CatalogServiceServer::new(catalog::Service::new(calls.clone(), options.watch_times, stop.clone()))
                    .max_decoding_message_size(MESSAGE_MAX),
            )
            .add_service(
                StreamServiceServer::new(stream::Service::new(desk.clone())).max_decoding_message_size(MESSAGE_MAX),
            )
            .add_service(
                AdminServiceServer::new(admin::Service::new(calls.clone(), Arc::clone(&identity)))
                    .max_decoding_message_size(MESSAGE_MAX),
            )
    };
    let over_tcp =
        router().serve_with_incoming_shutdown(connections(listeners.tcp, stop.clone()), stop.clone().cancelled_owned());
    let over_unix =
        router().serve_with_incoming_shutdown(connections(listeners.unix, stop.clone()), stop.cancelled_owned());
    tokio::try_join!(over_tcp, over_unix)?;
    Ok(())
}

/// What a call answers with that has more than one answer.
type Messages<T> = Pin<Box<dyn Stream<Item = std::result::Result<T, Status>> + Send>>;

/// Who calls: the user behind a unix socket, or anybody on loopback.
fn principal<T>(request: &Request<T>) -> Principal {
    peer_uid(request).map_or_else(Principal::loopback, Principal::uid)
}

/// The user behind a unix socket; if the kernel does not tell, one whom nobody allows.
fn peer_uid<T>(request: &Request<T>) -> Option<u32> {
    let peer = request.extensions().get::<UdsConnectInfo>()?;
    Some(peer.peer_cred.map_or(u32::MAX, |peer| peer.uid()))
}

fn remote<T>(engine: &Engine, request: &Request<T>) -> Arc<Holder> {
    engine.remote(&principal(request))
}

/// Measures a call and turns its result into what gRPC wants.
async fn answer<T>(
    calls: &Calls,
    rpc: Rpc,
    call: impl Future<Output = Result<T>>,
) -> std::result::Result<Response<T>, Status> {
    let began = calls.now();
    let result = call.await;
    calls.observe(Door::Grpc, rpc, began, result.as_ref().err());
    result.map(Response::new).map_err(|error| status::to_status(&error))
}
