use super::Changed;
use crate::{
    entry::Entry,
    error::RunError,
    keep::TreeRecord,
    record::RunRecord,
    runs::Runs,
    shared::Shared,
    trees::{Without, live},
    versions::Filter,
};
use cordon_proto::v1;
use cordon_snapshots::{
    Store,
    apply::{self, OnDrift, Options, Plan, Planned, Verdict},
    classify::Class,
    diff::What,
};
use std::{collections::BTreeSet, os::unix::ffi::OsStrExt as _, path::PathBuf, sync::Arc};

/// What is to be applied, and how.
#[derive(Clone, Debug)]
pub struct ApplyOptions {
    /// The run, by its id or an unambiguous beginning of it.
    pub run: String,
    /// Empty: the only agent with something to apply.
    pub agent: String,
    /// Absolute, or relative to the one tree; none: everything.
    pub paths: Vec<Vec<u8>>,
    /// Where the user's tree is no longer what the agent began with; none: as the agent file says,
    /// and nothing is applied where it says nothing.
    pub on_drift: Option<OnDrift>,
    /// Classes beyond `data`, by name.
    pub classes: Vec<String>,
    /// Changes of other classes are left out instead of refusing the whole.
    pub leave_out: bool,
}

/// A plan for one tree.
pub(super) struct TreePlan {
    pub(super) changed: Changed,
    pub(super) plan: Plan,
}

/// A plan for all trees of an agent.
pub(super) struct Whole {
    pub(super) entry: Arc<Entry>,
    pub(super) store: Arc<Store>,
    pub(super) agent: String,
    pub(super) trees: Vec<TreePlan>,
    pub(super) fingerprint: String,
}

impl Runs {
    /// What an apply would do, without doing it.
    ///
    /// # Errors
    /// When there is no such run or agent, it has not ended, or a tree cannot be read.
    pub async fn plan_apply(
        &self,
        owner: u32,
        options: ApplyOptions,
    ) -> Result<v1::PlanApplyResponse, RunError> {
        self.blocking("plan the apply", move |runs| Ok(runs.whole(owner, &options)?.to_proto())).await
    }

    /// Plans. Blocks.
    pub(super) fn whole(&self, owner: u32, options: &ApplyOptions) -> Result<Whole, RunError> {
        let entry = self.ended(owner, &options.run)?;
        let allowed = classes(&options.classes)?;
        let on_drift = options.on_drift.unwrap_or_else(|| entry.with(|r| of_the_file(r.drift.as_deref())));
        let (store, changed) = self.changed(&entry, &options.agent)?;
        let agent = one_agent(&entry, &store, &changed, &options.agent)?;
        let changed: Vec<Changed> =
            changed.into_iter().filter(|c| c.tree.staged && c.agent == agent).collect();
        let filter = filter(options, &changed)?;
        let mut hasher = blake3::Hasher::new();
        let mut trees = Vec::new();
        for (number, one) in changed.into_iter().enumerate() {
            let chosen = filter.of(number);
            if chosen.is_some_and(<[_]>::is_empty) {
                continue;
            }
            let plan = plan_tree(owner, &store, &one, options, (&allowed, on_drift), chosen)?;
            let (base, turn) = one.trees(&store)?;
            for id in [base.snapshot().root, turn.snapshot().root] {
                hasher.update(&id.0);
            }
            hasher.update(blake3::hash(&one.tree.origin()).as_bytes());
            hasher.update(&plan.digest());
            trees.push(TreePlan { changed: one, plan });
        }
        let ApplyOptions { paths, leave_out, .. } = options;
        let how = format!("{allowed:?} {paths:?} {on_drift:?} {leave_out} {} {agent}", entry.id);
        hasher.update(how.as_bytes());
        let fingerprint = hasher.finalize().to_hex().to_string();
        Ok(Whole { entry, store, agent, trees, fingerprint })
    }
}

