use super::{COORDINATES, nested::CONTEXT_PATH};
use crate::shape::{Scope, Shape, ignored, later, off, on};

/// `orchestrator`.
pub(crate) static ORCHESTRATOR: Scope = Scope {
    name: "orchestrator",
    keys: &[
        &[
            on(
                "snapshot_storage",
                Shape::Text,
                "Where snapshots are kept: absolute, or relative to the daemon's stores of this user.",
            ),
            on(
                "agent_temporary_workspace",
                Shape::Text,
                "Where an agent sees the latest snapshots of all: absolute inside, or a name below its view.",
            ),
            on(
                "context_paths",
                Shape::List(&Shape::Map(&CONTEXT_PATH)),
                "Trees that every agent may use. On an equal path these win over an agent's own.",
            ),
            on("coordination", Shape::Map(&COORDINATION), "How several agents work together."),
        ],
        &[
            ignored("coordination_mode", COORDINATES),
            ignored("presenter_agent", COORDINATES),
            ignored("final_answer_strategy", COORDINATES),
            ignored("skip_voting", COORDINATES),
            ignored("skip_final_presentation", COORDINATES),
            ignored("skip_coordination_rounds", COORDINATES),
            ignored("max_new_answers_per_agent", COORDINATES),
            ignored("max_new_answers_global", COORDINATES),
            ignored("max_orchestration_restarts", COORDINATES),
            ignored("voting_sensitivity", COORDINATES),
            ignored("voting_threshold", COORDINATES),
            ignored("answer_novelty_requirement", COORDINATES),
            ignored("disable_injection", COORDINATES),
            ignored("defer_*", COORDINATES),
            ignored("fairness_*", COORDINATES),
            ignored("checklist_*", COORDINATES),
            ignored("gap_report_mode", COORDINATES),
            ignored("debug_final_answer", COORDINATES),
        ],
        &[
            later("max_turns"),
            off("interactive_mode"),
            later("docker"),
            later("skills_directory"),
            off("enable_multimodal_tools"),
            later("multimodal_config"),
            later("image_generation_backend"),
            later("image_generation_model"),
            later("video_generation_backend"),
            later("video_generation_model"),
            later("audio_generation_backend"),
            later("audio_generation_model"),
            later("dspy"),
            later("nlip*"),
            later("timeout"),
            later("type"),
        ],
    ],
    required: &[],
};

/// `orchestrator.coordination`.
pub(crate) static COORDINATION: Scope = Scope {
    name: "orchestrator.coordination",
    keys: &[&[
        on(
            "write_mode",
            Shape::Words(&["auto", "isolated", "worktree", "legacy"]),
            "`auto` when absent: writable context paths are private forks until they are applied; `legacy`: the trees themselves.",
        ),
        on(
            "drift_conflict_policy",
            Shape::Words(&["skip", "prefer_presenter", "fail", "ours", "merge"]),
            "What applying does where the user has changed the same place.",
        ),
        off("use_two_tier_workspace"),
        off("enable_planning_mode"),
        off("use_skills"),
        later("skills_directory"),
        later("massgen_skills"),
        off("load_previous_session_skills"),
        off("enable_memory_filesystem_mode"),
        off("task_planning_filesystem_mode"),
        later("resume_from_log"),
        off("web_review"),
        later("subagent_*"),
    ]],
    required: &[],
};

/// `timeout_settings`.
pub(crate) static TIMEOUTS: Scope = Scope {
    name: "timeout_settings",
    keys: &[&[
        on("orchestrator_timeout_seconds", Shape::Number, "The whole run; 1800 when absent."),
        on("initial_round_timeout_seconds", Shape::OrNull(&Shape::Number), "One turn; no limit when absent."),
        on("subsequent_round_timeout_seconds", Shape::OrNull(&Shape::Number), "Later rounds; a run has one."),
        on(
            "round_timeout_grace_seconds",
            Shape::Number,
            "Between asking a turn to end and killing it; 10 when absent.",
        ),
        on("idle_timeout_seconds", Shape::Number, "A turn silent for so long has failed; 300 when absent."),
    ]],
    required: &[],
};
