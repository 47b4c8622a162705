use crate::{
    CALL, CallError, CallResult, HostError, ObserverFailed, READY, ServerError, arguments, custom,
    filter::Filter,
    http::{Reach, Target},
    inside,
    launch::Launch,
    names,
    server::{Names, Server},
    tools,
};
use async_trait::async_trait;
use cordon_config::{McpServer, McpTransport, ToolOptions};
use cordon_egress::{Network, SystemNetwork};
use cordon_policy::HostRule;
use cordon_sandbox::{SandboxSpec, guest::Guest};
use rmcp::model::JsonObject;
use std::{
    collections::BTreeMap,
    os::unix::ffi::OsStrExt as _,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};
use tokio::sync::Semaphore;

/// Calls under way at one time; more wait.
const AT_ONCE: usize = 64;
/// KiB of arguments that are held at one time, those of waiting calls too; more is refused.
pub(crate) const HELD: usize = 256 << 10;

/// Where the servers run.
#[derive(Clone, Debug)]
pub struct Inside {
    /// The sandbox's guest.
    pub guest: Guest,
    /// Working directory of the servers that name none.
    pub workspace: PathBuf,
    /// `egress.allow`: a literal address there lets a server over HTTP be at it.
    pub egress: Vec<HostRule>,
}

/// Who is told of calls, before and after. What it cannot take note of does not happen.
#[async_trait]
pub trait Observer: Send + Sync {
    /// A tool is about to be called; `id` counts the calls of one host.
    async fn called(&self, id: &str, tool: &str, arguments: &JsonObject) -> Result<(), ObserverFailed>;
    /// It answered, or none: whoever called has gone away or the call was not made.
    async fn answered(&self, id: &str, tool: &str, answer: Option<&CallResult>)
    -> Result<(), ObserverFailed>;
}

/// A tool, as it is shown to a model.
#[derive(Clone, Debug)]
pub struct Tool(pub(crate) rmcp::model::Tool);

impl Tool {
    /// Its name: plain, or `mcp__SERVER__TOOL`.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// What it does; the words of a server.
    #[must_use]
    pub fn description(&self) -> &str {
        self.0.description.as_deref().unwrap_or_default()
    }

    /// JSON schema of its arguments; the words of a server.
    #[must_use]
    pub fn input_schema(&self) -> &JsonObject {
        &self.0.input_schema
    }
}

/// The MCP servers of one agent behind one list of tools.
pub struct Host {
    servers: Vec<Server>,
    tools: Vec<Tool>,
    /// By the name that is shown: the server and its own name for the tool.
    index: BTreeMap<String, (usize, String)>,
    /// What the agent file lets be seen of all tools.
    shown: Filter,
    warnings: Vec<String>,
    observer: Arc<dyn Observer>,
    calls: Semaphore,
    pub(crate) held: Semaphore,
    next: AtomicU64,
}

impl Host {
    /// Starts every server. One of the user's that does not answer is said in
    /// [`Host::warnings`] and has no tools.
    ///
    /// # Errors
    /// When the sandbox's own tools are not there.
    pub async fn start(
        inside: Inside,
        options: &ToolOptions,
        observer: Arc<dyn Observer>,
    ) -> Result<Self, HostError> {
        let own = own_server(&inside);
        let mut warnings = Vec::new();
        let mut users = Vec::new();
        let network: Arc<dyn Network> = Arc::new(SystemNetwork);
        // Those of an agent's own program are listed among its servers, too.
        let is_custom = |name: &str| !options.custom.is_empty() && name == custom::CUSTOM_TOOLS_SERVER;
        for given in options.servers.iter().filter(|s| !is_custom(&s.name)) {
            match user_server(given, &inside, &network) {
                Ok(server) => users.push((server, Filter::new(given.allowed.as_deref(), &given.excluded))),
                Err(error) => warnings.push(format!("the MCP server {} has no tools: {error}", given.name)),
            }
        }
        let custom = custom::server(&inside, options);
        let all = Filter::new(options.allowed.as_deref(), &options.excluded);
        let mut host = Self::of(own, users, &all, warnings, observer).await?;
        if let Some(server) = custom {
            let mut listed = server.start().await;
            let tools = listed.as_mut().map(std::mem::take).unwrap_or_default();
            custom::outcome(&server, options, listed.map(drop)).await?;
            host.add(server, &Filter::default(), &all, tools);
        }
        Ok(host)
    }

