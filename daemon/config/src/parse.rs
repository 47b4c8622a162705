use crate::{
    AgentFile, Problem, WriteMode,
    build::Build,
    check::{self, Checker},
    keys::TOP,
    report::{At, Report},
    shape::Shape,
    tree::{self, Mark},
    variables::Variables,
};
use std::{collections::BTreeMap, io, path::Path};

/// Larger files are refused unread.
const MOST_BYTES: usize = 1 << 20;

/// The whole of it.
static FILE: Shape = Shape::Map(&TOP);

/// An agent file and what it is read with.
#[derive(Clone, Copy, Debug)]
pub struct Source<'a> {
    /// As the user knows it; its suffix names the format.
    pub name: &'a str,
    /// The file.
    pub content: &'a [u8],
    /// Absolute; relative context paths are resolved against it.
    pub directory: &'a Path,
    /// Values for `${NAME}`.
    pub variables: &'a BTreeMap<String, String>,
}

/// What became of an agent file.
#[derive(Clone, Debug)]
pub struct Parsed {
    /// There, when no problem is an error.
    pub file: Option<AgentFile>,
    /// Every problem, in the order of the file.
    pub problems: Vec<Problem>,
    /// Names of the environment variables that the file or its backends want, set or not.
    pub variables: Vec<String>,
}

/// Parses and checks an agent file. Context paths are looked for with the rights
/// of this process; see [`parse_with`].
#[must_use]
pub fn parse(source: &Source<'_>) -> Parsed {
    parse_with(source, &Path::try_exists)
}

/// The same, with another answer to whether a context path exists: a daemon that
/// may see more than the owner of the file must not tell what is there.
#[must_use]
pub fn parse_with(source: &Source<'_>, exists: &dyn Fn(&Path) -> io::Result<bool>) -> Parsed {
    let mut variables = Variables::new(source.variables);
    let text = match text(source) {
        Ok(text) => text,
        Err((reason, message, help)) => {
            let mut report = Report::new("");
            report.error(&At::file(), reason, message, help);
            return Parsed { file: None, problems: report.finish(), variables: Vec::new() };
        }
    };
    let mut report = Report::new(text);
    let file = read(source, text, &mut report, &mut variables, exists);
    let file = file.filter(|_| !report.has_errors());
    Parsed { file, problems: report.finish(), variables: variables.wanted() }
}

type Refusal = (&'static str, String, &'static str);

fn text<'a>(source: &Source<'a>) -> Result<&'a str, Refusal> {
    if source.content.len() > MOST_BYTES {
        let message =
            format!("the file has {} bytes; an agent file has at most {MOST_BYTES}", source.content.len());
        return Err(("too-large", message, ""));
    }
    if format(source.name).is_none() {
        let message = "the file's name ends with none of .yaml, .yml, .json".to_owned();
        return Err(("unsupported-format", message, "rename it after what it holds"));
    }
    std::str::from_utf8(source.content).map_err(|e| {
        let before = &source.content[..e.valid_up_to()];
        let line = before.iter().filter(|b| **b == b'\n').count() + 1;
        ("syntax", format!("line {line} is not UTF-8"), "save the file as UTF-8")
    })
}

enum Format {
    Yaml,
    Json,
}

fn format(name: &str) -> Option<Format> {
    let (_, suffix) = name.rsplit_once('.')?;
    match suffix.to_ascii_lowercase().as_str() {
        "yaml" | "yml" => Some(Format::Yaml),
        "json" => Some(Format::Json),
        _ => None,
    }
}

fn read<'a>(
    source: &Source<'a>,
    text: &'a str,
    report: &mut Report<'a>,
    variables: &mut Variables<'a>,
    exists: &dyn Fn(&Path) -> io::Result<bool>,
) -> Option<AgentFile> {
    if let Some(Format::Json) = format(source.name)
        && let Err(e) = serde_json::from_str::<serde::de::IgnoredAny>(text)
    {
        let small = |n: usize| u32::try_from(n).unwrap_or(u32::MAX - 1).max(1);
        let mark = Mark::point(small(e.line()), small(e.column()));
        // Only the category: serde_json's own text would say the place twice.
        let what = e.to_string();
        let what = what.split(" at line ").next().unwrap_or_default();
        report.error(&At::new("", mark), "syntax", format!("not JSON: {what}"), "");
        return None;
    }
    // JSON is YAML; one reader gives both their places.
    let (root, duplicates) = match tree::parse(text) {
        Ok(tree) => tree,
        Err(fault) => {
            report.error(&At::new("", fault.mark), fault.reason, fault.message, fault.help);
            return None;
        }
    };
    check::hide_secrets(&root, false, report);
    for fault in duplicates {
        report.error(&At::new("", fault.mark), fault.reason, fault.message, fault.help);
    }
    let top = Checker { report, variables }.item(&root, &FILE, String::new());
    Build { report, variables, source, exists, write_mode: WriteMode::default() }.file(&top)
}
