//! Where results and failures go: tables or JSON on standard output, one line on standard error.

use std::io::{self, IsTerminal, Write};

use comfy_table::{ContentArrangement, Table, presets};
use serde::Serialize;

use crate::args::Format;
use crate::failure::Failure;
use crate::json;

/// The two streams, in the form that was asked for.
#[derive(Debug)]
pub(crate) struct Output {
    format: Format,
    is_terminal: bool,
}

impl Output {
    pub(crate) fn new(format: Format) -> Self {
        Self {
            format,
            is_terminal: io::stdout().is_terminal(),
        }
    }

    /// Prints one JSON document, or what `table` makes for people.
    pub(crate) fn print(&self, document: &impl Serialize, table: impl FnOnce(&Self) -> String) -> Result<(), Failure> {
        match self.format {
            Format::Json => self.json(document),
            Format::Table => self.write(format!("{}\n", table(self)).as_bytes()),
        }
    }

    /// Prints one JSON document, whatever form was asked for.
    pub(crate) fn json(&self, document: &impl Serialize) -> Result<(), Failure> {
        let text = serde_json::to_string(document).map_err(|error| Failure::io("print", &error.into()))?;
        self.write(format!("{text}\n").as_bytes())
    }

    /// Writes bytes as they are.
    pub(crate) fn write(&self, bytes: &[u8]) -> Result<(), Failure> {
        let mut stdout = io::stdout().lock();
        let written = stdout.write_all(bytes).and_then(|()| stdout.flush());
        written.map_err(|error| Failure::io("write to standard output", &error))
    }

    /// Rows under a header: in columns that fit a terminal, or one line each for other programs.
    pub(crate) fn table<const N: usize>(
        &self,
        header: [&str; N],
        rows: impl IntoIterator<Item = [String; N]>,
    ) -> String {
        let mut table = Table::new();
        table.load_style(presets::NOTHING).set_header(header).add_rows(rows);
        if self.is_terminal {
            table.set_content_arrangement(ContentArrangement::Dynamic);
        }
        if let Some(first) = table.column_mut(0) {
            first.set_padding((0, 1));
        }
        table.trim_fmt()
    }

    /// Says what went wrong, unless nobody wants to know.
    pub(crate) fn failure(&self, failure: &Failure) {
        if failure.is_quiet() {
            return;
        }
        let json = match self.format {
            Format::Json => serde_json::to_string(&json::Failed::from(failure)).ok(),
            Format::Table => None,
        };
        // There is no third stream to complain on if this one is closed.
        let _ = writeln!(io::stderr(), "{}", json.unwrap_or_else(|| failure.to_string()));
    }
}
