//! The data directory: one running server, an identity that stays, and a file that says where to connect.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use payload_core::NodeId;
use payload_core::port::Entropy;
use payload_engine::Key;
use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};

/// Held by the one server that may use the directory.
pub(crate) struct DataDir {
    path: PathBuf,
    _lock: File,
}

/// What `endpoint.json` says while the server is ready.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Endpoint {
    pub(crate) grpc: String,
    pub(crate) grpc_socket: PathBuf,
    pub(crate) socket: PathBuf,
    pub(crate) http: String,
    pub(crate) bytes: String,
    /// Of the serving process, not of the keeper.
    pub(crate) pid: u32,
}

#[derive(Serialize, Deserialize)]
struct NodeFile {
    node_id: String,
}

impl DataDir {
    /// Makes the directory if need be and takes it over, or says who has it. `shared`: other users may reach the
    /// sockets in it.
    pub(crate) fn open(path: &Path, shared: bool) -> anyhow::Result<Self> {
        let make = || create(path).and_then(|()| open_to(path, shared));
        make().with_context(|| format!("cannot make the data directory {}", path.display()))?;
        let file = path.join("lock");
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(&file);
        let lock = lock.with_context(|| format!("cannot open {}", file.display()))?;
        // The lock belongs to the open file: it ends with this process however it dies, and no child inherits it.
        match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Self {
                path: path.to_owned(),
                _lock: lock,
            }),
            Err(error) if error == rustix::io::Errno::WOULDBLOCK => bail!("{}", in_use(path)),
            Err(error) => Err(error).with_context(|| format!("cannot lock {}", file.display())),
        }
    }

    pub(crate) fn join(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// The node's name and its secret; made at the first start.
    pub(crate) fn identity(
        &self,
        new_node: impl FnOnce() -> NodeId,
        entropy: &dyn Entropy,
    ) -> anyhow::Result<(NodeId, Key)> {
        let file = self.join("node.json");
        let node = match std::fs::read(&file) {
            Ok(bytes) => {
                let parsed: NodeFile =
                    serde_json::from_slice(&bytes).with_context(|| format!("{} is damaged", file.display()))?;
                let bytes: uuid::Uuid = parsed
                    .node_id
                    .parse()
                    .with_context(|| format!("{} is damaged", file.display()))?;
                NodeId::from_bytes(bytes.into_bytes()).with_context(|| format!("{} is damaged", file.display()))?
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let node = new_node();
                let text = serde_json::to_vec_pretty(&NodeFile {
                    node_id: node.to_string(),
                })?;
                self.write_new("node.json", &text)?;
                node
            }
            Err(error) => return Err(error).with_context(|| format!("cannot read {}", file.display())),
        };
        Ok((node, self.key(entropy)?))
    }

    fn key(&self, entropy: &dyn Entropy) -> anyhow::Result<Key> {
        let file = self.join("node.key");
        let mut key = [0u8; 32];
        match File::open(&file) {
            Ok(mut open) => open
                .read_exact(&mut key)
                .with_context(|| format!("{} is damaged; remove it to get a new one", file.display()))?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                entropy.fill(&mut key);
                self.write_new("node.key", &key)?;
            }
            Err(error) => return Err(error).with_context(|| format!("cannot read {}", file.display())),
        }
        Ok(Key::new(key))
    }

    /// Whether an earlier server granted leases from afar that may still be live.
    pub(crate) fn had_remote_leases(&self) -> bool {
        self.join("remote-leases").exists()
    }

    /// Forgets them, once they are over.
    pub(crate) fn clear_remote_leases(&self) {
        let _ = std::fs::remove_file(self.join("remote-leases"));
    }

    /// Tells clients where to connect.
    pub(crate) fn publish(&self, endpoint: &Endpoint) -> anyhow::Result<()> {
        self.write_new("endpoint.json", &serde_json::to_vec_pretty(endpoint)?)
    }

    /// Tells clients that nobody is there any more.
    pub(crate) fn unpublish(&self) {
        let _ = std::fs::remove_file(self.join("endpoint.json"));
    }

    /// A file that is there whole or not at all.
    fn write_new(&self, name: &str, bytes: &[u8]) -> anyhow::Result<()> {
        let (temporary, file) = (self.join(&format!("{name}.new")), self.join(name));
        let write = || -> io::Result<()> {
            let mut open = OpenOptions::new()
                .create(true)
                .truncate(true)
                .write(true)
                .mode(0o600)
                .open(&temporary)?;
            open.write_all(bytes)?;
            open.sync_all()?;
            if name == "endpoint.json" {
                // Others may look where to connect; the sockets themselves check who they are.
                open.set_permissions(std::fs::Permissions::from_mode(0o644))?;
            }
            std::fs::rename(&temporary, &file)?;
            File::open(&self.path)?.sync_all()
        };
        write().with_context(|| format!("cannot write {}", file.display()))
    }
}

/// Notes down that leases from afar may be live.
pub(crate) fn mark_remote_leases(path: &Path) -> payload_core::Result<()> {
    File::create(path.join("remote-leases")).map(drop).map_err(|error| {
        payload_core::Error::new(payload_core::Reason::Internal, "cannot write in the data directory").source(error)
    })
}

/// Makes the directory if need be, for this user alone.
pub(crate) fn create(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

fn open_to(path: &Path, shared: bool) -> io::Result<()> {
    let mode = if shared { 0o711 } else { 0o700 };
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))
}

fn in_use(path: &Path) -> String {
    let endpoint = std::fs::read(path.join("endpoint.json")).ok();
    let endpoint: Option<Endpoint> = endpoint.and_then(|bytes| serde_json::from_slice(&bytes).ok());
    let by = endpoint.map_or_else(String::new, |endpoint| format!(" by process {}", endpoint.pid));
    format!(
        "the data directory {} is in use{by}; stop that server or name another --data-dir",
        path.display()
    )
}