fn plan_tree(
    owner: u32,
    store: &Store,
    one: &Changed,
    options: &ApplyOptions,
    (allowed, on_drift): (&BTreeSet<Class>, OnDrift),
    chosen: Option<&[Vec<u8>]>,
) -> Result<Plan, RunError> {
    let (base, turn) = one.trees(store)?;
    let root = one.tree.live();
    let live = live(owner, &root)?;
    // What a snapshot does not hold is not known, and so neither changed nor removed: an agent
    // could make its file unreadable, or put a FIFO in its place.
    let mut unknown: Vec<Vec<u8>> = one.tree.leave_out.iter().map(|name| name.0.clone()).collect();
    for snapshot in [base.snapshot(), turn.snapshot()] {
        if snapshot.statistics.skipped > snapshot.skipped.len() as u64 {
            let (tree, skipped) = (one.tree.path.clone(), snapshot.statistics.skipped);
            return Err(RunError::Unrecorded { tree, skipped });
        }
        unknown.extend(snapshot.skipped.iter().map(|skipped| skipped.path.clone()));
    }
    let (base, turn) = (Without::new(&base, unknown.clone()), Without::new(&turn, unknown.clone()));
    let user = Without::new(&live, unknown);
    let options = Options {
        on_drift,
        paths: chosen.map(<[_]>::to_vec).unwrap_or_default(),
        allowed: allowed.clone(),
        leave_out: options.leave_out,
        above: root.as_os_str().as_bytes().to_vec(),
        ..Options::default()
    };
    Ok(apply::plan(&base, &turn, &user, &options)?)
}

/// Whether the user's tree has everything that a run left in its fork. Blocks.
pub(crate) fn settled(
    shared: &Shared,
    record: &RunRecord,
    tree: &TreeRecord,
    left: &str,
) -> Result<bool, RunError> {
    let parse = |id: &str| id.parse().map_err(|_| RunError::SnapshotNotFound { id: id.to_owned() });
    let base = parse(tree.base.as_deref().unwrap_or_default())?;
    let (owner, turn) = (record.owner.uid(), parse(left)?);
    let store = shared.stores.of(owner, record.storage.as_deref())?;
    let one = Changed { agent: String::new(), tree: tree.clone(), base, turn };
    let options = ApplyOptions {
        run: String::new(),
        agent: String::new(),
        paths: Vec::new(),
        on_drift: None,
        classes: Vec::new(),
        leave_out: false,
    };
    let allowed = Class::MARKED.into_iter().collect();
    let plan = plan_tree(owner, &store, &one, &options, (&allowed, OnDrift::Fail), None)?;
    Ok(plan.changes().iter().all(|change| change.verdict == Verdict::Already))
}

/// The agent file's word for where the user went on meanwhile.
fn of_the_file(word: Option<&str>) -> OnDrift {
    match word {
        Some("skip") => OnDrift::Skip,
        Some("ours") => OnDrift::Ours,
        Some("merge") => OnDrift::Merge,
        _ => OnDrift::Fail,
    }
}

fn classes(names: &[String]) -> Result<BTreeSet<Class>, RunError> {
    let mut found = BTreeSet::new();
    for name in names.iter().filter(|n| *n != Class::Data.name()) {
        let class = Class::MARKED.into_iter().find(|c| c.name() == name).ok_or_else(|| {
            let known = Class::MARKED.map(Class::name).join(", ");
            RunError::Invalid(format!("there is no class {name:?}: they are {known}"))
        })?;
        found.insert(class);
    }
    Ok(found)
}

/// The agent that is meant: the named one, or the only one with something to apply.
fn one_agent(entry: &Entry, store: &Store, changed: &[Changed], named: &str) -> Result<String, RunError> {
    if !named.is_empty() {
        return Ok(named.to_owned());
    }
    let mut agents = BTreeSet::new();
    for one in changed.iter().filter(|c| c.tree.staged) {
        let (base, turn) = one.trees(store)?;
        if base.snapshot().root != turn.snapshot().root {
            agents.insert(one.agent.clone());
        }
    }
    match (agents.pop_first(), agents.pop_first()) {
        (Some(one), None) => Ok(one),
        (Some(one), Some(two)) => Err(RunError::Agent {
            what: "several agents changed something: name one of them".to_owned(),
            agents: [one, two].into_iter().chain(agents).collect(),
        }),
        // Nothing to apply, whoever is asked.
        (None, _) => Ok(entry.with(|r| r.agents.first().map(|a| a.id.clone()).unwrap_or_default())),
    }
}

