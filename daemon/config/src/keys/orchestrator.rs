use super::{COORDINATES, NLIP, api::MULTIMODAL, nested::CONTEXT_PATH};
use crate::shape::{Scope, Shape, ignored, later, later_but, on};

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
            ignored("max_midstream_injections_per_round", COORDINATES),
            ignored("allow_midstream_peer_updates_before_checklist_submit", COORDINATES),
            ignored("max_checklist_calls_per_round", COORDINATES),
            ignored("subtask", COORDINATES),
        ],
        &[
            ignored(
                "max_turns",
                "a run has one round; for the answers of a model use `max_turns` of the backend",
            ),
            ignored("interactive_mode", "`cordon chat` is a conversation"),
            ignored("skills_directory", SKILLS),
            ignored("type", "agents run side by side"),
            on(
                "enable_multimodal_tools",
                Shape::Flag,
                "For every agent of a model API that does not say itself.",
            ),
            on("multimodal_config", Shape::Map(&MULTIMODAL), "The same."),
            on("enable_image_generation", Shape::Flag, "The same."),
            on("enable_audio_generation", Shape::Flag, "The same."),
            on("image_generation_backend", Shape::Text, "The same."),
            on("image_generation_model", Shape::Text, "The same."),
            on("audio_generation_backend", Shape::Text, "The same."),
            on("audio_generation_model", Shape::Text, "The same."),
            ignored("video_generation_backend", super::backend::NO_VIDEOS),
            ignored("video_generation_model", super::backend::NO_VIDEOS),
            ignored("dspy", "the task goes to the agents as it is"),
            ignored("nlip*", NLIP),
            ignored("enable_nlip", NLIP),
            later("docker"),
            later_but("timeout", "use `timeout_settings`"),
        ],
    ],
    required: &[],
};

const SKILLS: &str = "no skills are brought into a workspace: name their directory in `context_paths`";
const SUBAGENTS: &str = "an agent of Cordon starts no others";
const BROADCASTS: &str = "agents do not talk with each other while they work";
const MEMORIES: &str = "what an agent did is in the journal and in its snapshots";
const TASKS: &str = "an agent plans as it likes; Cordon keeps no list of tasks for it";
const REVIEWS: &str = "nothing of an agent's work reaches your trees before `cordon apply`";
const GATES: &str = "Cordon has no checkpoints: use `context_paths` with permission: read and `egress`";

/// `orchestrator.coordination`.
pub(crate) static COORDINATION: Scope = Scope {
    name: "orchestrator.coordination",
    keys: &[
        &[
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
            on(
                "enable_planning_mode",
                Shape::Flag,
                "Nothing is changed, whatever the agents want: they look, and say what they would do.",
            ),
            on("planning_mode_instruction", Shape::Text, "What models are told of that."),
        ],
        &[
            ignored("use_two_tier_workspace", "MassGen does not honour it any more either"),
            ignored("max_orchestration_restarts", COORDINATES),
            ignored("pre_collab_voting_threshold", COORDINATES),
            ignored("enable_changedoc", COORDINATES),
            ignored("fast_iteration_mode", COORDINATES),
            ignored("max_verifications_per_round", COORDINATES),
            ignored("max_internal_fix_loops", COORDINATES),
            ignored("skip_redundant_scaffolding", COORDINATES),
            ignored("criteria_mode", COORDINATES),
            ignored("bootstrap_*", COORDINATES),
            ignored("evolving_criteria*", COORDINATES),
            ignored("checklist_*", COORDINATES),
            ignored("round_evaluator_*", COORDINATES),
            ignored("orchestrator_managed_round_evaluator", COORDINATES),
            ignored("evaluation_criteria_generator", COORDINATES),
            ignored("enable_evaluator_personas", COORDINATES),
            ignored("enable_quality_rethink_on_iteration", COORDINATES),
            ignored("enable_novelty_on_iteration", COORDINATES),
            ignored("novelty_injection", COORDINATES),
            ignored("improvements", COORDINATES),
            ignored("enable_execution_trace_analyzer", COORDINATES),
            ignored("auto_trace_analysis", COORDINATES),
            ignored("persona_generator", COORDINATES),
            ignored("prompt_improver", COORDINATES),
            ignored("task_decomposer", COORDINATES),
            ignored("disable_final_only_round_capture_fallback", COORDINATES),
            ignored("plan_*", TASKS),
            ignored("enable_agent_task_planning", TASKS),
            ignored("max_tasks_per_plan", TASKS),
            ignored("task_planning_filesystem_mode", TASKS),
            ignored("broadcast*", BROADCASTS),
            ignored("response_depth", BROADCASTS),
            ignored("max_broadcasts_per_agent", BROADCASTS),
            ignored("enable_memory_filesystem_mode", MEMORIES),
            ignored("learning_capture_mode", MEMORIES),
            ignored("compression_target_ratio", MEMORIES),
            ignored("load_previous_session_skills", MEMORIES),
            ignored("use_skills", SKILLS),
            ignored("massgen_skills", SKILLS),
            ignored("skills_directory", SKILLS),
            ignored("enable_subagents", SUBAGENTS),
            ignored("subagent_*", SUBAGENTS),
            ignored("background_subagents", SUBAGENTS),
            ignored("async_subagents", SUBAGENTS),
            ignored("standalone_checkpoint*", "it is a server of MassGen's own"),
            ignored("web_review", REVIEWS),
            later_but("checkpoint_*", GATES),
            later_but("resume_from_log", "use `cordon run --resume`"),
        ],
    ],
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
