//! Where the server is: found by what the caller says, the environment, or the default data directory.

use std::path::{Path, PathBuf};

use payload_core::{Error, Reason, Result};
use serde::Deserialize;

/// The environment variable that names the server.
const VARIABLE: &str = "PAYLOAD_ENDPOINT";

/// How to reach one server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint(Source);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Source {
    /// A gRPC address and nothing else: the server may be on another host.
    Address(String),
    /// A file that the server wrote; read again for every connection, because a new server writes a new one.
    File(PathBuf),
}

/// What an endpoint says at this moment.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Addresses {
    pub(crate) grpc: String,
    #[serde(default)]
    pub(crate) grpc_socket: Option<PathBuf>,
    #[serde(default)]
    pub(crate) socket: Option<PathBuf>,
}

impl Endpoint {
    /// A server by its gRPC address, such as `http://127.0.0.1:7600`.
    pub fn address(address: impl Into<String>) -> Self {
        Self(Source::Address(address.into()))
    }

    /// A server by the endpoint file that it writes into its data directory.
    pub fn file(path: impl Into<PathBuf>) -> Self {
        Self(Source::File(path.into()))
    }

    /// The server that `explicit` names, else `PAYLOAD_ENDPOINT`, else the one in the default data directory. A name is
    /// an `http://` address or the path of an endpoint file.
    pub fn discover(explicit: Option<&str>) -> Result<Self> {
        let named = explicit
            .map(str::to_owned)
            .or_else(|| std::env::var(VARIABLE).ok())
            .filter(|name| !name.is_empty());
        match named {
            Some(name) => Self::parse(&name),
            None => Ok(Self::file(default_directory()?.join("endpoint.json"))),
        }
    }

    fn parse(name: &str) -> Result<Self> {
        if name.starts_with("http://") {
            return Ok(Self::address(name));
        }
        if name.contains("://") {
            return Err(Error::invalid(
                Reason::BadRequest,
                format!("endpoint {name:?} is neither an http:// address nor the path of an endpoint file"),
            )
            .field("endpoint"));
        }
        Ok(Self::file(name))
    }

    /// Whether this is a file that a server has written. One that stops on purpose removes it; one that was killed leaves
    /// it, and is usually on its way back.
    pub fn is_published(&self) -> bool {
        matches!(&self.0, Source::File(path) if path.exists())
    }

    /// Reads the file, if it is one.
    pub(crate) fn addresses(&self) -> Result<Addresses> {
        match &self.0 {
            Source::Address(address) => Ok(Addresses {
                grpc: address.clone(),
                grpc_socket: None,
                socket: None,
            }),
            Source::File(path) => read(path),
        }
    }
}

impl std::fmt::Display for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.0 {
            Source::Address(address) => f.write_str(address),
            Source::File(path) => path.display().fmt(f),
        }
    }
}

fn read(path: &Path) -> Result<Addresses> {
    let text = std::fs::read(path).map_err(|error| {
        let why = format!("no server has written {}: {error}", path.display());
        Error::new(Reason::ConnectionLost, why).source(error)
    })?;
    serde_json::from_slice(&text).map_err(|error| {
        let why = format!("{} is not an endpoint file: {error}", path.display());
        Error::invalid(Reason::BadRequest, why).field("endpoint").source(error)
    })
}

fn default_directory() -> Result<PathBuf> {
    if rustix::process::geteuid().is_root() {
        return Ok("/var/lib/payload-manager".into());
    }
    let data = match std::env::var_os("XDG_DATA_HOME").filter(|path| Path::new(path).is_absolute()) {
        Some(path) => PathBuf::from(path),
        None => {
            let home = std::env::var_os("HOME").ok_or_else(|| {
                Error::invalid(Reason::BadRequest, "neither an endpoint nor HOME is set").field("endpoint")
            })?;
            PathBuf::from(home).join(".local/share")
        }
    };
    Ok(data.join("payload-manager"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_an_address_or_a_file() {
        assert_eq!(
            Endpoint::parse("http://127.0.0.1:7600").unwrap(),
            Endpoint::address("http://127.0.0.1:7600")
        );
        assert_eq!(
            Endpoint::parse("/x/endpoint.json").unwrap(),
            Endpoint::file("/x/endpoint.json")
        );
        assert_eq!(Endpoint::parse("ftp://x").unwrap_err().reason(), Reason::BadRequest);
    }

    #[test]
    fn a_file_may_know_more_than_this_client_and_must_be_whole() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("endpoint.json");
        let endpoint = Endpoint::file(&path);
        assert_eq!(endpoint.addresses().unwrap_err().reason(), Reason::ConnectionLost);
        std::fs::write(
            &path,
            r#"{"grpc":"http://127.0.0.1:1","socket":"/s","pid":7,"new":true}"#,
        )
        .unwrap();
        let addresses = endpoint.addresses().unwrap();
        assert_eq!((addresses.socket, addresses.grpc_socket), (Some("/s".into()), None));
        std::fs::write(&path, r#"{"gr"#).unwrap();
        assert_eq!(endpoint.addresses().unwrap_err().reason(), Reason::BadRequest);
    }
}
