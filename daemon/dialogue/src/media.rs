//! Tools that have another model look at what the agent may read: the file goes through the
//! sandbox's own tools, and so through the policy, and its content to the model.

use crate::{
    Came, ToolFailed, ToolInfo, Toolbox,
    asking::cut,
    bounds,
    own::{Refused, observed},
    toolbox::came,
};
use async_trait::async_trait;
use cordon_backends::{
    Redactor,
    api::{Choice, Conversation, Item, Part},
};
use cordon_mcp::{Host, Observer};
use cordon_models::{Ask, Asks};
use serde_json::{Map, Value, json};
use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};
use tokio_util::sync::CancellationToken;

/// Characters of a file that are shown to a model at most, where nothing else is asked for.
const CHARACTERS: u64 = 50_000;
/// What is asked where the caller asks nothing.
const QUESTION: &str = "Describe this in full.";
/// Most files of one call.
const MOST: usize = 8;

/// What can be looked at.
const KINDS: [(&str, &str, &str); 3] = [
    (
        "understand_image",
        "image",
        "Have a model look at images (png, jpeg, gif, webp) and answer a question on them.",
    ),
    (
        "understand_audio",
        "audio",
        "Have a model listen to sound files (wav, mp3) and answer a question on them.",
    ),
    (
        "understand_video",
        "video",
        "Have a model watch video files (mp4, webm) and answer a question on them.",
    ),
];
const FILE: &str = "understand_file";
const FILE_WORDS: &str = "Have a model read a file (text or pdf) and answer a question on it.";

/// A model that looks, by the name that people know it by.
#[derive(Clone)]
pub struct Looker {
    /// The model.
    pub model: Arc<dyn Asks>,
    /// Its provider and name.
    pub name: String,
}

/// Who looks at what.
#[derive(Clone)]
pub struct Lookers {
    /// At pictures.
    pub image: Looker,
    /// Who listens.
    pub audio: Looker,
    /// Who watches.
    pub video: Looker,
    /// Who reads.
    pub file: Looker,
}

/// The tools `understand_image`, `understand_audio`, `understand_video` and `understand_file`.
pub struct Media {
    host: Arc<Host>,
    observer: Arc<dyn Observer>,
    lookers: Lookers,
    redactor: Redactor,
    cancel: CancellationToken,
    next: AtomicU64,
}

impl Media {
    /// Reads through this host, and tells this observer of calls.
    #[must_use]
    pub fn new(
        host: Arc<Host>,
        observer: Arc<dyn Observer>,
        lookers: Lookers,
        redactor: Redactor,
        cancel: CancellationToken,
    ) -> Self {
        Self { host, observer, lookers, redactor, cancel, next: AtomicU64::new(1) }
    }

    async fn look(&self, name: &str, arguments: &Map<String, Value>) -> Result<Came, Refused> {
        let paths = match paths(arguments) {
            Ok(paths) => paths,
            Err(why) => return Ok(Came::text(why, true)),
        };
        let question = arguments.get("prompt").and_then(Value::as_str).unwrap_or(QUESTION);
        let looker = match name {
            "understand_image" => &self.lookers.image,
            "understand_audio" => &self.lookers.audio,
            "understand_video" => &self.lookers.video,
            _ => &self.lookers.file,
        };
        let kind = KINDS.iter().find(|(tool, _, _)| *tool == name).map(|(_, kind, _)| *kind);
        let mut parts = vec![Part::Text(question.to_owned())];
        let mut left = bounds::MEDIA;
        for path in paths {
            let more = self.read(path, kind, arguments).await?;
            let Some(rest) = left.checked_sub(bounds::bytes_of_parts(&more)) else {
                return Ok(Came::text("the files are too large together: name fewer of them", true));
            };
            left = rest;
            parts.extend(more);
        }
        for part in &parts {
            if let Part::Media { mime, .. } = part
                && !looker.model.takes(mime)
            {
                let why =
                    format!("{} takes no {mime}; multimodal_config can name another model", looker.name);
                return Ok(Came::text(why, true));
            }
        }
        Ok(self.ask(looker, parts).await)
    }

