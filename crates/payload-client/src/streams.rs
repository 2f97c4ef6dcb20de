//! Streams: a thin layer over the stream service.

use std::sync::Arc;

use payload_core::stream::{GroupName, StreamName};
use payload_core::{PayloadId, Result};
use payload_proto::v1;
use payload_proto::v1::stream_service_client::StreamServiceClient;

use crate::channel::Grpc;
use crate::endpoint::Endpoint;
use crate::grant::nonsense;
use crate::options::ClientOptions;
use crate::request_id::RequestIds;
use crate::session::Owner;

/// Makes streams, appends to them, reads them, and keeps the offsets of groups. Clones share a connection.
#[derive(Clone, Debug)]
pub struct Streams {
    grpc: Arc<Grpc>,
    namespace: String,
    /// What subscriptions go over, if there is one.
    pub(crate) session: Option<Arc<Owner>>,
}

/// One call, asked again as long as nobody answers: whatever it does may be done twice.
macro_rules! call {
    ($self:ident, $method:ident, $request:ident) => {{
        let ask = |channel| {
            let request = $request.clone();
            async move { StreamServiceClient::new(channel).$method(request).await }
        };
        $self.grpc.call(ask).await
    }};
}

impl Streams {
    /// Without a data connection beside it. It connects with its first call.
    pub fn new(endpoint: Endpoint, options: &ClientOptions) -> Self {
        Self {
            grpc: Arc::new(Grpc::new(endpoint, options)),
            namespace: options.namespace.as_str().to_owned(),
            session: None,
        }
    }

    /// Beside a data connection.
    pub(crate) fn beside(self, session: &Arc<Owner>) -> Self {
        Self {
            session: Some(Arc::clone(session)),
            ..self
        }
    }

    /// Makes a stream with what `settings` says besides its name. One that is there already, with the same settings, is
    /// as good.
    pub async fn create(&self, name: &StreamName, settings: v1::CreateStreamRequest) -> Result<v1::Stream> {
        let request = v1::CreateStreamRequest {
            namespace: self.namespace.clone(),
            stream: name.to_string(),
            ..settings
        };
        found(call!(self, create_stream, request)?.stream)
    }

    /// One stream, as it is now.
    pub async fn get(&self, name: &StreamName) -> Result<v1::Stream> {
        let request = v1::GetStreamRequest {
            stream: self.named(name),
        };
        found(call!(self, get_stream, request)?.stream)
    }

    /// One page of streams, in order of their names.
    pub async fn list(&self, page_size: u32, page_token: &str) -> Result<v1::ListStreamsResponse> {
        let request = v1::ListStreamsRequest {
            namespace: self.namespace.clone(),
            page_size,
            page_token: page_token.to_owned(),
        };
        call!(self, list_streams, request)
    }

    /// Changes what `settings` names.
    pub async fn update(&self, name: &StreamName, settings: v1::UpdateStreamRequest) -> Result<v1::Stream> {
        let request = v1::UpdateStreamRequest {
            stream: self.named(name),
            ..settings
        };
        found(call!(self, update_stream, request)?.stream)
    }

    /// Takes a stream away. Doing it twice is refused with `STREAM_NOT_FOUND`, also when the first answer got lost.
    pub async fn delete(&self, name: &StreamName) -> Result<()> {
        let request = v1::DeleteStreamRequest {
            stream: self.named(name),
        };
        call!(self, delete_stream, request).map(drop)
    }

    /// Appends payloads without tags, all or none, once.
    pub async fn append(&self, name: &StreamName, payloads: &[PayloadId]) -> Result<v1::AppendResponse> {
        let draft = |id: &PayloadId| v1::EntryDraft {
            payload_id: id.to_string(),
            tags: Vec::new(),
        };
        let request = v1::AppendRequest {
            entries: payloads.iter().map(draft).collect(),
            ..v1::AppendRequest::default()
        };
        self.append_with(name, request).await
    }

    /// Appends what the request says, once, whether or not it says how to know it again.
    pub async fn append_with(&self, name: &StreamName, request: v1::AppendRequest) -> Result<v1::AppendResponse> {
        let mut request = v1::AppendRequest {
            stream: self.named(name),
            ..request
        };
        if request.request_id.is_empty() && request.producer.is_none() {
            request.request_id = RequestIds::new()?.next();
        }
        call!(self, append, request)
    }

    /// A page of entries.
    pub async fn read(&self, name: &StreamName, request: v1::ReadStreamRequest) -> Result<v1::ReadStreamResponse> {
        let request = v1::ReadStreamRequest {
            stream: self.named(name),
            ..request
        };
        call!(self, read_stream, request)
    }

    /// Moves a group forward to the next entry that it wants to read.
    pub async fn commit_offset(&self, name: &StreamName, group: &GroupName, offset: u64) -> Result<v1::Group> {
        let request = v1::CommitOffsetRequest {
            group: group.to_string(),
            offset,
            ..v1::CommitOffsetRequest::default()
        };
        self.commit_offset_with(name, request).await
    }

    /// Moves a group anywhere.
    pub async fn reset_offset(&self, name: &StreamName, group: &GroupName, to: v1::ReadStart) -> Result<v1::Group> {
        let request = v1::ResetOffsetRequest {
            stream: self.named(name),
            group: group.to_string(),
            to: Some(to),
        };
        found(call!(self, reset_offset, request)?.group)
    }

    /// One group.
    pub async fn group(&self, name: &StreamName, group: &GroupName) -> Result<v1::Group> {
        let request = v1::GetGroupRequest {
            stream: self.named(name),
            group: group.to_string(),
        };
        found(call!(self, get_group, request)?.group)
    }

    /// All groups, in order of their names.
    pub async fn groups(&self, name: &StreamName) -> Result<Vec<v1::Group>> {
        let request = v1::ListGroupsRequest {
            stream: self.named(name),
        };
        Ok(call!(self, list_groups, request)?.groups)
    }

    /// The same under conditions that the request names.
    pub(crate) async fn commit_offset_with(
        &self,
        name: &StreamName,
        request: v1::CommitOffsetRequest,
    ) -> Result<v1::Group> {
        let request = v1::CommitOffsetRequest {
            stream: self.named(name),
            ..request
        };
        found(call!(self, commit_offset, request)?.group)
    }

    pub(crate) fn grpc(&self) -> &Grpc {
        &self.grpc
    }

    pub(crate) fn named(&self, name: &StreamName) -> Option<v1::StreamRef> {
        Some(v1::StreamRef {
            namespace: self.namespace.clone(),
            stream: name.to_string(),
            incarnation: String::new(),
        })
    }
}

fn found<T>(thing: Option<T>) -> Result<T> {
    thing.ok_or_else(|| nonsense("an answer without what was asked for"))
}
