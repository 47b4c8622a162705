//! Agents of the Python package `ag2`: a runner of our own, inside the sandbox, with the user's
//! interpreter. Keys reach that one process on its standard input, and nothing that it starts.

use super::ag2_events::Ag2Parser;
use crate::credential::hosts;
use crate::driver::CliDriver;
use crate::endpoint::Endpoint;
use crate::events::is_session;
use crate::process::{environment, path_text, plan};
use crate::python::{python_at, python_on};
use crate::{Backend, BackendError, Context, Driver, Needs, Python, Turn};
use cordon_config::Secret;
use cordon_sandbox::{SeedFile, WallKind};
use serde_json::{Map, Value, json};
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;

const RUNNER: &str = ".cordon-ag2.py";
const RUNNER_TEXT: &str = include_str!("ag2_runner.py");
/// Answers of one agent, each of which may have code that is run, within one turn.
const MOST_REPLIES: u32 = 50;
/// The package wants one, also where the endpoint asks for none.
const NO_KEY: &str = "cordon-no-key-needed";

/// One `api_type`: where its key is looked for, and where its model is.
struct Provider {
    name: &'static str,
    keys: &'static [&'static str],
    host: Option<&'static str>,
}

const fn provider(name: &'static str, keys: &'static [&'static str], host: &'static str) -> Provider {
    Provider { name, keys, host: Some(host) }
}

const PROVIDERS: [Provider; 10] = [
    provider("openai", &["OPENAI_API_KEY"], "api.openai.com:443"),
    provider("responses", &["OPENAI_API_KEY"], "api.openai.com:443"),
    provider("anthropic", &["ANTHROPIC_API_KEY"], "api.anthropic.com:443"),
    provider(
        "google",
        &["GOOGLE_GEMINI_API_KEY", "GEMINI_API_KEY", "GOOGLE_API_KEY"],
        "generativelanguage.googleapis.com:443",
    ),
    provider("mistral", &["MISTRAL_API_KEY"], "api.mistral.ai:443"),
    provider("groq", &["GROQ_API_KEY"], "api.groq.com:443"),
    provider("together", &["TOGETHER_API_KEY"], "api.together.xyz:443"),
    provider("deepseek", &["DEEPSEEK_API_KEY"], "api.deepseek.com:443"),
    provider("cerebras", &["CEREBRAS_API_KEY"], "api.cerebras.ai:443"),
    Provider { name: "azure", keys: &["AZURE_OPENAI_API_KEY"], host: None },
];
const KEYS: &[&str] = &[
    "OPENAI_API_KEY",
    "ANTHROPIC_API_KEY",
    "GOOGLE_GEMINI_API_KEY",
    "GEMINI_API_KEY",
    "GOOGLE_API_KEY",
    "MISTRAL_API_KEY",
    "GROQ_API_KEY",
    "TOGETHER_API_KEY",
    "DEEPSEEK_API_KEY",
    "CEREBRAS_API_KEY",
    "AZURE_OPENAI_API_KEY",
];

pub(crate) struct Ag2;

/// The agents with everything that their models need, and what that needs of the sandbox.
struct Settled {
    agents: Value,
    needs: Needs,
}

fn settle(context: &Context) -> Result<Settled, BackendError> {
    let given = context.agent.program.ag2.as_ref();
    let given = given.ok_or_else(|| BackendError::Invalid("the file names no agents of ag2".to_owned()))?;
    let mut settled = Settled { agents: Value::Object(given.agents.clone()), needs: Needs::default() };
    settled.needs.secrets = given.secrets.iter().map(|s| s.reveal().to_owned()).collect();
    let mut agents = settled.agents.take();
    walk(&mut agents, &mut |model| settled.model(context, model))?;
    settled.agents = agents;
    Ok(settled)
}

/// What is done with every model that is configured.
type Each<'a> = &'a mut dyn FnMut(&mut Map<String, Value>) -> Result<(), BackendError>;

/// Every model of every `llm_config`.
fn walk(value: &mut Value, each: Each<'_>) -> Result<(), BackendError> {
    match value {
        Value::Object(map) => map.iter_mut().try_for_each(|(key, inner)| match inner {
            Value::Array(models) if key == "llm_config" => {
                models.iter_mut().filter_map(Value::as_object_mut).try_for_each(&mut *each)
            }
            inner => walk(inner, each),
        }),
        Value::Array(items) => items.iter_mut().try_for_each(|inner| walk(inner, each)),
        _ => Ok(()),
    }
}

impl Settled {
    fn model(&mut self, context: &Context, model: &mut Map<String, Value>) -> Result<(), BackendError> {
        let agent = &context.agent;
        let word =
            |model: &Map<String, Value>, key: &str| model.get(key).and_then(Value::as_str).map(str::to_owned);
        if let (None, Some(name)) = (word(model, "model"), &agent.model) {
            model.insert("model".to_owned(), json!(name));
        }
        if word(model, "model").is_none() {
            return Err(BackendError::Invalid("llm_config names no model".to_owned()));
        }
        let kind = word(model, "api_type").unwrap_or_else(|| "openai".to_owned());
        let Some(provider) = PROVIDERS.iter().find(|p| p.name == kind) else {
            let known = PROVIDERS.map(|p| p.name).join(", ");
            return Err(BackendError::Invalid(format!("llm_config.api_type is none of {known}")));
        };
        let url = word(model, "base_url").or_else(|| agent.base_url.clone());
        let endpoint =
            url.map(|url| Endpoint::named("llm_config.base_url", &url, context.wall, agent.docker.network));
        let endpoint = endpoint.transpose()?;
        // A key of the environment is for its provider's own host: another one has to be given it.
        let own =
            word(model, "api_key").or_else(|| agent.api_key.as_ref().map(Secret::reveal).map(str::to_owned));
        let found = || provider.keys.iter().find_map(|name| context.variables.get(*name)).cloned();
        let key = match (&own, &endpoint) {
            (Some(_), _) => own,
            (None, None) => found(),
            (None, Some(endpoint)) if endpoint.is_private() => Some(NO_KEY.to_owned()),
            (None, Some(_)) if provider.host.is_none() => found(),
            (None, Some(_)) => None,
        };
        let Some(key) = key.map(|k| k.trim().to_owned()).filter(|k| !k.is_empty()) else {
            let mut looked_at = vec!["llm_config.api_key and api_key of the agent file".to_owned()];
            looked_at.extend(provider.keys.iter().map(|name| format!("the variable {name}")));
            let fix = format!("Set {}, or api_key: with a base_url only the latter counts", provider.keys[0]);
            return Err(BackendError::NoLogin { backend: "ag2", looked_at, fix });
        };
        if key != NO_KEY {
            self.needs.secrets.push(key.clone());
        }
        model.insert("api_key".to_owned(), json!(key));
        match endpoint {
            Some(endpoint) => {
                model.insert("base_url".to_owned(), json!(endpoint.url));
                self.reach(endpoint)?;
            }
            None => match provider.host {
                Some(host) => self.needs.hosts.extend(hosts(&[host])),
                None => {
                    let why = format!("llm_config: api_type {kind} needs a base_url");
                    return Err(BackendError::Invalid(why));
                }
            },
        }
        Ok(())
    }

    fn reach(&mut self, endpoint: Endpoint) -> Result<(), BackendError> {
        self.needs.hosts.extend(endpoint.rule);
        self.needs.grants.extend(endpoint.grant.filter(|grant| !self.needs.grants.contains(grant)));
        let Some(forward) = endpoint.forward else { return Ok(()) };
        match self.needs.forwards.iter().find(|other| other.port == forward.port) {
            Some(other) if *other == forward => Ok(()),
            Some(_) => Err(BackendError::Invalid(format!(
                "two models of this machine would be at port {} inside",
                forward.port
            ))),
            None => {
                self.needs.forwards.push(forward);
                Ok(())
            }
        }
    }
}

/// The interpreter: `cli_path`, else the first one of this machine; in an image its own.
fn interpreter(context: &Context) -> Result<Python, BackendError> {
    match (context.wall, &context.agent.program.path) {
        (WallKind::Docker, _) => Ok(Python { path: "python3".into(), needs: Vec::new() }),
        (WallKind::Local, Some(path)) => python_at(path),
        (WallKind::Local, None) => {
            let system = ["/usr/local/bin", "/usr/bin"].map(PathBuf::from);
            let search: Vec<PathBuf> = context.program_path.iter().cloned().chain(system).collect();
            python_on(&search)
        }
    }
}

fn variables() -> Vec<(String, String)> {
    // Nothing of an agent's is to be written beside the modules, and nobody is told of use.
    [("PYTHONDONTWRITEBYTECODE", "1"), ("ANONYMIZED_TELEMETRY", "False")]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into()
}

impl Backend for Ag2 {
    fn needs(&self, context: &Context) -> Result<Needs, BackendError> {
        let settled = settle(context)?;
        environment(context, &variables(), &[])?;
        let mut needs = settled.needs;
        needs.seeds.push(SeedFile {
            path: RUNNER.into(),
            content: RUNNER_TEXT.as_bytes().to_vec(),
            mode: 0o444,
        });
        needs.env = variables();
        needs.image = Some("cordon/base:latest".to_owned());
        needs.programs = interpreter(context)?.needs;
        Ok(needs)
    }

    fn turn(&self, context: &Context, turn: Turn) -> Result<Box<dyn Driver>, BackendError> {
        let settled = settle(context)?;
        let session = turn.session.filter(|id| is_session(id)).unwrap_or(turn.new_session);
        let request = json!({
            "prompt": turn.prompt,
            "session": session,
            "workspace": path_text(&context.workspace)?,
            "most_replies": MOST_REPLIES,
            "agents": settled.agents,
        });
        let python = interpreter(context)?.path;
        let runner = context.home.join(RUNNER);
        let argv = [python.as_os_str(), runner.as_os_str()].map(|word| word.as_bytes().to_vec());
        let env = environment(context, &variables(), &[])?;
        let plan = plan(context, argv.into(), env, Some(request.to_string().into_bytes()));
        Ok(Box::new(CliDriver::new("ag2", plan, Ag2Parser::default())))
    }

    fn recover(&self, context: &Context, turn: Turn) -> Box<dyn Driver> {
        self.turn(context, turn).unwrap_or_else(|_| {
            let plan = plan(context, vec![b"python3".to_vec()], Vec::new(), None);
            Box::new(CliDriver::new("ag2", plan, Ag2Parser::default()))
        })
    }

    fn variables(&self) -> &'static [&'static str] {
        KEYS
    }
}

#[cfg(test)]
#[path = "ag2_tests.rs"]
mod tests;
