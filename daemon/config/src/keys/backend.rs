use super::{
    COORDINATES, EGRESS, NLIP, PERMITS,
    api::{
        CONTEXT_SIZES, EFFORTS, ENGINES, EXTRA_BODY, MULTIMODAL, PLUGIN, REASONING, SAFETY, TEXT, VERBOSITIES,
    },
    nested::{CONTEXT_PATH, CREDENTIALS, CUSTOM_TOOL, HOOKS, MCP_SERVER, PACKAGES, PERMISSIONS, STEP},
};
use crate::shape::{Scope, Shape, gone, ignored, later, later_but, later_but_with, later_with, on};

/// The backend types that are no model API.
pub(crate) const PROGRAMS: [&str; 7] =
    ["codex", "claude_code", "gemini_cli", "copilot", "command", "replay", "ag2"];

/// All backend types.
pub(crate) fn kinds() -> impl Iterator<Item = &'static str> {
    PROGRAMS.into_iter().chain(cordon_providers::PROVIDERS.iter().map(|p| p.name))
}

/// What files call some of them, too.
pub(crate) const OTHER_NAMES: [(&str, &str); 1] = [("gemini-cli", "gemini_cli")];

/// Backend types of MassGen that Cordon has not, and why.
pub(crate) const DECLINED_KINDS: [(&str, &str); 2] = [
    (
        "antigravity_cli",
        "Cordon does not drive this program: use `gemini_cli`, or `command` with the program's own arguments",
    ),
    ("uitars", "Cordon moves no mouse: use another backend"),
];

/// Of the four programs: what each model of theirs knows.
const TURNS: &str = "Model APIs: answers of the model within one turn; 100 when absent.";
const TOKENS: &str = "Model APIs: tokens read and written in one turn, all answers together.";
const COST: &str = "Model APIs: dollars that one turn may cost; the price of the model must be known.";
const WINDOW: &str = "Model APIs: tokens that fit into the model; what the table of models says when absent.";
const MEDIA: &str = "Model APIs: tools with which the agent looks at pictures, listens and watches.";
const ONE_BY_ONE: &str = "MassGen sets it itself while it runs";
const AS_TOOLS: &str = "tools are shown to the model as tools, not as code in the workspace";
const NAMED_TOOLS: &str = "only tools that the file names are there";
const TOOLS_AT_ONCE: &str = "every tool is shown to the model from the beginning";
const PLAIN_HTTP: &str = "requests go over plain HTTPS";
const NOT_KEPT: &str = "every request has the whole conversation, and the provider is asked to keep none";
const DRAWS: &str = "Model APIs: a tool that has pictures drawn and puts them into the workspace.";
const SPEAKS: &str = "Model APIs: a tool that has texts spoken and puts the sound into the workspace.";
pub(super) const NO_VIDEOS: &str = "Cordon makes no videos: the agent gets no tool for it";
const NO_UPLOADS: &str = "no file is sent along with the task: name its directory in `context_paths`, and the agent \
                          opens it with its tools";
const NO_FILE_SERVER: &str = "Cordon puts no file server beside the agent's own tools";
const TEXT_MATCHING: &str = "matching the text of commands confines nobody: the sandbox decides by what a \
                             command touches; use context_paths, protected_paths and egress";
const ALLOWED_COMMANDS: &str = "Regular expressions, one of which a command of the bash tool must match at \
                                its beginning. Advice to a model that errs, and no boundary: the sandbox is.";
const BLOCKED_COMMANDS: &str = "Regular expressions, none of which a command of the bash tool may match at \
                                its beginning. Advice to a model that errs, and no boundary: the sandbox is.";
const TRUST: &str = "Settings, hooks and servers that the workspace brings for the program take effect. They run as \
                     the agent, inside the sandbox, and may send its key to whatever it may connect to.";
const CUSTOM_TOOLS: &str =
    "Your Python functions as tools: they run inside the sandbox, with the agent's rights.";
const MESSAGE: &str = "use `system_message` of the agent";

