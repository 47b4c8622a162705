//! A plan as a person reads it before saying yes.

use crate::{
    neutral,
    render::table::{self, count},
    screen::{Look, Tint},
};
use cordon_proto::v1::{ChangeClass, PlanApplyResponse, PlannedChange};
use std::collections::BTreeSet;

const DATA: &str = "data";
/// Changes of one tree that are only data and are applied as they are; a terminal shows so many.
const MOST_DATA: usize = 200;

/// Tree, path, class.
pub(super) type Classed = BTreeSet<(Vec<u8>, Vec<u8>, String)>;

/// Every change that is in one of the classes.
pub(super) fn classed(plan: &PlanApplyResponse, classes: &BTreeSet<String>) -> Classed {
    let mut found = Classed::new();
    for (tree, change) in all(plan) {
        for class in further(change).filter(|c| classes.contains(&c.name)) {
            found.insert((tree.to_vec(), change.path.to_vec(), class.name.clone()));
        }
    }
    found
}

fn all(plan: &PlanApplyResponse) -> impl Iterator<Item = (&[u8], &PlannedChange)> {
    plan.trees.iter().flat_map(|t| t.changes.iter().map(|c| (t.tree.as_ref(), c)))
}

fn further(change: &PlannedChange) -> impl Iterator<Item = &ChangeClass> {
    change.classes.iter().filter(|c| c.name != DATA)
}

fn is_done(change: &PlannedChange) -> bool {
    matches!(change.verdict.as_str(), "apply" | "merge")
}

/// Whether something would be applied that is only data.
pub(super) fn has_data(plan: &PlanApplyResponse) -> bool {
    all(plan).any(|(_, c)| is_done(c) && further(c).next().is_none())
}

/// A change whose class is asked about is not refused yet.
fn verdict<'a>(change: &'a PlannedChange, open: &[String]) -> &'a str {
    let asked = change.verdict == "refused" && further(change).any(|c| open.contains(&c.name));
    if asked { "ask" } else { &change.verdict }
}

/// The plan, or, after answers, what they changed in it. `open`: classes that are asked about next.
pub(super) fn render(
    plan: &PlanApplyResponse,
    before: Option<&PlanApplyResponse>,
    open: &[String],
    look: Look,
) -> String {
    let mut out = String::new();
    for tree in &plan.trees {
        let known = before.and_then(|b| b.trees.iter().find(|t| t.tree == tree.tree));
        let is_new = |c: &PlannedChange| known.is_none_or(|t| !t.changes.contains(c));
        let mut rows = Vec::new();
        let (mut data, mut hidden) = (0, 0);
        for change in tree.changes.iter().filter(|c| is_new(c)) {
            let plain = change.verdict == "apply" && further(change).next().is_none();
            data += usize::from(plain);
            if plain && data > MOST_DATA && look.columns.is_some() {
                hidden += 1;
            } else {
                rows.extend(self::rows(change, open));
            }
        }
        if rows.is_empty() {
            continue;
        }
        let path = neutral::path(&tree.tree);
        out += &crate::fold::fold(&format!("{}\n", look.tint(Tint::Bold, &path)), look.columns);
        out += &table::render(&["VERDICT", "WHAT", "CLASS", "PATH"], &rows, look);
        if hidden > 0 {
            out += &format!("and {hidden} more that are only data; `--dry-run | less` shows all\n");
        }
    }
    out + &summary(plan, open) + "\n"
}

/// The change, and below it a row for each thing to know about it.
fn rows(change: &PlannedChange, open: &[String]) -> Vec<Vec<String>> {
    let mut path = neutral::path(&change.path);
    if !change.renamed_from.is_empty() {
        path += &format!(" (was {})", neutral::path(&change.renamed_from));
    }
    let verdict = verdict(change, open);
    let mut classes: Vec<_> = further(change).map(|c| neutral::word(&c.name)).collect();
    classes.dedup();
    if classes.is_empty() {
        classes.push(DATA.to_owned());
    }
    let mut rows = vec![vec![neutral::word(verdict), neutral::word(&change.what), classes.join(","), path]];
    let mut note = |about: &str, why: &str| {
        let text = format!("  {}: {}", neutral::word(about), neutral::word(why));
        rows.push(vec![String::new(), String::new(), String::new(), text]);
    };
    for class in further(change).filter(|c| !c.why.is_empty()) {
        note(&class.name, &class.why);
    }
    if !change.why.is_empty() && verdict != "ask" {
        note(verdict, &change.why);
    }
    rows
}

pub(super) fn changes(number: u64) -> String {
    count(number, "change")
}

fn summary(plan: &PlanApplyResponse, open: &[String]) -> String {
    let mut parts: Vec<String> = Vec::new();
    for (name, words) in [
        ("apply", "to apply"),
        ("merge", "to merge"),
        ("ask", "to be asked about"),
        ("already", "already there"),
        ("left-out", "left out"),
        ("refused", "refused"),
    ] {
        let number = all(plan).filter(|(_, c)| verdict(c, open) == name).count();
        if number > 0 {
            parts.push(format!("{number} {words}"));
        }
    }
    let total = all(plan).count();
    format!("cordon: {}: {}", changes(total as u64), parts.join(", "))
}

/// What allowing a class means.
fn meaning(class: &str) -> &'static str {
    match class {
        "runs-later" => "which programs of yours would run later",
        "steers-agents" => "which tell coding agents what to do",
        "moves-identity" => "which change where code and packages come from",
        _ => "which are more than data",
    }
}

pub(super) fn question(class: &str, number: usize) -> String {
    let class = neutral::word(class);
    format!(
        "{} {} `{class}`, {}. Type {class} to allow, anything else leaves out: ",
        changes(number as u64),
        if number == 1 { "is" } else { "are" },
        meaning(&class)
    )
}

pub(super) fn last_question(plan: &PlanApplyResponse) -> String {
    let number = all(plan).filter(|(_, c)| is_done(c)).count();
    let trees: Vec<_> =
        plan.trees.iter().filter(|t| t.changes.iter().any(is_done)).map(|t| neutral::path(&t.tree)).collect();
    format!("apply {} to {}?", changes(number as u64), trees.join(" and "))
}

/// What to do about a plan that is refused.
pub(super) fn advice(plan: &PlanApplyResponse) -> String {
    let mut out = "cordon: refused as a whole: nothing is applied\n".to_owned();
    if !plan.needs.is_empty() {
        let classes: Vec<_> = plan.needs.iter().map(|c| neutral::word(c)).collect();
        out += &format!(
            "  help: --allow {} applies these classes too, --leave-out leaves them out\n",
            classes.join(",")
        );
    }
    let others = all(plan)
        .any(|(_, c)| c.verdict == "refused" && !further(c).any(|class| plan.needs.contains(&class.name)));
    if others {
        out += "  help: where your tree changed too: --on-drift merge merges lines, ours keeps yours where both \
                changed the same, skip leaves those changes out\n  \
                help: --leave-out leaves out links that lead out of the tree; --paths chooses what is applied\n";
    }
    out
}
