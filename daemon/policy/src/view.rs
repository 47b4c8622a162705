//! From the rules to a view: what has to be mounted where, so that the kernel says what
//! [`Policy::decide`] says. Pure: whoever asks tells what stands at a path.

use crate::{Access, Policy, Rule, Source};
use std::{
    collections::BTreeMap,
    fmt,
    path::{Path, PathBuf},
};

/// What stands at a path, the last name not followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fact {
    /// A directory.
    Directory,
    /// A regular file.
    File,
    /// A symbolic link.
    Link,
    /// A FIFO, socket or device.
    Special,
    /// Nothing.
    Absent,
}

/// What a mount does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MountKind {
    /// The tree, and nobody inside changes it.
    ReadOnly,
    /// The tree, writable.
    Writable,
    /// Something empty on top of it.
    Hidden,
    /// A directory on itself, writable like what is around it: a mount cannot be renamed, so
    /// that nothing else can be put in the place of what lies below.
    Pin,
}

/// One mount of a view.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount<'a> {
    /// Where.
    pub path: PathBuf,
    /// What.
    pub kind: MountKind,
    /// Directory, or regular file.
    pub is_directory: bool,
    /// The rule that asks for it.
    pub rule: &'a Rule,
}

/// Why a mount view cannot enforce a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Why {
    /// Nothing can be mounted on a symbolic link, and what it points at has rules of its own.
    Link,
    /// A FIFO, socket or device.
    Special,
    /// Nothing stands there, and nothing holds the name.
    Absent,
    /// A name above it, which is a symbolic link.
    BelowLink(PathBuf),
    /// A name above it, which is no directory.
    BelowFile(PathBuf),
    /// A hidden tree around it: nothing can be seen through what hides it.
    BelowHidden(PathBuf),
    /// A tree of the host's, with one in it that every wall makes itself.
    InHost(PathBuf),
    /// More mounts than a sandbox is given.
    TooMany(usize),
}

/// A rule that a mount view cannot enforce.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{} on {} ({}, {}) cannot be enforced: {why}. {}", .rule.access, shown(.rule.path.as_path()),
    .rule.origin.source, .rule.origin, .why.fix(.rule.origin.source))]
pub struct Unenforceable {
    /// Which.
    pub rule: Rule,
    /// Why not.
    pub why: Why,
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Link => f.write_str("it is a symbolic link, which no mount can protect"),
            Self::Special => f.write_str("it is neither a file nor a directory"),
            Self::Absent => f.write_str("nothing stands there, so there is nothing to mount on"),
            Self::BelowLink(link) => {
                write!(f, "{} is a symbolic link, which no mount can protect", shown(link))
            }
            Self::BelowFile(file) => write!(f, "{} is not a directory", shown(file)),
            Self::BelowHidden(hidden) => write!(f, "it lies in {}, which is hidden", shown(hidden)),
            Self::InHost(host) => write!(f, "it is the sandbox's own, and {} holds it", shown(host)),
            Self::TooMany(most) => write!(f, "a sandbox has at most {most} mounts"),
        }
    }
}

impl Why {
    /// What somebody can do about it.
    #[must_use]
    pub fn fix(&self, source: Source) -> &'static str {
        let named =
            matches!(source, Source::RunsLater | Source::SteersAgents | Source::Secret | Source::Socket);
        match self {
            Self::Link | Self::BelowLink(_) if named => {
                "Replace the link by what it points at, or name it under `allow` of the context path"
            }
            Self::Link | Self::BelowLink(_) => "Name the real path",
            Self::Special if named => "Remove it, or name it under `allow` of the context path",
            Self::Special => "Name a file or directory",
            Self::Absent => "Make it, or take the rule out of the agent file",
            Self::BelowFile(_) if named => "Name it under `allow` of the context path as well",
            Self::BelowFile(_) => "Take the rule out of the agent file",
            Self::BelowHidden(_) => {
                "Name what hides it under `allow` of the context path, or take one of the two rules out"
            }
            Self::InHost(_) | Self::TooMany(_) => "Name smaller or fewer paths",
        }
    }
}

/// A tree that is mounted, or made by the wall, while its parts are looked at.
struct Tree<'a> {
    rule: &'a Rule,
    of_wall: bool,
}

/// More problems than these are not collected.
const MOST_TOLD: usize = 20;

