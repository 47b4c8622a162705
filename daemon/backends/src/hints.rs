//! Which rule is behind a failure that a program reports. The kernel refuses with an error
//! number and the program prints it in its own words, so the words are all there is to begin
//! with: they propose a path, and [`Policy::decide`] says whether the policy refuses it. Only
//! then it is told as a denial. Nothing is allowed or refused here, whatever an agent prints;
//! the work for hostile output is bounded.

use crate::denial::explain;
use crate::text::{Excerpt, MAX_LINE, MAX_OUTPUT};
use crate::{Driver, ExecPlan, Exit, Step};
use cordon_policy::{Layer, Operation, Policy};
use cordon_proto::v1::event::Kind;
use cordon_proto::v1::{Denial, OutputStream};
use rustix::io::Errno;
use std::collections::HashSet;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Lines of one output that are looked at, and names of one line.
const MOST_LINES: usize = 64;
const MOST_NAMES: usize = 12;
/// Denials of one turn that come from words.
const MOST_TOLD: usize = 64;

/// What a program says when the kernel refuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Said {
    Permission,
    ReadOnly,
    Missing,
    Busy,
    OtherDevice,
}

const WORDS: [(&str, Said); 6] = [
    ("permission denied", Said::Permission),
    ("operation not permitted", Said::Permission),
    ("read-only file system", Said::ReadOnly),
    ("no such file or directory", Said::Missing),
    ("device or resource busy", Said::Busy),
    ("invalid cross-device link", Said::OtherDevice),
];

/// What programs call it when they meant to change something.
const CHANGES: [&str; 14] = [
    "create", "touch", "write", "writing", "mkdir", "remove", "unlink", "delete", "rmdir", "rename", "move",
    "mv:", "lock", "open(w",
];

/// What a line says, and what was tried as far as it tells.
fn meaning(line: &str) -> Option<(Said, Vec<Operation>)> {
    let line = line.to_ascii_lowercase();
    let (_, said) = WORDS.iter().find(|(words, _)| line.contains(words))?;
    let changes = CHANGES.iter().any(|word| line.contains(word));
    let moves = line.contains(" move") || line.contains("rename");
    let operations = match said {
        // What is hidden is missing: to see it is what was refused.
        Said::Missing => vec![Operation::Read],
        Said::Permission if changes => vec![Operation::Read, Operation::Write],
        Said::Permission => vec![Operation::Read],
        Said::ReadOnly => vec![Operation::Write],
        Said::Busy if moves => vec![Operation::Rename],
        Said::Busy => vec![Operation::Delete],
        Said::OtherDevice => vec![Operation::Link],
    };
    Some((*said, operations))
}

/// Everything in a line that may be a path: what is quoted, what stands between colons, and
/// words with a slash.
fn names(line: &str) -> Vec<&str> {
    let quote = |c: char| matches!(c, '\'' | '"' | '`' | '\u{2018}' | '\u{2019}');
    let quoted = line.split(quote).skip(1).step_by(2).take(MOST_NAMES);
    let between = line.split(": ").take(MOST_NAMES);
    // A quoted path may have spaces in it.
    let is_quoted = quoted.clone().any(|name| name.contains('/'));
    let words = line.split_whitespace().filter(|word| !is_quoted && word.contains('/')).take(MOST_NAMES);
    let mut found: Vec<&str> = Vec::new();
    for name in quoted.chain(between).chain(words) {
        let name = name.trim_matches(|c: char| quote(c) || c.is_whitespace() || "()[],;:".contains(c));
        if !name.is_empty() && name.len() <= MAX_LINE && !found.contains(&name) {
            found.push(name);
        }
    }
    found.truncate(MOST_NAMES);
    found
}

/// A driver whose failures are explained.
pub(crate) struct Hinting {
    inner: Box<dyn Driver>,
    policy: Arc<Policy>,
    workspace: PathBuf,
    plan: Option<ExecPlan>,
    /// What a program without events printed.
    raw: Option<Excerpt>,
    told: HashSet<(String, String)>,
}

/// Has the driver's failures explained. With `raw` the output itself is looked at, for
/// programs that report no events.
#[must_use]
pub fn explained(
    inner: Box<dyn Driver>,
    policy: Arc<Policy>,
    workspace: &Path,
    raw: bool,
) -> Box<dyn Driver> {
    Box::new(Hinting {
        inner,
        policy,
        workspace: workspace.to_path_buf(),
        plan: None,
        raw: raw.then(|| Excerpt::new(MAX_OUTPUT)),
        told: HashSet::new(),
    })
}

