//! What of ours looks at trees, each as the daemon does it for the user.

use super::{Grounds, TreeAttack, grounds::USER};
use cordon_snapshots::{
    RestoreOptions, SnapshotId,
    apply::{self, Options, Verdict, Why},
    archive::{self, ImportRequest},
    classify::Class,
    diff::{self, Limits, Render},
    live::LiveTree,
};
use std::{fmt, fs, os::unix::fs::lchown, time::Instant};

/// One of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    /// A snapshot of the agent's tree, and the store verified.
    Snapshot,
    /// The agent's tree, stored and live, compared with what it started from and shown.
    Diff,
    /// What the agent did, planned and brought into the user's tree: first what is data, then all.
    Apply,
    /// The user's tree put back, and the agent's restored beside it and in place.
    Restore,
    /// The agent's snapshot as a tar archive, and back.
    Archive,
}

impl Op {
    /// All, in the order of the table.
    pub const ALL: [Self; 5] = [Self::Snapshot, Self::Diff, Self::Apply, Self::Restore, Self::Archive];
}

impl fmt::Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Snapshot => "snapshot",
            Self::Diff => "diff",
            Self::Apply => "apply",
            Self::Restore => "restore",
            Self::Archive => "archive",
        })
    }
}

/// What is wrong after an attack. Whoever judges goes down into trees by recursion.
pub(super) fn run(attack: &TreeAttack, op: Op) -> Vec<String> {
    std::thread::scope(|scope| {
        let large = std::thread::Builder::new().stack_size(64 << 20);
        large.spawn_scoped(scope, || judged(attack, op)).unwrap().join().unwrap()
    })
}

fn judged(attack: &TreeAttack, op: Op) -> Vec<String> {
    let grounds = Grounds::new();
    (attack.plant)(&grounds);
    for tree in ["base", "agent", "user"] {
        grounds.give(tree);
    }
    grounds.arm();
    let started = Instant::now();
    let work = || match op {
        Op::Snapshot => snapshot(&grounds).map(|_| Vec::new()),
        Op::Diff => compare(&grounds),
        Op::Apply => bring(attack, &grounds),
        Op::Restore => put_back(attack, &grounds),
        Op::Archive => carry(&grounds),
    };
    // With as much stack as a thread of the daemon has.
    let small = || std::thread::Builder::new().stack_size(2 << 20);
    let done = std::thread::scope(|scope| small().spawn_scoped(scope, work).unwrap().join().unwrap());
    let took = started.elapsed();
    let mut wrong = match done {
        Ok(wrong) => wrong,
        Err(_) if attack.refusable => Vec::new(),
        Err(error) => vec![format!("it was not done: {error}")],
    };
    if took > attack.within {
        wrong.push(format!("it took {took:?}"));
    }
    wrong.extend((attack.look)(&grounds));
    wrong.extend(grounds.wrong(&["user", "beside", "carried"]));
    wrong
}

type Done<T> = Result<T, String>;

fn told(error: impl fmt::Display) -> String {
    error.to_string()
}

fn snapshot(grounds: &Grounds) -> Done<SnapshotId> {
    let id = grounds.taken("agent")?;
    let verified = grounds.store.verify().map_err(told)?;
    if verified.faults.is_empty() { Ok(id) } else { Err(format!("{:?}", verified.faults)) }
}

/// Whether anything in a text acts on a terminal, hides or turns it around, beside the colours of ours.
fn acts(text: &str) -> bool {
    let mut plain = text.to_owned();
    for color in ["\u{1b}[0m", "\u{1b}[1m", "\u{1b}[31m", "\u{1b}[32m", "\u{1b}[36m"] {
        plain = plain.replace(color, "");
    }
    let hides = |c: char| matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}');
    plain.chars().any(|c| (c.is_control() && !matches!(c, '\n' | '\t')) || hides(c))
}

fn compare(grounds: &Grounds) -> Done<Vec<String>> {
    let (base, agent) = (grounds.taken("base")?, grounds.taken("agent")?);
    let (base, agent) = (grounds.store.tree(&base).map_err(told)?, grounds.store.tree(&agent).map_err(told)?);
    let live = LiveTree::open_as(&grounds.at("agent"), &grounds.owner()).map_err(told)?;
    let limits = Limits::default();
    let mut wrong = Vec::new();
    for new in [&agent as &dyn cordon_snapshots::TreeSource, &live] {
        let deltas = diff::diff(&base, new, &limits).map_err(told)?;
        let mut out = Vec::new();
        let render = Render { color: true, bytes: Some(8 << 20) };
        diff::unified(&mut out, &deltas, &base, new, &limits, render).map_err(told)?;
        diff::stat(&mut out, &deltas, &base, new, &limits).map_err(told)?;
        diff::name_only(&mut out, &deltas).map_err(told)?;
        let text = String::from_utf8(out).map_err(told)?;
        if acts(&text) {
            wrong.push("what is shown acts on a terminal or hides".to_owned());
        }
        if text.contains(grounds.token()) {
            wrong.push("what only root may read is shown".to_owned());
        }
    }
    Ok(wrong)
}

