use std::fmt;

/// How bad a problem is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Severity {
    /// The file cannot be used.
    Error,
    /// The file can be used, though not all of it means what it seems to.
    Warning,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Error => "error",
            Self::Warning => "warning",
        })
    }
}

/// One thing that is wrong with an agent file. Its text holds no secret and no
/// control character, whatever the file holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Error or warning.
    pub severity: Severity,
    /// Stable, for programs: `unknown-key`, `not-supported-yet`, ….
    pub reason: &'static str,
    /// What is wrong.
    pub message: String,
    /// Key path, for instance `agents[0].backend.cwd`; empty for the whole file.
    pub key: String,
    /// Counts from 1; 0 when there is no place.
    pub line: u32,
    /// In characters, counts from 1; 0 when there is no place.
    pub column: u32,
    /// The source line and a marker line below it; empty when there is no place.
    pub excerpt: String,
    /// What to do about it; may be empty.
    pub help: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}[{}]", self.severity, self.reason)?;
        if self.line > 0 {
            write!(f, " at {}:{}", self.line, self.column)?;
        }
        if !self.key.is_empty() {
            write!(f, " in `{}`", self.key)?;
        }
        write!(f, ": {}", self.message)
    }
}
