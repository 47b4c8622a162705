//! What a refusal says: the rule in words, where it comes from, and the smallest change of the
//! agent file that would allow the operation.

use crate::{
    Access, Denial, Layer, Operation, Origin, Policy, Rule, Source, policy::Refusal, trees::machine_tree,
};
use std::{collections::HashSet, path::Path};

/// More changes than these are counted and not told one by one.
const TOLD: usize = 3;

/// One change that somebody would have to make.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step<'a> {
    /// `permission: write` on a context path.
    Permit(&'a Rule),
    /// Out of `protected_paths`.
    Unprotect(&'a Rule),
    /// Into `allow` of the context path.
    Allow(&'a Rule, &'a Rule),
    /// A file's other names.
    Part(&'a Rule),
    /// A context path of its own.
    Add(&'a Path, Access),
}

/// Steps without repetition; each is about one rule.
#[derive(Default)]
struct Steps<'a> {
    list: Vec<Step<'a>>,
    about: HashSet<&'a Path>,
}

impl<'a> Steps<'a> {
    /// Whether the step is a new one.
    fn add(&mut self, rule: &'a Rule, step: Step<'a>) -> bool {
        let new = self.about.insert(&rule.path);
        if new {
            self.list.push(step);
        }
        new
    }
}

/// Nothing that a user can write would allow it, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Never(&'static str);

impl Policy {
    pub(crate) fn denial(&self, path: &Path, operation: Operation, refusal: Refusal<'_>) -> Denial {
        let nobody = Origin::built_in(Source::Nothing);
        let (mut rule, origin) = match refusal {
            Refusal::NotNormal => ("the path is not absolute and in normal form".to_owned(), nobody),
            Refusal::Nothing => ("no rule allows this path".to_owned(), nobody),
            Refusal::Rule(rule) => {
                let source = rule.origin.source;
                let granted = match rule.access {
                    Access::None => "hidden".to_owned(),
                    access => format!("{access} only"),
                };
                (format!("{} is {granted} ({source})", shown(&rule.path)), rule.origin.clone())
            }
            Refusal::Root(rule) => {
                let source = rule.origin.source;
                let text = format!("{} is the root of a granted tree ({source})", shown(&rule.path));
                (text, rule.origin.clone())
            }
        };
        let would_allow = match self.remedy(path, operation, refusal) {
            Ok(steps) => told(&steps),
            Err(Never(why)) => {
                rule.push_str("; ");
                rule.push_str(why);
                String::new()
            }
        };
        Denial { operation, target: shown(path), rule, origin, layer: Layer::MountView, would_allow }
    }

    /// Every change that is needed; together they allow the operation.
    fn remedy<'a>(
        &'a self,
        path: &'a Path,
        operation: Operation,
        refusal: Refusal<'a>,
    ) -> Result<Vec<Step<'a>>, Never> {
        let needs = operation.needs();
        let mut steps = Steps::default();
        match refusal {
            Refusal::NotNormal => return Err(Never("the real path is what rules speak of")),
            Refusal::Nothing => return self.add(path, operation).map(|step| vec![step]),
            Refusal::Root(_) => return Err(Never("it stays where it is for as long as the sandbox lives")),
            Refusal::Rule(_) => {}
        }
        if let Some(rule) = self.rule_for(path) {
            self.lift(rule, needs, &mut steps)?;
            // Whoever makes or takes away a tree's own root changes the tree around it.
            if operation.changes_directory() && rule.path == path && !rule.origin.source.is_guard() {
                match self.around(rule) {
                    Some(around) if !self.is_fixed(rule) => self.lift(around, needs, &mut steps)?,
                    _ => return Err(Never("the root of a granted tree stays where it is")),
                }
            }
        }
        if operation.is_recursive() {
            for below in self.below(path) {
                self.lift(below, needs, &mut steps)?;
                if below.path != path && self.is_fixed(below) {
                    return Err(Never("the root of a granted tree stays where it is"));
                }
            }
        }
        Ok(steps.list)
    }

    /// What makes a rule grant `needs`: itself, or, when it is a guard, what it guards.
    fn lift<'a>(&'a self, rule: &'a Rule, needs: Access, steps: &mut Steps<'a>) -> Result<(), Never> {
        let mut at = Some(rule);
        while let Some(rule) = at {
            if rule.access >= needs {
                return Ok(());
            }
            let step = match rule.origin.source {
                Source::ContextPath if rule.access == Access::Read => Step::Permit(rule),
                Source::ProtectedPath => Step::Unprotect(rule),
                Source::HardLink => Step::Part(rule),
                Source::RunsLater | Source::SteersAgents | Source::Secret | Source::Socket => {
                    match self.guarded(rule) {
                        Some(context) => Step::Allow(rule, context),
                        None => return Err(Never("it is built in, and no agent file can change it")),
                    }
                }
                Source::PeersView => return Err(Never("the trees of other agents are theirs alone")),
                Source::Credential => {
                    return Err(Never("credentials are read-only, but for additional_mounts with mode: rw"));
                }
                Source::CustomTool => {
                    return Err(Never("a custom tool cannot be changed by whom it is for"));
                }
                Source::Program => {
                    return Err(Never("a backend's program cannot be changed by what it runs"));
                }
                _ => return Err(Never("no agent file can change that")),
            };
            if !steps.add(rule, step) {
                return Ok(());
            }
            if matches!(step, Step::Permit(_)) {
                return Ok(());
            }
            at = self.around(rule);
        }
        Err(Never("no rule grants what is around it"))
    }

    /// The context path whose guard a rule is: the nearest one written where the guard says that
    /// it comes from, else the nearest of all.
    fn guarded(&self, rule: &Rule) -> Option<&Rule> {
        let mut nearest = None;
        let mut at = self.around(rule);
        while let Some(around) = at {
            if around.origin.source == Source::ContextPath {
                if around.origin.place == rule.origin.place {
                    return Some(around);
                }
                nearest = nearest.or(Some(around));
            }
            at = self.around(around);
        }
        nearest
    }

    /// The tree that somebody would have to name. A name can only be made in a tree or taken
    /// away from it, so for those it is what holds the path.
    fn add<'a>(&self, path: &'a Path, operation: Operation) -> Result<Step<'a>, Never> {
        let tree = if operation.changes_directory() { path.parent().unwrap_or(path) } else { path };
        if machine_tree(path).is_some() || machine_tree(tree).is_some() {
            return Err(Never("it belongs to the machine, and no agent file can grant it"));
        }
        if self.below(tree).any(|rule| self.is_of_wall(rule)) {
            return Err(Never("it holds the sandbox's own places, and no agent file can grant it"));
        }
        let access = operation.needs();
        let stays = |rule: &Rule| rule.access < access || rule.origin.source.is_tree();
        if operation.is_recursive() && self.below(path).any(stays) {
            return Err(Never("it holds what other rules keep from being changed"));
        }
        Ok(Step::Add(tree, access))
    }
}

