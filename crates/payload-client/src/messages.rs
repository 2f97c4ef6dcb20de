//! Answers that come one after the other.

use payload_core::Result;
use payload_proto::status::from_status;

/// What the server sends until it is done, or until this is dropped.
#[derive(Debug)]
pub struct Messages<T>(tonic::Streaming<T>);

impl<T> Messages<T> {
    pub(crate) const fn new(stream: tonic::Streaming<T>) -> Self {
        Self(stream)
    }

    /// The next message; `None` at the end.
    pub async fn next(&mut self) -> Result<Option<T>> {
        self.0.message().await.map_err(|status| from_status(&status))
    }
}
