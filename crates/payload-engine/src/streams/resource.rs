//! Streams as things that are made, looked at, changed and removed.

use payload_core::stream::{
    Hold, Retention, Stream, StreamChange, StreamName, StreamQuery, StreamRef, StreamRefusal, StreamSettings,
};
use payload_core::{Error, Namespace, Reason, Result, page};

use crate::engine::Engine;

/// How often a change is tried that others come before.
const ATTEMPTS: usize = 8;

/// A page of streams.
#[derive(Clone, Debug)]
pub struct StreamPage {
    /// In order of their names.
    pub rows: Vec<Stream>,
    /// Lists on from here; absent on the last page.
    pub next_token: Option<String>,
}

/// What shall be different about a stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StreamEdit {
    /// What new entries do for their payloads.
    pub hold: Option<Hold>,
    /// All of the retention.
    pub retention: Option<Retention>,
    /// The largest number of entries in one append.
    pub batch_max: Option<u32>,
}

impl StreamEdit {
    /// The settings with what is asked for.
    pub fn edited(&self, settings: StreamSettings) -> StreamSettings {
        StreamSettings {
            hold: self.hold.unwrap_or(settings.hold),
            retention: self.retention.unwrap_or(settings.retention),
            batch_max: self.batch_max.unwrap_or(settings.batch_max),
        }
    }
}

impl Engine {
    /// Makes a stream. One that is there already, with the same settings, is as good: so a retry is safe.
    pub fn create_stream(&self, namespace: &Namespace, name: &StreamName, settings: StreamSettings) -> Result<Stream> {
        settings.check()?;
        let stream = StreamRef {
            namespace: namespace.clone(),
            name: name.clone(),
            incarnation: None,
        };
        let id = self.ports.ids.stream();
        let create = StreamChange::Create {
            id,
            namespace: namespace.clone(),
            name: name.clone(),
            settings,
            at: self.wall(),
        };
        match self.change_streams(vec![create], None) {
            Ok(_) => {
                tracing::info!(stream = %name, %namespace, incarnation = %id, "stream created");
                self.find_stream(&stream)
            }
            Err(error) if error.reason() == Reason::StreamExists => match self.find_stream(&stream) {
                Ok(row) if row.settings == settings => Ok(row),
                _ => Err(error),
            },
            Err(error) => Err(error),
        }
    }

    /// One stream, as it is now.
    pub fn stream(&self, stream: &StreamRef) -> Result<Stream> {
        self.find_stream(stream)
    }

    /// A page of a namespace's streams.
    pub fn list_streams(&self, namespace: &Namespace, size: u32, token: &str) -> Result<StreamPage> {
        let limit = page::page_size(size)?;
        let bad_token = |_: Error| {
            Error::invalid(Reason::BadPageToken, "page token does not belong to this query").field("page_token")
        };
        let after = (!token.is_empty())
            .then(|| token.parse())
            .transpose()
            .map_err(bad_token)?;
        let mut rows = self.repository().streams(&StreamQuery {
            namespace: namespace.clone(),
            after,
            limit: limit + 1,
        })?;
        let more = rows.len() > limit as usize;
        rows.truncate(limit as usize);
        let last = rows.last().filter(|_| more);
        let next_token = last.map(|row| row.name.to_string());
        Ok(StreamPage { rows, next_token })
    }

    /// Changes a stream's settings. Entries that are there keep holding their payloads, or not, as they did.
    pub fn update_stream(&self, stream: &StreamRef, edit: &StreamEdit) -> Result<Stream> {
        for _ in 0..ATTEMPTS {
            let row = self.find_stream(stream)?;
            let settings = edit.edited(row.settings);
            settings.check()?;
            let update = StreamChange::Update {
                stream: StreamRef {
                    incarnation: Some(row.id),
                    ..stream.clone()
                },
                version: row.version,
                settings,
            };
            match self.change_streams(vec![update], None) {
                Ok(_) => {
                    self.streams.moved(row.id);
                    return self.find_stream(stream);
                }
                Err(error) if error.reason() == Reason::Conflict => {}
                Err(error) => return Err(error),
            }
        }
        Err(StreamRefusal::Changed.into())
    }

    /// Takes a stream away. Its name is free at once; its entries, and what they hold, go in the background.
    pub fn delete_stream(&self, stream: &StreamRef) -> Result<()> {
        let row = self.find_stream(stream)?;
        let exactly = StreamRef {
            incarnation: Some(row.id),
            ..stream.clone()
        };
        self.change_streams(vec![StreamChange::Delete(exactly)], None)?;
        tracing::info!(stream = %row.name, namespace = %row.namespace, incarnation = %row.id, "stream deleted");
        self.streams.moved(row.id);
        Ok(())
    }
}
