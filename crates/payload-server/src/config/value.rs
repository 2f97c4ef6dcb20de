//! How each kind of value is written: what is accepted, what is refused and why, and how it is shown.

use std::fmt::{self, Display};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use super::problem::{Fault, nearest};

/// A value as somebody wrote it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Written {
    /// A string of the file.
    Text(String),
    /// An integer of the file, in decimal digits.
    Number(String),
    /// An array of the file.
    List(Vec<Written>),
    /// Something of the file that no key takes; its type's name.
    Other(&'static str),
    /// From the environment, the command line or the table of defaults, where everything is text.
    Words(String),
}

impl Written {
    /// The text, for values that are strings in the file. `example` is what one would look like.
    pub(super) fn text(&self, example: &str) -> Result<&str, Fault> {
        let found = match self {
            Self::Text(text) | Self::Words(text) => return Ok(text),
            Self::Number(_) => "a bare number",
            Self::List(_) => "a list",
            Self::Other(name) => name,
        };
        Err(Fault::new(format!("expected a string, found {found}")).hint(format!("write it like \"{example}\"")))
    }

    /// A whole number, without a unit.
    fn whole<T: FromStr>(&self) -> Result<T, Fault> {
        let digits = match self {
            Self::Number(digits) | Self::Words(digits) => digits.trim(),
            Self::Text(text) => {
                return Err(
                    Fault::new("expected a whole number, found a string").hint(format!("write {text} without quotes"))
                );
            }
            Self::List(_) => return Err(Fault::new("expected a whole number, found a list")),
            Self::Other(name) => return Err(Fault::new(format!("expected a whole number, found {name}"))),
        };
        digits
            .parse()
            .map_err(|_| Fault::new(format!("{digits:?} is not a whole number in range")))
    }
}

/// A type of setting.
pub(super) trait Value: Sized {
    /// What the reference calls it.
    const KIND: &'static str;

    /// Parses it.
    fn read(written: &Written) -> Result<Self, Fault>;

    /// As it would be written in the file; parses back to the same.
    fn show(&self) -> String;
}

impl Value for u32 {
    const KIND: &'static str = "number";

    fn read(written: &Written) -> Result<Self, Fault> {
        written.whole()
    }

    fn show(&self) -> String {
        self.to_string()
    }
}

impl Value for PathBuf {
    const KIND: &'static str = "path";

    fn read(written: &Written) -> Result<Self, Fault> {
        let text = written.text("/var/lib/payload-manager")?;
        if text.is_empty() || text.contains('\0') {
            return Err(Fault::new("expected a path"));
        }
        std::path::absolute(Path::new(text))
            .map_err(|error| Fault::new(format!("cannot make {text:?} absolute: {error}")))
    }

    fn show(&self) -> String {
        quote(self.display())
    }
}

impl Value for SocketAddr {
    const KIND: &'static str = "address";

    fn read(written: &Written) -> Result<Self, Fault> {
        let text = written.text("127.0.0.1:7600")?;
        let address: Self = text.parse().map_err(|_| {
            let hint = match text.strip_prefix("localhost:") {
                Some(port) => format!("write \"127.0.0.1:{port}\""),
                None => "write it like \"127.0.0.1:7600\"".to_owned(),
            };
            Fault::new(format!("{text:?} is not an IP address with a port")).hint(hint)
        })?;
        if !address.ip().is_loopback() {
            return Err(Fault::new(format!(
                "{address} is not a loopback address; until TLS and authentication exist only loopback addresses are allowed"
            ))
            .hint(format!("write \"127.0.0.1:{}\"", address.port())));
        }
        Ok(address)
    }

    fn show(&self) -> String {
        quote(self)
    }
}

impl Value for Vec<u32> {
    const KIND: &'static str = "list of numbers";

    fn read(written: &Written) -> Result<Self, Fault> {
        match written {
            Written::List(items) => items.iter().map(Written::whole).collect(),
            Written::Words(text) if text.trim().is_empty() => Ok(Self::new()),
            Written::Words(text) => text
                .split(',')
                .map(|item| Written::Words(item.to_owned()).whole())
                .collect(),
            _ => Err(Fault::new("expected a list of numbers").hint("write it like [1000, 1001]")),
        }
    }

    fn show(&self) -> String {
        format!("{self:?}")
    }
}