    pub(crate) async fn of(
        own: Server,
        users: Vec<(Server, Filter)>,
        all: &Filter,
        warnings: Vec<String>,
        observer: Arc<dyn Observer>,
    ) -> Result<Self, HostError> {
        let mut host = Self {
            servers: Vec::new(),
            tools: Vec::new(),
            index: BTreeMap::new(),
            shown: all.clone(),
            warnings,
            observer,
            calls: Semaphore::new(AT_ONCE),
            held: Semaphore::new(HELD),
            next: AtomicU64::new(1),
        };
        // Before anything hostile runs beside it: until it has closed itself, its standard
        // output is open to every process of its user.
        let listed = own.start().await.map_err(HostError::Guest)?;
        host.add(own, &Filter::default(), all, listed);
        // All at once: the slowest decides how long it takes.
        let mut tasks = Vec::new();
        for (server, filter) in users {
            tasks.push(tokio::spawn(async move {
                let listed = server.start().await;
                (server, filter, listed)
            }));
        }
        for task in tasks {
            let Ok((server, filter, listed)) = task.await else {
                host.warnings.push("an MCP server has no tools: its task failed".to_owned());
                continue;
            };
            match listed {
                Ok(listed) => host.add(server, &filter, all, listed),
                Err(error) => {
                    let name = server.name.as_deref().unwrap_or("of the sandbox");
                    host.warnings.push(format!("the MCP server {name} has no tools: {error}"));
                }
            }
        }
        Ok(host)
    }

    fn add(&mut self, server: Server, filter: &Filter, all: &Filter, listed: Vec<rmcp::model::Tool>) {
        let fault = match (&server.name, server.names) {
            (None, _) => names::plain_fault,
            (Some(_), Names::Composed) => names::fault,
            (Some(_), Names::Plain) => names::custom_fault,
        };
        let (taken, told) = tools::taken(listed, fault);
        let who = server.name.as_ref().map_or("the sandbox".to_owned(), |n| format!("the MCP server {n}"));
        self.warnings.extend(told.into_iter().map(|what| format!("{who}: {what}")));
        let number = self.servers.len();
        for mut tool in taken {
            let own = tool.name.to_string();
            let shown = match (&server.name, server.names) {
                (Some(name), Names::Composed) => names::composed(name, &own),
                _ => own.clone(),
            };
            if !filter.lets(&own, &shown) || !all.lets(&own, &shown) {
                continue;
            }
            tool.name = shown.clone().into();
            self.tools.push(Tool(tool));
            self.index.insert(shown, (number, own));
        }
        self.servers.push(server);
    }

    /// What a person should know: servers that are not there, tools that are left out.
    #[must_use]
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// Every tool, as the servers had them when they were started: a server cannot change
    /// what was shown.
    #[must_use]
    pub fn list_tools(&self) -> &[Tool] {
        &self.tools
    }

    /// Whether the agent file lets a tool of this name be seen that no server has.
    #[must_use]
    pub fn shows(&self, name: &str) -> bool {
        self.shown.lets(name, name)
    }

    /// Whether a tool of this name is one of the sandbox's own.
    #[must_use]
    pub fn is_own(&self, name: &str) -> bool {
        self.index.get(name).and_then(|(n, _)| self.servers.get(*n)).is_some_and(|s| s.name.is_none())
    }

    /// Calls one of the sandbox's own tools on the daemon's behalf: whether the agent is shown it does
    /// not matter, and nobody is told. The policy holds all the same.
    ///
    /// # Errors
    /// When the sandbox's tools are gone.
    pub async fn call_own(&self, tool: &str, arguments: JsonObject) -> Result<CallResult, ServerError> {
        let own = self.servers.iter().find(|s| s.name.is_none());
        let own = own.ok_or_else(|| ServerError::Ended("the sandbox has no tools".to_owned()))?;
        Ok(CallResult { inner: own.call(tool, arguments).await?, own: true })
    }