fn shown(path: &Path) -> String {
    path.to_string_lossy().escape_debug().to_string()
}

fn place(rule: &Rule) -> String {
    rule.origin.place.as_ref().map(|place| format!(" ({place})")).unwrap_or_default()
}

fn told(steps: &[Step<'_>]) -> String {
    let mut text = steps.iter().take(TOLD).map(|step| tell(*step)).collect::<Vec<_>>().join("; ");
    if steps.len() > TOLD {
        text.push_str(&format!("; and {} more", steps.len() - TOLD));
    }
    text
}

fn tell(step: Step<'_>) -> String {
    match step {
        Step::Permit(rule) => format!("set permission: write on {}{}", shown(&rule.path), place(rule)),
        Step::Unprotect(rule) => format!("take {} out of protected_paths{}", shown(&rule.path), place(rule)),
        Step::Allow(rule, context) => {
            let name = rule.path.strip_prefix(&context.path).unwrap_or(&rule.path);
            let (name, at) = (shown(name), shown(&context.path));
            format!("add `{name}` to `allow` of the context path {at}{}", place(context))
        }
        Step::Part(rule) => format!(
            "replace {} by a copy of itself outside the sandbox, so that it has no other name",
            shown(&rule.path)
        ),
        Step::Add(path, Access::Write) => {
            format!("add {} with permission: write to context_paths of the agent file", shown(path))
        }
        Step::Add(path, _) => format!("add {} to context_paths of the agent file", shown(path)),
    }
}

#[cfg(test)]
#[path = "fix_tests.rs"]
mod tests;
