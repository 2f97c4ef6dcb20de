//! What can be said about streams.

use std::time::Duration;

use clap::{Args as ClapArgs, Subcommand, ValueEnum};
use payload_client::{GroupName, PayloadId, StreamName};

use crate::human::{parse_duration, parse_size};

#[derive(Debug, Subcommand)]
pub(crate) enum StreamCommand {
    /// Make a stream
    Create {
        /// Its name: 1 to 127 of a-z, 0-9, '.', '_' and '-'
        name: StreamName,
        #[command(flatten)]
        settings: StreamSettings,
    },
    /// List streams
    Ls,
    /// Show all about a stream
    Show {
        /// Stream
        name: StreamName,
    },
    /// Change a stream's settings; what is not named stays
    Set {
        /// Stream
        name: StreamName,
        #[command(flatten)]
        settings: StreamSettings,
    },
    /// Delete a stream; what its entries hold is let go
    Rm {
        /// Stream
        name: StreamName,
    },
    /// Append payloads, all or none
    Append {
        /// Stream
        name: StreamName,
        /// Payloads
        #[arg(required = true)]
        ids: Vec<PayloadId>,
        /// A tag for every entry; may be given many times
        #[arg(long = "tag", value_name = "TAG")]
        tags: Vec<String>,
    },
    /// List entries
    Read {
        /// Stream
        name: StreamName,
        /// First entry: an offset, `earliest` or `latest`
        #[arg(long, default_value = "earliest", value_name = "OFFSET")]
        from: Position,
        /// At most so many
        #[arg(long, short = 'n', default_value_t = 100, value_name = "COUNT")]
        limit: usize,
        /// Only entries with this tag; may be given many times
        #[arg(long = "tag", value_name = "TAG")]
        tags: Vec<String>,
    },
    /// Print entries as they come, or give their payloads to a command
    Tail(TailArgs),
    /// Move a group forward
    Commit {
        /// Stream
        name: StreamName,
        /// Group
        #[arg(long)]
        group: GroupName,
        /// The next entry to read
        #[arg(long)]
        offset: u64,
    },
    /// List groups: how far they have come, and how far behind they are
    Groups {
        /// Stream
        name: StreamName,
    },
    /// Move a group anywhere; whoever follows it is shut out
    Reset {
        /// Stream
        name: StreamName,
        /// Group
        #[arg(long)]
        group: GroupName,
        /// Where to: an offset, `earliest` or `latest`
        #[arg(long, default_value = "earliest", value_name = "OFFSET")]
        to: Position,
    },
}

#[derive(ClapArgs, Clone, Debug)]
pub(crate) struct TailArgs {
    /// Stream
    pub(crate) name: StreamName,
    /// Go on from where this group is, as its only member, and commit each entry that was dealt with
    #[arg(long)]
    pub(crate) group: Option<GroupName>,
    /// First entry, without a group or for a new one: an offset, `earliest` or `latest`
    #[arg(long, default_value = "earliest", value_name = "OFFSET")]
    pub(crate) from: Position,
    /// Only entries with this tag; may be given many times
    #[arg(long = "tag", value_name = "TAG")]
    pub(crate) tags: Vec<String>,
    /// Wait for more at the end of the stream
    #[arg(long, short = 'f')]
    pub(crate) follow: bool,
    /// Run this with the shell for each entry, with the payload on its standard input; stop when it fails
    #[arg(long, value_name = "COMMAND")]
    pub(crate) exec: Option<String>,
    /// Make a payload of what the command prints, and append it to this stream in the moment in which the entry is committed
    #[arg(long, value_name = "STREAM", requires = "exec", requires = "group")]
    pub(crate) to: Option<StreamName>,
}

#[derive(ClapArgs, Clone, Debug, Default)]
pub(crate) struct StreamSettings {
    /// What entries do for their payloads [default: payload]
    #[arg(long, value_enum)]
    pub(crate) hold: Option<Hold>,
    /// At most so many entries stay
    #[arg(long, value_name = "COUNT")]
    pub(crate) keep_entries: Option<u64>,
    /// Entries stay at most so long, such as 10m, 12h or 7d
    #[arg(long, value_parser = parse_duration, value_name = "DURATION")]
    pub(crate) keep_for: Option<Duration>,
    /// Payloads of the entries that stay add up to at most so much, such as 500MiB
    #[arg(long, value_parser = parse_size, value_name = "SIZE")]
    pub(crate) keep_bytes: Option<u64>,
    /// The largest number of entries in one append [default: 1000]
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) batch_max: Option<u32>,
}

/// What an entry does for its payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Hold {
    /// Nothing.
    Nothing,
    /// It neither expires nor is it discarded.
    Payload,
}

/// A place in a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Position {
    Earliest,
    Latest,
    Offset(u64),
}

impl std::str::FromStr for Position {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "earliest" => Ok(Self::Earliest),
            "latest" => Ok(Self::Latest),
            number => number
                .parse()
                .map(Self::Offset)
                .map_err(|_| format!("{text:?} is not an offset, `earliest` or `latest`")),
        }
    }
}
