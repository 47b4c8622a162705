//! One world: a tree with a canary beside it, rules, and attempts, all from one seed.

use crate::{
    dice::Dice,
    operation::{Attempt, attempts},
    tree::{self, Kind, Node},
};
use cordon_policy::{Access, Fact, MountKind, Origin, Policy, Rule, Source};
use cordon_sandbox::{PathEntry, PathKind, PathSource};
use std::{
    fs,
    os::unix::fs::{PermissionsExt as _, chown, lchown},
    path::{Path, PathBuf},
};

/// Who runs inside.
pub const UID: u32 = 12_345;
/// In the canary, and nowhere else.
pub const CANARY: &str = "canary-9d1c7e";
/// More mounts than any random world needs.
const MOST: usize = 1000;

/// A world.
#[derive(Debug)]
pub struct World {
    _keep: tempfile::TempDir,
    /// Where the tree is.
    pub root: PathBuf,
    /// The tree.
    pub nodes: Vec<Node>,
    /// The rules, as the reference knows them.
    pub rules: Vec<(PathBuf, Access)>,
    /// The same rules, as the product knows them, with those that every sandbox has.
    pub policy: Policy,
    /// Rules that were refused as unenforceable.
    pub refused: usize,
    /// What is tried.
    pub attempts: Vec<Attempt>,
}

impl World {
    /// The world of a seed. `odd`: with names that are not UTF-8.
    #[must_use]
    pub fn new(seed: u64, count: usize, odd: bool) -> Self {
        let mut dice = Dice::new(seed);
        // Not below /tmp, which every sandbox has for itself.
        let keep = tempfile::Builder::new().prefix("cordon-oracle-").tempdir_in("/var/tmp").unwrap();
        fs::set_permissions(keep.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let root = keep.path().canonicalize().unwrap();
        fs::create_dir(root.join("outside")).unwrap();
        let canary = root.join("outside/canary");
        fs::write(&canary, CANARY).unwrap();
        fs::set_permissions(&canary, fs::Permissions::from_mode(0o666)).unwrap();
        let nodes = tree::grow(&mut dice, &root, &canary, odd);
        if rustix::process::geteuid().is_root() {
            for node in &nodes {
                lchown(&node.path, Some(UID), Some(UID)).unwrap();
            }
            chown(&canary, Some(UID), Some(UID)).unwrap();
        }
        let mut rules = rules(&mut dice, &nodes);
        let mut refused = 0;
        let policy = loop {
            let policy = policy(&rules);
            match policy.compile(fact, MOST) {
                Ok(_) => break policy,
                Err(bad) => {
                    let before = rules.len();
                    rules.retain(|(path, access)| {
                        !bad.iter().any(|b| b.rule.path == *path && b.rule.access == *access)
                    });
                    assert!(rules.len() < before, "a refusal names no rule: {bad:?}");
                    refused += before - rules.len();
                }
            }
        };
        let attempts = attempts(&mut dice, &nodes, count);
        Self { _keep: keep, root, nodes, rules, policy, refused, attempts }
    }

    /// What nobody inside may have touched.
    pub fn assert_canary(&self) {
        let outside = self.root.join("outside");
        assert_eq!(fs::read_to_string(outside.join("canary")).unwrap(), CANARY, "the canary was changed");
        assert_eq!(fs::read_dir(outside).unwrap().count(), 1, "something was made outside");
    }

    /// The mount view of the rules.
    #[must_use]
    pub fn view(&self) -> Vec<PathEntry> {
        let mounts = self.policy.compile(fact, MOST).unwrap();
        let entry = |mount: cordon_policy::Mount<'_>| {
            let (access, source) = match mount.kind {
                MountKind::ReadOnly => (Access::Read, PathSource::Host(mount.path.clone())),
                MountKind::Writable | MountKind::Pin => (Access::Write, PathSource::Host(mount.path.clone())),
                MountKind::Hidden => (Access::None, PathSource::Empty),
            };
            let kind = if mount.is_directory { PathKind::Directory } else { PathKind::File };
            PathEntry { path: mount.path, source, kind, access, execute: true }
        };
        mounts.into_iter().map(entry).collect()
    }
}

/// A few trees with narrower and wider rules in them, some twice, and single files.
fn rules(dice: &mut Dice, nodes: &[Node]) -> Vec<(PathBuf, Access)> {
    let some = [Access::None, Access::Read, Access::Read, Access::Write, Access::Write];
    let tops: Vec<PathBuf> = ["one", "two"]
        .iter()
        .filter_map(|n| nodes.iter().find(|x| x.path.ends_with(n)))
        .map(|n| n.path.clone())
        .collect();
    let mut rules = vec![(tops[0].clone(), Access::Write), (tops[1].clone(), *dice.pick(&some))];
    for _ in 0..dice.below(7) {
        let node = dice.pick(nodes);
        rules.push((node.path.clone(), *dice.pick(&some)));
    }
    if dice.one_in(3) {
        let (path, _) = dice.pick(&rules).clone();
        rules.push((path, *dice.pick(&some)));
    }
    let files = tree::paths(nodes, Kind::File);
    if dice.one_in(2) {
        rules.push((dice.pick(&files).clone(), Access::Write));
    }
    rules
}

fn policy(rules: &[(PathBuf, Access)]) -> Policy {
    let rule = |path: &Path, access, source| Rule {
        path: path.to_path_buf(),
        access,
        origin: Origin::built_in(source),
    };
    let built_in = [
        ("/usr", Access::Read, Source::System),
        ("/bin", Access::Read, Source::System),
        ("/lib", Access::Read, Source::System),
        ("/lib64", Access::Read, Source::System),
        ("/etc", Access::Read, Source::System),
        ("/etc/shadow", Access::None, Source::Secret),
        ("/proc", Access::Read, Source::System),
        ("/dev", Access::Write, Source::System),
        ("/tmp", Access::Write, Source::Temporary),
        ("/home/agent", Access::Write, Source::Home),
    ];
    let built_in = built_in.map(|(path, access, source)| rule(Path::new(path), access, source));
    let ours = rules.iter().map(|(path, access)| rule(path, *access, Source::ContextPath));
    Policy::new(built_in.into_iter().chain(ours)).unwrap()
}

fn fact(path: &Path) -> Fact {
    match path.symlink_metadata() {
        Err(_) => Fact::Absent,
        Ok(meta) if meta.is_dir() => Fact::Directory,
        Ok(meta) if meta.is_file() => Fact::File,
        Ok(meta) if meta.is_symlink() => Fact::Link,
        Ok(_) => Fact::Special,
    }
}
