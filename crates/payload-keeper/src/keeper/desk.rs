//! Whoever is connected to the keeper, and the answers to what they ask.

use std::io::ErrorKind;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use payload_core::SegmentId;
use payload_socket::Seqpacket;
use rustix::process::geteuid;

use super::segments::Segments;
use crate::protocol::{Fate, MESSAGE_SIZE_MAX, Operation, Refusal, Reply, Request, VERSION};

/// How many connections there are at most; a server needs one and an heir another.
const CONNECTIONS_MAX: usize = 16;

/// The connections and the segments they are about.
#[derive(Debug)]
pub(crate) struct Desk {
    connections: Vec<Connection>,
    pub(crate) segments: Segments,
}

#[derive(Debug)]
struct Connection {
    socket: Seqpacket,
    role: Role,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    Stranger,
    Server,
    Heir,
}

/// What the answers depend on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scene<'a> {
    /// The server that is alive and supervised.
    pub(crate) server: Option<u32>,
    /// No server lives, and none will be started.
    pub(crate) heir_welcome: bool,
    /// What an heir gets first.
    pub(crate) listener: BorrowedFd<'a>,
}

/// What a request means to the supervision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Notice {
    Greeted,
    Ready,
    Stopping(Fate),
    Taken,
}

/// A reply, and what goes with it.
struct Answer {
    reply: Reply,
    attached: Attached,
    notice: Option<Notice>,
}

/// The descriptors of a reply.
enum Attached {
    Nothing,
    Listener,
    BatchAfter(Option<SegmentId>),
}

impl Answer {
    fn plain(reply: Reply) -> Self {
        Self {
            reply,
            attached: Attached::Nothing,
            notice: None,
        }
    }

    fn done(notice: Notice) -> Self {
        Self {
            notice: Some(notice),
            ..Self::plain(Reply::Done)
        }
    }

    fn refused(why: Refusal) -> Self {
        let pid = std::process::id();
        Self::plain(Reply::Refused { why, pid })
    }
}

impl Desk {
    pub(crate) fn new(segments: Segments) -> Self {
        Self {
            connections: Vec::new(),
            segments,
        }
    }

    /// Lets somebody in: the user whose keeper this is, and root. When too many are connected, who has been a
    /// stranger for longest has to go.
    pub(crate) fn admit(&mut self, socket: Seqpacket) {
        match socket.peer() {
            Ok(peer) if peer.uid == geteuid().as_raw() || peer.uid == 0 => {}
            Ok(peer) => {
                tracing::warn!(peer.pid, peer.uid, "refused a connection of another user");
                return;
            }
            Err(error) => {
                tracing::warn!(%error, "refused a connection of nobody knows whom");
                return;
            }
        }
        let strangers = |connection: &Connection| connection.role == Role::Stranger;
        if self.connections.len() >= CONNECTIONS_MAX
            && let Some(oldest) = self.connections.iter().position(strangers)
        {
            self.close(oldest);
        }
        let role = Role::Stranger;
        self.connections.push(Connection { socket, role });
    }

    /// What to poll for reading, in the order of the indexes that `serve` takes.
    pub(crate) fn sockets(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.connections.iter().map(|connection| connection.socket.as_fd())
    }

    /// Ends the connection of a server that is dead.
    pub(crate) fn forget_server(&mut self) {
        while let Some(index) = self.with_role(Role::Server) {
            self.close(index);
        }
    }

    /// Whether an heir is taking over at this moment.
    pub(crate) fn has_heir(&self) -> bool {
        self.with_role(Role::Heir).is_some()
    }

