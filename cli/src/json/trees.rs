use super::insert_bytes;
use cordon_proto::v1::{
    PlanApplyResponse, PlannedChange, SkippedPath, Snapshot, TreeNode, TreePlan, Workspace,
};
use serde_json::{Value, json};

pub(crate) fn snapshot(s: &Snapshot) -> Value {
    let skipped = |p: &SkippedPath| {
        let mut value = json!({ "reason": p.reason });
        insert_bytes(&mut value, "path", &p.path);
        value
    };
    let mut value = json!({
        "id": s.id, "run": s.run, "agent": s.agent, "turn": s.turn, "kind": s.kind, "label": s.label,
        "time_unix_ms": s.time_unix_ms, "parents": s.parents, "files": s.files,
        "directories": s.directories, "symlinks": s.symlinks, "bytes": s.bytes,
        "read_files": s.read_files, "added_objects": s.added_objects, "added_bytes": s.added_bytes,
        "skipped_total": s.skipped_total, "skipped": s.skipped.iter().map(skipped).collect::<Vec<_>>(),
        "storage": s.storage,
    });
    insert_bytes(&mut value, "tree", &s.tree);
    value
}

pub(crate) fn workspace(w: &Workspace) -> Value {
    json!({
        "path": w.path, "made": w.made, "run": w.run, "agent": w.agent, "in_use": w.in_use,
        "used_unix_ms": w.used_unix_ms, "last_snapshot": w.last_snapshot, "files": w.files,
        "bytes": w.bytes,
    })
}

pub(crate) fn tree_node(n: &TreeNode) -> Value {
    let mut value = json!({
        "kind": n.kind, "mode": format!("{:04o}", n.mode), "size": n.size, "mtime_unix_ms": n.mtime_unix_ms,
    });
    insert_bytes(&mut value, "path", &n.path);
    if n.kind == "symlink" {
        insert_bytes(&mut value, "target", &n.target);
    }
    value
}

/// A plan and what was done of it.
pub(crate) fn apply(plan: &PlanApplyResponse, applied: bool, changed: u64) -> Value {
    json!({
        "run": plan.run, "agent": plan.agent, "trees": plan.trees.iter().map(tree_plan).collect::<Vec<_>>(),
        "fingerprint": plan.fingerprint, "needs": plan.needs, "refused": plan.refused, "empty": plan.empty,
        "applied": applied, "changed": changed,
    })
}

fn tree_plan(tree: &TreePlan) -> Value {
    let mut value = json!({ "changes": tree.changes.iter().map(change).collect::<Vec<_>>() });
    insert_bytes(&mut value, "tree", &tree.tree);
    value
}

fn change(c: &PlannedChange) -> Value {
    let classes: Vec<_> =
        c.classes.iter().map(|class| json!({ "name": class.name, "why": class.why })).collect();
    let mut value = json!({ "what": c.what, "classes": classes, "verdict": c.verdict, "why": c.why });
    insert_bytes(&mut value, "path", &c.path);
    if !c.renamed_from.is_empty() {
        insert_bytes(&mut value, "renamed_from", &c.renamed_from);
    }
    value
}
