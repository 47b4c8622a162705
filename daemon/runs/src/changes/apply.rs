use super::plan::{ApplyOptions, Whole};
use crate::{
    error::RunError,
    keep::Applied,
    runs::{Runs, check_key},
    shared::Shared,
    trees::rights,
};
use cordon_proto::v1;
use cordon_snapshots::apply::{ApplyError, execute};
use std::{
    path::{Path, PathBuf},
    sync::{Arc, PoisonError},
};

/// Applies that a run remembers, to answer them again.
const REMEMBERED: usize = 16;

impl Runs {
    /// Does what a plan said, or nothing.
    ///
    /// # Errors
    /// When the plan is not what it was, refuses, or cannot be done.
    pub async fn apply(
        &self,
        owner: u32,
        options: ApplyOptions,
        fingerprint: &str,
        key: &str,
    ) -> Result<v1::ApplyResponse, RunError> {
        check_key(key)?;
        let (fingerprint, key) = (fingerprint.to_owned(), key.to_owned());
        self.blocking("apply the changes", move |runs| runs.apply_now(owner, &options, &fingerprint, &key))
            .await
    }

    fn apply_now(
        &self,
        owner: u32,
        options: &ApplyOptions,
        fingerprint: &str,
        key: &str,
    ) -> Result<v1::ApplyResponse, RunError> {
        let entry = self.ended(owner, &options.run)?;
        let roots: Vec<PathBuf> = entry.with(|r| {
            let trees = r.agents.iter().flat_map(|a| &a.trees);
            trees.filter(|t| t.staged).map(crate::keep::TreeRecord::live).collect()
        });
        // Until the end nobody else of this daemon writes there.
        let _held = Held::hold(&self.0.shared, roots)?;
        let earlier = entry.with(|r| r.applied.iter().find(|a| !key.is_empty() && a.key == key).cloned());
        let whole = self.whole(owner, options)?;
        if let Some(earlier) = earlier {
            if earlier.fingerprint != fingerprint {
                return Err(RunError::KeyReused { key: key.to_owned() });
            }
            return Ok(v1::ApplyResponse { done: Some(whole.to_proto()), changed: earlier.changed });
        }
        if whole.fingerprint != fingerprint {
            return Err(RunError::PlanChanged);
        }
        if let Some(refused) = whole.refused() {
            return Err(refused);
        }
        let changed = self.execute(owner, &whole)?;
        let done = Applied { key: key.to_owned(), fingerprint: fingerprint.to_owned(), changed };
        let kept = entry.update(true, |r| {
            if r.applied.len() >= REMEMBERED {
                r.applied.remove(0);
            }
            r.applied.push(done);
        });
        if let Err(error) = kept {
            tracing::warn!(run = entry.id, %error, "the run's record was not kept");
        }
        Ok(v1::ApplyResponse { done: Some(whole.to_proto()), changed })
    }

    fn execute(&self, owner: u32, whole: &Whole) -> Result<u64, RunError> {
        let journals = self.0.shared.journals()?;
        let mut changed = 0;
        let mut done: Vec<PathBuf> = Vec::new();
        for tree in whole.trees.iter().filter(|t| !t.plan.is_empty()) {
            let root = tree.changed.tree.live();
            let executed = tree.changed.trees(&whole.store).and_then(|(_, turn)| {
                let rights = rights(owner, &root)?;
                Ok(execute(&tree.plan, &turn, &root, &journals, rights.as_ref())?)
            });
            match executed {
                Ok(outcome) => {
                    for path in outcome.kept.iter().chain(&outcome.left) {
                        let path = path.escape_ascii().to_string();
                        tracing::warn!(root = %root.display(), path, "something was left beside an apply");
                    }
                    changed += outcome.steps as u64;
                    done.push(root);
                }
                Err(RunError::Apply(ApplyError::Drift { .. } | ApplyError::Changed { .. }))
                    if done.is_empty() =>
                {
                    return Err(RunError::PlanChanged);
                }
                Err(error) if done.is_empty() => return Err(error),
                Err(error) => {
                    return Err(RunError::HalfApplied { done, tree: root, source: Box::new(error) });
                }
            }
        }
        Ok(changed)
    }
}

/// Trees that one apply or restore has to itself.
pub(crate) struct Held {
    shared: Arc<Shared>,
    roots: Vec<PathBuf>,
}

impl Held {
    pub(crate) fn hold(shared: &Arc<Shared>, roots: Vec<PathBuf>) -> Result<Self, RunError> {
        let mut writing = shared.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let overlaps = |a: &Path, b: &Path| a.starts_with(b) || b.starts_with(a);
        for root in &roots {
            if writing.iter().any(|held| overlaps(held, root)) {
                return Err(RunError::Busy { tree: root.clone() });
            }
        }
        writing.extend(roots.iter().cloned());
        Ok(Self { shared: shared.clone(), roots })
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut writing = self.shared.writing.lock().unwrap_or_else(PoisonError::into_inner);
        for root in &self.roots {
            if let Some(at) = writing.iter().position(|held| held == root) {
                writing.swap_remove(at);
            }
        }
    }
}
