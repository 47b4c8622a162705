//! Random operations whose natural conditions are met: what can fail then is the policy.

use crate::{
    dice::Dice,
    tree::{Kind, Node},
};
use std::{
    ffi::OsString,
    os::unix::ffi::{OsStrExt as _, OsStringExt as _},
    path::{Path, PathBuf},
};

/// What is tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// Read a file.
    Read,
    /// List a directory.
    List,
    /// Open a file for writing.
    Write,
    /// Make a new file.
    Create,
    /// Remove a file, a link, or a directory with all in it.
    Delete,
    /// Move something to a new name.
    Rename,
    /// Make a hard link with a new name.
    Link,
    /// Execute a file.
    Execute,
}

/// One attempt, as it is spelt.
#[derive(Clone, Debug)]
pub struct Attempt {
    /// What.
    pub verb: Verb,
    /// On what.
    pub path: PathBuf,
    /// The new name of a rename or link.
    pub to: Option<PathBuf>,
    /// The same two without links and detours, to undo it.
    pub real: (PathBuf, Option<PathBuf>),
}

/// Attempts on the nodes of a tree.
pub fn attempts(dice: &mut Dice, nodes: &[Node], count: usize) -> Vec<Attempt> {
    (0..count).map(|number| attempt(dice, nodes, number)).collect()
}

fn attempt(dice: &mut Dice, nodes: &[Node], number: usize) -> Attempt {
    let verbs = [
        (Verb::Read, &[Kind::File][..]),
        (Verb::List, &[Kind::Directory]),
        (Verb::Write, &[Kind::File]),
        (Verb::Create, &[Kind::Directory]),
        (Verb::Delete, &[Kind::File, Kind::Directory, Kind::Link, Kind::Fifo]),
        (Verb::Rename, &[Kind::File, Kind::Directory, Kind::Link, Kind::Fifo]),
        (Verb::Link, &[Kind::File]),
        (Verb::Execute, &[Kind::File]),
    ];
    let (verb, kinds) = *dice.pick(&verbs);
    let fitting: Vec<&Node> = nodes.iter().filter(|n| kinds.contains(&n.kind)).collect();
    let node = dice.pick(&fitting).path.clone();
    let directories: Vec<&Node> = nodes.iter().filter(|n| n.kind == Kind::Directory).collect();
    let fresh = |dice: &mut Dice| dice.pick(&directories).path.join(format!("fresh-{number}"));
    // Often beside itself: in another directory a rename may only be another mount.
    let beside = |dice: &mut Dice, node: &Path| match dice.one_in(2) {
        true => node.with_file_name(format!("fresh-{number}")),
        false => fresh(dice),
    };
    let (path, to) = match verb {
        Verb::Create => (node.join(format!("fresh-{number}")), None),
        Verb::Rename | Verb::Link => {
            let to = beside(dice, &node);
            let inside = to.starts_with(&node);
            let to = if inside { node.with_file_name(format!("fresh-{number}")) } else { to };
            (node, Some(to))
        }
        _ => (node, None),
    };
    let spelt = (spell(dice, nodes, &path), to.as_ref().map(|to| spell(dice, nodes, to)));
    Attempt { verb, path: spelt.0, to: spelt.1, real: (path, to) }
}

/// Another way to write the same path: through a link to one of its directories, or with
/// components that change nothing.
fn spell(dice: &mut Dice, nodes: &[Node], path: &Path) -> PathBuf {
    let mut path = path.to_path_buf();
    if dice.one_in(3) {
        let links = nodes.iter().filter(|n| n.kind == Kind::Link);
        let through = links.filter_map(|link| {
            let real = link.path.canonicalize().ok()?;
            let rest = path.strip_prefix(&real).ok()?;
            (real.is_dir() && !rest.as_os_str().is_empty()).then(|| link.path.join(rest))
        });
        let through: Vec<PathBuf> = through.collect();
        if !through.is_empty() {
            path = dice.pick(&through).clone();
        }
    }
    let bytes = path.as_os_str().as_bytes();
    let slashes: Vec<usize> = (1..bytes.len()).filter(|n| bytes[*n] == b'/').collect();
    if slashes.is_empty() || !dice.one_in(3) {
        return path;
    }
    let at = *dice.pick(&slashes);
    let (before, after) = bytes.split_at(at);
    let again = before.rsplit(|b| *b == b'/').next().unwrap();
    let detour = match dice.below(3) {
        0 => b"/.".to_vec(),
        1 => b"/".to_vec(),
        // Out of the directory and in again: what stands there is the same, link or not, only where
        // it is no link.
        _ if Path::new(std::ffi::OsStr::from_bytes(before)).symlink_metadata().is_ok_and(|m| m.is_dir()) => {
            [b"/../".as_slice(), again].concat()
        }
        _ => b"//".to_vec(),
    };
    PathBuf::from(OsString::from_vec([before, &detour, after].concat()))
}
