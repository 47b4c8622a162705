use super::{
    EGRESS,
    nested::{
        CONTEXT_PATH, CREDENTIALS, CUSTOM_TOOL, HOOKS, MCP_SERVER, PACKAGES, PERMISSIONS, REASONING, STEP,
    },
};
use crate::shape::{Scope, Shape, gone, ignored, later, later_but, later_with, off, on};

/// The backend types that work.
pub(crate) const KINDS: [&str; 6] = ["codex", "claude_code", "gemini_cli", "copilot", "command", "replay"];

/// What files call some of them, too.
pub(crate) const OTHER_NAMES: [(&str, &str); 1] = [("gemini-cli", "gemini_cli")];

/// The backend types that are known and do not work yet.
pub(crate) const LATER_KINDS: [&str; 22] = [
    "openai",
    "claude",
    "gemini",
    "grok",
    "azure_openai",
    "ag2",
    "zai",
    "lmstudio",
    "inference",
    "vllm",
    "sglang",
    "chatcompletion",
    "cerebras",
    "together",
    "fireworks",
    "groq",
    "openrouter",
    "moonshot",
    "nvidia_nim",
    "nebius",
    "poe",
    "qwen",
];

const EFFORTS: &[&str] = &["low", "medium", "high", "xhigh"];
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
            on("type", Shape::Text, "codex, claude_code, gemini_cli, copilot, command or replay."),
            on("model", Shape::Text, "The backend's own default when absent."),
            on("api_key", Shape::Secret, "Best as `${NAME}`: a reference to an environment variable."),
            on("base_url", Shape::Text, "An http or https URL in place of the provider's own."),
            on("cwd", Shape::Text, "The workspace. A relative one lives in the daemon's state directory."),
            on("context_paths", Shape::List(&Shape::Map(&CONTEXT_PATH)), "Trees that this agent may use."),
            on("model_reasoning_effort", Shape::Words(EFFORTS), "How hard the model thinks."),
            on("reasoning", Shape::Map(&REASONING), "`effort` is the same as `model_reasoning_effort`."),
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
            on("enable_web_search", Shape::Flag, "The program's own web search; off when absent."),
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
            later("context_write_access_enabled"),
            later("agent_temporary_workspace"),
            later("instance_id"),
            later("filesystem_session_id"),
            later("session_storage_base"),
            later("write_mode"),
            off("use_two_tier_workspace"),
            off("enable_code_based_tools"),
            later("custom_tools_path"),
            off("auto_discover_custom_tools"),
            later("exclude_custom_tools"),
            later("direct_mcp_servers"),
            later("shared_tools_directory"),
        ],
        &[
            later("temperature"),
            later("max_tokens"),
            later("top_p"),
            later("top_k"),
            later("repetition_penalty"),
            later("text"),
            later("verbosity"),
            later("extra_body"),
            later("safety_settings"),
            later("previous_response_id"),
            off("websocket_mode"),
            off("enable_x_search"),
            off("enable_code_execution"),
            off("enable_code_interpreter"),
            off("enable_programmatic_flow"),
            off("enable_tool_search"),
            off("enable_strict_tool_use"),
            on("allowed_tools", Shape::List(&Shape::Text), "Of all MCP tools only these, by name."),
            on("exclude_tools", Shape::List(&Shape::Text), "None of these MCP tools, by name."),
            on(
                "disallowed_tools",
                Shape::List(&Shape::Text),
                "None of these tools of the program, in its own words.",
            ),
            later("output_schema"),
            on("mcp_servers", Shape::Either(&Shape::Map(&MCP_SERVER)), "Further MCP servers, by name."),
            on("custom_tools", Shape::List(&Shape::Map(&CUSTOM_TOOL)), CUSTOM_TOOLS),
            on(
                "custom_tools_python",
                Shape::Text,
                "The interpreter inside that runs them, for instance of a virtual environment: an absolute path.",
            ),
            later_with("hooks", Shape::Map(&HOOKS)),
            later_with("permissions", Shape::Map(&PERMISSIONS)),
            later("use_default_prompt"),
            gone("system_prompt", MESSAGE),
            gone("append_system_prompt", MESSAGE),
        ],
        &[
            off("enable_multimodal_tools"),
            later("multimodal_config"),
            later("image_generation_backend"),
            later("image_generation_model"),
            later("video_generation_backend"),
            later("video_generation_model"),
            later("audio_generation_backend"),
            later("audio_generation_model"),
            off("enable_image_generation"),
            off("enable_audio_generation"),
            off("enable_file_generation"),
            off("enable_video_generation"),
            off("concurrent_tool_execution"),
            later("max_concurrent_tools"),
            off("enable_rate_limit"),
        ],
        &[
            later("port"),
            later("llm_config"),
            later("agent_config"),
            later("usage"),
            later("plugins"),
            later("engine"),
            later("max_results"),
            later("search_prompt"),
            later("search_context_size"),
            later("chat_template_kwargs"),
            later("separate_reasoning"),
        ],
    ],
    required: &["type"],
};
