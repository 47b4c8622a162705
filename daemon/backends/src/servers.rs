//! The MCP servers of an agent as its CLI program is told of them. Programs start theirs inside
//! the sandbox; services are reached from there, as the rules of its network allow.
//!
//! The filters keep tools from a model. They are no boundary: whatever a server's program can do
//! inside, a shell inside can do too.

use crate::endpoint::Endpoint;
use crate::{BackendError, Context, Needs, program};
use cordon_config::{McpServer, McpTransport};
use cordon_policy::HostRule;
use cordon_sandbox::{Forward, WallKind};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The server that offers Cordon's own tools: `enable_mcp_command_line`.
pub(crate) const OWN: &str = "cordon";
const GUEST: &str = "/run/cordon-guest";
/// What one call may take, where the file does not say.
const CALL: Duration = Duration::from_secs(300);

/// One server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Server {
    /// `[A-Za-z0-9_-]`, without `__`.
    pub(crate) name: String,
    pub(crate) reach: Reach,
    /// How long it may take until it is ready.
    pub(crate) ready_within: Duration,
    /// What one call may take.
    pub(crate) call_within: Duration,
    /// Of its tools only these, by the server's own names; none: any.
    pub(crate) allowed: Option<BTreeSet<String>>,
    /// None of these tools.
    pub(crate) excluded: BTreeSet<String>,
}

/// How a server is reached from inside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Reach {
    /// A program inside the sandbox.
    Stdio {
        command: String,
        args: Vec<String>,
        env: BTreeMap<String, String>,
        /// Absolute; none: the workspace.
        cwd: Option<String>,
    },
    /// A service, by a URL as it has to be called from inside.
    Http { url: String, headers: BTreeMap<String, String> },
}

/// All servers of one agent, and what they need of its sandbox.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Servers {
    pub(crate) list: Vec<Server>,
    hosts: Vec<HostRule>,
    grants: Vec<(String, u16)>,
    forwards: Vec<Forward>,
    programs: Vec<PathBuf>,
    secrets: Vec<String>,
}

/// The servers of an agent, for its CLI program.
///
/// # Errors
/// When the URL of one cannot be reached from inside, or a text is none.
pub(crate) fn lower(context: &Context) -> Result<Servers, BackendError> {
    let tools = &context.agent.tools;
    let mut servers = Servers::default();
    for given in &tools.servers {
        if tools.offer_own && given.name == OWN {
            return Err(BackendError::Invalid(format!(
                "mcp_servers.{OWN}: that is the name of Cordon's own server; give it another, or take \
                 enable_mcp_command_line out"
            )));
        }
        let (reach, call_within) = servers.reach(context, given)?;
        servers.secrets.extend(given.secrets.iter().map(|s| s.reveal().to_owned()));
        let all = |names: &[String]| only(&given.name, names);
        let own = given.allowed.as_deref().map(all);
        let allowed = match (own, tools.allowed.as_deref().map(all)) {
            (Some(own), Some(backend)) => Some(own.intersection(&backend).cloned().collect()),
            (own, backend) => own.or(backend),
        };
        servers.list.push(Server {
            name: given.name.clone(),
            reach,
            ready_within: given.ready_within,
            call_within,
            allowed,
            excluded: all(&given.excluded).union(&all(&tools.excluded)).cloned().collect(),
        });
    }
    if tools.offer_own {
        servers.list.push(Server {
            name: OWN.to_owned(),
            reach: Reach::Stdio {
                command: GUEST.to_owned(),
                args: vec!["mcp".to_owned()],
                env: BTreeMap::new(),
                cwd: None,
            },
            ready_within: Duration::from_secs(30),
            call_within: CALL,
            allowed: tools.allowed.as_deref().map(|names| only(OWN, names)),
            excluded: only(OWN, &tools.excluded),
        });
    }
    Ok(servers)
}

/// Of names as people write them those that can be a tool of this server, by its own names:
/// `tool` of any, and `mcp__SERVER__tool`.
fn only(server: &str, names: &[String]) -> BTreeSet<String> {
    let own = |name: &String| match name.strip_prefix("mcp__").and_then(|rest| rest.split_once("__")) {
        Some((of, tool)) => (of == server).then(|| tool.to_owned()),
        None => Some(name.clone()),
    };
    names.iter().filter_map(own).collect()
}

