//! What `ls` can be asked for.

use clap::builder::TypedValueParser;
use clap::{Args as ClapArgs, ValueEnum};
use payload_client::{ListOptions, Tier, v1};

use super::{parse_label, words};
use crate::human::{parse_size, parse_when};

#[derive(ClapArgs, Debug)]
pub(crate) struct ListArgs {
    /// Only payloads in this state [default: any; active with --sort size]
    #[arg(long, value_parser = words(&STATES).map(|word| state(&word)))]
    state: Option<v1::State>,
    /// Only those with a replica in this tier that can be read
    #[arg(long, value_parser = words(&["ram", "disk", "object"]).try_map(|word| word.parse::<Tier>()))]
    tier: Option<Tier>,
    /// Only those with this label; may be given many times, and then all must be there
    #[arg(long = "label", value_parser = parse_label, value_name = "KEY=VALUE")]
    labels: Vec<(String, String)>,
    /// Only those of at least this size, such as 1MiB
    #[arg(long, value_parser = parse_size, value_name = "SIZE")]
    min_size: Option<u64>,
    /// Only those of at most this size
    #[arg(long, value_parser = parse_size, value_name = "SIZE")]
    max_size: Option<u64>,
    /// Only those created since then: so long ago, such as 1h, or at a time, such as 2026-12-31T18:00:00Z
    #[arg(long, value_parser = parse_when, value_name = "WHEN")]
    since: Option<i64>,
    /// Only those created before then
    #[arg(long, value_parser = parse_when, value_name = "WHEN")]
    until: Option<i64>,
    /// Only those committed since then
    #[arg(long, value_parser = parse_when, value_name = "WHEN")]
    committed_since: Option<i64>,
    /// Only those committed before then
    #[arg(long, value_parser = parse_when, value_name = "WHEN")]
    committed_until: Option<i64>,
    /// What they are ordered by, the oldest or the smallest first
    #[arg(long, value_enum, default_value = "created")]
    sort: Sort,
    /// The newest or the largest first
    #[arg(long)]
    reverse: bool,
    /// At most so many [default: all]
    #[arg(long, short = 'n', value_name = "COUNT")]
    pub(crate) limit: Option<usize>,
    /// Also say how many there are, listed or not
    #[arg(long)]
    count: bool,
}

/// What payloads can be ordered by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Sort {
    /// When they were created.
    Created,
    /// How many bytes they have; active payloads only.
    Size,
}

impl ListArgs {
    /// What to ask the server for.
    pub(crate) fn options(&self) -> ListOptions {
        let state = self.state.unwrap_or(match self.sort {
            Sort::Created => v1::State::Unspecified,
            Sort::Size => v1::State::Active,
        });
        ListOptions {
            state,
            tier: self.tier,
            labels: self.labels.clone(),
            size_min: self.min_size,
            size_max: self.max_size,
            created_since_us: self.since,
            created_until_us: self.until,
            committed_since_us: self.committed_since,
            committed_until_us: self.committed_until,
            order: self.order(),
            page_size: 0,
            count: self.count,
        }
    }

    const fn order(&self) -> v1::ListOrder {
        match (self.sort, self.reverse) {
            (Sort::Created, false) => v1::ListOrder::OldestFirst,
            (Sort::Created, true) => v1::ListOrder::NewestFirst,
            (Sort::Size, false) => v1::ListOrder::SmallestFirst,
            (Sort::Size, true) => v1::ListOrder::LargestFirst,
        }
    }
}

const STATES: [&str; 6] = ["allocated", "active", "deleting", "deleted", "aborted", "lost"];

fn state(word: &str) -> v1::State {
    v1::State::from_str_name(&word.to_uppercase()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_state_that_can_be_named_is_one() {
        assert!(STATES.iter().all(|word| state(word) != v1::State::Unspecified));
    }
}
