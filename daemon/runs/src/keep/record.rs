use crate::plan::Planned;
use cordon_sandbox::PathSource;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::{
    ffi::OsStr,
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
};

/// A tree of an agent that snapshots are taken of: all that has to be known to take one, also
/// after a restart and without the plan.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct TreeRecord {
    /// As the agent sees it, and where it stands outside.
    pub(crate) path: PathBuf,
    pub(crate) is_directory: bool,
    /// The agent works in a fork of it.
    pub(crate) staged: bool,
    /// The directory of the fork, as long as there is one.
    #[serde(default)]
    pub(crate) fork: Option<PathBuf>,
    /// Relative to the tree: what is in no snapshot of it.
    #[serde(default)]
    pub(crate) leave_out: Vec<Name>,
    #[serde(default)]
    pub(crate) base: Option<String>,
    #[serde(default)]
    pub(crate) turn: Option<String>,
    /// What the agent left of it in an earlier run and goes on with: the fork begins with this, and
    /// its base is the one of that run.
    #[serde(default)]
    pub(crate) begins: Option<String>,
}

/// A relative path. Bytes, not text.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Name(pub(crate) Vec<u8>);

impl Serialize for Name {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match std::str::from_utf8(&self.0) {
            Ok(text) => format!("={text}").serialize(to),
            Err(_) => self.0.iter().map(|b| format!("{b:02x}")).collect::<String>().serialize(to),
        }
    }
}

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        if let Some(plain) = text.strip_prefix('=') {
            return Ok(Self(plain.as_bytes().to_vec()));
        }
        let digit = |b: u8| char::from(b).to_digit(16).and_then(|d| u8::try_from(d).ok());
        let byte = |pair: &[u8]| match pair {
            [high, low] => Some((digit(*high)? << 4) | digit(*low)?),
            _ => None,
        };
        let bytes: Option<Vec<u8>> = text.as_bytes().chunks(2).map(byte).collect();
        bytes.map(Self).ok_or_else(|| serde::de::Error::custom("a name that is no hexadecimal"))
    }
}

/// One apply that was done, to answer it again.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Applied {
    pub(crate) key: String,
    pub(crate) fingerprint: String,
    pub(crate) changed: u64,
}

impl TreeRecord {
    /// The directory that a base snapshot is taken of. A single file is only ever looked at where
    /// it stands alone.
    pub(crate) fn base_root(&self) -> PathBuf {
        match &self.fork {
            Some(fork) if !self.is_directory => cordon_forks::place(fork, &self.path, true),
            _ => self.path.clone(),
        }
    }

    /// The directory that the agent has changed.
    pub(crate) fn turn_root(&self) -> PathBuf {
        self.fork
            .as_ref()
            .map_or_else(|| self.path.clone(), |fork| cordon_forks::place(fork, &self.path, true))
    }

    pub(crate) fn origin(&self) -> Vec<u8> {
        self.path.as_os_str().as_bytes().to_vec()
    }

    /// The directory of the user's in which the tree stands: its own, or the one around a file.
    pub(crate) fn live(&self) -> PathBuf {
        match (self.is_directory, self.path.parent()) {
            (false, Some(parent)) => parent.to_path_buf(),
            _ => self.path.clone(),
        }
    }
}

/// The trees of a planned agent that are kept: its workspace, and what is staged for it.
pub(crate) fn trees(planned: &Planned) -> Vec<TreeRecord> {
    let workspace = TreeRecord {
        path: planned.workspace.path.clone(),
        is_directory: true,
        staged: false,
        fork: None,
        leave_out: Vec::new(),
        base: None,
        turn: None,
        begins: None,
    };
    // What is staged in the workspace has snapshots of its own.
    let own = &planned.workspace.path;
    let hidden = planned.sandbox.paths.iter().filter(|entry| entry.source == PathSource::Empty);
    let staged = planned.staged.iter().map(|s| s.path.as_path());
    let held = planned.placeholders.iter().map(PathBuf::as_path);
    let all = hidden.map(|entry| entry.path.as_path()).chain(staged).chain(held);
    let leave_out = sorted(all.filter_map(|path| below(own, path)).collect());
    let forked = planned.staged.iter().map(|staged| TreeRecord {
        path: staged.path.clone(),
        is_directory: staged.is_directory,
        staged: true,
        fork: Some(staged.fork.clone()),
        leave_out: sorted(staged.unrecorded().iter().map(|path| Name(bytes(path))).collect()),
        base: None,
        turn: None,
        begins: None,
    });
    std::iter::once(TreeRecord { leave_out, ..workspace }).chain(forked).collect()
}

fn sorted(mut names: Vec<Name>) -> Vec<Name> {
    names.sort();
    names.dedup();
    names
}

fn bytes(path: &Path) -> Vec<u8> {
    path.as_os_str().as_bytes().to_vec()
}

/// `path` relative to the tree, when it lies in it.
fn below(tree: &Path, path: &Path) -> Option<Name> {
    let relative = path.strip_prefix(tree).ok().map(Path::as_os_str).map(OsStr::as_bytes)?;
    (!relative.is_empty()).then(|| Name(relative.to_vec()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn names_are_kept_as_they_are(bytes: Vec<u8>) {
            let json = serde_json::to_string(&Name(bytes.clone())).unwrap();
            prop_assert_eq!(serde_json::from_str::<Name>(&json).unwrap().0, bytes);
        }
    }

    #[test]
    fn damaged_names_are_refused() {
        for bad in ["\"0\"", "\"zz\"", "\"é0\"", "\"+1\"", "7"] {
            assert!(serde_json::from_str::<Name>(bad).is_err(), "{bad}");
        }
    }
}
