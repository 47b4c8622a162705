//! A model API as the backend of an agent: where its requests go, with which key and settings.

use super::{BuiltIn, Endpoint, Provider, Settings};
use crate::{Backend, BackendError, Context, Driver, Exit, Needs, Step, Turn, TurnOutcome, credential, keys};
use cordon_config::{Agent, ApiOptions, BackendKind, Secret};
use cordon_proto::v1::{Outcome, OutputStream, event::Kind};
use cordon_providers::provider_of_host;

/// A model API. Its turns are taken by the daemon: no process in the sandbox drives them, and
/// none there has the key.
#[derive(Debug)]
pub struct ModelApi;

/// Who is asked, with what.
#[derive(Clone, Debug)]
pub struct Target {
    /// Where requests go.
    pub endpoint: Endpoint,
    /// The key; none where none is needed.
    pub key: Option<Secret>,
    /// What every request says.
    pub settings: Settings,
}

/// The provider of an agent whose backend is a model API.
#[must_use]
pub fn provider_of(agent: &Agent) -> Option<&'static Provider> {
    match agent.backend {
        BackendKind::Api(provider) => Some(provider),
        _ => None,
    }
}

/// Who is asked for this agent.
///
/// # Errors
/// When the address, the key or the model is missing or cannot be used.
pub fn target(context: &Context) -> Result<Target, BackendError> {
    let agent = &context.agent;
    let provider = provider_of(agent)
        .ok_or_else(|| BackendError::Invalid(format!("{} is no model API", agent.backend.name())))?;
    target_of(context, provider, agent.base_url.as_deref(), agent.model.as_deref())
}

/// Who is asked when it is this provider, for an agent of this context. An address and a key that
/// the agent file gives for another provider are not used.
///
/// # Errors
/// As [`target`].
pub fn target_of(
    context: &Context,
    provider: &'static Provider,
    base_url: Option<&str>,
    model: Option<&str>,
) -> Result<Target, BackendError> {
    let options = &context.agent.api;
    let invalid = |error: &dyn std::fmt::Display| BackendError::Invalid(error.to_string());
    let variable = |names: &[&str]| {
        names.iter().find_map(|n| context.variables.get(*n)).map(|v| v.trim()).filter(|v| !v.is_empty())
    };
    let port = (provider.name == "lmstudio").then_some(options.lmstudio.port).flatten();
    let local = port.map(|port| format!("http://localhost:{port}/v1"));
    // Of the agent file all is for the backend that it names: its key, and with it its address.
    let own = provider_of(&context.agent) == Some(provider);
    let base_url = base_url.or_else(|| context.agent.base_url.as_deref().filter(|_| own));
    let base = base_url.or(local.as_deref()).or_else(|| variable(provider.base_url_variables));
    let version = options.azure_version.as_deref().or_else(|| {
        (provider.name == "azure_openai").then(|| variable(&["AZURE_OPENAI_API_VERSION"])).flatten()
    });
    let endpoint = Endpoint::new(provider, base, version).map_err(|e| invalid(&e))?;
    let variables = endpoint.key_variables();
    let key = if own { credential::key(context, variables)? } else { variable(variables).map(str::to_owned) };
    // One that Cordon keeps is shown to its provider's own hosts alone.
    let keeper = provider_of_host(endpoint.host().0).filter(|_| !endpoint.is_clear());
    let key = match (key, keeper) {
        (None, Some(keeper)) => keys::kept(&context.logins, keeper.name).map_err(|why| {
            let place = keys::file(&context.logins, keeper.name);
            BackendError::UnusableLogin {
                backend: provider.name,
                place: place.display().to_string(),
                why,
                fix: format!("Give it again with `cordon login {} --api-key`", keeper.name),
            }
        })?,
        (key, _) => key,
    };
    let required = provider.without_key.is_none() && !variables.is_empty();
    if key.is_none() && required {
        let mut looked_at = credential::places(variables);
        let mut fix = format!("Set {}, in the environment or in .env", variables.join(" or "));
        if let Some(keeper) = keeper {
            looked_at.push(keys::file(&context.logins, keeper.name).display().to_string());
            fix += &format!(", or give the key with `cordon login {} --api-key`", keeper.name);
        }
        return Err(BackendError::NoLogin { backend: provider.name, looked_at, fix });
    }
    let model = match model.or(provider.model) {
        Some(model) => model,
        // Its server is asked, when the turn begins.
        None if provider.is_local_server() => "",
        None => {
            let why = format!("{} has no model of its own: name one with `model`", provider.name);
            return Err(BackendError::Invalid(why));
        }
    };
    let settings = settings(options, model);
    if let Some(setting) = settings.used().into_iter().find(|s| !endpoint.takes(*s)).filter(|_| own) {
        let error = super::RequestError::Unsupported { setting, provider: provider.name };
        return Err(invalid(&error));
    }
    Ok(Target { endpoint, key: key.map(Secret::new), settings })
}

