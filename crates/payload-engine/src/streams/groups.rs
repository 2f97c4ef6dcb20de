//! Groups: how far those who share a position have come, and how far behind they are.

use payload_core::stream::{
    Group, GroupName, Offset, OffsetCommit, OffsetReset, Start, Stream, StreamChange, StreamRef,
};
use payload_core::{Result, Span};

use super::no_group;
use crate::engine::Engine;

/// A consumer's progress, as it asks for it.
#[derive(Clone, Debug)]
pub struct OffsetRequest {
    /// In which stream.
    pub stream: StreamRef,
    /// Of which group.
    pub group: GroupName,
    /// The next entry to read.
    pub offset: Offset,
    /// Where the group must be now.
    pub expected: Option<Offset>,
    /// The generation that the group must be in.
    pub generation: Option<u64>,
}

/// A group with what it has before it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupView {
    /// The group.
    pub group: Group,
    /// Entries between its offset and the head.
    pub lag_entries: u64,
    /// Bytes of their payloads.
    pub lag_bytes: u64,
    /// How long ago the first of them was appended.
    pub lag_age: Span,
}

impl Engine {
    /// Moves a group forward, and makes it if nobody has used it.
    pub fn commit_offset(&self, request: &OffsetRequest) -> Result<GroupView> {
        self.change_streams(vec![StreamChange::CommitOffset(request.change(self))], None)?;
        self.group(&request.stream, &request.group)
    }

    /// Moves a group anywhere: members that follow it are shut out, so that they cannot undo it.
    pub fn reset_offset(&self, stream: &StreamRef, group: &GroupName, start: Start) -> Result<GroupView> {
        let row = self.find_stream(stream)?;
        let reset = OffsetReset {
            stream: StreamRef {
                incarnation: Some(row.id),
                ..stream.clone()
            },
            group: group.clone(),
            offset: self.start_offset(&row, start)?,
            at: self.wall(),
        };
        self.change_streams(vec![StreamChange::ResetOffset(reset)], None)?;
        tracing::info!(stream = %row.name, %group, "group reset");
        self.doubt_member(row.id, group);
        self.streams.moved(row.id);
        self.group(stream, group)
    }

    /// One group, with what it has before it.
    pub fn group(&self, stream: &StreamRef, name: &GroupName) -> Result<GroupView> {
        let row = self.find_stream(stream)?;
        match self.repository().group(row.id, name)? {
            Some(group) => self.view(&row, group),
            None => Err(no_group(name)),
        }
    }

    /// All groups of a stream, in order of their names.
    pub fn groups(&self, stream: &StreamRef) -> Result<Vec<GroupView>> {
        let row = self.find_stream(stream)?;
        let groups = self.repository().groups(row.id)?;
        groups.into_iter().map(|group| self.view(&row, group)).collect()
    }

    fn view(&self, stream: &Stream, group: Group) -> Result<GroupView> {
        let head = stream.head.max(group.offset);
        let first = self.repository().entries(stream.id, group.offset, 1)?.pop();
        let (lag_bytes, lag_age) = match first {
            Some(read) => {
                let before = read.entry.bytes_through - read.entry.size;
                (stream.bytes.saturating_sub(before), read.entry.at.until(self.wall()))
            }
            None => (0, Span::ZERO),
        };
        Ok(GroupView {
            lag_entries: head.since(group.offset),
            lag_bytes,
            lag_age,
            group,
        })
    }
}

impl OffsetRequest {
    /// As a change, at this moment.
    pub(crate) fn change(&self, engine: &Engine) -> OffsetCommit {
        OffsetCommit {
            stream: self.stream.clone(),
            group: self.group.clone(),
            offset: self.offset,
            expected: self.expected,
            generation: self.generation,
            at: engine.wall(),
        }
    }
}
