//! The defaults that are computed from the machine or from other settings. All others stand in the table of keys.

use std::net::SocketAddr;
use std::path::PathBuf;

/// The data directory's usual place, if there is one for this user.
pub(super) fn data_dir(env: &[(String, String)], root: bool) -> Option<PathBuf> {
    if root {
        return Some(PathBuf::from("/var/lib/payload-manager"));
    }
    let variable = |name: &str| {
        let value = env.iter().find(|(key, _)| key == name)?;
        // Relative paths there are to be ignored, says the XDG base directory specification.
        Some(PathBuf::from(&value.1)).filter(|path| path.is_absolute())
    };
    let data_home = variable("XDG_DATA_HOME").or_else(|| Some(variable("HOME")?.join(".local/share")))?;
    Some(data_home.join("payload-manager"))
}

/// The address after gRPC's, if there is one.
pub(super) fn http_listen(grpc: SocketAddr) -> Option<SocketAddr> {
    let port = match grpc.port() {
        0 => 0,
        port => port.checked_add(1)?,
    };
    Some(SocketAddr::new(grpc.ip(), port))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect()
    }

    #[test]
    fn the_data_directory_follows_the_user() {
        let home = env(&[("HOME", "/home/ada")]);
        let xdg = env(&[("HOME", "/home/ada"), ("XDG_DATA_HOME", "/data")]);
        let relative = env(&[("HOME", "/home/ada"), ("XDG_DATA_HOME", "data")]);
        assert_eq!(data_dir(&xdg, true), Some("/var/lib/payload-manager".into()));
        assert_eq!(data_dir(&xdg, false), Some("/data/payload-manager".into()));
        assert_eq!(
            data_dir(&home, false),
            Some("/home/ada/.local/share/payload-manager".into())
        );
        assert_eq!(data_dir(&relative, false), data_dir(&home, false));
        assert_eq!(data_dir(&[], false), None);
    }

    #[test]
    fn http_follows_grpc() {
        let http = |grpc: &str| http_listen(grpc.parse().unwrap()).map(|address| address.to_string());
        assert_eq!(http("127.0.0.1:7600").as_deref(), Some("127.0.0.1:7601"));
        assert_eq!(http("[::1]:0").as_deref(), Some("[::1]:0"));
        assert_eq!(http("127.0.0.1:65535"), None);
    }
}