    /// Answers one request of the connection at `index`, and closes it if it is over.
    pub(crate) fn serve(&mut self, index: usize, scene: &Scene<'_>) -> Option<Notice> {
        let (mut buffer, mut fds) = ([0; MESSAGE_SIZE_MAX], Vec::new());
        let answer = match self.connections[index].socket.try_recv(&mut buffer, &mut fds) {
            Ok(Some(len)) => match Request::decode(&buffer[..len]) {
                Some(request) => self.answer(index, &request, fds, scene),
                None => Answer::refused(Refusal::BadMessage),
            },
            Err(error) if error.kind() == ErrorKind::WouldBlock => return None,
            Err(error) if error.kind() == ErrorKind::InvalidData => Answer::refused(Refusal::Unreadable),
            Ok(None) | Err(_) => {
                self.close(index);
                return None;
            }
        };
        let fds = match answer.attached {
            Attached::Nothing => Vec::new(),
            Attached::Listener => vec![scene.listener],
            Attached::BatchAfter(after) => self.segments.batch(after).1,
        };
        // There is room for a reply, unless the peer sends requests without reading: then it is cut off.
        let sent = self.connections[index].socket.try_send(&answer.reply.encode(), &fds);
        if let Err(error) = sent {
            tracing::warn!(%error, "cannot reply");
            self.close(index);
        }
        answer.notice
    }

    fn answer(&mut self, index: usize, request: &Request, fds: Vec<OwnedFd>, scene: &Scene<'_>) -> Answer {
        let role = self.connections[index].role;
        match (request, role) {
            (Request::Hello { version } | Request::Takeover { version }, _) if *version != VERSION => {
                Answer::refused(Refusal::Version)
            }
            (Request::Hello { .. }, _) => self.greet(index, scene),
            (Request::Takeover { .. }, _) => self.promise(index, scene),
            (Request::Change(changes), Role::Server) => self.change(changes, fds),
            (Request::List { after }, Role::Server | Role::Heir) => self.list(*after),
            (Request::Ready, Role::Server) => Answer::done(Notice::Ready),
            (Request::Stopping(fate), Role::Server) => Answer::done(Notice::Stopping(*fate)),
            (Request::Taken, Role::Heir) => Answer::done(Notice::Taken),
            _ => Answer::refused(Refusal::NotAllowed),
        }
    }

    /// The latest connection of the supervised process is the server's.
    fn greet(&mut self, index: usize, scene: &Scene<'_>) -> Answer {
        let peer = self.connections[index].socket.peer();
        let pid = peer.ok().and_then(|peer| u32::try_from(peer.pid).ok());
        if pid.is_none() || pid != scene.server {
            return Answer::refused(Refusal::NotAllowed);
        }
        if let Some(earlier) = self.with_role(Role::Server) {
            self.connections[earlier].role = Role::Stranger;
        }
        self.connections[index].role = Role::Server;
        Answer::done(Notice::Greeted)
    }

    fn promise(&mut self, index: usize, scene: &Scene<'_>) -> Answer {
        if !scene.heir_welcome || self.has_heir() {
            return Answer::refused(Refusal::InUse);
        }
        self.connections[index].role = Role::Heir;
        Answer {
            attached: Attached::Listener,
            ..Answer::plain(Reply::Done)
        }
    }

    fn change(&mut self, changes: &[(Operation, SegmentId)], fds: Vec<OwnedFd>) -> Answer {
        let stores = changes.iter().filter(|(operation, _)| *operation == Operation::Store);
        if stores.count() != fds.len() {
            return Answer::refused(Refusal::BadMessage);
        }
        let mut fds = fds.into_iter();
        let room = changes.iter().map(|(operation, segment)| match operation {
            Operation::Store => fds.next().is_some_and(|fd| self.segments.store(*segment, fd)),
            Operation::Remove => {
                self.segments.remove(*segment);
                true
            }
        });
        Answer::plain(Reply::Changed(room.collect()))
    }

    fn list(&self, after: Option<SegmentId>) -> Answer {
        Answer {
            attached: Attached::BatchAfter(after),
            ..Answer::plain(Reply::Segments(self.segments.batch(after).0))
        }
    }

    fn with_role(&self, role: Role) -> Option<usize> {
        self.connections.iter().position(|connection| connection.role == role)
    }

    fn close(&mut self, index: usize) {
        let connection = self.connections.remove(index);
        // An adopted server's connection is also open as standard input, so that closing alone would not end it.
        let _over = connection.socket.shutdown();
    }
}
