//! The calls of one connection that wait for their answers.

use std::collections::HashMap;
use std::task::{Context, Poll, Waker};

use parking_lot::Mutex;
use payload_core::{Instant, Result};

use crate::intake::{Answer, Expect};

/// All of them, by correlation id.
#[derive(Debug, Default)]
pub(crate) struct Waiters(Mutex<Inner>);

/// The connection broke; whether the server has seen the request is unknown.
#[derive(Debug)]
pub(crate) struct Broken;

/// What an answer is read with.
#[derive(Debug)]
pub(crate) struct Question {
    pub(crate) expect: Expect,
    pub(crate) asked_at: Instant,
}

/// A question that is not sent yet; forgotten unless it is.
#[derive(Debug)]
pub(crate) struct Entry<'a> {
    waiters: &'a Waiters,
    id: u64,
}

#[derive(Debug, Default)]
struct Inner {
    seats: HashMap<u64, Seat>,
    last_id: u64,
    broken: bool,
}

#[derive(Debug)]
struct Seat {
    /// Taken out by whoever reads the answer.
    question: Option<Question>,
    answer: Option<Result<Answer>>,
    waker: Option<Waker>,
    /// Nobody waits any more. The answer is read all the same: what it grants must be given back.
    abandoned: bool,
}

impl Waiters {
    /// An id for a message whose answer nobody waits for.
    pub(crate) fn next_id(&self) -> u64 {
        self.0.lock().next_id()
    }

    /// Expects an answer, from before its question is sent.
    pub(crate) fn enter(&self, question: Question) -> Result<Entry<'_>, Broken> {
        let mut inner = self.0.lock();
        if inner.broken {
            return Err(Broken);
        }
        let id = inner.next_id();
        let seat = Seat {
            question: Some(question),
            answer: None,
            waker: None,
            abandoned: false,
        };
        inner.seats.insert(id, seat);
        Ok(Entry { waiters: self, id })
    }

    /// What an answer that has come is to be read with. An id that nobody knows answers a message whose answer does not
    /// matter.
    pub(crate) fn question(&self, id: u64) -> Option<Question> {
        self.0.lock().seats.get_mut(&id)?.question.take()
    }

    /// Hands an answer over. If nobody waits any more, dropping it gives back what it grants.
    pub(crate) fn answer(&self, id: u64, answer: Result<Answer>) {
        let mut inner = self.0.lock();
        let Some(seat) = inner.seats.get_mut(&id).filter(|seat| !seat.abandoned) else {
            inner.seats.remove(&id);
            drop(inner);
            return drop(answer);
        };
        seat.answer = Some(answer);
        let waker = seat.waker.take();
        drop(inner);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// The answer, once it is there.
    pub(crate) fn poll(&self, id: u64, context: &mut Context<'_>) -> Poll<Result<Result<Answer>, Broken>> {
        let mut inner = self.0.lock();
        let Some(seat) = inner.seats.get_mut(&id) else {
            return Poll::Ready(Err(Broken));
        };
        if let Some(answer) = seat.answer.take() {
            inner.seats.remove(&id);
            return Poll::Ready(Ok(answer));
        }
        match &mut seat.waker {
            Some(waker) => waker.clone_from(context.waker()),
            none => *none = Some(context.waker().clone()),
        }
        Poll::Pending
    }

    /// The caller has its answer, or does not wait for it any more.
    pub(crate) fn leave(&self, id: u64) {
        let mut inner = self.0.lock();
        match inner.seats.get_mut(&id) {
            Some(seat) if seat.question.is_some() => seat.abandoned = true,
            Some(_) => {
                let seat = inner.seats.remove(&id);
                drop(inner);
                drop(seat);
            }
            None => {}
        }
    }

    pub(crate) fn are_broken(&self) -> bool {
        self.0.lock().broken
    }

    /// No answer will come any more, besides those that are here.
    pub(crate) fn break_off(&self) {
        let mut inner = self.0.lock();
        inner.broken = true;
        let unanswered = inner
            .seats
            .extract_if(|_, seat| seat.answer.is_none())
            .collect::<Vec<_>>();
        drop(inner);
        for waker in unanswered.into_iter().filter_map(|(_, seat)| seat.waker) {
            waker.wake();
        }
    }
}

impl Inner {
    fn next_id(&mut self) -> u64 {
        self.last_id += 1;
        self.last_id
    }
}

impl Entry<'_> {
    pub(crate) fn id(&self) -> u64 {
        self.id
    }

    /// From now on the answer may come.
    pub(crate) fn sent(self) -> u64 {
        let id = self.id;
        std::mem::forget(self);
        id
    }
}

impl Drop for Entry<'_> {
    fn drop(&mut self) {
        self.waiters.0.lock().seats.remove(&self.id);
    }
}
