//! `custom_tools`: the files of the user's functions as rules, and the interpreter that runs them
//! inside. An agent's own program is told of them as of an MCP server; where Cordon calls the tools
//! it starts that server itself.

use super::{HOME, PlanError, Purpose, contexts::View, workspace};
use cordon_backends::{BackendError, Context, Needs, Python, python_at, python_on};
use cordon_config::{BackendKind, McpServer, McpTransport, Secret, ToolCode};
use cordon_mcp::{
    CUSTOM_TOOLS_PROGRAM, CUSTOM_TOOLS_READY, CUSTOM_TOOLS_SERVER, CUSTOM_TOOLS_VARIABLE, PYTHON,
    custom_tools_config,
};
use cordon_policy::{Access, Origin, Source};
use cordon_sandbox::{SeedFile, WallKind};
use std::path::{Path, PathBuf};

/// Below the private home.
const PROGRAM: &str = ".cordon-custom-tools.py";
/// Where a sandbox looks for programs.
const SEARCH: [&str; 6] = ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"];

/// What the tools need beside what the backend does.
#[derive(Default)]
pub(super) struct Custom {
    programs: Vec<PathBuf>,
    seeds: Vec<SeedFile>,
}

/// Settles where files and interpreter are, and tells the agent's own program of its tools.
pub(super) fn prepare(context: &mut Context, purpose: Purpose) -> Result<Custom, PlanError> {
    let mut custom = Custom::default();
    if context.agent.tools.custom.is_empty() {
        return Ok(custom);
    }
    for tool in &mut context.agent.tools.custom {
        if let ToolCode::File(path) = &mut tool.code {
            *path = workspace::real_path("custom tool", path).map_err(|e| e.at(&tool.place))?;
        }
    }
    if context.wall == WallKind::Local {
        match interpreter(context) {
            Ok(None) => {}
            Ok(Some(python)) => {
                context.agent.tools.custom_python = Some(python.path);
                custom.programs = python.needs;
            }
            Err(BackendError::NoProgram { .. }) if purpose == Purpose::Look => {}
            Err(error) => return Err(error.into()),
        }
    }
    if starts_its_own(context.agent.backend) {
        let program = Path::new(HOME).join(PROGRAM);
        let server = server(context, &program);
        context.agent.tools.servers.push(server);
        let content = CUSTOM_TOOLS_PROGRAM.as_bytes().to_vec();
        custom.seeds.push(SeedFile { path: PROGRAM.into(), content, mode: 0o444 });
    }
    Ok(custom)
}

/// Whether an agent's program starts its MCP servers itself.
pub(crate) fn starts_its_own(kind: BackendKind) -> bool {
    use BackendKind::{ClaudeCode, Codex, Copilot, GeminiCli};
    matches!(kind, Codex | ClaudeCode | GeminiCli | Copilot)
}

/// None: one that the sandbox finds by itself, where the agent file says.
fn interpreter(context: &Context) -> Result<Option<Python>, BackendError> {
    match &context.agent.tools.custom_python {
        Some(path) => python_at(path).map(Some),
        None if context.agent.env.contains_key("PATH") => Ok(None),
        None => python_on(&SEARCH.map(PathBuf::from)).map(Some),
    }
}

fn server(context: &Context, program: &Path) -> McpServer {
    let tools = &context.agent.tools;
    let python = tools.custom_python.as_deref().map_or(PYTHON.into(), Path::to_string_lossy);
    let config = custom_tools_config(&tools.custom, &context.workspace);
    // By way of env: an interpreter is known by the name that it is called by.
    let argv = ["/usr/bin/env", &python, &program.to_string_lossy()].map(str::to_owned).into();
    McpServer {
        name: CUSTOM_TOOLS_SERVER.to_owned(),
        transport: McpTransport::Stdio {
            argv,
            env: [(CUSTOM_TOOLS_VARIABLE.to_owned(), Secret::new(config))].into(),
            cwd: None,
        },
        ready_within: CUSTOM_TOOLS_READY,
        allowed: None,
        excluded: Vec::new(),
        secrets: tools.custom.iter().flat_map(|tool| tool.secrets.clone()).collect(),
        place: tools.custom.first().map_or_else(|| context.agent.place.clone(), |tool| tool.place.clone()),
    }
}

impl Custom {
    pub(super) fn join(self, needs: &mut Needs) {
        let programs = self.programs.into_iter().filter(|path| !needs.programs.contains(path));
        let programs: Vec<PathBuf> = programs.collect();
        needs.programs.extend(programs);
        needs.seeds.extend(self.seeds);
    }
}

impl View<'_> {
    /// The files of custom tools: each at its own path, to be read, wherever it lies.
    pub(super) fn add_custom_tools(&mut self, context: &Context) -> Result<(), PlanError> {
        let mut seen: Vec<&Path> = Vec::new();
        for tool in &context.agent.tools.custom {
            let ToolCode::File(path) = &tool.code else { continue };
            if seen.contains(&path.as_path()) {
                continue;
            }
            seen.push(path);
            self.custom_tool(path).map_err(|e| e.at(&tool.place))?;
            let origin = Origin { source: Source::CustomTool, place: Some(tool.place.clone()) };
            self.rule(path, Access::Read, origin);
        }
        Ok(())
    }

    fn custom_tool(&self, path: &Path) -> Result<(), PlanError> {
        const WHAT: &str = "custom tool";
        if let Some(why) = workspace::reserved(self.host, path) {
            return Err(PlanError::path(WHAT, path, why, "Put the file somewhere else"));
        }
        let meta = path.symlink_metadata().map_err(PlanError::io("look at the custom tool", path))?;
        if !meta.is_file() {
            return Err(PlanError::path(WHAT, path, "it is not a regular file", "Name a Python file"));
        }
        self.readable(WHAT, path, &meta, self.workspace.identity)
    }
}