    /// Calls a tool and tells the observer. A server that is dead or silent is an answer
    /// that says so. Dropping the future tells the server that nobody waits any more.
    ///
    /// # Errors
    /// When there is no such tool, its arguments or those of all calls are too much, or the call cannot be
    /// recorded. Then nothing was called.
    pub async fn call(&self, name: &str, arguments: JsonObject) -> Result<CallResult, CallError> {
        let id = format!("call-{}", self.next.fetch_add(1, Ordering::Relaxed));
        let Some((number, own)) = self.index.get(name) else {
            return Err(CallError::UnknownTool(crate::error::words(name)));
        };
        let weight = arguments::weight(&arguments).map_err(CallError::Arguments)?;
        let Some(server) = self.servers.get(*number) else {
            return Err(CallError::UnknownTool(name.to_owned()));
        };
        let kib = u32::try_from(weight >> 10).unwrap_or(u32::MAX);
        let _held = self.held.try_acquire_many(kib).map_err(|_| CallError::Busy)?;
        // Closed never: it lives as long as the host.
        let _turn = self.calls.acquire().await;
        self.observer.called(&id, name, &arguments).await?;
        let gone = Gone { observer: Some(self.observer.clone()), id: &id, tool: name };
        let answer = match server.call(own, arguments).await {
            Ok(inner) => CallResult { inner, own: server.name.is_none() },
            Err(error) => {
                let who = server.name.as_deref().unwrap_or("of the sandbox");
                CallResult::failed(format!("the MCP server {who} did not answer: {error}"))
            }
        };
        gone.came();
        self.observer.answered(&id, name, Some(&answer)).await?;
        Ok(answer)
    }
}

/// Tells the observer when a call is dropped before its answer.
struct Gone<'a> {
    observer: Option<Arc<dyn Observer>>,
    id: &'a str,
    tool: &'a str,
}

impl Gone<'_> {
    fn came(mut self) {
        self.observer = None;
    }
}

impl Drop for Gone<'_> {
    fn drop(&mut self) {
        let (Some(observer), Ok(runtime)) = (self.observer.take(), tokio::runtime::Handle::try_current())
        else {
            return;
        };
        let (id, tool) = (self.id.to_owned(), self.tool.to_owned());
        runtime.spawn(async move {
            // The next call finds out that nothing can be recorded.
            let _ = observer.answered(&id, &tool, None).await;
        });
    }
}

/// It is started once, before anything of the user's runs beside it: between the start of a second
/// one and the moment in which it closes itself to others of its user, an agent that has just
/// killed the first could open its standard output, and speak in its name.
fn own_server(inside: &Inside) -> Server {
    let start = inside::Start {
        guest: inside.guest.clone(),
        argv: vec![SandboxSpec::GUEST_INSIDE.as_bytes().to_vec(), b"mcp".to_vec()],
        env: Vec::new(),
        cwd: inside.workspace.as_os_str().as_bytes().to_vec(),
    };
    Server::new(None, Launch::Inside(Box::new(start)), (READY, CALL))
}

fn user_server(
    given: &McpServer,
    inside: &Inside,
    network: &Arc<dyn Network>,
) -> Result<Server, ServerError> {
    let (launch, call_within) = match &given.transport {
        McpTransport::Stdio { argv, env, cwd } => {
            let cwd = cwd.as_ref().map_or(inside.workspace.clone(), |cwd| inside.workspace.join(cwd));
            let start = inside::Start {
                guest: inside.guest.clone(),
                argv: argv.iter().map(|a| a.clone().into_bytes()).collect(),
                env: env.iter().map(|(n, v)| (n.clone(), v.reveal().as_bytes().to_vec())).collect(),
                cwd: cwd.as_os_str().as_bytes().to_vec(),
            };
            (Launch::Inside(Box::new(start)), CALL)
        }
        McpTransport::Http { url, headers, call_within, allow_localhost, allow_private } => {
            let reach = Reach {
                localhost: *allow_localhost || *allow_private,
                private: *allow_private,
                granted: is_granted(url.reveal(), &inside.egress),
            };
            let limits = (given.ready_within, *call_within);
            let target = Target::new(url, headers, reach, network.clone(), limits)?;
            (Launch::Http(Box::new(target)), *call_within)
        }
    };
    Ok(Server::new(Some(given.name.clone()), launch, (given.ready_within, call_within)))
}

/// Whether the agent file names the very host and port of a URL as a literal.
fn is_granted(url: &str, egress: &[HostRule]) -> bool {
    let Ok(url) = url.parse::<url::Url>() else { return false };
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    let port = url.port_or_known_default().unwrap_or(0);
    egress.iter().any(|rule| rule.literal() == Some((host, port)))
}
