//! Subscribe over gRPC: what is acknowledged comes in as messages, and HTTP/2 says when there is room for more.

use payload_core::stream::Offset;
use payload_core::{Error, Reason, Result};
use payload_proto::v1::subscribe_request::Request as Asked;
use payload_proto::{status, v1};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tonic::{Status, Streaming};

use crate::subscribe::{Desk, End, Line, Open, Told};

/// Messages that wait for the connection; what does not fit waits in the repository.
const MESSAGES: usize = 2;
/// Entries in one message.
const BATCH: usize = 100;

/// What goes to the client.
pub(super) type Outgoing = Result<v1::SubscribeResponse, Status>;

/// Opens a subscription with the client's first message.
pub(super) async fn open(
    desk: &Desk,
    mut inbound: Streaming<v1::SubscribeRequest>,
) -> Result<mpsc::Receiver<Outgoing>> {
    let place = desk.place()?;
    let open = match timeout(desk.stall, inbound.message()).await {
        Ok(Ok(Some(v1::SubscribeRequest {
            request: Some(Asked::Open(open)),
        }))) => Open::parse(&open)?,
        _ => return Err(bad("the first message must open the subscription")),
    };
    let stream = open.stream.clone();
    let row = desk.calls.run(move |engine| engine.stream(&stream)).await?;
    let (outgoing, receiver) = mpsc::channel(MESSAGES);
    desk.start(place, open, &row, Call { inbound, outgoing });
    Ok(receiver)
}

/// Both halves of the call.
struct Call {
    inbound: Streaming<v1::SubscribeRequest>,
    outgoing: mpsc::Sender<Outgoing>,
}

impl Line for Call {
    fn entries_max(&self) -> usize {
        BATCH
    }

    async fn hear(&mut self) -> Option<Result<Offset>> {
        let message = self.inbound.message().await.ok().flatten()?;
        Some(match message.request {
            Some(Asked::Ack(ack)) => Ok(Offset::from_u64(ack.offset)),
            _ => Err(bad(
                "a subscription is opened once; after that there are acknowledgements",
            )),
        })
    }

    async fn ready(&mut self) -> Result<(), End> {
        // Nobody else sends, so the place stays free.
        self.outgoing.reserve().await.map(drop).map_err(|_| End::Gone)
    }

    async fn tell(&mut self, told: Told) -> Result<(), End> {
        self.outgoing.send(Ok(told.response())).await.map_err(|_| End::Gone)
    }

    async fn end(self, error: Error) {
        // A client that has gone is not told.
        let _ = self.outgoing.send(Err(status::to_status(&error))).await;
    }
}

fn bad(message: &'static str) -> Error {
    Error::invalid(Reason::BadRequest, message)
}