    /// What is in a file; else what the sandbox's tools say.
    async fn read(
        &self,
        path: &str,
        kind: Option<&str>,
        arguments: &Map<String, Value>,
    ) -> Result<Vec<Part>, Refused> {
        let pdf = path.to_ascii_lowercase().ends_with(".pdf");
        let tool = if kind.is_some() || pdf { "read_media_file" } else { "read_text_file" };
        let asked = Map::from_iter([("path".to_owned(), json!(path))]);
        let result = self.host.call_own(tool, asked).await;
        let result = result.map_err(|error| Refused::new(error.to_string()))?;
        let came = came(&result);
        if came.failed {
            return Err(Refused { came, result });
        }
        let most = arguments.get("max_chars").and_then(Value::as_u64).unwrap_or(CHARACTERS);
        let mut parts = vec![Part::Text(format!("[{path}]"))];
        for part in came.parts {
            parts.push(match part {
                Part::Text(text) => {
                    let most = usize::try_from(most).unwrap_or(usize::MAX);
                    let cut: String = self.redactor.text(&text).chars().take(most).collect();
                    Part::Text(cut)
                }
                Part::Media { mime, data } => {
                    let mime = if pdf { "application/pdf".to_owned() } else { mime_of(path, mime) };
                    if kind.is_some_and(|kind| !mime.starts_with(&format!("{kind}/"))) {
                        let kind = kind.unwrap_or_default();
                        return Err(Refused::new(format!("{path} is no {kind}: it is {mime}")));
                    }
                    Part::Media { mime, data }
                }
            });
        }
        Ok(parts)
    }

    async fn ask(&self, looker: &Looker, parts: Vec<Part>) -> Came {
        let conversation = Conversation { system: String::new(), items: vec![Item::User(parts)] };
        let ask = Ask {
            conversation: &conversation,
            tools: &[],
            choice: Choice::Auto,
            serial: self.next.load(Ordering::Relaxed),
            deadline: None,
            cancel: &self.cancel,
        };
        match looker.model.ask(ask, &mut |_| {}).await {
            Ok(answer) => {
                let texts = answer.items.iter().filter_map(|item| match item {
                    Item::Text(text) => Some(text.text.as_str()),
                    _ => None,
                });
                let text = texts.collect::<Vec<_>>().join("\n");
                let cost = answer.usage.cost_micros.or_else(|| looker.model.cost(&answer.usage));
                // The words of a server, which may be any.
                let text = cut(&text);
                let text = if text.is_empty() { "(the model said nothing)".to_owned() } else { text };
                Came { spent: Some((answer.usage, cost)), ..Came::text(text, false) }
            }
            Err(error) => Came::text(format!("{} did not answer: {error}", looker.name), true),
        }
    }
}

/// Types that file names tell better than the sandbox does.
fn mime_of(path: &str, told: String) -> String {
    let end = path.rsplit('.').next().unwrap_or_default().to_ascii_lowercase();
    match end.as_str() {
        "mp4" | "m4v" => "video/mp4".to_owned(),
        "webm" => "video/webm".to_owned(),
        "mov" => "video/quicktime".to_owned(),
        "mpeg" | "mpg" => "video/mpeg".to_owned(),
        _ => told,
    }
}

fn paths(arguments: &Map<String, Value>) -> Result<Vec<&str>, String> {
    let all: Option<Vec<&str>> = match (arguments.get("path"), arguments.get("paths")) {
        (Some(Value::String(one)), None) => Some(vec![one]),
        (None, Some(Value::Array(all))) => all.iter().map(Value::as_str).collect(),
        _ => None,
    };
    match all {
        Some(all) if (1..=MOST).contains(&all.len()) => Ok(all),
        _ => Err(format!("give `path`, or `paths` with 1 to {MOST} of them")),
    }
}

#[async_trait]
impl Toolbox for Media {
    fn tools(&self) -> Vec<ToolInfo> {
        let tool = |name: &str, words: &str| {
            let schema = json!({"type": "object", "properties": {
                "path": {"type": "string", "description": "The file."},
                "paths": {"type": "array", "items": {"type": "string"}, "description": "Several, in place of `path`."},
                "prompt": {"type": "string", "description": "What to find out."},
            }});
            let schema = schema.as_object().cloned().unwrap_or_default();
            ToolInfo { name: name.to_owned(), description: words.to_owned(), schema, own: true }
        };
        KINDS.iter().map(|(name, _, words)| tool(name, words)).chain([tool(FILE, FILE_WORDS)]).collect()
    }

    async fn call(&self, name: &str, arguments: Map<String, Value>) -> Result<Came, ToolFailed> {
        let id = format!("look-{}", self.next.fetch_add(1, Ordering::Relaxed));
        observed(&self.observer, id, name, &arguments, self.look(name, &arguments)).await
    }

    async fn keep(&self, _name: &str, _text: &str) -> Result<String, String> {
        Err("nothing is kept here".to_owned())
    }
}