/// Declares a setting that is one of a few words.
macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$word_doc:meta])* $variant:ident = $word:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum $name { $($(#[$word_doc])* $variant,)+ }

        impl Value for $name {
            const KIND: &'static str = concat!($("\"", $word, "\" ",)+);

            fn read(written: &Written) -> Result<Self, Fault> {
                match one_of(written, &[$($word),+])? {
                    $($word => Ok(Self::$variant),)+
                    other => Err(Fault::new(format!("{other:?} is not known"))),
                }
            }

            fn show(&self) -> String {
                quote(match self { $(Self::$variant => $word,)+ })
            }
        }
    };
}

words! {
    /// How log lines look.
    LogFormat {
        /// For people.
        Text = "text",
        /// One JSON object a line.
        Json = "json",
    }
}

words! {
    /// What is done about a database whose settings are unsafe.
    UnsafeSettings {
        /// The server does not start.
        Refuse = "refuse",
        /// The operator answers for them.
        Accept = "accept",
    }
}

words! {
    /// Who keeps segments while the server is not running.
    KeeperKind {
        /// The process that supervises the server.
        BuiltIn = "built-in",
        /// The service manager, in its file descriptor store.
        Systemd = "systemd",
        /// Nobody: RAM payloads die with the server.
        None = "none",
    }
}

pub(super) fn one_of<'a>(written: &'a Written, words: &[&'static str]) -> Result<&'a str, Fault> {
    let text = written.text(words[0])?;
    if words.contains(&text) {
        return Ok(text);
    }
    let fault = Fault::new(format!("{text:?} is none of {}", words.join(", ")));
    Err(match nearest(text, words.iter().copied()) {
        Some(word) => fault.hint(format!("did you mean \"{word}\"?")),
        None => fault,
    })
}

/// Where the catalog is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum RepositoryUrl {
    /// `sqlite:` (the data directory's `catalog.db`), or `sqlite:` and an absolute path.
    Sqlite(Option<PathBuf>),
    /// `postgres:` and all that a connection needs.
    Postgres(Secret),
    /// `memory:`; nothing is kept over a restart.
    Memory,
}

/// A connection string, which may have a password in it. It is never shown.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Secret(String);

impl Secret {
    /// For whoever connects.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

impl Value for RepositoryUrl {
    const KIND: &'static str = "url";

    fn read(written: &Written) -> Result<Self, Fault> {
        let text = written.text("sqlite:")?;
        match text.split_once(':') {
            Some(("memory", "")) => Ok(Self::Memory),
            Some(("sqlite", "")) => Ok(Self::Sqlite(None)),
            Some(("sqlite", path)) if path.starts_with('/') && !path.starts_with("//") => {
                Ok(Self::Sqlite(Some(PathBuf::from(path))))
            }
            Some(("sqlite", path)) => Err(Fault::new(format!("{path:?} is not an absolute path"))
                .hint("write \"sqlite:\" for the data directory's own file, or \"sqlite:/path/to/catalog.db\"")),
            Some(("postgres" | "postgresql", _)) => Ok(Self::Postgres(Secret(text.to_owned()))),
            // Nothing behind the colon is quoted: it may be a password.
            _ => Err(Fault::new(format!(
                "{:?} is not a repository that this server has",
                text.split(':').next().unwrap_or_default()
            ))
            .hint("write \"sqlite:\", \"postgres://…\" or \"memory:\"")),
        }
    }

    fn show(&self) -> String {
        match self {
            Self::Memory => quote("memory:"),
            Self::Postgres(_) => quote("postgres:…"),
            Self::Sqlite(None) => quote("sqlite:"),
            Self::Sqlite(Some(path)) => quote(format_args!("sqlite:{}", path.display())),
        }
    }
}

/// A TOML string. Debug formatting of Rust differs from TOML in rare escapes only, so those are written out here.
pub(super) fn quote(text: impl Display) -> String {
    let mut quoted = String::from("\"");
    for character in text.to_string().chars() {
        match character {
            '"' | '\\' => quoted.extend(['\\', character]),
            character if character.is_control() => quoted.push_str(&format!("\\u{:04X}", u32::from(character))),
            character => quoted.push(character),
        }
    }
    quoted.push('"');
    quoted
}
