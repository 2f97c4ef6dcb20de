//! Puts file, environment and command line on top of each other and hands out typed values.

use std::collections::HashMap;
use std::fmt::Debug;

use super::file::{Setting, find, suggestion};
use super::keys::{ALL, Fallback, Key};
use super::problem::{Origin, Problem};
use super::value::{Value, Written};

/// A setting as it took effect: a line of `payloadd check-config`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Effective {
    pub(super) path: &'static str,
    /// As it would be written in the file; nothing when the key has no value.
    pub(super) value: Option<String>,
    pub(super) origin: Origin,
}

/// Names the file, as `--config` does, and so is no setting.
const FILE_VARIABLE: &str = "PAYLOADD_CONFIG";

/// Reads each key once, and collects what is wrong.
pub(super) struct Reader {
    settings: HashMap<&'static str, (Written, Origin)>,
    pub(super) problems: Vec<Problem>,
    pub(super) effective: Vec<Effective>,
}

impl Reader {
    /// From the file's settings, with the environment's and then the command line's on top.
    pub(super) fn new(
        file: Vec<Setting>,
        env: &[(String, String)],
        command_line: &[(String, String)],
        problems: Vec<Problem>,
    ) -> Self {
        let mut reader = Self {
            settings: HashMap::new(),
            problems,
            effective: Vec::new(),
        };
        for setting in file {
            reader.settings.insert(setting.path, (setting.written, setting.origin));
        }
        for (name, value) in env {
            if name.starts_with("PAYLOADD_") && name != FILE_VARIABLE {
                reader.variable(name, value);
            }
        }
        for (path, value) in command_line {
            match find(path) {
                Some(key) => reader.put(key.path(), value, Origin::CommandLine),
                None => reader.unknown(Origin::CommandLine, path, suggestion("", path)),
            }
        }
        reader
    }

    fn variable(&mut self, name: &str, value: &str) {
        let origin = Origin::Environment(name.to_owned());
        match ALL.iter().find(|key| key.variable() == name) {
            Some(key) => self.put(key.path(), value, origin),
            None => {
                let names: Vec<_> = ALL.iter().map(|key| key.variable()).collect();
                let meant = super::problem::nearest(name, names.iter().map(String::as_str));
                self.unknown(origin, "", meant.map(|meant| format!("did you mean {meant}?")));
            }
        }
    }

    fn put(&mut self, path: &'static str, value: &str, origin: Origin) {
        self.settings.insert(path, (Written::Words(value.to_owned()), origin));
    }

    fn unknown(&mut self, origin: Origin, path: &str, hint: Option<String>) {
        let message = if path.is_empty() {
            "no such setting"
        } else {
            "unknown key"
        };
        self.problems.push(Problem {
            origin,
            key: path.to_owned(),
            message: message.to_owned(),
            hint,
        });
    }

    /// The key's value, or its default.
    pub(super) fn get<T: Value + PartialOrd + Debug>(&mut self, key: &'static Key<T>) -> T {
        self.get_or(key, || match key.default {
            Fallback::Value(text) => {
                T::read(&Written::Words(text.to_owned())).expect("the table's defaults are values")
            }
            Fallback::Derived(words) => panic!("{}: the default is {words:?}, which get cannot compute", key.path),
        })
    }

    /// The key's value, or what `derived` computes.
    pub(super) fn get_or<T: Value + PartialOrd + Debug>(
        &mut self,
        key: &'static Key<T>,
        derived: impl FnOnce() -> T,
    ) -> T {
        let value = self.set_value(key).unwrap_or_else(derived);
        self.note(key, Some(value.show()));
        value
    }

    /// The key's value, if somebody set one.
    pub(super) fn find<T: Value + PartialOrd + Debug>(&mut self, key: &'static Key<T>) -> Option<T> {
        let value = self.set_value(key);
        self.note(key, value.as_ref().map(Value::show));
        value
    }

    /// Says what a value that was just read amounts to on this machine.
    pub(super) fn resolved(&mut self, value: String) {
        if let Some(last) = self.effective.last_mut() {
            last.value = Some(value);
        }
    }

    /// Whether somebody set the key.
    pub(super) fn is_set<T>(&self, key: &Key<T>) -> bool {
        self.settings.contains_key(key.path)
    }

    /// Where the key was set.
    pub(super) fn origin<T>(&self, key: &Key<T>) -> Origin {
        self.settings
            .get(key.path)
            .map_or(Origin::Default, |(_, origin)| origin.clone())
    }

    /// Refuses the key's value.
    pub(super) fn refuse<T>(&mut self, key: &Key<T>, message: String, hint: Option<String>) {
        self.problems.push(Problem {
            origin: self.origin(key),
            key: key.path.to_owned(),
            message,
            hint,
        });
    }

    fn set_value<T: Value + PartialOrd + Debug>(&mut self, key: &'static Key<T>) -> Option<T> {
        let (written, _) = self.settings.get(key.path)?;
        match T::read(written) {
            Err(fault) => self.refuse(key, fault.message, fault.hint),
            Ok(value) => match &key.range {
                Some((least, most)) if value < *least || value > *most => {
                    let message = format!("{} is out of range", value.show());
                    self.refuse(
                        key,
                        message,
                        Some(format!("it goes from {} to {}", least.show(), most.show())),
                    );
                }
                _ => return Some(value),
            },
        }
        None
    }

    fn note<T>(&mut self, key: &Key<T>, value: Option<String>) {
        self.effective.push(Effective {
            path: key.path,
            value,
            origin: self.origin(key),
        });
    }
}
