//! VerifyBytes: one payload after the other, as fast as the caller reads what was found.

use std::collections::VecDeque;

use futures_util::stream::{self, Stream};
use payload_core::{ErrorKind, Namespace, PayloadId, PayloadRef, Result};
use payload_engine::{Damage, Engine, Fate, VerifiedBytes};
use payload_proto::convert::{namespace, optional};
use payload_proto::{status, v1};
use tonic::{Request, Response, Status};

use super::{Messages, answer};
use crate::calls::{Calls, Rpc};

type Answer = Result<v1::VerifyBytesResponse, Status>;

pub(super) async fn run(
    calls: &Calls,
    request: Request<v1::VerifyBytesRequest>,
) -> Result<Response<Messages<v1::VerifyBytesResponse>>, Status> {
    answer(calls, Rpc::VerifyBytes, async {
        let request = request.get_ref();
        let namespace = namespace(&request.namespace)?;
        let messages: Messages<v1::VerifyBytesResponse> = match optional::<PayloadRef>(&request.payload_id)? {
            Some(payload) => {
                let one = move |engine: &Engine| engine.verify_bytes(&namespace, &payload);
                let verified = calls.run(one).await?;
                Box::pin(stream::once(async { Ok(message(verified)) }))
            }
            None => {
                let walk = Walk {
                    calls: calls.clone(),
                    namespace,
                    line: VecDeque::new(),
                    next: Next::Page(None),
                };
                Box::pin(walk.all().await?)
            }
        };
        Ok(messages)
    })
    .await
}

/// A way through all payloads of a namespace, in order of creation.
struct Walk {
    calls: Calls,
    namespace: Namespace,
    line: VecDeque<PayloadId>,
    next: Next,
}

/// The next page begins after this payload, if there is one.
#[derive(Clone, Copy)]
enum Next {
    Page(Option<PayloadId>),
    End,
}

impl Walk {
    /// What is wrong with the namespace is told before the first message.
    async fn all(mut self) -> Result<impl Stream<Item = Answer>> {
        self.fill().await?;
        Ok(stream::unfold(Some(self), |walk| async {
            let mut walk = walk?;
            match walk.next().await {
                Ok(found) => found.map(|answer| (Ok(answer), Some(walk))),
                Err(error) => Some((Err(status::to_status(&error)), None)),
            }
        }))
    }

    async fn next(&mut self) -> Result<Option<v1::VerifyBytesResponse>> {
        loop {
            let Some(payload) = self.line.pop_front() else {
                match self.next {
                    Next::End => return Ok(None),
                    Next::Page(_) => self.fill().await?,
                }
                continue;
            };
            let namespace = self.namespace.clone();
            let one = move |engine: &Engine| engine.verify_bytes(&namespace, &payload.into());
            match self.calls.run(one).await {
                Ok(verified) => return Ok(Some(message(verified))),
                // It has ended meanwhile.
                Err(error) if matches!(error.kind(), ErrorKind::FailedPrecondition | ErrorKind::NotFound) => {}
                Err(error) => return Err(error),
            }
        }
    }

    async fn fill(&mut self) -> Result<()> {
        let Next::Page(after) = self.next else { return Ok(()) };
        let namespace = self.namespace.clone();
        let page = self
            .calls
            .run(move |engine| engine.to_verify(&namespace, after))
            .await?;
        self.next = page.next.map_or(Next::End, |next| Next::Page(Some(next)));
        self.line = page.payloads.into();
        Ok(())
    }
}

fn message(verified: VerifiedBytes) -> v1::VerifyBytesResponse {
    v1::VerifyBytesResponse {
        payload_id: verified.payload.to_string(),
        bytes: verified.bytes,
        damages: verified.damages.into_iter().map(damage).collect(),
    }
}

fn damage(damage: Damage) -> v1::Damage {
    let fate = match damage.fate {
        Fate::Mended => v1::DamageFate::Mended,
        Fate::Dropped => v1::DamageFate::Dropped,
        Fate::Lost => v1::DamageFate::Gone,
    };
    v1::Damage {
        tier: v1::Tier::from(damage.tier).into(),
        fate: fate.into(),
        message: damage.message,
    }
}
