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
    /// The directory that a snapshot of the tree is taken of. A single file stands alone in it.
    pub(crate) fn root(&self) -> PathBuf {
        self.path.clone()
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
    };
    let mut all = vec![workspace];
    let paths: Vec<PathBuf> = all.iter().map(|t| t.path.clone()).collect();
    for tree in &mut all {
        let hidden = planned
            .sandbox
            .paths
            .iter()
            .filter(|entry| entry.source == PathSource::Empty)
            .map(|entry| entry.path.as_path());
        // A tree within this one has snapshots of its own.
        let others = paths.iter().map(PathBuf::as_path).filter(|path| *path != tree.path);
        let held = planned.placeholders.iter().map(PathBuf::as_path);
        let mut names: Vec<Name> =
            hidden.chain(others).chain(held).filter_map(|path| below(&tree.path, path)).collect();
        names.sort();
        names.dedup();
        tree.leave_out = names;
    }
    all
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
