//! The same requests over gRPC, and contents over HTTP, for a client that the local socket is out of reach of.

use payload_core::{Error, Reason, Result};
use payload_proto::v1;
use payload_proto::v1::client_message::Request;
use payload_proto::v1::data_service_client::DataServiceClient;
use payload_proto::v1::server_message::Response;

use crate::channel::Grpc;
use crate::endpoint::Endpoint;
use crate::options::ClientOptions;
use crate::transfer::Transfers;

/// A gRPC connection to the data service, and those to the byte endpoint beside it.
#[derive(Debug)]
pub(crate) struct Remote {
    grpc: Grpc,
    transfers: Transfers,
}

impl Remote {
    pub(crate) async fn connect(endpoint: Endpoint, options: &ClientOptions) -> Result<Self> {
        Ok(Self {
            grpc: Grpc::new(endpoint, options).connect().await?,
            transfers: Transfers::new(options.reconnect_max),
        })
    }

    pub(crate) fn transfers(&self) -> &Transfers {
        &self.transfers
    }

    /// Sends what would go into a message of the local socket as a call of its own.
    pub(crate) async fn call(&self, message: &v1::ClientMessage) -> Result<Response> {
        macro_rules! ask {
            ($method:ident, $request:expr, $response:path) => {
                self.grpc
                    .once(|channel| async { DataServiceClient::new(channel).$method($request).await })
                    .await
                    .map($response)
            };
        }
        match message.request.clone() {
            Some(Request::Allocate(request)) => ask!(allocate, request, Response::Allocate),
            Some(Request::Commit(request)) => ask!(commit, request, Response::Commit),
            Some(Request::Abort(request)) => ask!(abort, request, Response::Abort),
            Some(Request::Put(request)) => ask!(put, request, Response::Put),
            Some(Request::Acquire(request)) => ask!(acquire, request, Response::Acquire),
            Some(Request::Renew(request)) => ask!(renew, request, Response::Renew),
            Some(Request::Release(request)) => ask!(release, request, Response::Release),
            _ => Err(Error::new(Reason::Internal, "a request that only the local socket has")),
        }
    }
}
