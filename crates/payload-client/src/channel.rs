//! gRPC channels: over the unix socket if there is one, else over TCP.

use std::time::Duration;

use parking_lot::Mutex;
use payload_core::{Error, Reason, Result};
use payload_proto::status::from_status;
use tonic::Status;
use tonic::transport::Channel;

use crate::backoff::{Attempts, is_passing};
use crate::endpoint::{Addresses, Endpoint};
use crate::options::ClientOptions;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// A gRPC connection that follows its server over restarts.
#[derive(Debug)]
pub(crate) struct Grpc {
    endpoint: Endpoint,
    reconnect_max: Duration,
    channel: Mutex<Option<Channel>>,
}

impl Grpc {
    /// Connects with the first call.
    pub(crate) fn new(endpoint: Endpoint, options: &ClientOptions) -> Self {
        Self {
            endpoint,
            reconnect_max: options.reconnect_max,
            channel: Mutex::default(),
        }
    }

    /// For how long it looks for a server that is away.
    pub(crate) const fn reconnect_max(&self) -> Duration {
        self.reconnect_max
    }

    /// Connects now, to see whether anybody is there.
    pub(crate) async fn connect(self) -> Result<Self> {
        let addresses = self.endpoint.addresses()?;
        let channel = endpoint(&addresses)?.connect().await.map_err(|error| {
            Error::new(Reason::ConnectionLost, format!("no server at {}", addresses.grpc)).source(error)
        })?;
        *self.channel.lock() = Some(channel);
        Ok(self)
    }

    /// Asks, and asks again while no server is there to answer, or none that knows, and time is left: only for what may be
    /// asked twice.
    pub(crate) async fn call<T, F>(&self, ask: impl Fn(Channel) -> F) -> Result<T>
    where
        F: Future<Output = Result<tonic::Response<T>, Status>>,
    {
        let mut attempts = Attempts::within(self.reconnect_max);
        loop {
            match self.once(&ask).await {
                Ok(answer) => return Ok(answer),
                Err(error) => attempts.once_more_after(error).await?,
            }
        }
    }

    /// Asks once. If nobody answers, the next question finds its own way.
    pub(crate) async fn once<T, F>(&self, ask: impl FnOnce(Channel) -> F) -> Result<T>
    where
        F: Future<Output = Result<tonic::Response<T>, Status>>,
    {
        let error = match ask(self.channel()?).await {
            Ok(response) => return Ok(response.into_inner()),
            Err(status) => self.explain(from_status(&status)),
        };
        if is_passing(error.reason()) {
            // The next server may listen somewhere else.
            *self.channel.lock() = None;
        }
        Err(error)
    }

    fn channel(&self) -> Result<Channel> {
        let mut channel = self.channel.lock();
        if let Some(channel) = channel.as_ref() {
            return Ok(channel.clone());
        }
        let fresh = endpoint(&self.endpoint.addresses()?)?.connect_lazy();
        *channel = Some(fresh.clone());
        Ok(fresh)
    }

    fn explain(&self, error: Error) -> Error {
        if error.reason() != Reason::ConnectionLost {
            return error;
        }
        let why = format!("no server at {}: {error}", self.endpoint);
        Error::new(Reason::ConnectionLost, why).outcome_unknown().source(error)
    }
}

fn endpoint(addresses: &Addresses) -> Result<tonic::transport::Endpoint> {
    let socket = addresses.grpc_socket.as_ref().filter(|path| path.exists());
    let uri = match socket {
        Some(path) => format!("unix:{}", path.display()),
        None => addresses.grpc.clone(),
    };
    let endpoint = tonic::transport::Endpoint::from_shared(uri).map_err(|error| {
        Error::invalid(Reason::BadRequest, format!("{:?} is not an address", addresses.grpc))
            .field("endpoint")
            .source(error)
    })?;
    Ok(endpoint.connect_timeout(CONNECT_TIMEOUT))
}
