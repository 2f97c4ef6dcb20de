//! The file: TOML text to settings with line numbers, and the keys that nobody knows.

use std::path::Path;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::keys::{ALL, Entry};
use super::problem::{Origin, Problem, nearest};
use super::value::Written;

/// A configuration is a page of text; anything larger is another file.
const FILE_SIZE_MAX: u64 = 1 << 20;

/// One key with the value that somebody gave it.
#[derive(Debug)]
pub(super) struct Setting {
    pub(super) path: &'static str,
    pub(super) written: Written,
    pub(super) origin: Origin,
}

/// Reads the file's settings; everything that is wrong with its shape goes to `problems`.
pub(super) fn read(path: &Path, problems: &mut Vec<Problem>) -> Vec<Setting> {
    let mut walk = Walk {
        name: path.display().to_string(),
        line_ends: Vec::new(),
        settings: Vec::new(),
        problems,
    };
    match load(path) {
        Ok(text) => walk.document(&text),
        Err(message) => walk.refuse(0, String::new(), message, None),
    }
    walk.settings
}

fn load(path: &Path) -> Result<String, String> {
    let size = std::fs::metadata(path).map_err(|error| error.to_string())?.len();
    if size > FILE_SIZE_MAX {
        return Err(format!(
            "{size} bytes are too many for a configuration; at most {FILE_SIZE_MAX} are read"
        ));
    }
    std::fs::read_to_string(path).map_err(|error| error.to_string())
}

struct Walk<'p> {
    name: String,
    line_ends: Vec<usize>,
    settings: Vec<Setting>,
    problems: &'p mut Vec<Problem>,
}

impl Walk<'_> {
    fn document(&mut self, text: &str) {
        self.line_ends = text.match_indices('\n').map(|(at, _)| at).collect();
        let (table, errors) = DeTable::parse_recoverable(text);
        if errors.is_empty() {
            self.table("", table.get_ref());
        }
        for error in errors {
            let line = error.span().map_or(0, |span| self.line(span.start));
            self.refuse(line, String::new(), error.message().to_owned(), None);
        }
    }

    fn table(&mut self, prefix: &str, table: &DeTable<'_>) {
        for (name, value) in table {
            let line = self.line(name.span().start);
            let path = if prefix.is_empty() {
                name.get_ref().to_string()
            } else {
                format!("{prefix}.{}", name.get_ref())
            };
            self.entry(prefix, path, line, value);
        }
    }

    fn entry(&mut self, prefix: &str, path: String, line: usize, value: &Spanned<DeValue<'_>>) {
        if let Some(key) = find(&path) {
            let origin = Origin::File {
                name: self.name.clone(),
                line,
            };
            self.settings.push(Setting {
                path: key.path(),
                written: written(value.get_ref()),
                origin,
            });
        } else if ALL.iter().any(|key| is_within(key.path(), &path)) {
            match value.get_ref() {
                DeValue::Table(table) => self.table(&path, table),
                _ => self.refuse(line, path, "this is a section, not a key".to_owned(), None),
            }
        } else {
            let kind = if value.get_ref().is_table() { "section" } else { "key" };
            let hint = suggestion(prefix, &path);
            self.refuse(line, path, format!("unknown {kind}"), hint);
        }
    }

    fn refuse(&mut self, line: usize, key: String, message: String, hint: Option<String>) {
        let origin = Origin::File {
            name: self.name.clone(),
            line,
        };
        self.problems.push(Problem {
            origin,
            key,
            message,
            hint,
        });
    }

    fn line(&self, offset: usize) -> usize {
        1 + self.line_ends.partition_point(|end| *end < offset)
    }
}

/// The key of this name.
pub(super) fn find(path: &str) -> Option<&'static dyn Entry> {
    ALL.iter().copied().find(|key| key.path() == path)
}

/// What an unknown name was probably meant to be: a sibling, or the same word in another section.
pub(super) fn suggestion(prefix: &str, path: &str) -> Option<String> {
    let word = path.rsplit('.').next().unwrap_or(path);
    let siblings = ALL.iter().filter_map(|key| {
        let rest = if prefix.is_empty() {
            key.path()
        } else {
            key.path().strip_prefix(prefix)?.strip_prefix('.')?
        };
        rest.split('.').next()
    });
    let elsewhere = || {
        ALL.iter()
            .map(|key| key.path())
            .find(|path| path.rsplit('.').next() == Some(word))
    };
    nearest(word, siblings)
        .or_else(elsewhere)
        .map(|meant| format!("did you mean \"{meant}\"?"))
}

fn is_within(path: &str, section: &str) -> bool {
    path.strip_prefix(section).is_some_and(|rest| rest.starts_with('.'))
}

fn written(value: &DeValue<'_>) -> Written {
    match value {
        DeValue::String(text) => Written::Text(text.to_string()),
        DeValue::Integer(number) if number.radix() == 10 => Written::Number(number.as_str().to_owned()),
        DeValue::Integer(_) => Written::Other("a number that is not decimal"),
        DeValue::Array(items) => Written::List(items.iter().map(|item| written(item.get_ref())).collect()),
        DeValue::Float(_) => Written::Other("a float"),
        DeValue::Boolean(_) => Written::Other("a boolean"),
        DeValue::Datetime(_) => Written::Other("a date"),
        DeValue::Table(_) => Written::Other("a section"),
    }
}
