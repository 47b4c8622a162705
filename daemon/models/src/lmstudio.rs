//! LM Studio, through its own interface: which models it has, and how it gets and loads one. Its
//! program is never run from here: nothing of this machine is run for an agent.

use crate::{
    SettleError,
    probe::{Probe, SOON, Silent, name},
};
use reqwest::Method;
use serde_json::{Value, json};
use std::time::Duration;
use tokio::time::sleep;

/// A large model is read from a disk in minutes.
const LOADED_WITHIN: Duration = Duration::from_secs(15 * 60);
/// How often a download is looked at.
const LOOKED_AT: Duration = Duration::from_secs(1);

const MODELS: [&str; 3] = ["api", "v1", "models"];

/// Makes sure that the server answers and has this model in memory; none: that it answers.
pub(crate) async fn ready(probe: &Probe<'_>, model: &str) -> Result<(), SettleError> {
    let known = match probe.get(&MODELS).await {
        Ok(said) => said,
        Err(Silent::Unreachable(why)) => return Err(not_there(probe, &why)),
        Err(Silent::Status(404)) => return older(probe, model).await,
        Err(silent) => return Err(failed(probe, "list its models", &silent)),
    };
    if model.is_empty() {
        return Ok(());
    }
    match entry(&known, model) {
        Some(entry) if is_loaded(entry) => return Ok(()),
        Some(_) => {}
        None => get(probe, model).await?,
    }
    let asked = json!({ "model": model });
    let path = [&MODELS[..], &["load"]].concat();
    let loaded = probe.ask(Method::POST, &path, Some(&asked), LOADED_WITHIN).await;
    loaded.map(|_| ()).map_err(|silent| failed(probe, &format!("load {model:?}"), &silent))
}

/// The models that it has in memory, where it says so.
pub(crate) async fn loaded(probe: &Probe<'_>) -> Option<Vec<String>> {
    if let Ok(known) = probe.get(&MODELS).await {
        let models = known.get("models")?.as_array()?;
        let speaks = |m: &&Value| m.get("type").is_none_or(|t| t != "embedding");
        return Some(
            models.iter().filter(speaks).filter(|m| is_loaded(m)).filter_map(|m| name(m, "key")).collect(),
        );
    }
    let known = probe.get(&["api", "v0", "models"]).await.ok()?;
    let speaks = |m: &&Value| m.get("type").is_none_or(|t| t != "embeddings");
    let in_memory = |m: &&Value| m.get("state").is_some_and(|s| s == "loaded");
    Some(
        known
            .get("data")?
            .as_array()?
            .iter()
            .filter(speaks)
            .filter(in_memory)
            .filter_map(|m| name(m, "id"))
            .collect(),
    )
}

fn entry<'a>(known: &'a Value, model: &str) -> Option<&'a Value> {
    known.get("models")?.as_array()?.iter().find(|m| m.get("key").is_some_and(|k| k == model))
}

fn is_loaded(entry: &Value) -> bool {
    entry.get("loaded_instances").and_then(Value::as_array).is_some_and(|i| !i.is_empty())
}

/// Has it download a model, and waits for the end.
async fn get(probe: &Probe<'_>, model: &str) -> Result<(), SettleError> {
    let what = format!("download {model:?}");
    let asked = json!({ "model": model });
    let path = [&MODELS[..], &["download"]].concat();
    let begun = probe.ask(Method::POST, &path, Some(&asked), SOON).await;
    let mut job = begun.map_err(|silent| failed(probe, &what, &silent))?;
    let id = name(&job, "job_id").unwrap_or_default();
    let path = [&MODELS[..], &["download", "status", &id]].concat();
    loop {
        match name(&job, "status").as_deref() {
            Some("completed" | "already_downloaded") => return Ok(()),
            Some("downloading") if !id.is_empty() => sleep(LOOKED_AT).await,
            Some("paused") => return Err(told(probe, &what, "the download is paused there")),
            _ => return Err(told(probe, &what, "the download failed there")),
        }
        job = probe.get(&path).await.map_err(|silent| failed(probe, &what, &silent))?;
    }
}

/// Before 0.4.0 it says what it has, and can be told nothing.
async fn older(probe: &Probe<'_>, model: &str) -> Result<(), SettleError> {
    let known = probe.get(&["api", "v0", "models"]).await;
    let known = known.map_err(|silent| failed(probe, "list its models", &silent))?;
    let entries = known.get("data").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let found = entries.iter().find(|m| m.get("id").is_some_and(|id| id == model));
    let loaded = found.is_some_and(|m| m.get("state").is_some_and(|s| s == "loaded"));
    if model.is_empty() || loaded {
        return Ok(());
    }
    let get = if found.is_some() { String::new() } else { format!("cordon lmstudio get {model}` and `") };
    let why = format!(
        "it is older than 0.4.0 and cannot be told to; run `{get}cordon lmstudio load {model}`, or update it"
    );
    Err(told(probe, &format!("load {model:?}"), &why))
}

fn not_there(probe: &Probe<'_>, why: &str) -> SettleError {
    let (host, port) = probe.endpoint.host();
    SettleError::LmStudio(format!(
        "LM Studio does not answer at {host}:{port} ({why}). An agent file starts nothing on this machine; you do: \
         `cordon lmstudio start --port {port}` (`cordon lmstudio install` where there is none). The model is \
         then downloaded and loaded by `lmstudio_start`"
    ))
}

fn told(probe: &Probe<'_>, what: &str, why: &str) -> SettleError {
    SettleError::LmStudio(format!("LM Studio at {} did not {what}: {why}", probe.host()))
}

fn failed(probe: &Probe<'_>, what: &str, silent: &Silent) -> SettleError {
    let why = match silent {
        Silent::Unreachable(why) => why.clone(),
        Silent::Status(401 | 403) => "it wants a key: set api_key to a token of its own".to_owned(),
        Silent::Status(status) => format!("it answered with status {status}"),
        Silent::Unreadable => "its answer was none, or came too late".to_owned(),
    };
    told(probe, what, &why)
}
