//! The log filter, parsed strictly: the usual parser takes `inof` for the name of a module and logs everything of it.

use tracing_subscriber::filter::Targets;

use super::problem::{Fault, nearest};
use super::value::{Value, Written, quote};

const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

/// Which events are logged.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LogFilter(String);

impl LogFilter {
    /// For the subscriber.
    pub fn targets(&self) -> Targets {
        self.0.parse().expect("checked when the filter was read")
    }
}

impl Value for LogFilter {
    const KIND: &'static str = "filter";

    fn read(written: &Written) -> Result<Self, Fault> {
        let text = written.text("info,payload_engine=debug")?;
        for directive in text.split(',') {
            check_directive(directive)?;
        }
        match text.parse::<Targets>() {
            Ok(_) => Ok(Self(text.to_owned())),
            Err(error) => Err(Fault::new(format!("{text:?} is not a log filter: {error}"))),
        }
    }

    fn show(&self) -> String {
        quote(&self.0)
    }
}

fn check_directive(directive: &str) -> Result<(), Fault> {
    let (target, level) = match directive.split_once('=') {
        Some((target, level)) => (Some(target), level),
        None => (None, directive),
    };
    let part = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
    if target.is_some_and(|target| target.is_empty() || !target.chars().all(part)) {
        return Err(Fault::new(format!("{directive:?} does not name a module"))
            .hint("write it like \"info,payload_engine=debug\""));
    }
    if LEVELS.contains(&level) {
        return Ok(());
    }
    let fault = Fault::new(format!("{level:?} is not a level"));
    Err(match nearest(level, LEVELS) {
        Some(meant) => fault.hint(format!("did you mean \"{meant}\"?")),
        None => fault.hint(format!("levels are {}", LEVELS.join(", "))),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<LogFilter, Fault> {
        LogFilter::read(&Written::Text(text.to_owned()))
    }

    #[test]
    fn levels_and_targets_are_accepted() {
        for text in ["info", "off", "warn,payload_engine=debug", "payload_server::grpc=trace"] {
            assert!(read(text).is_ok(), "{text}");
        }
    }

    #[test]
    fn fault_60_a_typo_in_a_filter_is_refused_with_the_right_level() {
        assert_eq!(read("inof").unwrap_err().hint.unwrap(), "did you mean \"info\"?");
        assert_eq!(read("a=dbug").unwrap_err().hint.unwrap(), "did you mean \"debug\"?");
        for text in ["", "info,", "=info", "a b=info", "payload_engine", "[span]=info"] {
            assert!(read(text).is_err(), "{text:?}");
        }
    }
}
