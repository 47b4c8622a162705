use crate::shape::{Scope, Shape, later, on};

/// `context_paths[]`.
pub(crate) static CONTEXT_PATH: Scope = Scope {
    name: "context_paths[]",
    keys: &[&[
        on("path", Shape::Text, "Absolute, or relative to the agent file."),
        on("permission", Shape::Words(&["read", "write"]), "`read` when absent."),
        on(
            "protected_paths",
            Shape::List(&Shape::Text),
            "Read-only in spite of `permission: write`; inside `path`.",
        ),
        on(
            "allow",
            Shape::List(&Shape::Text),
            "Steering or secret names inside `path` that are not hidden or protected.",
        ),
    ]],
    required: &["path"],
};

/// `backend.reasoning`.
pub(crate) static REASONING: Scope = Scope {
    name: "backend.reasoning",
    keys: &[&[
        on("effort", Shape::Words(&["low", "medium", "high", "xhigh"]), "How hard the model thinks."),
        later("summary"),
        later("max_tokens"),
        later("exclude"),
        later("enabled"),
    ]],
    required: &[],
};

/// `steps[]` of a replay.
pub(crate) static STEP: Scope = Scope {
    name: "steps[]",
    keys: &[&[
        on("exec", Shape::List(&Shape::Scalar), "Run a program with arguments."),
        on("read", Shape::Text, "Read a file."),
        on("write", Shape::Map(&STEP_WRITE), "Write a file."),
        on("say", Shape::Text, "Say something."),
    ]],
    required: &[],
};

static STEP_WRITE: Scope = Scope {
    name: "steps[].write",
    keys: &[&[
        on("path", Shape::Text, "Absolute, or relative to the workspace."),
        on("content", Shape::Text, "The file's new content."),
    ]],
    required: &["path", "content"],
};

/// `backend.command_line_docker_credentials`.
pub(crate) static CREDENTIALS: Scope = Scope {
    name: "command_line_docker_credentials",
    keys: &[&[
        later("mount"),
        later("additional_mounts"),
        later("env_file"),
        later("env_vars_from_file"),
        later("env_vars"),
        later("pass_all_env"),
    ]],
    required: &[],
};

static PREINSTALL: Scope = Scope {
    name: "command_line_docker_packages.preinstall",
    keys: &[&[later("system"), later("python"), later("npm")]],
    required: &[],
};

/// `backend.command_line_docker_packages`.
pub(crate) static PACKAGES: Scope = Scope {
    name: "command_line_docker_packages",
    keys: &[&[on("preinstall", Shape::Map(&PREINSTALL), "")]],
    required: &[],
};

/// One server of `mcp_servers`.
pub(crate) static MCP_SERVER: Scope = Scope {
    name: "mcp_servers[]",
    keys: &[&[
        later("name"),
        later("type"),
        later("command"),
        later("args"),
        later("env"),
        later("cwd"),
        later("url"),
        later("headers"),
        later("timeout"),
        later("http_read_timeout"),
        on("security", Shape::Map(&MCP_SECURITY), ""),
        later("allowed_tools"),
        later("exclude_tools"),
        later("description"),
    ]],
    required: &[],
};

static MCP_SECURITY: Scope = Scope {
    name: "mcp_servers[].security",
    keys: &[&[
        later("level"),
        later("allowed_executables"),
        later("env"),
        later("resolve_dns"),
        later("allow_private_ips"),
        later("allow_localhost"),
        later("allowed_hostnames"),
    ]],
    required: &[],
};

/// `hooks`.
pub(crate) static HOOKS: Scope =
    Scope { name: "hooks", keys: &[&[later("PreToolUse"), later("PostToolUse")]], required: &[] };

static RULES: Scope = Scope {
    name: "permissions.rules",
    keys: &[&[later("deny"), later("allow"), later("ask")]],
    required: &[],
};

/// `permissions`.
pub(crate) static PERMISSIONS: Scope = Scope {
    name: "permissions",
    keys: &[&[
        later("role"),
        on("rules", Shape::Map(&RULES), ""),
        later("automation_default"),
        later("approval_mode"),
        later("approval_dir"),
        later("audit"),
        later("max_consecutive_auto"),
        later("persist_approvals"),
        later("settings_path"),
    ]],
    required: &[],
};
