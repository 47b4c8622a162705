use super::Build;
use crate::{
    Agent, BackendKind, ContextPath, Effort, ExecutionMode, Secret,
    check::{Item, Value},
    mask,
    report::Quoted,
};
use cordon_policy::HostRule;
use cordon_providers::Provider;
use std::path::PathBuf;

const LONGEST_ID: usize = 64;

impl Build<'_, '_> {
    pub(super) fn agent(
        &mut self,
        item: &Item,
        shared: &[ContextPath],
        orchestrator: Option<&Item>,
    ) -> Option<Agent> {
        if !matches!(item.value, Value::Map(_)) {
            return None;
        }
        let id = self.id(item);
        let Some(backend) = item.get("backend") else {
            self.missing(item, "backend", "the agent has no `backend`".to_owned(), "");
            return None;
        };
        if !matches!(backend.value, Value::Map(_)) {
            return None;
        }
        let kind = self.kind(backend);
        let mode = self.mode(backend);
        let docker = self.docker(backend, kind, mode);
        let cwd = self.cwd(backend, kind);
        let own = backend.get("context_paths").map(|c| self.context_paths(c, shared)).unwrap_or_default();
        let egress = self.egress(item.get("egress"), backend, docker.network);
        let effort = self.effort(backend, kind);
        let mut model = backend.get("model").and_then(|m| self.model(m));
        let mut base_url = backend.get("base_url").and_then(|u| self.base_url(u));
        let mut api = crate::ApiOptions::default();
        if let Some(BackendKind::Api(provider)) = kind {
            api = self.api(backend, provider, orchestrator);
            if provider.name == "azure_openai" {
                model = self.deployment(backend).or(model);
                base_url = self.azure_url(backend);
            }
            self.some_model(backend, provider);
        }
        let api_key = backend.get("api_key").and_then(|k| self.api_key(k));
        let env = backend.get("env").map(|e| self.env(e)).unwrap_or_default();
        let command = self.command(backend, kind);
        let steps = self.steps(backend, kind);
        let tools = self.tools(backend, egress.as_deref());
        let mut program = self.program(backend, kind, mode, orchestrator);
        program.ag2 = self.ag2(item, backend, kind);
        let credentials =
            backend.get("command_line_docker_credentials").map(|c| self.credentials(c)).unwrap_or_default();
        self.honoured(item, backend, kind);
        self.without_effect(backend, mode);
        Some(Agent {
            id: id?,
            system_message: system_message(item),
            backend: kind?,
            model,
            base_url,
            api_key,
            cwd,
            cwd_place: self.place(backend.get("cwd").unwrap_or(item)),
            context_paths: shared.iter().cloned().chain(own).collect(),
            mode: mode.unwrap_or(ExecutionMode::Local),
            docker,
            effort,
            egress,
            command,
            steps,
            env,
            program,
            credentials,
            api,
            tools,
            place: self.place(item),
        })
    }

    fn id(&mut self, agent: &Item) -> Option<String> {
        let Some(item) = agent.get("id") else {
            self.missing(agent, "id", "the agent has no `id`".to_owned(), "for instance `id: builder`");
            return None;
        };
        let id = item.text()?;
        let good = id.starts_with(|c: char| c.is_ascii_alphanumeric())
            && id.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'));
        if !good || id.len() > LONGEST_ID {
            let message = if id.contains('/') || id.contains("..") {
                format!("{} is no id: it would lead out of the agent's own directory", Quoted(&item.written))
            } else {
                format!("{} is no id", Quoted(&item.written))
            };
            let help = "at most 64 letters, digits, `_`, `.` and `-`, the first a letter or digit";
            self.report.error(&item.at(), "bad-id", message, help);
            return None;
        }
        Some(id.to_owned())
    }

    fn cwd(&mut self, backend: &Item, kind: Option<BackendKind>) -> Option<PathBuf> {
        let Some(item) = backend.get("cwd") else {
            if let Some(kind @ (BackendKind::Codex | BackendKind::ClaudeCode)) = kind {
                let message = format!("`cwd` is required for {}", kind.name());
                self.missing(backend, "cwd", message, "name the workspace, for instance `cwd: workspace`");
            }
            return None;
        };
        let path = self.expand_home(item)?;
        if !self.no_parents(item, &path) {
            return None;
        }
        // "." would be the directory of everybody's workspaces.
        if !path.components().any(|c| matches!(c, std::path::Component::Normal(_))) {
            let message =
                format!("{} is no directory that an agent can have for itself", Quoted(&item.written));
            self.report.error(
                &item.at(),
                "bad-value",
                message,
                "name a directory, for instance `cwd: workspace`",
            );
            return None;
        }
        Some(path)
    }

