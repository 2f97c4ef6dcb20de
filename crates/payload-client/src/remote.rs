//! The same requests over gRPC, for a client that the local socket is out of reach of.

use payload_core::{Error, Reason, Result};
use payload_proto::status::from_status;
use payload_proto::v1;
use payload_proto::v1::client_message::Request;
use payload_proto::v1::data_service_client::DataServiceClient;
use payload_proto::v1::server_message::Response;
use tonic::transport::Channel;

use crate::channel;
use crate::endpoint::Addresses;

/// A gRPC connection to the data service.
#[derive(Clone, Debug)]
pub(crate) struct Remote(Channel);

impl Remote {
    pub(crate) async fn connect(addresses: &Addresses) -> Result<Self> {
        channel::connect(addresses).await.map(Self)
    }

    /// Sends what would go into a message of the local socket as a call of its own.
    pub(crate) async fn call(&self, message: &v1::ClientMessage) -> Result<Response> {
        let mut data = DataServiceClient::new(self.0.clone());
        let response = match message.request.clone() {
            Some(Request::Put(request)) => data.put(request).await.map(|r| Response::Put(r.into_inner())),
            Some(Request::Acquire(request)) => data.acquire(request).await.map(|r| Response::Acquire(r.into_inner())),
            Some(Request::Renew(request)) => data.renew(request).await.map(|r| Response::Renew(r.into_inner())),
            Some(Request::Release(request)) => data.release(request).await.map(|r| Response::Release(r.into_inner())),
            _ => {
                return Err(Error::new(
                    Reason::LocalSocketNeeded,
                    "without the local socket only contents of at most 64 KiB can be written",
                ));
            }
        };
        response.map_err(|status| from_status(&status))
    }
}