impl Servers {
    fn reach(&mut self, context: &Context, given: &McpServer) -> Result<(Reach, Duration), BackendError> {
        let fail = |why: String| BackendError::Invalid(format!("mcp_servers.{}: {why}", given.name));
        match &given.transport {
            McpTransport::Stdio { argv, env, cwd } => {
                let mut words = argv.iter().cloned();
                let command = words.next().ok_or_else(|| fail("it names no program".to_owned()))?;
                let command = match shown(context, Path::new(&command)) {
                    Some(path) => {
                        let text = path.to_str().map(str::to_owned);
                        self.programs.push(path);
                        text.ok_or_else(|| fail("the path of its program is no text".to_owned()))?
                    }
                    None => command,
                };
                let cwd = cwd.as_ref().map(|cwd| context.workspace.join(cwd));
                let cwd = cwd.map(|cwd| cwd.to_str().map(str::to_owned));
                let cwd =
                    cwd.map(|cwd| cwd.ok_or_else(|| fail("its cwd is no text".to_owned()))).transpose()?;
                let env = env.iter().map(|(n, v)| (n.clone(), v.reveal().to_owned())).collect();
                Ok((Reach::Stdio { command, args: words.collect(), env, cwd }, CALL))
            }
            McpTransport::Http { url, headers, call_within, allow_localhost, allow_private } => {
                let url = self.http(context, url.reveal(), *allow_localhost, *allow_private).map_err(fail)?;
                let headers = headers.iter().map(|(n, v)| (n.clone(), v.reveal().to_owned())).collect();
                Ok((Reach::Http { url, headers }, *call_within))
            }
        }
    }

    /// The URL as it has to be called from inside. Only what the file says leads to this machine
    /// or a private network is granted there: any other name reaches public addresses alone.
    fn http(
        &mut self,
        context: &Context,
        url: &str,
        localhost: bool,
        private: bool,
    ) -> Result<String, String> {
        let (base, query) = url.split_once('?').map_or((url, None), |(base, query)| (base, Some(query)));
        let slash = if base.ends_with('/') { "/" } else { "" };
        let endpoint = Endpoint::named("its url", base, context.wall, context.agent.docker.network)
            .map_err(|e| e.to_string())?;
        let of_egress = |host: &str, port: u16| {
            context.agent.egress.iter().flatten().any(|rule| rule.literal() == Some((host, port)))
        };
        if let Some((host, port)) = endpoint.grant {
            let loopback = endpoint.forward.is_some() || host == "localhost";
            if private || (localhost && loopback) || of_egress(&host, port) {
                self.grants.push((host, port));
            } else {
                let host =
                    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") };
                self.hosts.push(host.parse().map_err(|_| "its host is none".to_owned())?);
            }
        }
        self.hosts.extend(endpoint.rule);
        self.forwards.extend(endpoint.forward);
        let query = query.map(|query| format!("?{query}")).unwrap_or_default();
        Ok(format!("{}{slash}{query}", endpoint.url))
    }

    /// Adds what the servers need. To be called when all else is in `needs`.
    pub(crate) fn join(&self, needs: &mut Needs) -> Result<(), BackendError> {
        needs.hosts.extend(self.hosts.iter().cloned());
        needs.programs.extend(
            self.programs.iter().filter(|p| !needs.programs.contains(p)).cloned().collect::<Vec<_>>(),
        );
        needs.secrets.extend(self.secrets.iter().cloned());
        needs.grants.extend(self.grants.iter().cloned());
        for forward in &self.forwards {
            let mut others = needs.forward.iter().chain(&needs.forwards);
            match others.find(|other| other.port == forward.port) {
                Some(same) if same == forward => {}
                Some(other) => {
                    return Err(BackendError::Invalid(format!(
                        "two services of this machine would be at port {} inside: {}:{} and {}:{}",
                        forward.port, other.host, other.target_port, forward.host, forward.target_port
                    )));
                }
                None => needs.forwards.push(forward.clone()),
            }
        }
        Ok(())
    }
}

/// The program outside the system's directories that the local wall has to show for a server;
/// not one in a tree that is visible by its own rule.
fn shown(context: &Context, program: &Path) -> Option<PathBuf> {
    if context.wall != WallKind::Local {
        return None;
    }
    let path = program::outside(program, &context.program_path)?;
    let visible = std::iter::once(context.workspace.as_path())
        .chain(context.agent.context_paths.iter().map(|c| c.path.as_path()))
        .chain(context.agent.credentials.additional.iter().map(|m| m.inside.as_path()))
        .any(|tree| path.starts_with(tree) || program.starts_with(tree));
    (!visible).then_some(path)
}

impl Server {
    /// Program and arguments for a CLI that cannot be told a directory: a shell goes there first.
    /// Its text is fixed; what the file says are its arguments.
    pub(crate) fn without_cwd(&self) -> Option<(String, Vec<String>)> {
        let Reach::Stdio { command, args, cwd, .. } = &self.reach else { return None };
        let Some(cwd) = cwd else { return Some((command.clone(), args.clone())) };
        let script = r#"cd -- "$1" && shift && exec "$@""#;
        let before = ["-c", script, "sh", cwd, command].map(str::to_owned);
        Some(("/bin/sh".to_owned(), before.into_iter().chain(args.iter().cloned()).collect()))
    }
}

#[cfg(test)]
#[path = "servers_tests.rs"]
mod tests;
