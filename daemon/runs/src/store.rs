//! A run's directory: `<state>/runs/<run>/` with `run.json`, `journal`, `agent-file`,
//! `prompt`, the indexes of watched trees, and `secrets` while the run lives.

use crate::record::RunRecord;
use cordon_backends::{Redactor, Variables};
use serde::{Deserialize, Serialize};
use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Read as _, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

/// No file of ours that is read whole is larger.
const MOST: u64 = 256 << 20;

/// A file that could not be kept or found again.
#[derive(Debug, thiserror::Error)]
#[error("cannot {step} {path:?}: {source}")]
pub struct StoreError {
    step: &'static str,
    path: PathBuf,
    source: io::Error,
}

impl StoreError {
    fn new(step: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_path_buf();
        move |source| Self { step, path, source }
    }

    /// Whether the disk is full.
    #[must_use]
    pub fn is_full(&self) -> bool {
        matches!(self.source.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
    }

    pub(crate) fn into_io(self) -> io::Error {
        io::Error::new(self.source.kind(), self)
    }
}

/// What a restarted daemon needs to go on with a run, and nobody else may see: the
/// values to redact, and the variables that the file and the backends asked for.
/// Only in a file of the daemon's own user, mode 0600, which goes when the run ends.
#[derive(Default, Serialize, Deserialize)]
pub(crate) struct Secrets {
    pub(crate) redact: Vec<String>,
    pub(crate) variables: Variables,
}

/// The directory of one run.
#[derive(Clone, Debug)]
pub(crate) struct RunDirectory(PathBuf);

impl RunDirectory {
    pub(crate) fn new(runs: &Path, id: &str) -> Self {
        Self(runs.join(id))
    }

    pub(crate) fn create(&self) -> Result<(), StoreError> {
        DirBuilder::new().mode(0o700).create(&self.0).map_err(StoreError::new("make", &self.0))
    }

    pub(crate) fn journal(&self) -> PathBuf {
        self.0.join("journal")
    }

    /// Where it is written down what is being done to the run's own forks.
    pub(crate) fn journals(&self) -> Result<PathBuf, StoreError> {
        let directory = self.0.join("journals");
        make_private(&directory)?;
        Ok(directory)
    }

    pub(crate) fn write(&self, name: &str, content: &[u8]) -> Result<(), StoreError> {
        replace(&self.0, name, content, false)
    }

    pub(crate) fn read(&self, name: &str) -> Result<Vec<u8>, StoreError> {
        let path = self.0.join(name);
        let fail = |e| StoreError { step: "read", path: path.clone(), source: e };
        let mut content = Vec::new();
        let file = File::open(&path).map_err(fail)?;
        file.take(MOST + 1).read_to_end(&mut content).map_err(fail)?;
        if content.len() as u64 > MOST {
            return Err(fail(io::Error::new(io::ErrorKind::InvalidData, "it is too large")));
        }
        Ok(content)
    }

    /// Keeps the record; `durable` waits for the disk.
    pub(crate) fn save(&self, record: &RunRecord, durable: bool) -> Result<(), StoreError> {
        let path = self.0.join("run.json");
        let json = serde_json::to_vec_pretty(record).map_err(io::Error::other);
        replace(&self.0, "run.json", &json.map_err(StoreError::new("write", &path))?, durable)
    }

    pub(crate) fn load(&self) -> Result<RunRecord, StoreError> {
        let path = self.0.join("run.json");
        let record: RunRecord = serde_json::from_slice(&self.read("run.json")?)
            .map_err(io::Error::from)
            .map_err(StoreError::new("understand", &path))?;
        if record.version != RunRecord::VERSION {
            let why = format!("it has version {}, this daemon knows {}", record.version, RunRecord::VERSION);
            return Err(StoreError::new("understand", &path)(io::Error::other(why)));
        }
        Ok(record)
    }

    pub(crate) fn save_secrets(&self, secrets: &Secrets) -> Result<(), StoreError> {
        let path = self.0.join("secrets");
        let json = serde_json::to_vec(secrets).map_err(io::Error::other);
        replace(&self.0, "secrets", &json.map_err(StoreError::new("write", &path))?, false)
    }

