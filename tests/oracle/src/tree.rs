//! Random trees on the disk.

use crate::dice::Dice;
use std::{
    ffi::OsStr,
    fs,
    os::unix::{
        ffi::OsStrExt as _,
        fs::{PermissionsExt as _, symlink},
    },
    path::{Path, PathBuf},
};

/// What a node is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A directory.
    Directory,
    /// A regular file.
    File,
    /// A symbolic link.
    Link,
    /// A FIFO.
    Fifo,
}

/// One thing on the disk.
#[derive(Clone, Debug)]
pub struct Node {
    /// Absolute; no link on the way.
    pub path: PathBuf,
    /// What it is.
    pub kind: Kind,
}

/// In every directory, so that an empty mask is told from the directory.
pub const MARK: &str = ".mark";

const NAMES: [&[u8]; 10] =
    [b"a", b"b", b"c", b"a.b", b"d e", "\u{e4}\u{1f980}".as_bytes(), b"-n", b"new\nline", b".env", b"*"];
const ODD: [&[u8]; 2] = [b"\xff\xfe", b"x\x80"];

/// Makes a tree below an existing directory, with links out of it. `odd`: names that are not UTF-8.
pub fn grow(dice: &mut Dice, root: &Path, outside: &Path, odd: bool) -> Vec<Node> {
    let mut nodes = Vec::new();
    for top in ["one", "two", "three", "four"] {
        directory(&mut nodes, root.join(top));
    }
    for number in 0..24 {
        let directories: Vec<PathBuf> = paths(&nodes, Kind::Directory);
        let parent = dice.pick(&directories).clone();
        let name = if odd && dice.one_in(6) { *dice.pick(&ODD) } else { *dice.pick(&NAMES) };
        let path = parent.join(OsStr::from_bytes(name));
        if path.symlink_metadata().is_ok() || path.components().count() > root.components().count() + 6 {
            continue;
        }
        match dice.below(10) {
            0..=3 => directory(&mut nodes, path),
            4..=6 => file(&mut nodes, path, number),
            7 | 8 => {
                symlink(target(dice, &nodes, &path, outside), &path).unwrap();
                nodes.push(Node { path, kind: Kind::Link });
            }
            _ if dice.one_in(2) => {
                let files = paths(&nodes, Kind::File);
                fs::hard_link(dice.pick(&files), &path).unwrap();
                nodes.push(Node { path, kind: Kind::File });
            }
            _ => {
                let mode = rustix::fs::Mode::from_raw_mode(0o666);
                rustix::fs::mkfifoat(rustix::fs::CWD, &path, mode).unwrap();
                nodes.push(Node { path, kind: Kind::Fifo });
            }
        }
    }
    nodes
}

fn target(dice: &mut Dice, nodes: &[Node], from: &Path, outside: &Path) -> PathBuf {
    let node = dice.pick(nodes).path.clone();
    match dice.below(7) {
        0 => outside.to_path_buf(),
        1 => outside.parent().unwrap().to_path_buf(),
        2 => node.join("nothing"),
        3 => PathBuf::from(".."),
        4 => {
            // Up from where the link stands, and down again.
            let up = from.parent().unwrap().components().count() - 1;
            let mut path: PathBuf = std::iter::repeat_n("..", up).collect();
            path.push(node.strip_prefix("/").unwrap());
            path
        }
        _ => node,
    }
}

/// The nodes of a kind.
#[must_use]
pub fn paths(nodes: &[Node], kind: Kind) -> Vec<PathBuf> {
    nodes.iter().filter(|n| n.kind == kind).map(|n| n.path.clone()).collect()
}

fn directory(nodes: &mut Vec<Node>, path: PathBuf) {
    fs::create_dir(&path).unwrap();
    nodes.push(Node { path: path.clone(), kind: Kind::Directory });
    file(nodes, path.join(MARK), nodes.len());
}

/// A file that can be read, written and executed, with a content of its own.
fn file(nodes: &mut Vec<Node>, path: PathBuf, number: usize) {
    fs::write(&path, format!("#!/bin/true\n# {number} {}\n", path.to_string_lossy().escape_debug())).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    nodes.push(Node { path, kind: Kind::File });
}
