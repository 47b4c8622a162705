use crate::error::RunError;
use cordon_snapshots::{
    TreeSource,
    diff::{self, Delta, Limits, Render, Report},
};
use std::{
    io::Write,
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
};

/// How a difference is told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DiffFormat {
    /// Hunks of lines.
    #[default]
    Unified,
    /// How much changed in each path.
    Stat,
    /// Paths.
    NameOnly,
    /// One JSON document.
    Json,
}

/// What is compared and how it is told.
#[derive(Clone, Debug, Default)]
pub struct Compared {
    /// How.
    pub format: DiffFormat,
    /// With colours of a terminal.
    pub colour: bool,
    /// These paths and what is below them, absolute or relative to the tree; none: all.
    pub paths: Vec<Vec<u8>>,
}

/// Chosen paths, for each of some trees. None: everything.
pub(crate) struct Filter(Option<Vec<Vec<Vec<u8>>>>);

impl Filter {
    pub(crate) fn new(paths: &[Vec<u8>], trees: &[PathBuf]) -> Self {
        if paths.is_empty() {
            return Self(None);
        }
        let within = |tree: &PathBuf| paths.iter().filter_map(|path| relative(tree, path)).collect();
        Self(Some(trees.iter().map(within).collect()))
    }

    /// The chosen paths of a tree; none: all of it.
    pub(crate) fn of(&self, tree: usize) -> Option<&[Vec<u8>]> {
        self.0.as_ref().map(|all| all.get(tree).map(Vec::as_slice).unwrap_or_default())
    }

    fn wants(&self, tree: usize, path: &[u8]) -> bool {
        let Some(chosen) = self.of(tree) else { return true };
        chosen.iter().any(|root| {
            let rest = path.strip_prefix(root.as_slice());
            root.is_empty() || rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/"))
        })
    }
}

/// A path within a tree, relative to it, however it was given.
fn relative(tree: &Path, path: &[u8]) -> Option<Vec<u8>> {
    let plain = |bytes: &[u8]| {
        let parts: Vec<&[u8]> = bytes.split(|b| *b == b'/').filter(|p| !p.is_empty() && *p != b".").collect();
        parts.join(&b'/')
    };
    if path.first() != Some(&b'/') {
        return Some(plain(path));
    }
    let tree = plain(tree.as_os_str().as_bytes());
    let path = plain(path);
    if tree.starts_with(&path) && (path.len() == tree.len() || tree.get(path.len()) == Some(&b'/')) {
        // The whole tree, or what it stands in.
        return Some(Vec::new());
    }
    let rest = path.strip_prefix(tree.as_slice())?;
    rest.strip_prefix(b"/").map(<[u8]>::to_vec)
}

/// What differs in the chosen paths.
pub(crate) fn select(
    old: &dyn TreeSource,
    new: &dyn TreeSource,
    filter: &Filter,
    tree: usize,
) -> Result<Vec<Delta>, RunError> {
    let mut deltas = diff::diff(old, new, &Limits::default())?;
    deltas.retain(|delta| filter.wants(tree, &delta.path) || filter.wants(tree, delta.old_path()));
    Ok(deltas)
}

/// Tells differences.
pub(crate) fn write(
    deltas: &[Delta],
    old: &dyn TreeSource,
    new: &dyn TreeSource,
    how: &Compared,
    out: &mut dyn Write,
) -> Result<(), RunError> {
    let limits = Limits::default();
    match how.format {
        DiffFormat::Unified => {
            diff::unified(out, deltas, old, new, &limits, Render { color: how.colour, bytes: None })?;
        }
        DiffFormat::Stat => diff::stat(out, deltas, old, new, &limits)?,
        DiffFormat::NameOnly => diff::name_only(out, deltas).map_err(RunError::Told)?,
        DiffFormat::Json => {
            let report: Report = diff::report(deltas, old, new, &limits)?;
            serde_json::to_writer(&mut *out, &report).map_err(|e| RunError::Told(e.into()))?;
            out.write_all(b"\n").map_err(RunError::Told)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_taken_relative_or_absolute() {
        let tree = Path::new("/home/u/p");
        let of = |path: &str| relative(tree, path.as_bytes()).map(|b| String::from_utf8(b).unwrap());
        assert_eq!(of("src/a").as_deref(), Some("src/a"));
        assert_eq!(of("./src//a/").as_deref(), Some("src/a"));
        assert_eq!(of("/home/u/p/src/a").as_deref(), Some("src/a"));
        assert_eq!(of("/home/u/p/").as_deref(), Some(""));
        assert_eq!(of("/home/u").as_deref(), Some(""));
        assert_eq!(of("/home/u/pp/a"), None);
        assert_eq!(of("/home/us"), None);
        let filter = Filter::new(&[b"src".to_vec()], &[tree.to_path_buf()]);
        assert!(filter.wants(0, b"src/a") && filter.wants(0, b"src") && !filter.wants(0, b"srcs"));
        assert!(!filter.wants(1, b"src"));
    }
}
