//! Whether a run left changes that wait for the person, told from its events alone.

use cordon_proto::v1::{Event, Run, event::Kind};
use std::collections::BTreeSet;

#[derive(Debug, Default)]
pub(crate) struct Waiting {
    workspaces: BTreeSet<Vec<u8>>,
    /// Trees that were kept and are no agent's workspace: forks of the person's.
    staged: BTreeSet<Vec<u8>>,
    changed: bool,
}

impl Waiting {
    pub(crate) fn of(run: &Run) -> Self {
        let workspaces = run.agents.iter().map(|a| a.workspace.clone().into_bytes()).collect();
        Self { workspaces, ..Self::default() }
    }

    pub(crate) fn event(&mut self, event: &Event) {
        match &event.kind {
            Some(Kind::SnapshotTaken(e)) if !self.workspaces.contains(e.tree.as_ref()) => {
                self.staged.insert(e.tree.to_vec());
            }
            Some(Kind::RunEnded(e)) if !self.staged.is_empty() => {
                let Some(summary) = &e.summary else { return };
                let below = |path: &[u8]| {
                    self.staged.iter().any(|tree| {
                        path.strip_prefix(tree.as_slice())
                            .is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/"))
                    })
                };
                self.changed = summary.files_omitted > 0 || summary.files.iter().any(|f| below(&f.path));
            }
            _ => {}
        }
    }

    pub(crate) fn changed(&self) -> bool {
        self.changed
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cordon_proto::v1::{FileChangeEvent, RunAgent, RunEnded, RunSummary, SnapshotTaken};

    fn waits(trees: &[&str], file: &str) -> bool {
        let agent = RunAgent { workspace: "/w".into(), ..RunAgent::default() };
        let mut waiting = Waiting::of(&Run { agents: vec![agent], ..Run::default() });
        let event = |kind| Event { kind: Some(kind), ..Event::default() };
        for tree in trees {
            let tree = tree.as_bytes().to_vec().into();
            waiting.event(&event(Kind::SnapshotTaken(SnapshotTaken { tree, ..Default::default() })));
        }
        let path = file.as_bytes().to_vec().into();
        let files = vec![FileChangeEvent { path, ..Default::default() }];
        let summary = Some(RunSummary { files, ..RunSummary::default() });
        waiting.event(&event(Kind::RunEnded(RunEnded { summary, ..RunEnded::default() })));
        waiting.changed()
    }

    #[test]
    fn only_changes_to_forks_wait() {
        assert!(!waits(&["/w"], "/w/a"));
        assert!(waits(&["/w", "/docs"], "/docs/a"));
        assert!(waits(&["/file"], "/file"));
        assert!(!waits(&["/w", "/docs"], "/docs2/a"));
        assert!(!waits(&["/w", "/docs"], "/w/a"));
    }
}