    /// Keeps more values to redact, of a run that lives.
    pub(crate) fn add_secrets(&self, more: &[String]) -> Result<(), StoreError> {
        // Several agents of a run may learn of some at once.
        static ALONE: std::sync::Mutex<()> = std::sync::Mutex::new(());
        let _alone = ALONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let path = self.0.join("secrets");
        if !path.try_exists().unwrap_or(true) {
            // The run has ended: nothing is told of it any more.
            return Ok(());
        }
        let mut secrets = self.load_secrets()?;
        secrets
            .redact
            .extend(more.iter().filter(|v| !secrets.redact.contains(v)).cloned().collect::<Vec<_>>());
        self.save_secrets(&secrets)
    }

    pub(crate) fn load_secrets(&self) -> Result<Secrets, StoreError> {
        let path = self.0.join("secrets");
        // The parser's own message could quote the content.
        serde_json::from_slice(&self.read("secrets")?)
            .map_err(|_| StoreError::new("understand", &path)(io::ErrorKind::InvalidData.into()))
    }

    /// Takes the secrets out of everything that stays of an ended run: the agent file
    /// and the prompt may name some, too.
    pub(crate) fn forget_secrets(&self) -> Result<(), StoreError> {
        if let Ok(secrets) = self.load_secrets() {
            let redactor = Redactor::new(&secrets.redact);
            for name in ["agent-file", "prompt"] {
                let content = self.read(name)?;
                let kept = redactor.text(&String::from_utf8_lossy(&content));
                if kept.as_bytes() != content {
                    self.write(name, kept.as_bytes())?;
                }
            }
        }
        // What was on a screen may be secret, too. Only one agent of a run has one.
        for name in ["terminal-0", "secrets"] {
            self.remove_file(name)?;
        }
        Ok(())
    }

    fn remove_file(&self, name: &str) -> Result<(), StoreError> {
        let path = self.0.join(name);
        match fs::remove_file(&path) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => Err(StoreError::new("remove", &path)(e)),
            _ => Ok(()),
        }
    }

    pub(crate) fn remove(&self) -> Result<(), StoreError> {
        match fs::remove_dir_all(&self.0) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => Err(StoreError::new("remove", &self.0)(e)),
            _ => Ok(()),
        }
    }
}

/// Makes a directory, and those above it, for the daemon alone.
pub(crate) fn make_private(directory: &Path) -> Result<(), StoreError> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(directory);
    made.map_err(StoreError::new("make", directory))
}

/// Removes a tree that an agent may have written. Follows no link.
pub(crate) fn remove_tree(path: &Path) -> Result<(), StoreError> {
    match fs::remove_dir_all(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(StoreError::new("remove", path)(e)),
        _ => Ok(()),
    }
}

/// Writes a file beside its name and renames it: it is the old one or the new one, whole.
pub(crate) fn replace(directory: &Path, name: &str, content: &[u8], durable: bool) -> Result<(), StoreError> {
    let path = directory.join(name);
    let beside = directory.join(format!(".{name}.new"));
    let write = || {
        let mut file =
            OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&beside)?;
        file.write_all(content)?;
        if durable {
            file.sync_data()?;
        }
        fs::rename(&beside, &path)?;
        if durable { File::open(directory)?.sync_all() } else { Ok(()) }
    };
    write().map_err(|e| {
        // The error below is the one that matters.
        let _ = fs::remove_file(&beside);
        StoreError::new("write", &path)(e)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn secrets_are_the_owners_alone_and_go() {
        let dir = tempfile::tempdir().unwrap();
        let run = RunDirectory::new(dir.path(), "r");
        run.create().unwrap();
        let mut secrets = Secrets::default();
        secrets.variables.insert("KEY".into(), "s3cret".into());
        secrets.redact.push("sk-12345678".into());
        run.write("agent-file", b"key: sk-12345678").unwrap();
        run.write("prompt", b"fix it").unwrap();
        run.save_secrets(&secrets).unwrap();
        let mode = fs::metadata(dir.path().join("r/secrets")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(run.load_secrets().unwrap().variables["KEY"], "s3cret");
        run.forget_secrets().unwrap();
        run.forget_secrets().unwrap();
        assert_eq!(run.read("agent-file").unwrap(), b"key: [redacted]");
        assert_eq!(run.read("prompt").unwrap(), b"fix it");
        assert!(run.load_secrets().is_err());
    }

    #[test]
    fn a_damaged_secrets_file_is_not_quoted() {
        let dir = tempfile::tempdir().unwrap();
        let run = RunDirectory::new(dir.path(), "r");
        run.create().unwrap();
        run.write("secrets", br#"{"redact":"hunter2"}"#).unwrap();
        let Err(error) = run.load_secrets() else { panic!("it was understood") };
        assert!(!error.to_string().contains("hunter2"), "{error}");
    }
}