fn settings(options: &ApiOptions, model: &str) -> Settings {
    let mut built_in = Vec::new();
    if let Some(search) = &options.web_search {
        let search = search.clone();
        built_in.push(BuiltIn::WebSearch {
            engine: search.engine,
            max_results: search.max_results,
            context: search.context,
            prompt: search.prompt,
        });
    }
    if options.code {
        built_in.push(BuiltIn::Code);
    }
    if options.x_search {
        built_in.push(BuiltIn::XSearch);
    }
    Settings {
        model: model.to_owned(),
        temperature: options.temperature,
        top_p: options.top_p,
        top_k: options.top_k,
        max_tokens: options.max_tokens,
        repetition_penalty: options.repetition_penalty,
        effort: options.effort,
        summary: options.summary,
        reasoning_tokens: options.reasoning_tokens,
        reasoning_exclude: options.reasoning_exclude,
        reasoning_enabled: options.reasoning_enabled,
        verbosity: options.verbosity,
        safety: options.safety.clone(),
        separate_reasoning: options.separate_reasoning,
        template: options.template.clone(),
        built_in,
        one_call: options.one_call,
        ..Settings::default()
    }
}

impl Backend for ModelApi {
    fn needs(&self, context: &Context) -> Result<Needs, BackendError> {
        let target = target(context)?;
        let mut warnings = Vec::new();
        let (host, _) = target.endpoint.host();
        let here = matches!(host, "localhost" | "127.0.0.1" | "[::1]");
        if target.endpoint.is_clear() && !here && target.key.is_some() {
            warnings.push(format!("the key and all that is said go to {host} unencrypted: base_url is http"));
        }
        let mut secrets: Vec<String> = target.key.iter().map(|key| key.reveal().to_owned()).collect();
        if let Some(media) = &context.agent.api.media {
            let others = [&media.image, &media.audio, &media.video, &media.draws, &media.speaks];
            for other in others.into_iter().flatten() {
                let other = target_of(context, other.provider, None, other.model.as_deref())?;
                secrets.extend(other.key.iter().map(|key| key.reveal().to_owned()));
            }
        }
        // Nothing in the sandbox speaks to the model: it needs no way out and gets no key.
        Ok(Needs {
            secrets,
            image: Some(crate::command::BASE_IMAGE.to_owned()),
            warnings,
            ..Needs::default()
        })
    }

    fn turn(&self, context: &Context, _turn: Turn) -> Result<Box<dyn Driver>, BackendError> {
        let why = format!("{} is asked by the daemon, and is no program", context.agent.backend.name());
        Err(BackendError::Invalid(why))
    }

    fn recover(&self, _context: &Context, _turn: Turn) -> Box<dyn Driver> {
        Box::new(Interrupted)
    }

    fn variables(&self) -> &'static [&'static str] {
        &[]
    }
}

/// The turn of an earlier daemon: what it asked is lost with it.
struct Interrupted;

impl Driver for Interrupted {
    fn next(&mut self) -> (Vec<Kind>, Step) {
        let message = "the daemon was restarted while the model was asked";
        (Vec::new(), Step::Done(TurnOutcome { outcome: Outcome::Broken, message: message.to_owned() }))
    }

    fn output(&mut self, _stream: OutputStream, _data: &[u8]) -> Vec<Kind> {
        Vec::new()
    }

    fn exited(&mut self, _exit: &Exit) -> Vec<Kind> {
        Vec::new()
    }
}
