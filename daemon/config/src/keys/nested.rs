use crate::shape::{Scope, Shape, ignored, later, on};

/// `context_paths[]`.
pub(crate) static CONTEXT_PATH: Scope = Scope {
    name: "context_paths[]",
    keys: &[&[
        on("path", Shape::Text, "Absolute, or relative to the agent file."),
        on("permission", Shape::Words(&["read", "write"]), "`read` when absent."),
        on(
            "write_mode",
            Shape::Words(&["auto", "isolated", "worktree", "legacy"]),
            "For this path alone, over `orchestrator.coordination.write_mode`.",
        ),
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
        on("mount", Shape::List(&Shape::Words(MOUNTS)), "Well-known logins and settings, read-only."),
        on(
            "additional_mounts",
            Shape::Named(&Shape::Map(&ADDITIONAL_MOUNT)),
            "By path on this machine: further files and directories.",
        ),
        on("env_file", Shape::Text, "A file of KEY=VALUE lines, which the client reads."),
        on("env_vars_from_file", Shape::List(&Shape::Text), "Of `env_file`, or of `.env`, only these."),
        on("env_vars", Shape::List(&Shape::Text), "Variables of the client's environment, by name."),
        on("pass_all_env", Shape::Flag, "The client's whole environment: think twice."),
    ]],
    required: &[],
};

const MOUNTS: &[&str] = &[
    "ssh_keys",
    "git_config",
    "gh_config",
    "npm_config",
    "pypi_config",
    "claude_config",
    "codex_config",
    "gemini_config",
];

static ADDITIONAL_MOUNT: Scope = Scope {
    name: "command_line_docker_credentials.additional_mounts.*",
    keys: &[&[
        on("bind", Shape::Text, "Absolute path inside."),
        on("mode", Shape::Words(&["ro", "rw"]), "`ro` when absent."),
    ]],
    required: &["bind"],
};

static PREINSTALL: Scope = Scope {
    name: "command_line_docker_packages.preinstall",
    keys: &[&[
        on("system", Shape::List(&Shape::Text), "Debian packages: `name` or `name=version`."),
        on("python", Shape::List(&Shape::Text), "Python packages: `name`, `name[extra]`, `name==version`."),
        on("npm", Shape::List(&Shape::Text), "npm packages: `name`, `@scope/name`, `name@version`."),
    ]],
    required: &[],
};

/// `backend.command_line_docker_packages`.
pub(crate) static PACKAGES: Scope = Scope {
    name: "command_line_docker_packages",
    keys: &[&[on("preinstall", Shape::Map(&PREINSTALL), "Installed once into an image of its own.")]],
    required: &[],
};

/// One server of `mcp_servers`.
pub(crate) static MCP_SERVER: Scope = Scope {
    name: "mcp_servers[]",
    keys: &[&[
        on("name", Shape::Text, "Its tools are `mcp__NAME__TOOL`. In a map of servers the key is the name."),
        on("type", Shape::Text, "`stdio` (when absent), or `streamable-http`, which `http` means too."),
        on(
            "command",
            Shape::OneOrMore(&Shape::Scalar),
            "stdio: the program, which runs inside the sandbox; a list is program and arguments.",
        ),
        on("args", Shape::List(&Shape::Scalar), "stdio: further arguments."),
        on("env", Shape::Named(&Shape::Scalar), "stdio: variables of the program; the agent can read them."),
        on("cwd", Shape::Text, "stdio: directory inside, the workspace when absent."),
        on("url", Shape::Text, "http: an http or https URL, which the daemon reaches."),
        on("headers", Shape::Named(&Shape::Secret), "http: sent with every request, and never shown."),
        on("timeout", Shape::Number, "Seconds in which the server must answer first; 30 when absent."),
        on("http_read_timeout", Shape::Number, "http: seconds that a call may take; 300 when absent."),
        on("security", Shape::Map(&MCP_SECURITY), "http: what may be reached beside public addresses."),
        on("allowed_tools", Shape::List(&Shape::Text), "Only these tools of the server."),
        on("exclude_tools", Shape::List(&Shape::Text), "None of these tools of the server."),
        on("description", Shape::Text, "For people."),
        ignored("defer_loading", "every tool is shown from the beginning"),
    ]],
    required: &[],
};

const NO_HOST_PROGRAM: &str = "no program of the host is ever run for a server: it runs inside the sandbox";

static MCP_SECURITY: Scope = Scope {
    name: "mcp_servers[].security",
    keys: &[&[
        on("allow_localhost", Shape::Flag, "The server may be on this machine."),
        on("allow_private_ips", Shape::Flag, "The server may have a private address."),
        on("allowed_hostnames", Shape::List(&Shape::Text), "The URL must name one of these hosts."),
        ignored("level", NO_HOST_PROGRAM),
        ignored("allowed_executables", NO_HOST_PROGRAM),
        ignored("env", NO_HOST_PROGRAM),
        ignored(
            "resolve_dns",
            "names are always resolved, and the checked address is the one that is dialled",
        ),
    ]],
    required: &[],
};

const PRESET: &str = "MassGen reads it for no tool: use `preset_args`";

/// One entry of `custom_tools`.
pub(crate) static CUSTOM_TOOL: Scope = Scope {
    name: "custom_tools[]",
    keys: &[&[
        on(
            "path",
            Shape::Text,
            "The Python file, absolute or relative to the agent file; or the name of a module of the interpreter.",
        ),
        on("function", Shape::OneOrMore(&Shape::Text), "The function, or several of the file."),
        on("func", Shape::OneOrMore(&Shape::Text), "The same as `function`."),
        on(
            "name",
            Shape::OneOrMore(&Shape::Text),
            "Models call it `custom_tool__NAME`; `function` when absent.",
        ),
        on(
            "description",
            Shape::OneOrMore(&Shape::Text),
            "In place of the docstring's; a list has one for each function.",
        ),
        on("preset_args", Shape::Any, "Arguments that are given with every call, and not shown; a map."),
        on("category", Shape::Text, "For people."),
        ignored("default_params", PRESET),
        ignored("defer_loading", "every tool is shown from the beginning"),
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
        on("enabled", Shape::Flag, ""),
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
