//! Every key that Cordon or MassGen knows, by scope, and what Cordon does with it.

pub(crate) mod api;
mod backend;
mod nested;
mod orchestrator;

pub(crate) use backend::{BACKEND, DECLINED_KINDS, OTHER_NAMES, PROGRAMS, kinds};
pub(crate) use orchestrator::{COORDINATION, ORCHESTRATOR, TIMEOUTS};

use crate::shape::{Scope, Shape, gone, ignored, later_but, later_but_with, later_with, on};
use nested::{CONTEXT_PATH, HOOKS, PERMISSIONS};

const COORDINATES: &str = "Cordon runs agents side by side; they do not vote on each other's answers";
const PERMITS: &str = "Cordon decides by what is touched, not by the words of a command: use `context_paths` with \
                       permission: read, `protected_paths`, `egress`, `allowed_tools` and `exclude_tools`";
const NLIP: &str = "agents are not reached through NLIP";
const DISPLAYS: &str = "the client decides how a run is shown";
const OLD: &str = "this is MassGen's old V1 format: list the agents under `agents`";

/// The file itself.
pub(crate) static TOP: Scope = Scope {
    name: "the top level",
    keys: &[&[
        on("agents", Shape::List(&Shape::Map(&AGENT)), "The agents of a run. Either this or `agent`."),
        on("agent", Shape::Map(&AGENT), "The only agent of a run. Either this or `agents`."),
        on("orchestrator", Shape::Map(&ORCHESTRATOR), "What all agents share."),
        on("timeout_settings", Shape::Map(&TIMEOUTS), "How long a run and its parts may take."),
        ignored("ui", DISPLAYS),
        ignored("session_storage", "runs are kept in the daemon's state directory"),
        ignored("display", DISPLAYS),
        ignored("memory", "what an agent did is in the journal, and a run begins without memories of others"),
        gone("timeout", "use `timeout_settings`: MassGen does not read this one either"),
        ignored("task", "the task is given on the command line"),
        ignored("nlip*", NLIP),
        ignored("enable_nlip", NLIP),
        later_with("hooks", Shape::Map(&HOOKS)),
        later_but("checkpoint", "Cordon has no checkpoints: use `context_paths` with permission: read"),
        gone("models", OLD),
        gone("model_configs", OLD),
        gone("num_agents", OLD),
        gone("max_rounds", OLD),
        gone("consensus_threshold", OLD),
        gone("voting_enabled", OLD),
        gone("enable_voting", OLD),
    ]],
    required: &[],
};

/// `agents[]`.
pub(crate) static AGENT: Scope = Scope {
    name: "agents[]",
    keys: &[&[
        on("id", Shape::Text, "Unique; letters, digits, `_`, `.` and `-`, beginning with a letter or digit."),
        on("backend", Shape::Map(&BACKEND), "What drives the agent."),
        on("system_message", Shape::Text, "Text that goes before every prompt."),
        on("egress", Shape::Map(&EGRESS), "Where the sandbox may connect to. Here or in `backend`."),
        on("append_system_prompt", Shape::Text, "Text that goes behind `system_message`."),
        ignored("voting_*", COORDINATES),
        ignored("main_agent", COORDINATES),
        ignored("subtask", COORDINATES),
        ignored("subagent_agents", "an agent of Cordon starts no others"),
        ignored("nlip*", NLIP),
        ignored("enable_nlip", NLIP),
        later_but_with("permissions", Shape::Map(&PERMISSIONS), PERMITS),
    ]],
    required: &["id", "backend"],
};

/// `egress`.
pub(crate) static EGRESS: Scope = Scope {
    name: "egress",
    keys: &[&[on(
        "allow",
        Shape::List(&Shape::Text),
        "Hosts beside those that the backend itself needs: `host`, `host:port` or `*.domain`.",
    )]],
    required: &["allow"],
};

/// Every scope, to say where a key belongs that stands in the wrong one.
pub(crate) static SCOPES: [&Scope; 8] =
    [&TOP, &AGENT, &BACKEND, &EGRESS, &CONTEXT_PATH, &ORCHESTRATOR, &COORDINATION, &TIMEOUTS];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_scope_knows_a_key_twice() {
        for scope in SCOPES {
            let mut names: Vec<_> = scope.all().map(|k| k.name).collect();
            names.sort_unstable();
            let count = names.len();
            names.dedup();
            assert_eq!(names.len(), count, "{}", scope.name);
            for name in scope.required {
                assert!(names.contains(name), "{}.{name}", scope.name);
            }
        }
    }
}
