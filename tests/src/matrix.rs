//! What of the four CLIs works where: how a run of the matrix keeps it, and the table that people read.

use crate::harness::{Cli, Where};
use serde::{Deserialize, Serialize};
use std::{fmt::Write as _, fs, path::PathBuf};

/// What is tried, in the order of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Situation {
    Command,
    Edit,
    Denial,
    Mcp,
    Resume,
    Cancel,
    Refused,
    Unauthorized,
    RateLimited,
    Flood,
}

impl Situation {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::Command,
        Self::Edit,
        Self::Denial,
        Self::Mcp,
        Self::Resume,
        Self::Cancel,
        Self::Refused,
        Self::Unauthorized,
        Self::RateLimited,
        Self::Flood,
    ];

    /// As the table has it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Command => "command",
            Self::Edit => "edit",
            Self::Denial => "denial",
            Self::Mcp => "MCP tool",
            Self::Resume => "resume",
            Self::Cancel => "cancel",
            Self::Refused => "refused endpoint",
            Self::Unauthorized => "401",
            Self::RateLimited => "429",
            Self::Flood => "30 MB output",
        }
    }
}

/// What one cell came to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Found {
    /// Everything that the cell asserts was so.
    Works,
    /// It was not; why.
    Fails(String),
    /// It was not tried here; why.
    NotRun(String),
}

/// One cell.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cell {
    /// [`Situation::name`].
    pub situation: String,
    /// What it came to.
    pub found: Found,
    /// How long it took.
    pub ms: u64,
}

impl Cell {
    /// As the table has it.
    #[must_use]
    pub fn shown(&self) -> &'static str {
        match self.found {
            Found::Works => "yes",
            Found::Fails(_) => "no",
            Found::NotRun(_) => "not run",
        }
    }
}

/// A row's first cell.
#[must_use]
pub fn row_name(cli: Cli, place: Where) -> String {
    format!("{cli}, {place}")
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn kept(cli: Cli, place: Where) -> PathBuf {
    root().join("build/matrix").join(format!("{}-{place}.json", cli.program()))
}

/// Keeps what a run found; of what it did not try, what was found before.
///
/// # Panics
/// When it cannot be written.
pub fn keep(cli: Cli, place: Where, cells: &[Cell]) {
    let path = kept(cli, place);
    fs::create_dir_all(path.parent().expect("a parent")).expect("make build/matrix");
    let mut all = found(cli, place);
    all.retain(|old| !cells.iter().any(|new| new.situation == old.situation));
    all.extend_from_slice(cells);
    let text = serde_json::to_string_pretty(&all).expect("cells are JSON");
    fs::write(&path, text).unwrap_or_else(|e| panic!("write {path:?}: {e}"));
}

fn found(cli: Cli, place: Where) -> Vec<Cell> {
    let text = fs::read_to_string(kept(cli, place)).unwrap_or_default();
    serde_json::from_str(&text).unwrap_or_default()
}

/// The table of what was found last, in Markdown, and below it why a cell is no `yes`.
#[must_use]
pub fn table() -> String {
    let head: Vec<&str> = Situation::ALL.iter().map(|s| s.name()).collect();
    let mut table = format!("| | {} |\n|---|{}\n", head.join(" | "), "---|".repeat(head.len()));
    let mut notes: Vec<String> = Vec::new();
    for (cli, place) in Cli::ALL.into_iter().flat_map(|cli| Where::ALL.map(|place| (cli, place))) {
        let cells = found(cli, place);
        let shown = |situation: &Situation| {
            let cell = cells.iter().find(|cell| cell.situation == situation.name());
            cell.map_or("not run", Cell::shown)
        };
        let row: Vec<&str> = Situation::ALL.iter().map(shown).collect();
        let _ = writeln!(table, "| {} | {} |", row_name(cli, place), row.join(" | "));
        for cell in &cells {
            if let Found::Fails(why) | Found::NotRun(why) = &cell.found {
                let why = why.lines().next().unwrap_or_default();
                notes.push(format!("- {}, {}: {why}", row_name(cli, place), cell.situation));
            }
        }
    }
    if notes.is_empty() { table } else { format!("{table}\n{}\n", notes.join("\n")) }
}

/// What the README says of one program in one place, by situation.
///
/// # Panics
/// When it has no such row.
#[must_use]
pub fn told(cli: Cli, place: Where) -> Vec<(String, String)> {
    let text = fs::read_to_string(root().join("README.md")).expect("the README");
    let (_, after) = text.split_once("<!-- matrix: begin -->").expect("a matrix begins in the README");
    let (table, _) = after.split_once("<!-- matrix: end -->").expect("and ends");
    let cells = |line: &str| -> Vec<String> {
        line.trim().trim_matches('|').split('|').map(|c| c.trim().to_owned()).collect()
    };
    let rows: Vec<Vec<String>> = table.lines().filter(|l| l.starts_with("| ")).map(cells).collect();
    let name = row_name(cli, place);
    let row = rows.iter().find(|row| row[0] == name).unwrap_or_else(|| panic!("no row {name} in the README"));
    rows[0].iter().cloned().zip(row.iter().cloned()).skip(1).collect()
}
