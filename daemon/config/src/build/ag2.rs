//! `type: ag2`: agents of the Python package of that name, as MassGen's files describe them.

use super::Build;
use crate::{
    Ag2, BackendKind, Secret,
    check::{Item, Value},
};
use serde_json::{Map, Value as Json, json};

const KEYS: [&str; 5] = ["agent_config", "group_config", "agent_type", "llm_config", "code_execution_config"];
const AGENT_KEYS: [&str; 6] =
    ["type", "name", "system_message", "description", "llm_config", "code_execution_config"];
const GROUP_KEYS: [&str; 5] = ["llm_config", "agents", "pattern", "user_agent", "max_rounds"];
const LOCAL: &str = "LocalCommandLineCodeExecutor";
const OWN_SANDBOX: &str =
    "the sandbox is the boundary, and code runs inside it: use `type: LocalCommandLineCodeExecutor`";

impl Build<'_, '_> {
    /// What the agents are; none: another type of backend, or reported already.
    pub(super) fn ag2(&mut self, agent: &Item, backend: &Item, kind: Option<BackendKind>) -> Option<Ag2> {
        let given: Vec<&Item> = KEYS.iter().filter_map(|key| backend.get(key)).collect();
        if kind? != BackendKind::Ag2 {
            for item in given {
                let message = "only `type: ag2` knows this key".to_owned();
                self.report.error(&item.at(), "unsupported-key", message, "take it out, or use `type: ag2`");
            }
            return None;
        }
        let mut secrets = Vec::new();
        let (at, mut map) = match (backend.get("agent_config"), backend.get("group_config")) {
            (Some(_), Some(second)) => {
                let message = "`agent_config` is given too".to_owned();
                self.report.error(&second.at(), "conflict", message, "one agent or one group: take one out");
                return None;
            }
            (Some(one), None) | (None, Some(one)) => (one, self.object(one, &mut secrets)?),
            (None, None) => {
                let mut map = Map::new();
                for (key, name) in [
                    ("agent_type", "type"),
                    ("llm_config", "llm_config"),
                    ("code_execution_config", "code_execution_config"),
                ] {
                    if let Some(Item { value: Value::Free(value, found), .. }) = backend.get(key) {
                        secrets.extend(found.iter().cloned());
                        map.insert(name.to_owned(), value.clone());
                    }
                }
                (backend, map)
            }
        };
        let is_group = backend.get("group_config").is_some();
        if !is_group {
            let id = agent.get("id").and_then(Item::text).unwrap_or("agent");
            map.entry("name").or_insert_with(|| json!(id));
            map.entry("type").or_insert_with(|| json!("assistant"));
        }
        if let (Some(text), false) = (agent.get("system_message").and_then(Item::text), is_group) {
            map.entry("system_message").or_insert_with(|| json!(text));
        }
        let fault = if is_group { group(&mut map) } else { one(&mut map, true) };
        if let Err((message, help)) = fault {
            self.report.error(&at.at(), "bad-value", message, help);
            return None;
        }
        let secrets = secrets.into_iter().map(Secret::new).collect();
        Some(Ag2 { agents: map, secrets })
    }

    fn object(&mut self, item: &Item, secrets: &mut Vec<String>) -> Option<Map<String, Json>> {
        let Value::Free(value, found) = &item.value else { return None };
        secrets.extend(found.iter().cloned());
        let Json::Object(map) = value else {
            self.report.error(&item.at(), "wrong-type", "expected a map".to_owned(), "");
            return None;
        };
        Some(map.clone())
    }
}