impl Policy {
    /// The mounts that enforce the rules, parents before children. What the walls make
    /// themselves is not among them, and neither is a rule that only repeats what is around it.
    ///
    /// # Errors
    /// Every rule that no mount can enforce, the first twenty of them.
    pub fn compile(
        &self,
        facts: impl Fn(&Path) -> Fact,
        most: usize,
    ) -> Result<Vec<Mount<'_>>, Vec<Unenforceable>> {
        let mut mounts: BTreeMap<PathBuf, Mount<'_>> = BTreeMap::new();
        let mut refused = Vec::new();
        let mut trees: Vec<Tree<'_>> = Vec::new();
        for rule in self.rules() {
            while trees.pop_if(|tree| !rule.path.starts_with(&tree.rule.path)).is_some() {}
            let around = trees.last();
            let source = rule.origin.source;
            let of_wall =
                if source.is_guard() { around.is_some_and(|t| t.of_wall) } else { source.is_of_wall() };
            if of_wall {
                if let Some(host) = around.filter(|tree| !tree.of_wall) {
                    let why = Why::InHost(host.rule.path.clone());
                    refused.push(Unenforceable { rule: rule.clone(), why });
                }
                trees.push(Tree { rule, of_wall });
                continue;
            }
            let host = around.filter(|tree| !tree.of_wall).map(|tree| tree.rule);
            // A login is mounted from elsewhere, whatever is around it, and so may be a tree in a tree.
            let placed = place(rule, host, &facts);
            let repeats = host.is_some_and(|host| host.access == rule.access);
            let apart = source == Source::Credential || (source.is_tree() && rule.access == Access::Write);
            if repeats && !apart {
                // A link is no place of its own, even for a rule that only repeats what is around it.
                if let Err(why @ (Why::Link | Why::BelowLink(_))) = placed {
                    refused.push(Unenforceable { rule: rule.clone(), why });
                }
                continue;
            }
            match placed {
                Ok(placed) => {
                    for pin in placed.pins {
                        let kind = MountKind::Pin;
                        mounts.insert(pin.clone(), Mount { path: pin, kind, is_directory: true, rule });
                    }
                    let kind = match rule.access {
                        Access::None => MountKind::Hidden,
                        Access::Read => MountKind::ReadOnly,
                        Access::Write => MountKind::Writable,
                    };
                    let path = rule.path.clone();
                    mounts
                        .insert(path.clone(), Mount { path, kind, is_directory: placed.is_directory, rule });
                    if mounts.len() > most {
                        refused.push(Unenforceable { rule: rule.clone(), why: Why::TooMany(most) });
                        return Err(refused);
                    }
                }
                Err(why) => refused.push(Unenforceable { rule: rule.clone(), why }),
            }
            if refused.len() >= MOST_TOLD {
                return Err(refused);
            }
            trees.push(Tree { rule, of_wall });
        }
        if refused.is_empty() { Ok(mounts.into_values().collect()) } else { Err(refused) }
    }
}

struct Placed {
    is_directory: bool,
    pins: Vec<PathBuf>,
}

/// Whether something can be mounted at a rule's path inside the tree around it, and what must
/// not be renamed for it to stay there.
fn place(rule: &Rule, host: Option<&Rule>, facts: &impl Fn(&Path) -> Fact) -> Result<Placed, Why> {
    let mut pins = Vec::new();
    if let Some(host) = host {
        if host.access == Access::None {
            return Err(Why::BelowHidden(host.path.clone()));
        }
        let mut between: Vec<&Path> =
            rule.path.ancestors().skip(1).take_while(|above| *above != host.path).collect();
        between.reverse();
        for above in std::iter::once(host.path.as_path()).chain(between.iter().copied()) {
            match facts(above) {
                Fact::Directory => {}
                Fact::Link => return Err(Why::BelowLink(above.to_path_buf())),
                Fact::File | Fact::Special => return Err(Why::BelowFile(above.to_path_buf())),
                Fact::Absent => return Err(Why::Absent),
            }
        }
        if host.access == Access::Write {
            pins.extend(between.into_iter().map(Path::to_path_buf));
        }
    }
    let is_directory = match facts(&rule.path) {
        Fact::Directory => true,
        Fact::File => false,
        Fact::Link => return Err(Why::Link),
        // What is hidden is not opened: an empty file goes over it.
        Fact::Special if rule.access == Access::None => false,
        Fact::Special => return Err(Why::Special),
        Fact::Absent => return Err(Why::Absent),
    };
    Ok(Placed { is_directory, pins })
}

fn shown(path: &Path) -> String {
    path.to_string_lossy().escape_debug().to_string()
}

#[cfg(test)]
#[path = "view_tests.rs"]
mod tests;