impl Hinting {
    /// The events, and what is behind the failures among them.
    fn add(&mut self, mut kinds: Vec<Kind>) -> Vec<Kind> {
        // What the driver knows for sure is not told again.
        for kind in &kinds {
            if let Kind::Denial(denial) = kind {
                self.is_new(denial);
            }
        }
        let mut more = Vec::new();
        for kind in &kinds {
            match kind {
                // Not every program says how a command ended: its output has to do, then.
                Kind::Command(c)
                    if c.status == "failed" || c.status != "started" && c.exit_code.is_none() =>
                {
                    more.extend(self.look(&c.output))
                }
                Kind::ToolCall(t) if t.status == "failed" => more.extend(self.look(&t.result)),
                _ => {}
            }
        }
        kinds.extend(more.into_iter().map(Kind::Denial));
        kinds
    }

    fn is_new(&mut self, denial: &Denial) -> bool {
        self.told.len() < MOST_TOLD && self.told.insert((denial.operation.clone(), denial.target.clone()))
    }

    fn look(&mut self, output: &str) -> Vec<Denial> {
        let mut found = Vec::new();
        let lines = output.lines().filter(|line| line.len() <= 2 * MAX_LINE);
        for (line, (said, operations)) in lines.filter_map(|l| Some((l, meaning(l)?))).take(MOST_LINES) {
            for name in names(line) {
                let path = self.workspace.join(name);
                let refused = operations.iter().find_map(|op| explain(&self.policy, &path, *op));
                let Some(mut denial) = refused else { continue };
                if said == Said::Permission && !denial.rule.contains(" is hidden ") {
                    // The view answers otherwise: with a read-only or a missing file.
                    denial.layer = Layer::Landlock.to_string();
                }
                if self.is_new(&denial) {
                    found.push(denial);
                }
            }
        }
        found
    }

    /// The program, or the directory it was to start in.
    fn start_failed(&mut self, errno: i32, step: &str) -> Option<Denial> {
        let refusals = [Errno::ACCESS, Errno::PERM, Errno::NOENT, Errno::NOTDIR, Errno::ROFS];
        if !refusals.iter().any(|e| e.raw_os_error() == errno) {
            return None;
        }
        let plan = self.plan.as_ref()?;
        let (path, operation) = match step {
            "chdir" => (plan.cwd.clone(), Operation::List),
            "exec" => {
                let program = plan.argv.first().filter(|a| a.contains(&b'/'))?;
                (plan.cwd.join(std::ffi::OsStr::from_bytes(program)), Operation::Execute)
            }
            _ => return None,
        };
        explain(&self.policy, &path, operation)
    }
}

impl Driver for Hinting {
    fn next(&mut self) -> (Vec<Kind>, Step) {
        let (kinds, step) = self.inner.next();
        if let Step::Exec(plan) = &step {
            // Neither the input nor the environment is looked at: they may hold secrets.
            self.plan = Some(ExecPlan { env: Vec::new(), stdin: None, ..plan.clone() });
        }
        (self.add(kinds), step)
    }

    fn output(&mut self, stream: OutputStream, data: &[u8]) -> Vec<Kind> {
        if let Some(raw) = &mut self.raw {
            raw.push(data);
        }
        let kinds = self.inner.output(stream, data);
        self.add(kinds)
    }

    fn exited(&mut self, exit: &Exit) -> Vec<Kind> {
        let kinds = self.inner.exited(exit);
        let mut kinds = self.add(kinds);
        let mut more = Vec::new();
        if let Some((errno, step)) = &exit.failed_to_start {
            more.extend(self.start_failed(*errno, step));
            more.retain(|denial| self.is_new(denial));
        }
        let failed = exit.code.is_some_and(|code| code != 0) && !exit.cancelled && !exit.timed_out;
        if let Some(raw) = &mut self.raw {
            let printed = std::mem::replace(raw, Excerpt::new(MAX_OUTPUT));
            if failed {
                more.extend(self.look(&printed.text()));
            }
        }
        kinds.extend(more.into_iter().map(Kind::Denial));
        kinds
    }
}

#[cfg(test)]
#[path = "hints_tests.rs"]
mod tests;