type Fault = (String, &'static str);

fn known(map: &Map<String, Json>, keys: &[&str], what: &str) -> Result<(), Fault> {
    match map.keys().find(|key| !keys.contains(&key.as_str())) {
        Some(key) => Err((format!("unknown key {key:?} of {what}"), "see configs/ag2.yaml")),
        None => Ok(()),
    }
}

fn group(map: &mut Map<String, Json>) -> Result<(), Fault> {
    known(map, &GROUP_KEYS, "group_config")?;
    models(map, true)?;
    let agents = map.get_mut("agents").and_then(Json::as_array_mut).filter(|agents| !agents.is_empty());
    let Some(agents) = agents else {
        return Err(("a group has no `agents`".to_owned(), "list them, each with a `name`"));
    };
    let mut names = Vec::new();
    for agent in agents {
        let Some(agent) = agent.as_object_mut() else {
            return Err(("an agent of the group is no map".to_owned(), "each has at least a `name`"));
        };
        one(agent, false)?;
        names.push(agent.get("name").cloned().unwrap_or_default());
    }
    if let Some(user) = map.get_mut("user_agent").and_then(Json::as_object_mut) {
        user.entry("name").or_insert_with(|| json!("User"));
        one(user, false)?;
    }
    let pattern = map.get("pattern").and_then(Json::as_object);
    let is_auto = pattern.is_some_and(|pattern| pattern.get("type") == Some(&json!("auto")));
    if !is_auto {
        return Err(("`pattern.type` of a group is not `auto`".to_owned(), "there is no other pattern"));
    }
    if !pattern.and_then(|p| p.get("initial_agent")).is_some_and(|first| names.contains(first)) {
        return Err(("`pattern.initial_agent` is none of the agents".to_owned(), "name the one that begins"));
    }
    if let Some(manager) = map.get_mut("pattern").and_then(|p| p.get_mut("group_manager_args")) {
        manager.as_object_mut().map_or(Ok(()), |manager| models(manager, false))?;
    }
    Ok(())
}

fn one(map: &mut Map<String, Json>, needs_model: bool) -> Result<(), Fault> {
    known(map, &AGENT_KEYS, "an agent")?;
    if !map.get("name").and_then(Json::as_str).is_some_and(|name| !name.is_empty() && name.len() <= 64) {
        return Err(("an agent has no `name`".to_owned(), "at most 64 characters"));
    }
    let kind = map.get("type").map_or(Some("conversable"), Json::as_str);
    if !matches!(kind, Some("assistant" | "conversable")) {
        return Err(("the `type` of an agent is neither assistant nor conversable".to_owned(), ""));
    }
    models(map, needs_model)?;
    match map.get("code_execution_config") {
        None | Some(Json::Null | Json::Bool(false)) => {
            map.remove("code_execution_config");
            Ok(())
        }
        Some(Json::Object(code)) => executor(code),
        Some(_) => Err(("`code_execution_config` is neither a map nor false".to_owned(), "")),
    }
}

fn executor(code: &Map<String, Json>) -> Result<(), Fault> {
    if !matches!(code.get("use_docker"), None | Some(Json::Null | Json::Bool(false))) {
        return Err(("`use_docker` cannot be had inside a sandbox".to_owned(), OWN_SANDBOX));
    }
    let options = match code.get("executor") {
        None => code,
        Some(Json::Object(executor)) => {
            let kind = executor.get("type").and_then(Json::as_str).unwrap_or("an executor without `type`");
            if kind != LOCAL {
                return Err((format!("{kind} cannot be had inside a sandbox"), OWN_SANDBOX));
            }
            executor
        }
        Some(_) => return Err(("`executor` is no map".to_owned(), OWN_SANDBOX)),
    };
    if options
        .get("work_dir")
        .is_some_and(|dir| dir.as_str().is_none_or(|dir| dir.split('/').any(|part| part == "..")))
    {
        return Err(("`work_dir` is no path, or has `..` in it".to_owned(), "it is below the workspace"));
    }
    Ok(())
}

/// Every `llm_config` becomes a list of models.
fn models(map: &mut Map<String, Json>, needed: bool) -> Result<(), Fault> {
    let Some(given) = map.get_mut("llm_config") else {
        return if needed {
            Err(("there is no `llm_config`".to_owned(), "for instance {api_type: openai, model: gpt-5}"))
        } else {
            Ok(())
        };
    };
    if let Some(Json::Array(list)) = given.get("config_list").cloned() {
        *given = Json::Array(list);
    }
    if given.is_object() {
        *given = Json::Array(vec![given.take()]);
    }
    let list = given.as_array().filter(|list| !list.is_empty() && list.len() <= 32);
    match list {
        Some(list) if list.iter().all(Json::is_object) => Ok(()),
        _ => Err(("`llm_config` is neither a model nor a list of models".to_owned(), "")),
    }
}
