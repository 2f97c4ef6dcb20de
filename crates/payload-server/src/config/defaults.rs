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

/// The address `places` after gRPC's, if there is one.
pub(super) fn listen_after(grpc: SocketAddr, places: u16) -> Option<SocketAddr> {
    let port = match grpc.port() {
        0 => 0,
        port => port.checked_add(places)?,
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
    fn the_other_listeners_follow_grpc() {
        let after = |grpc: &str, places| listen_after(grpc.parse().unwrap(), places).map(|address| address.to_string());
        assert_eq!(after("127.0.0.1:7600", 1).as_deref(), Some("127.0.0.1:7601"));
        assert_eq!(after("127.0.0.1:7600", 2).as_deref(), Some("127.0.0.1:7602"));
        assert_eq!(after("[::1]:0", 2).as_deref(), Some("[::1]:0"));
        assert_eq!(after("127.0.0.1:65535", 1), None);
        assert_eq!(after("127.0.0.1:65534", 2), None);
    }
}