    /// A model API without a model of its own.
    fn some_model(&mut self, backend: &Item, provider: &'static Provider) {
        let given = ["model", "deployment_name", "azure_deployment"];
        // A server that its user runs is asked for its model.
        let open = provider.model.is_none() && !provider.is_local_server();
        if open && given.iter().all(|key| backend.get(key).is_none()) {
            let message = format!("{} has no model of its own", provider.name);
            self.missing(backend, "model", message, "name one, as the provider calls it");
        }
    }

    /// Of a program; what a model API is told is read elsewhere.
    fn effort(&mut self, backend: &Item, kind: Option<BackendKind>) -> Option<Effort> {
        let first = backend.get("model_reasoning_effort");
        let second = backend.get("reasoning").and_then(|r| r.get("effort"));
        if let (Some(a), Some(b)) = (first.and_then(Item::text), second)
            && b.text().is_some_and(|b| b != a)
        {
            let message = format!("`model_reasoning_effort: {a}` is given too and wins");
            self.report.warn(&b.at(), "conflict", message, "take one of them out");
        }
        let item = first.filter(|i| i.text().is_some()).or(second)?;
        match item.text()? {
            "low" => Some(Effort::Low),
            "medium" => Some(Effort::Medium),
            "high" => Some(Effort::High),
            "xhigh" => Some(Effort::XHigh),
            other => {
                let kind = kind.filter(|k| !matches!(k, BackendKind::Api(_)))?;
                let message = format!("{} does not know the effort `{other}`", kind.name());
                self.report.error(&item.at(), "bad-value", message, "use one of low, medium, high, xhigh");
                None
            }
        }
    }

    fn api_key(&mut self, item: &Item) -> Option<Secret> {
        let key = item.text()?;
        if key.is_empty() || key.chars().any(|c| c.is_whitespace() || c.is_control()) {
            let message = "the key is empty or has a space or a line break in it".to_owned();
            self.report.error(&item.at(), "bad-value", message, "");
            return None;
        }
        if !mask::is_reference(&item.written) {
            let message = "a key is written into the file".to_owned();
            self.report.warn(
                &item.at(),
                "literal-secret",
                message,
                "write `api_key: ${NAME}` and keep the key in .env",
            );
        }
        Some(Secret::new(key.to_owned()))
    }

    fn egress(
        &mut self,
        of_agent: Option<&Item>,
        backend: &Item,
        network: cordon_policy::NetworkMode,
    ) -> Option<Vec<HostRule>> {
        let of_backend = backend.get("egress");
        if let (Some(_), Some(second)) = (of_agent, of_backend) {
            let message = "`egress` is given beside `backend` and inside it".to_owned();
            self.report.error(&second.at(), "conflict", message, "take one of them out");
        }
        let item = of_agent.or(of_backend)?;
        if network == cordon_policy::NetworkMode::Host {
            let message = "`egress` cannot hold with `command_line_docker_network_mode: host`".to_owned();
            self.report.error(&item.at(), "conflict", message, "use network mode none or bridge");
        }
        let Some(allow) = item.get("allow") else {
            if matches!(item.value, Value::Map(_)) {
                let help = "`allow: []` allows only what the backend itself needs";
                self.missing(item, "allow", "`egress` has no `allow`".to_owned(), help);
            }
            return None;
        };
        let mut rules = Vec::new();
        for entry in allow.items() {
            match entry.text().map(str::parse::<HostRule>) {
                Some(Ok(rule)) => rules.push(rule),
                Some(Err(e)) => {
                    let message = format!("{} is no host rule: {}", Quoted(&entry.written), e.why());
                    self.report.error(
                        &entry.at(),
                        "bad-value",
                        message,
                        "write `host`, `host:port` or `*.domain`",
                    );
                }
                None => {}
            }
        }
        Some(rules)
    }
}

/// Both texts, the second behind the first.
fn system_message(agent: &Item) -> Option<String> {
    let texts = ["system_message", "append_system_prompt"].map(|key| agent.get(key).and_then(Item::text));
    let texts: Vec<&str> = texts.into_iter().flatten().collect();
    (!texts.is_empty()).then(|| texts.join("\n\n"))
}
