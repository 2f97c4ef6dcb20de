//! A whole stream in pages. The next page is asked for before the one in hand is looked at, so that the server and whoever
//! reads work at the same time.

use std::collections::VecDeque;

use payload_core::stream::{StreamName, StreamRefusal};
use payload_core::{Result, limits};
use payload_proto::v1;
use payload_proto::v1::read_start::Start;
use tokio::sync::oneshot;

use crate::grant::nonsense;
use crate::streams::Streams;

/// Pages that are asked for at a time.
const ASKED_MAX: usize = 2;

/// The pages of a stream, from a start to its end.
#[derive(Debug)]
pub struct Pages {
    streams: Streams,
    stream: StreamName,
    request: v1::ReadStreamRequest,
    asked: VecDeque<Asked>,
    /// From where to go on; absent until the first page has said what the start means.
    next: Option<u64>,
    /// Where the stream ended when that was last heard.
    head: u64,
    /// Which stream it is; empty until the first page.
    incarnation: String,
}

/// A page that is on its way.
#[derive(Debug)]
struct Asked {
    /// Where it begins, if that is known.
    from: Option<u64>,
    answer: oneshot::Receiver<Result<v1::ReadStreamResponse>>,
}

impl Streams {
    /// Reads a stream as `request` says, on to its end.
    pub fn pages(&self, name: &StreamName, request: v1::ReadStreamRequest) -> Pages {
        let limit = if request.limit == 0 {
            limits::PAGE_SIZE_DEFAULT
        } else {
            request.limit
        };
        Pages {
            streams: self.clone(),
            stream: name.clone(),
            request: v1::ReadStreamRequest { limit, ..request },
            asked: VecDeque::new(),
            next: None,
            head: 0,
            incarnation: String::new(),
        }
    }
}

impl Pages {
    /// The next page; `None` once there is nothing more. After a refusal it can be asked again, and goes on where it was.
    pub async fn next(&mut self) -> Result<Option<v1::ReadStreamResponse>> {
        if self.next.is_some_and(|next| next >= self.head) {
            return Ok(None);
        }
        self.ask();
        let Some(first) = self.asked.pop_front() else {
            return Err(nonsense("nothing was asked"));
        };
        let answer = first.answer.await;
        let page = answer.map_err(|_| nonsense("a question ended without an answer"))?;
        let page = page.inspect_err(|_| self.asked.clear())?;
        if self.incarnation.is_empty() {
            self.incarnation.clone_from(&page.incarnation);
        }
        if self.incarnation != page.incarnation {
            self.asked.clear();
            return Err(StreamRefusal::Replaced.into());
        }
        (self.next, self.head) = (Some(page.next_offset), page.head_offset);
        // A page may end early, by its bytes or by a filter; then what was asked for ahead is not what comes next.
        if self.asked.front().is_some_and(|asked| asked.from != self.next) {
            self.asked.clear();
        }
        self.ask();
        Ok(Some(page))
    }

    /// Asks for what is likely to come next.
    fn ask(&mut self) {
        while self.asked.len() < ASKED_MAX {
            let from = match self.asked.back() {
                Some(Asked { from: Some(last), .. }) => Some(last.saturating_add(u64::from(self.request.limit))),
                Some(Asked { from: None, .. }) => return,
                None => self.next,
            };
            let is_there = from.is_none_or(|from| from < self.head);
            if !is_there {
                return;
            }
            let asked = self.send(from);
            self.asked.push_back(asked);
        }
    }

    fn send(&self, from: Option<u64>) -> Asked {
        let mut request = self.request.clone();
        if let Some(from) = from {
            let start = Some(Start::Offset(from));
            request.start = Some(v1::ReadStart { start });
        }
        let (streams, stream) = (self.streams.clone(), self.stream.clone());
        let (tell, answer) = oneshot::channel();
        // It ends with its answer, whether or not anybody still wants it.
        tokio::spawn(async move { drop(tell.send(streams.read(&stream, request).await)) });
        Asked { from, answer }
    }
}
