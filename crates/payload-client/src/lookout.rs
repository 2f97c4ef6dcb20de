//! Who looks out for messages: one task at a time, which takes in whatever comes, for everybody.
//!
//! A caller that waits for its answer looks out itself: a message then wakes the task that most likely wants it, and no
//! other. When it leaves, a background task, the watchman, takes its place, so that notices, the end of the connection
//! and the answers of other callers are never without somebody to take them in. The last to have polled the socket is
//! the one who is woken; that rule is the event loop's own.

use std::io::ErrorKind;
use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker};

use parking_lot::{Mutex, MutexGuard};
use payload_core::{Result, limits};
use payload_proto::v1;
use prost::Message;

use crate::intake::{self, Answer};
use crate::link::Link;
use crate::options::Patience;
use crate::session::Session;
use crate::stamina::Stamina;
use crate::waiters::Broken;

/// The receiving half of a connection.
#[derive(Debug, Default)]
pub(crate) struct Lookout {
    desk: Mutex<Desk>,
    /// Somebody was woken while another one was at the desk, and went to sleep again.
    turned_away: AtomicBool,
    watchman: Mutex<Option<Waker>>,
    pub(crate) stamina: Stamina,
}

/// Whoever holds it reads.
#[derive(Debug)]
struct Desk {
    buffer: Vec<u8>,
    fds: Vec<OwnedFd>,
    /// The caller that the event loop wakes; none while that is the watchman.
    on_duty: Option<u64>,
}

impl Default for Desk {
    fn default() -> Self {
        Self {
            buffer: vec![0; limits::MESSAGE_SIZE_MAX],
            fds: Vec::new(),
            on_duty: None,
        }
    }
}

/// The answer to a question that was sent. Dropping it stops waiting, but not the answer.
#[derive(Debug)]
pub(crate) struct Reply<'a> {
    link: &'a Link,
    session: &'a Session,
    id: u64,
    /// What to try before the event loop.
    patience: Patience,
}

impl<'a> Reply<'a> {
    pub(crate) fn new(link: &'a Link, session: &'a Session, id: u64, patience: Patience) -> Self {
        Self {
            link,
            session,
            id,
            patience,
        }
    }
}

impl Future for Reply<'_> {
    type Output = Result<Result<Answer>, Broken>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let patience = std::mem::take(&mut self.patience);
        let Self { link, session, id, .. } = *self;
        let held_on = link.hold_on(session, id, patience);
        if let Some(own) = held_on.or_else(|| link.look(session, Some(id), context)) {
            return Poll::Ready(Ok(own));
        }
        link.waiters.poll(id, context)
    }
}

impl Drop for Reply<'_> {
    fn drop(&mut self) {
        self.link.waiters.leave(self.id);
        self.link.relieve(self.id);
    }
}

impl Link {
    /// Takes in what is there and looks out for more, on behalf of a caller or of the watchman. The caller's own answer
    /// comes back without a detour.
    fn look(&self, session: &Session, caller: Option<u64>, context: &mut Context<'_>) -> Option<Result<Answer>> {
        let mut desk = self.sit_down()?;
        desk.on_duty = caller;
        let mut own = None;
        loop {
            let Desk { buffer, fds, .. } = &mut *desk;
            let Poll::Ready(received) = self.socket.poll_recv(context, buffer, fds) else {
                break;
            };
            match self.take_in(session, caller, received, &mut desk) {
                Ok(answer) => own = answer.or(own),
                Err(Broken) => break,
            }
        }
        self.stand_up(desk);
        own
    }

    /// The same past the event loop, for as long as the patience lasts; then nothing comes back.
    fn hold_on(&self, session: &Session, caller: u64, patience: Patience) -> Option<Result<Answer>> {
        let attempts = self.lookout.stamina.attempts(patience)?;
        let mut desk = self.lookout.desk.try_lock()?;
        let own = loop {
            let Desk { buffer, fds, .. } = &mut *desk;
            let received = match patience {
                Patience::Block(_) => self.socket.recv(buffer, fds),
                Patience::Yield | Patience::Spin(_) => self.socket.try_recv(buffer, fds),
            };
            let in_vain = matches!(&received, Err(error) if error.kind() == ErrorKind::WouldBlock);
            if in_vain {
                if attempts.has_another() {
                    continue;
                }
                break None;
            }
            match self.take_in(session, Some(caller), received, &mut desk) {
                Ok(None) => {}
                Ok(own) => break own,
                Err(Broken) => break None,
            }
        };
        self.stand_up(desk);
        self.lookout.stamina.learn(own.is_some());
        own
    }

    /// Deals with what was received, for everybody but the caller whose own answer comes back.
    fn take_in(
        &self,
        session: &Session,
        caller: Option<u64>,
        received: std::io::Result<Option<usize>>,
        desk: &mut Desk,
    ) -> Result<Option<Result<Answer>>, Broken> {
        let message = received
            .ok()
            .flatten()
            .map(|len| v1::ServerMessage::decode(&desk.buffer[..len]));
        // A message that lost its descriptors is an error too: its answer is gone, so the connection must end.
        let Some(Ok(message)) = message else {
            self.give_up();
            self.wake_watchman();
            return Err(Broken);
        };
        let fds = desk.fds.drain(..).map(Some).collect();
        let id = message.correlation_id;
        if id == 0 {
            intake::notice(session, &self.subscriptions, message, fds);
            return Ok(None);
        }
        let Some(question) = self.waiters.question(id) else {
            return Ok(None);
        };
        let answer = intake::answer(session, &question, message, fds);
        if caller == Some(id) {
            return Ok(Some(answer));
        }
        self.waiters.answer(id, answer);
        Ok(None)
    }

    /// The desk, unless somebody is there who takes in everything anyway.
    fn sit_down(&self) -> Option<MutexGuard<'_, Desk>> {
        self.lookout.desk.try_lock().or_else(|| {
            self.lookout.turned_away.store(true, Ordering::SeqCst);
            // Whoever was there may have left before it could see the mark.
            self.lookout.desk.try_lock()
        })
    }

    fn stand_up(&self, desk: MutexGuard<'_, Desk>) {
        drop(desk);
        if self.lookout.turned_away.swap(false, Ordering::SeqCst) {
            self.wake_watchman();
        }
    }

    /// The watchman takes the place of a caller that leaves, if the event loop would wake that one.
    fn relieve(&self, caller: u64) {
        let Some(mut desk) = self.sit_down() else { return };
        if desk.on_duty == Some(caller) {
            desk.on_duty = None;
            if let Some(watchman) = &*self.lookout.watchman.lock() {
                self.socket.wake_instead(watchman);
            }
        }
        self.stand_up(desk);
    }

    fn wake_watchman(&self) {
        if let Some(watchman) = &*self.lookout.watchman.lock() {
            watchman.wake_by_ref();
        }
    }
}

/// The watchman, from the first message to the end of the connection.
pub(crate) async fn watch(link: Arc<Link>, session: Arc<Session>) {
    std::future::poll_fn(|context| {
        *link.lookout.watchman.lock() = Some(context.waker().clone());
        link.look(&session, None, context);
        if link.is_broken() {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    })
    .await;
    link.give_up();
}