fn bring(attack: &TreeAttack, grounds: &Grounds) -> Done<Vec<String>> {
    let (base, agent) = (grounds.taken("base")?, grounds.taken("agent")?);
    let (base, agent) = (grounds.store.tree(&base).map_err(told)?, grounds.store.tree(&agent).map_err(told)?);
    let (root, journals) = (grounds.at("user"), grounds.at("journals"));
    let mut wrong = Vec::new();
    // First as nobody says yes to anything, then as somebody says yes to everything.
    let everything = Options { allowed: Class::MARKED.into(), leave_out: true, ..Options::default() };
    for options in [Options { leave_out: true, ..Options::default() }, everything] {
        let live = LiveTree::open_as(&root, &grounds.owner()).map_err(told)?;
        let plan = apply::plan(&base, &agent, &live, &options).map_err(told)?;
        if options.allowed.is_empty() {
            wrong.extend(passed(attack, &plan));
        }
        (attack.meddle)(grounds);
        match apply::execute(&plan, &agent, &root, &journals, Some(&grounds.owner())) {
            Ok(_) => {}
            // Changed meanwhile, or planned for what was there before: then nothing happened.
            Err(apply::ApplyError::Drift { .. } | apply::ApplyError::Refused(_)) => {}
            Err(error) => return Err(told(error)),
        }
        if fs::read_dir(&journals).map_err(told)?.next().is_some() {
            wrong.push("a journal is left".to_owned());
        }
    }
    if fs::read(root.join(".git/config")).ok().as_deref() != Some(b"[core]\n")
        || fs::read_dir(root.join(".git/hooks")).map_err(told)?.next().is_some()
    {
        wrong.push("the user's repository was changed".to_owned());
    }
    Ok(wrong)
}

/// Paths that passed for data.
fn passed(attack: &TreeAttack, plan: &apply::Plan) -> Vec<String> {
    let one = |path: &&str| {
        let found = plan.changes().iter().find(|change| change.path == path.as_bytes());
        match found {
            None => Some(format!("{path} is not in the plan")),
            Some(change) if matches!(change.verdict, Verdict::LeftOut(Why::Git | Why::Class | Why::Link)) => {
                None
            }
            Some(change) => Some(format!("{path} passed: {:?}", change.verdict)),
        }
    };
    attack.marked.iter().filter_map(one).collect()
}

fn put_back(attack: &TreeAttack, grounds: &Grounds) -> Done<Vec<String>> {
    let (root, journals) = (grounds.at("user"), grounds.at("journals"));
    let (before, agent) = (grounds.taken("user")?, grounds.taken("agent")?);
    let owner = Some(grounds.owner());
    let replace = |now: &SnapshotId, then: &SnapshotId| {
        let (now, then) = (grounds.store.tree(now).map_err(told)?, grounds.store.tree(then).map_err(told)?);
        apply::replace(&now, &then, &root, &journals, owner.as_ref()).map_err(told)
    };
    // What the user has becomes what the agent made, and is put back.
    replace(&before, &agent)?;
    let now = grounds.taken("user")?;
    (attack.meddle)(grounds);
    // Changed after it was looked at: nothing is done, or what is done reaches nothing else.
    let _ = replace(&now, &before);
    let now = grounds.taken("user")?;
    replace(&now, &before)?;
    let again = grounds.taken("user")?;
    let (old, new) = (grounds.store.tree(&before).map_err(told)?, grounds.store.tree(&again).map_err(told)?);
    let mut wrong = Vec::new();
    if !diff::diff(&old, &new, &Limits::default()).map_err(told)?.is_empty() {
        wrong.push("it is not as it was before".to_owned());
    }
    // And beside it, as a new workspace; a link in that place is refused.
    let options = RestoreOptions { owner: Some((USER, USER)) };
    fs::create_dir(grounds.at("beside")).map_err(told)?;
    lchown(grounds.at("beside"), Some(USER), Some(USER)).map_err(told)?;
    grounds.store.restore_with(&agent, &grounds.at("beside"), &options).map_err(told)?;
    std::os::unix::fs::symlink(grounds.at("outside"), grounds.at("through")).map_err(told)?;
    if grounds.store.restore_with(&agent, &grounds.at("through"), &options).is_ok() {
        wrong.push("it was restored through a link".to_owned());
    }
    Ok(wrong)
}

fn carry(grounds: &Grounds) -> Done<Vec<String>> {
    let id = grounds.taken("agent")?;
    let file = grounds.at("archive.tar");
    let mut to = fs::File::create(&file).map_err(told)?;
    archive::export(&grounds.store, &id, &mut to).map_err(told)?;
    let mut from = fs::File::open(&file).map_err(told)?;
    let back = archive::import(&grounds.store, &mut from, &ImportRequest::default()).map_err(told)?;
    let (old, new) = (grounds.store.tree(&id).map_err(told)?, grounds.store.tree(&back.id).map_err(told)?);
    let mut wrong = Vec::new();
    if !diff::diff(&old, &new, &Limits::default()).map_err(told)?.is_empty() {
        wrong.push("what came back is not what was carried".to_owned());
    }
    fs::create_dir(grounds.at("carried")).map_err(told)?;
    let options = RestoreOptions { owner: Some((USER, USER)) };
    grounds.store.restore_with(&back.id, &grounds.at("carried"), &options).map_err(told)?;
    if crate::watch::holds(&file, grounds.token()) {
        wrong.push("the archive holds what only root may read".to_owned());
    }
    Ok(wrong)
}
