//! How a consumer hears of entries: over the local socket, if its client has one, else over gRPC.

use std::sync::Arc;

use payload_core::Result;
use payload_proto::status::from_status;
use payload_proto::v1;
use payload_proto::v1::client_message::Request as LocalRequest;
use payload_proto::v1::server_message::Response as LocalResponse;
use payload_proto::v1::stream_service_client::StreamServiceClient;
use payload_proto::v1::subscribe_request::Request;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;

use crate::channel::Grpc;
use crate::grant::nonsense;
use crate::intake::{Answer, Expect};
use crate::link::Link;
use crate::session::{Owner, connection_lost};
use crate::subscriptions::{Ear, Heard};

/// One subscription, from its opening to the end of its connection.
#[derive(Debug)]
pub(crate) enum Feed {
    Local(Local),
    Grpc(Box<Call>),
}

/// Over the local socket. Dropping it ends the subscription.
#[derive(Debug)]
pub(crate) struct Local {
    owner: Arc<Owner>,
    link: Arc<Link>,
    number: u64,
    ear: Ear,
}

/// Over gRPC.
#[derive(Debug)]
pub(crate) struct Call {
    requests: mpsc::Sender<v1::SubscribeRequest>,
    responses: Streaming<v1::SubscribeResponse>,
}

impl Feed {
    /// What the server says next. Whoever stops waiting loses nothing.
    pub(crate) async fn hear(&mut self) -> Result<Heard> {
        match self {
            Self::Local(local) => local.ear.recv().await.unwrap_or_else(|| Err(connection_lost())),
            Self::Grpc(call) => match call.responses.message().await {
                Ok(Some(response)) => Heard::new(response, Vec::new()),
                Ok(None) => Err(connection_lost()),
                Err(status) => Err(from_status(&status)),
            },
        }
    }

    /// Everything before `offset` is dealt with.
    pub(crate) async fn acknowledge(&self, offset: u64) -> Result<()> {
        let ack = v1::SubscribeAck { offset };
        match self {
            Self::Local(local) => {
                let request = LocalRequest::Acknowledge(v1::Acknowledge {
                    subscription: local.number,
                    ack: Some(ack),
                });
                let sent = local.link.say(&local.owner.cache, request).await;
                sent.map_err(|_| connection_lost())
            }
            Self::Grpc(call) => {
                let ack = v1::SubscribeRequest {
                    request: Some(Request::Ack(ack)),
                };
                call.requests.send(ack).await.map_err(|_| connection_lost())
            }
        }
    }
}

impl Local {
    /// Opens a subscription, whose entries bring leases if that is said.
    pub(crate) async fn open(
        owner: &Arc<Owner>,
        link: Arc<Link>,
        open: v1::SubscribeOpen,
        leases: Option<v1::EntryLeases>,
    ) -> Result<Self> {
        let number = owner.registry.next_subscription();
        let ear = link.subscriptions.enter(number).map_err(|_| connection_lost())?;
        let local = Self {
            owner: Arc::clone(owner),
            link,
            number,
            ear,
        };
        let mut message = v1::ClientMessage {
            correlation_id: 0,
            request: Some(LocalRequest::OpenSubscription(v1::OpenSubscriptionRequest {
                subscription: number,
                open: Some(open),
                leases,
            })),
        };
        match local.link.call(owner, &mut message, Expect::Message).await {
            Ok(Ok(Answer::Message(LocalResponse::OpenSubscription(_)))) => Ok(local),
            Ok(Ok(_)) => Err(nonsense("an answer to another question")),
            Ok(Err(error)) => Err(error),
            Err(_) => Err(connection_lost()),
        }
    }
}

impl Drop for Local {
    fn drop(&mut self) {
        self.link.subscriptions.leave(self.number);
        self.owner.registry.close_later(self.number);
    }
}

impl Call {
    /// Opens a subscription.
    pub(crate) async fn open(grpc: &Grpc, open: v1::SubscribeOpen) -> Result<Self> {
        let (requests, receiver) = mpsc::channel(16);
        let open = v1::SubscribeRequest {
            request: Some(Request::Open(open)),
        };
        requests.try_send(open).expect("the channel is new and has room");
        let ask = |channel| async move {
            StreamServiceClient::new(channel)
                .subscribe(ReceiverStream::new(receiver))
                .await
        };
        let responses = grpc.once(ask).await?;
        Ok(Self { requests, responses })
    }
}
