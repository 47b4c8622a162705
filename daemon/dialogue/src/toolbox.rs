use async_trait::async_trait;
use cordon_backends::api::{Part, Usage};
use cordon_mcp::{CallError, CallResult, Host, ServerError};
use serde_json::{Map, Value};
use std::sync::Arc;

/// A tool, as a model is told of it.
#[derive(Clone, Debug)]
pub struct ToolInfo {
    /// Its own name.
    pub name: String,
    /// For the model.
    pub description: String,
    /// JSON schema of its arguments.
    pub schema: Map<String, Value>,
    /// It is one of Cordon's own, whose results are bounded and whose effects are known.
    pub own: bool,
}

/// What a tool answered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Came {
    /// For the model.
    pub parts: Vec<Part>,
    /// It says that it failed, or was refused.
    pub failed: bool,
    /// What it asked of a model for that, and what that cost in millionths of a dollar.
    pub spent: Option<(Usage, Option<u64>)>,
}

impl Came {
    /// An answer in words.
    #[must_use]
    pub fn text(text: impl Into<String>, failed: bool) -> Self {
        Self { parts: vec![Part::Text(text.into())], failed, spent: None }
    }

    /// What of it is words.
    pub(crate) fn words(&self) -> String {
        let text = |part: &Part| if let Part::Text(text) = part { Some(text.clone()) } else { None };
        self.parts.iter().filter_map(text).collect::<Vec<_>>().join("\n")
    }
}

/// Why a tool was not called.
#[derive(Debug, thiserror::Error)]
pub enum ToolFailed {
    /// The model can be told, and the turn goes on.
    #[error("{0}")]
    NotCalled(String),
    /// The turn cannot go on.
    #[error("{0}")]
    Broken(String),
}

/// Tools that are called by name.
#[async_trait]
pub trait Toolbox: Send + Sync {
    /// All of them.
    fn tools(&self) -> Vec<ToolInfo>;

    /// Calls one of them. Dropping the future tells the tool that nobody waits any more.
    ///
    /// # Errors
    /// When it was not called. A tool that fails is an answer.
    async fn call(&self, name: &str, arguments: Map<String, Value>) -> Result<Came, ToolFailed>;

    /// Writes a result that is too large for a model into the agent's workspace.
    ///
    /// # Errors
    /// When it cannot, in words.
    async fn keep(&self, name: &str, text: &str) -> Result<String, String>;
}

/// The tools of the sandbox and of its MCP servers, with the daemon's own beside them.
pub struct Tools {
    host: Arc<Host>,
    /// Absolute path of the workspace, as the sandbox has it.
    workspace: String,
    more: Vec<Arc<dyn Toolbox>>,
}

/// Where large results are put, below the workspace.
const RESULTS: &str = ".tool_results";

impl Tools {
    /// Those of this host; of two tools with one name the host's is taken.
    #[must_use]
    pub fn new(host: Arc<Host>, workspace: String, more: Vec<Arc<dyn Toolbox>>) -> Self {
        Self { host, workspace, more }
    }

    /// Without the sandbox's own tools no model can do anything: it is not asked for nothing.
    async fn own_lives(&self) -> Result<(), ToolFailed> {
        match self.host.call_own("list_allowed_directories", Map::new()).await {
            Err(error @ (ServerError::Ended(_) | ServerError::Start(_))) => {
                Err(ToolFailed::Broken(format!("the tools of the sandbox are gone: {error}")))
            }
            _ => Ok(()),
        }
    }

    fn has(&self, name: &str) -> bool {
        self.host.list_tools().iter().any(|t| t.name() == name)
    }
}

#[async_trait]
impl Toolbox for Tools {
    fn tools(&self) -> Vec<ToolInfo> {
        let mut all: Vec<ToolInfo> = self
            .host
            .list_tools()
            .iter()
            .map(|tool| ToolInfo {
                name: tool.name().to_owned(),
                description: tool.description().to_owned(),
                schema: tool.input_schema().clone(),
                own: self.host.is_own(tool.name()),
            })
            .collect();
        for more in &self.more {
            for tool in more.tools() {
                if self.host.shows(&tool.name) && !all.iter().any(|t| t.name == tool.name) {
                    all.push(tool);
                }
            }
        }
        all
    }

    async fn call(&self, name: &str, arguments: Map<String, Value>) -> Result<Came, ToolFailed> {
        if !self.has(name) {
            for more in &self.more {
                if more.tools().iter().any(|t| t.name == name) {
                    return more.call(name, arguments).await;
                }
            }
        }
        match self.host.call(name, arguments).await {
            Ok(result) => {
                if self.host.is_own(name) && result.is_error() && !result.is_own() {
                    self.own_lives().await?;
                }
                Ok(came(&result))
            }
            Err(error @ CallError::Unrecorded(_)) => Err(ToolFailed::Broken(error.to_string())),
            Err(error) => Err(ToolFailed::NotCalled(error.to_string())),
        }
    }

    async fn keep(&self, name: &str, text: &str) -> Result<String, String> {
        let own = |tool: &'static str, arguments: Value| async move {
            let Value::Object(arguments) = arguments else { return Err("no arguments".to_owned()) };
            let result = self.host.call_own(tool, arguments).await.map_err(|e| e.to_string())?;
            if result.is_error() { Err(result.texts().collect::<Vec<_>>().join("\n")) } else { Ok(()) }
        };
        let directory = format!("{}/{RESULTS}", self.workspace);
        own("create_directory", serde_json::json!({ "path": directory })).await?;
        let path = format!("{directory}/{name}");
        own("write_file", serde_json::json!({ "path": path, "content": text })).await?;
        Ok(path)
    }
}

pub(crate) fn came(result: &CallResult) -> Came {
    let json = result.to_json();
    let blocks = json.get("content").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let text = |block: &Value, key: &str| block.get(key).and_then(Value::as_str).map(str::to_owned);
    let mut parts = Vec::new();
    for block in blocks {
        let resource = block.get("resource");
        let part = match text(block, "type").as_deref() {
            Some("text") => text(block, "text").map(Part::Text),
            Some("image" | "audio") => text(block, "mimeType")
                .zip(text(block, "data"))
                .map(|(mime, data)| Part::Media { mime, data }),
            Some("resource") => resource.and_then(|r| match (text(r, "text"), text(r, "blob")) {
                (Some(words), _) => Some(Part::Text(words)),
                (None, Some(data)) => {
                    let mime = text(r, "mimeType").unwrap_or_else(|| "application/octet-stream".to_owned());
                    Some(Part::Media { mime, data })
                }
                (None, None) => None,
            }),
            Some("resource_link") => text(block, "uri").map(|uri| Part::Text(format!("[see {uri}]"))),
            _ => None,
        };
        parts.extend(part);
    }
    if parts.is_empty() {
        let said = result.structured().map_or_else(|| "(no output)".to_owned(), Value::to_string);
        parts.push(Part::Text(said));
    }
    Came { parts, failed: result.is_error(), spent: None }
}
