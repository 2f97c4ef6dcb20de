//! What can be said about labels and expiry.

use std::time::Duration;

use clap::Args;
use payload_client::PayloadRef;

use crate::human::{parse_duration, parse_time};

#[derive(Args, Debug)]
pub(crate) struct LabelArgs {
    /// Payload: its id, or name:NAME
    pub(crate) id: PayloadRef,
    /// KEY=VALUE sets a label, KEY- removes it
    #[arg(required = true, value_parser = parse_edit, value_name = "KEY=VALUE|KEY-")]
    pub(crate) edits: Vec<LabelEdit>,
    /// Only if the payload is at this version
    #[arg(long, value_name = "VERSION")]
    pub(crate) if_version: Option<u64>,
}

/// One label that is set, or removed.
#[derive(Clone, Debug)]
pub(crate) struct LabelEdit {
    pub(crate) key: String,
    pub(crate) value: Option<String>,
}

#[derive(Args, Debug)]
pub(crate) struct ExpireArgs {
    /// Payload: its id, or name:NAME
    pub(crate) id: PayloadRef,
    #[command(flatten)]
    pub(crate) expiry: Expiry,
    /// Only if the payload is at this version
    #[arg(long, value_name = "VERSION")]
    pub(crate) if_version: Option<u64>,
}

#[derive(Args, Clone, Copy, Debug)]
#[group(required = true, multiple = false)]
pub(crate) struct Expiry {
    /// So long from now, such as 90s, 10m, 12h or 7d
    #[arg(long = "in", value_parser = parse_duration, value_name = "DURATION")]
    pub(crate) after: Option<Duration>,
    /// At this time, such as 2026-12-31T18:00:00Z; at once if it is past
    #[arg(long, value_parser = parse_time, value_name = "TIME")]
    pub(crate) at: Option<i64>,
    /// Not at all
    #[arg(long)]
    pub(crate) never: bool,
}

fn parse_edit(text: &str) -> Result<LabelEdit, String> {
    let edit = |key: &str, value: Option<&str>| LabelEdit {
        key: key.to_owned(),
        value: value.map(str::to_owned),
    };
    match (text.split_once('='), text.strip_suffix('-')) {
        (Some((key, value)), _) => Ok(edit(key, Some(value))),
        (None, Some(key)) => Ok(edit(key, None)),
        (None, None) => Err("a label is set with KEY=VALUE and removed with KEY-".to_owned()),
    }
}