/// `agents[].backend`.
pub(crate) static BACKEND: Scope = Scope {
    name: "agents[].backend",
    keys: &[
        &[
            on("type", Shape::Text, "What drives the agent: `cordon backends` has the list."),
            on("model", Shape::Text, "The backend's own default when absent."),
            on("api_key", Shape::Secret, "Best as `${NAME}`: a reference to an environment variable."),
            on("base_url", Shape::Text, "An http or https URL in place of the provider's own."),
            on("cwd", Shape::Text, "The workspace. A relative one lives in the daemon's state directory."),
            on("context_paths", Shape::List(&Shape::Map(&CONTEXT_PATH)), "Trees that this agent may use."),
            on("model_reasoning_effort", Shape::Words(EFFORTS), "How hard the model thinks."),
            on("reasoning", REASONING, "`effort` is the same as `model_reasoning_effort`."),
            on("egress", Shape::Map(&EGRESS), "Where the sandbox may connect to. Here or beside `backend`."),
            on("env", Shape::Named(&Shape::Scalar), "Variables of the backend's process; not for secrets."),
            on("command", Shape::List(&Shape::Scalar), "Type `command`: the program and its arguments."),
            on("steps", Shape::List(&Shape::Map(&STEP)), "Type `replay`: the tool calls to do again."),
            on(
                "permission_mode",
                Shape::Words(&["default", "acceptEdits", "bypassPermissions", "plan"]),
                "What the program does without asking; `bypassPermissions` when absent: the sandbox decides.",
            ),
            on("enable_mcp_command_line", Shape::Flag, "Cordon's own tools, as MCP server `cordon`."),
            on("timeout", Shape::Number, "Seconds that a turn may take."),
            on(
                "enable_web_search",
                Shape::Flag,
                "The program's or the provider's own web search; off when absent.",
            ),
            on("cli_path", Shape::Text, "The program itself, for the local wall: an absolute path."),
            on("trust_repository", Shape::Flag, TRUST),
            on(
                "provider",
                Shape::Words(&["azure"]),
                "Codex and Copilot: the model is reached through Azure.",
            ),
            on(
                "azure_endpoint",
                Shape::Text,
                "URL of the Azure resource; AZURE_OPENAI_ENDPOINT when absent.",
            ),
            on("azure_deployment", Shape::Text, "Name of the deployment; the model's name when absent."),
            on("deployment_name", Shape::Text, "The same as `azure_deployment`."),
            on("api_version", Shape::Text, "Of Azure's API; AZURE_OPENAI_API_VERSION when absent."),
        ],
        &[
            on("command_line_execution_mode", Shape::Text, "`local` (when absent) or `docker`."),
            on("command_line_docker_image", Shape::Text, "The backend's own image when absent."),
            on(
                "command_line_docker_network_mode",
                Shape::Text,
                "`none`, `bridge` or `host`; codex needs `bridge`.",
            ),
            on("command_line_docker_memory_limit", Shape::Scalar, "For instance `2g` or `512m`."),
            on("command_line_docker_cpu_limit", Shape::Number, "Processor cores; fractions are fine."),
            on("command_line_docker_enable_sudo", Shape::Flag, "The sudo image: a weaker sandbox."),
            on("command_line_docker_runtime", Shape::Words(&["default", "runsc"]), "`runsc` is gVisor."),
            on(
                "command_line_docker_credentials",
                Shape::Map(&CREDENTIALS),
                "What of yours it gets, in both walls.",
            ),
            on("command_line_docker_packages", Shape::Map(&PACKAGES), "What the image has beside its own."),
            on("command_line_allowed_commands", Shape::List(&Shape::Text), ALLOWED_COMMANDS),
            on("command_line_blocked_commands", Shape::List(&Shape::Text), BLOCKED_COMMANDS),
            gone("command_line_whitelist_patterns", TEXT_MATCHING),
            gone("command_line_blacklist_patterns", TEXT_MATCHING),
            later_but("command_line_srt_network_allowed_domains", "use egress.allow"),
            later_but("command_line_srt_deny_read", "nothing is readable but what context_paths name"),
            later("command_line_srt_allow_unix_sockets"),
            later("command_line_srt_read_mode"),
            later_but("command_line_srt_allow_read", "use context_paths with permission: read"),
        ],
        &[
            on(
                "enforce_read_before_delete",
                Shape::Flag,
                "A tool deletes only what a tool has read or made before; `true` when absent.",
            ),
            on(
                "exclude_file_operation_mcps",
                Shape::Flag,
                "Of Cordon's file tools only `write_file` and `edit_file`.",
            ),
            ignored("use_mcpwrapped_for_tool_filtering", NO_FILE_SERVER),
            ignored("use_no_roots_wrapper", NO_FILE_SERVER),
            ignored("context_write_access_enabled", ONE_BY_ONE),
            ignored("agent_temporary_workspace", ONE_BY_ONE),
            ignored("instance_id", ONE_BY_ONE),
            ignored("filesystem_session_id", ONE_BY_ONE),
            ignored("session_storage_base", ONE_BY_ONE),
            later_but("write_mode", "use `orchestrator.coordination.write_mode`, or that of a context path"),
            ignored("use_two_tier_workspace", "MassGen does not honour it any more either"),
            ignored("enable_code_based_tools", AS_TOOLS),
            ignored("custom_tools_path", NAMED_TOOLS),
            ignored("auto_discover_custom_tools", NAMED_TOOLS),
            ignored("exclude_custom_tools", NAMED_TOOLS),
            ignored("direct_mcp_servers", AS_TOOLS),
            ignored("shared_tools_directory", AS_TOOLS),
            ignored("nlip*", NLIP),
            ignored("enable_nlip", NLIP),
        ],
        &[
            on("temperature", Shape::Number, "How freely the model chooses its words: 0 to 2."),
            on("max_tokens", Shape::Number, "Tokens of one answer."),
            on("top_p", Shape::Number, "Of the likeliest words those that make up so much: 0 to 1."),
            on("top_k", Shape::Number, "Of the likeliest words so many."),
            on("repetition_penalty", Shape::Number, "Above 1, words that were said become less likely."),
            on("text", Shape::Map(&TEXT), "How the model writes."),
            on("verbosity", Shape::Words(VERBOSITIES), "The same as `text.verbosity`."),
            on(
                "extra_body",
                Shape::Map(&EXTRA_BODY),
                "Settings of self-hosted models, as their clients write them.",
            ),
            on("safety_settings", SAFETY, "Gemini: which answers are withheld."),
            on("chat_template_kwargs", Shape::Any, "What the template of the model is given; a map."),
            on("separate_reasoning", Shape::Flag, "Thoughts come apart from the answer."),
            on("enable_x_search", Shape::Flag, "The provider's search of X."),
            on("enable_code_execution", Shape::Flag, "Code that runs at the provider, not in the sandbox."),
            on("enable_code_interpreter", Shape::Flag, "The same as `enable_code_execution`."),
            on("engine", Shape::Words(ENGINES), "OpenRouter: who searches the web."),
            on("max_results", Shape::Number, "OpenRouter: pages that a search looks at."),
            on("search_prompt", Shape::Text, "OpenRouter: what the model is told of what was found."),
            on(
                "search_context_size",
                Shape::Words(CONTEXT_SIZES),
                "How much of what was found the model gets.",
            ),
            on("plugins", Shape::List(&Shape::Map(&PLUGIN)), "OpenRouter: `web`, as `enable_web_search`."),
            on(
                "parallel_tool_calls",
                Shape::Flag,
                "Whether one answer may ask for several tools; `true` when absent.",
            ),
            ignored("previous_response_id", NOT_KEPT),
            ignored("websocket_mode", PLAIN_HTTP),
            ignored("enable_programmatic_flow", AS_TOOLS),
            ignored("enable_tool_search", TOOLS_AT_ONCE),
            ignored("tool_search_variant", TOOLS_AT_ONCE),
            ignored("enable_strict_tool_use", "the tools check their arguments themselves"),
            ignored("betas", "Cordon asks for what its own requests need"),
            ignored("usage", "what an answer used is always asked for"),
            ignored("upload_files", NO_UPLOADS),
        ],
        &[
            on("allowed_tools", Shape::List(&Shape::Text), "Of all MCP tools only these, by name."),
            on("exclude_tools", Shape::List(&Shape::Text), "None of these MCP tools, by name."),
            on(
                "disallowed_tools",
                Shape::List(&Shape::Text),
                "None of these tools of the program, in its own words.",
            ),
            later("output_schema"),
            on("mcp_servers", Shape::Either(&Shape::Map(&MCP_SERVER)), "Further MCP servers, by name."),
            on(
                "agent_config",
                Shape::Any,
                "Type `ag2`: one agent, with `name`, `llm_config`, `system_message`.",
            ),
            on("group_config", Shape::Any, "Type `ag2`: several, with `llm_config`, `agents` and `pattern`."),
            on("agent_type", Shape::Any, "Type `ag2`, without `agent_config`: `assistant` or `conversable`."),
            on("llm_config", Shape::Any, "Type `ag2`, without `agent_config`: a model, or a list of them."),
            on(
                "code_execution_config",
                Shape::Any,
                "Type `ag2`: runs what an agent writes, in the workspace.",
            ),
            on("custom_tools", Shape::List(&Shape::Map(&CUSTOM_TOOL)), CUSTOM_TOOLS),
            on(
                "custom_tools_python",
                Shape::Text,
                "The interpreter inside that runs them, for instance of a virtual environment: an absolute path.",
            ),
            later_with("hooks", Shape::Map(&HOOKS)),
            later_but_with("permissions", Shape::Map(&PERMISSIONS), PERMITS),
            ignored(
                "use_default_prompt",
                "the program's own prompt stays, and `system_message` is added to it",
            ),
            gone("system_prompt", MESSAGE),
            gone("append_system_prompt", MESSAGE),
        ],
        &[
            on("enable_multimodal_tools", Shape::Flag, MEDIA),
            on("multimodal_config", Shape::Map(&MULTIMODAL), "Which models these tools ask."),
            on(
                "image_generation_backend",
                Shape::Text,
                "Model APIs: who draws; the agent's own provider when absent.",
            ),
            on("image_generation_model", Shape::Text, "With which model."),
            on(
                "audio_generation_backend",
                Shape::Text,
                "Model APIs: who speaks; the agent's own provider when absent.",
            ),
            on("audio_generation_model", Shape::Text, "With which model."),
            ignored("video_generation_backend", NO_VIDEOS),
            ignored("video_generation_model", NO_VIDEOS),
            on("enable_image_generation", Shape::Flag, DRAWS),
            on("enable_audio_generation", Shape::Flag, SPEAKS),
            ignored("enable_file_generation", "agents write files with their tools"),
            ignored("enable_video_generation", NO_VIDEOS),
            on("concurrent_tool_execution", Shape::Flag, "Model APIs: calls of one answer run at one time."),
            on(
                "max_concurrent_tools",
                Shape::Number,
                "Model APIs: so many calls at one time; 8 when absent.",
            ),
            on("max_turns", Shape::Number, TURNS),
            on("max_tokens_total", Shape::Number, TOKENS),
            on("max_cost_usd", Shape::Number, COST),
            on("context_window", Shape::Number, WINDOW),
            ignored(
                "enable_rate_limit",
                "a provider that is asked too much is asked again later, as it says",
            ),
            ignored("debug_delay_*", "it is for debugging MassGen"),
        ],
        &[
            on("port", Shape::Number, "LM Studio: the port of its server on this machine; 1234 when absent."),
            on(
                "lmstudio_start",
                Shape::Flag,
                "LM Studio: its server is started, and the model fetched and loaded, by your program `lms`.",
            ),
        ],
        &[
            ignored("voting_*", COORDINATES),
            ignored("checklist_*", COORDINATES),
            ignored("gap_report_mode", COORDINATES),
            ignored("fairness_*", COORDINATES),
        ],
    ],
    required: &["type"],
};