fn filter(options: &ApplyOptions, changed: &[Changed]) -> Result<Filter, RunError> {
    let relative = options.paths.iter().find(|p| p.first() != Some(&b'/'));
    if let Some(path) = relative.filter(|_| changed.len() > 1) {
        let path = path.escape_ascii();
        let why = format!("\"{path}\" could be in any of {} trees: give the absolute path", changed.len());
        return Err(RunError::Invalid(why));
    }
    let roots: Vec<PathBuf> = changed.iter().map(|c| c.tree.live()).collect();
    let filter = Filter::new(&options.paths, &roots);
    let outside = options.paths.iter().find(|path| {
        let one = Filter::new(std::slice::from_ref(path), &roots);
        (0..roots.len()).all(|tree| one.of(tree).is_some_and(<[_]>::is_empty))
    });
    match outside {
        Some(path) if !roots.is_empty() => {
            let path = path.escape_ascii();
            Err(RunError::Invalid(format!("\"{path}\" is in no tree that was staged for the agent")))
        }
        _ => Ok(filter),
    }
}

impl Whole {
    /// The changes because of which nothing is done.
    pub(super) fn refused(&self) -> Option<RunError> {
        let mut refused = self.trees.iter().flat_map(|t| t.plan.refused());
        let one = refused.next()?;
        let why = one.verdict.why().unwrap_or_default();
        let first = format!("{} ({why})", cordon_snapshots::diff::shown(&one.path));
        Some(RunError::PlanRefused { count: refused.count() + 1, first })
    }

    pub(super) fn to_proto(&self) -> v1::PlanApplyResponse {
        let needs: BTreeSet<Class> = self.trees.iter().flat_map(|t| t.plan.needs()).collect();
        v1::PlanApplyResponse {
            run: self.entry.id.clone(),
            agent: self.agent.clone(),
            trees: self.trees.iter().map(tree).collect(),
            fingerprint: self.fingerprint.clone(),
            needs: needs.into_iter().map(|c| c.name().to_owned()).collect(),
            refused: self.refused().is_some(),
            empty: self.trees.iter().all(|t| t.plan.is_empty()),
        }
    }
}

fn tree(plan: &TreePlan) -> v1::TreePlan {
    v1::TreePlan {
        tree: plan.changed.tree.path.as_os_str().as_bytes().to_vec().into(),
        changes: plan.plan.changes().iter().map(change).collect(),
    }
}

fn change(planned: &Planned) -> v1::PlannedChange {
    let (what, from) = match &planned.what {
        What::Added => ("added", Vec::new()),
        What::Removed => ("removed", Vec::new()),
        What::Modified => ("modified", Vec::new()),
        What::Mode => ("mode", Vec::new()),
        What::Type => ("type", Vec::new()),
        What::Renamed { from, .. } => ("renamed", from.clone()),
    };
    let mut classes: Vec<v1::ChangeClass> = planned
        .findings
        .iter()
        .map(|f| v1::ChangeClass {
            name: f.class.name().to_owned(),
            why: match f.alike {
                true => format!("{}, and its name only looks like the known one", f.reason),
                false => f.reason.to_owned(),
            },
        })
        .collect();
    if classes.is_empty() {
        classes.push(v1::ChangeClass { name: Class::Data.name().to_owned(), why: String::new() });
    }
    v1::PlannedChange {
        path: planned.path.clone().into(),
        what: what.to_owned(),
        renamed_from: from.into(),
        classes,
        verdict: planned.verdict.name().to_owned(),
        why: planned.verdict.why().unwrap_or_default(),
    }
}
