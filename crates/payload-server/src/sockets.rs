//! The sockets on which the server listens: its own, or those on which the service manager listens for it.

use std::collections::HashMap;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use payload_socket::Listener;
use rustix::net::{SocketAddrUnix, SocketType, getsockname, sockopt};

/// What a socket that is handed over must be called (`FileDescriptorName=`), so that it is known what it is for.
pub(crate) const GRPC: &str = "grpc";
pub(crate) const HTTP: &str = "http";
pub(crate) const BYTES: &str = "bytes";
pub(crate) const LOCAL: &str = "local";
pub(crate) const GRPC_SOCKET: &str = "grpc-socket";
const NAMES: [&str; 5] = [GRPC, HTTP, BYTES, LOCAL, GRPC_SOCKET];

/// Where sockets come from.
#[derive(Debug, Default)]
pub(crate) struct Sockets {
    handed: HashMap<String, OwnedFd>,
    /// Files of own sockets that nobody else removes.
    own_files: Vec<PathBuf>,
}

impl Sockets {
    /// With those that the manager handed over.
    pub(crate) fn new(handed: Vec<(String, OwnedFd)>) -> Result<Self> {
        let mut sockets = Self::default();
        for (name, fd) in handed {
            ensure!(
                NAMES.contains(&name.as_str()),
                "a socket was handed over under the name {name:?}, which is none of {}; set FileDescriptorName=",
                NAMES.join(", ")
            );
            let listens = sockopt::socket_acceptconn(&fd).unwrap_or(false);
            ensure!(
                listens,
                "what was handed over as {name:?} is no listening socket; set Accept=no"
            );
            if sockets.handed.insert(name.clone(), fd).is_some() {
                bail!("two sockets were handed over as {name:?}, and there can be one");
            }
        }
        Ok(sockets)
    }

    /// A listener on loopback, for callers with an event loop.
    pub(crate) fn tcp(&mut self, name: &'static str, configured: SocketAddr) -> Result<TcpListener> {
        let listener = match self.take(name, SocketType::STREAM)? {
            Some(fd) => {
                let listener = TcpListener::from(fd);
                let address = listener.local_addr();
                let address = address.with_context(|| format!("the socket handed over as {name:?} is not of TCP"))?;
                ensure!(
                    address.ip().is_loopback(),
                    "the socket handed over as {name:?} listens on {address}; only loopback addresses are allowed until \
                     TLS and authentication exist"
                );
                listener
            }
            None => TcpListener::bind(configured)
                .with_context(|| format!("cannot listen on {configured}; that is {name}.listen"))?,
        };
        listener.set_nonblocking(true)?;
        Ok(listener)
    }

    /// The local socket, and where it is.
    pub(crate) fn local(&mut self, usual: PathBuf, mode: u32) -> Result<(Listener, PathBuf)> {
        if let Some(fd) = self.take(LOCAL, SocketType::SEQPACKET)? {
            let path = path_of(LOCAL, &fd)?;
            return Ok((Listener::lent(fd)?, path));
        }
        let listener = Listener::bind(&usual, mode);
        let listener = listener.with_context(|| format!("cannot listen on {}", usual.display()))?;
        Ok((listener, usual))
    }

    /// The unix socket of gRPC, and where it is.
    pub(crate) fn grpc_unix(&mut self, usual: PathBuf, mode: u32) -> Result<(UnixListener, PathBuf)> {
        let (listener, path) = match self.take(GRPC_SOCKET, SocketType::STREAM)? {
            Some(fd) => {
                let path = path_of(GRPC_SOCKET, &fd)?;
                (UnixListener::from(fd), path)
            }
            None => {
                let bound = bind_unix(&usual, mode);
                let listener = bound.with_context(|| format!("cannot listen on {}", usual.display()))?;
                self.own_files.push(usual.clone());
                (listener, usual)
            }
        };
        listener.set_nonblocking(true)?;
        Ok((listener, path))
    }

    /// Removes the files of own sockets. Those of others, on which clients wait for the next server, stay.
    pub(crate) fn remove_files(&self) {
        for file in &self.own_files {
            // Somebody may have cleaned up already.
            let _ = std::fs::remove_file(file);
        }
    }

    fn take(&mut self, name: &'static str, kind: SocketType) -> Result<Option<OwnedFd>> {
        let Some(fd) = self.handed.remove(name) else {
            return Ok(None);
        };
        let stanza = match kind {
            SocketType::SEQPACKET => "ListenSequentialPacket=",
            _ => "ListenStream=",
        };
        ensure!(
            sockopt::socket_type(&fd)? == kind,
            "the socket handed over as {name:?} is of the wrong kind; it must come from {stanza}"
        );
        Ok(Some(fd))
    }
}

/// The file of a unix socket, which clients are told.
fn path_of(name: &str, fd: &OwnedFd) -> Result<PathBuf> {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    let address = SocketAddrUnix::try_from(getsockname(fd)?).ok();
    let path = address.as_ref().and_then(SocketAddrUnix::path_bytes);
    let path = path.map(|path| PathBuf::from(OsStr::from_bytes(path)));
    path.filter(|path| path.is_absolute())
        .with_context(|| format!("the socket handed over as {name:?} has no path"))
}

fn bind_unix(path: &Path, mode: u32) -> std::io::Result<UnixListener> {
    // The directory is locked: whatever is left there belongs to a server that has died.
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let directory = std::fs::File::open(path.parent().unwrap_or(Path::new("/")))?;
    let name = path.file_name().unwrap_or_default();
    // A socket address holds 107 bytes, a path may be longer.
    let short = Path::new("/proc/self/fd")
        .join(directory.as_raw_fd().to_string())
        .join(name);
    let listener = UnixListener::bind(short)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))?;
    Ok(listener)
}
