//! A tool that has pictures drawn and texts spoken, and puts them into the workspace. Where a file
//! may be the sandbox's own tools say, before anything is ordered and again when it is written.

use crate::{
    Came, ToolFailed, ToolInfo, Toolbox,
    asking::cut,
    own::{Refused, observed},
    toolbox::came,
};
use async_trait::async_trait;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use cordon_backends::{
    Redactor,
    api::{LONGEST_PROMPT, Made, Order},
};
use cordon_mcp::{Host, Observer};
use cordon_models::Makes;
use cordon_providers::{Making, MakingApi, MakingOption};
use serde_json::{Map, Value, json};
use std::{
    hash::{BuildHasher as _, RandomState},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};
use tokio_util::sync::CancellationToken;

/// The name of the tool.
pub(crate) const TOOL: &str = "generate_media";
/// Where files go that are given no name.
const DIRECTORY: &str = "generated_media";
/// The sandbox's tool that writes bytes.
const WRITE: &str = "write_media_file";
/// Options that a model may give, with what they are.
const OPTIONS: [(MakingOption, &str); 5] = [
    (MakingOption::Size, "Size of the picture, in the words of the service, such as 1024x1024 or 2K."),
    (MakingOption::Quality, "Quality of the picture, in the words of the service, such as low or high."),
    (MakingOption::AspectRatio, "Aspect ratio of the picture, such as 16:9."),
    (MakingOption::Voice, "Name of the voice that speaks, in the words of the service."),
    (MakingOption::Instructions, "How it is to be spoken: tone, speed, accent."),
];

/// The tool `generate_media`.
pub struct Studio {
    host: Arc<Host>,
    observer: Arc<dyn Observer>,
    makers: Vec<Arc<dyn Makes>>,
    redactor: Redactor,
    cancel: CancellationToken,
    next: AtomicU64,
}

/// What a call asks for.
struct Asked {
    maker: Arc<dyn Makes>,
    order: Order,
    /// Of the file; its ending follows from what is made when nobody named it.
    path: String,
    named: bool,
    overwrite: bool,
}

impl Studio {
    /// Writes through this host, and tells this observer of calls.
    #[must_use]
    pub fn new(
        host: Arc<Host>,
        observer: Arc<dyn Observer>,
        makers: Vec<Arc<dyn Makes>>,
        redactor: Redactor,
        cancel: CancellationToken,
    ) -> Self {
        Self { host, observer, makers, redactor, cancel, next: AtomicU64::new(1) }
    }

    async fn make(&self, arguments: &Map<String, Value>) -> Result<Came, Refused> {
        let asked = self.asked(arguments).map_err(Refused::new)?;
        let Asked { maker, order, overwrite, .. } = &asked;
        maker.check(order).map_err(|error| Refused::new(self.redactor.text(&error.to_string())))?;
        self.write(&asked.at(expected(maker.as_ref())), None, *overwrite).await?;
        // The room for what is made is kept until it is written.
        let (made, _room) = maker.make(order, &self.cancel).await.map_err(|error| {
            let why = self.redactor.text(&error.to_string());
            Refused::new(cut(&format!("{} made nothing: {why}", maker.name())))
        })?;
        let spent = Some((made.usage, maker.cost(order, &made)));
        let path = asked.at(made.extension);
        let data = STANDARD.encode(&made.data);
        match self.write(&path, Some(data), *overwrite).await {
            Ok(()) => Ok(Came { spent, ..Came::text(self.words(&asked, &path, &made), false) }),
            // It was paid for all the same.
            Err(Refused { came, result }) => Err(Refused { came: Came { spent, ..came }, result }),
        }
    }

    /// Writes it, or looks whether it could be written.
    async fn write(&self, path: &str, data: Option<String>, overwrite: bool) -> Result<(), Refused> {
        let mut asked = Map::new();
        asked.insert("path".to_owned(), json!(path));
        asked.insert("overwrite".to_owned(), json!(overwrite));
        if let Some(data) = data {
            asked.insert("data".to_owned(), Value::String(data));
        }
        let result = self.host.call_own(WRITE, asked).await;
        let result = result.map_err(|error| Refused::new(error.to_string()))?;
        let came = came(&result);
        if came.failed { Err(Refused { came, result }) } else { Ok(()) }
    }

    fn words(&self, asked: &Asked, path: &str, made: &Made) -> String {
        let size = made.data.len();
        let mut text = format!("Wrote {path}: {}, {size} bytes, made by {}.", made.mime, asked.maker.name());
        if asked.named && ending(path).is_some_and(|end| !fits(&end, made.extension)) {
            text.push_str(&format!(" Its name ends otherwise: such files end in .{}.", made.extension));
        }
        if let Some(revised) = &made.revised {
            text.push_str(&format!(" The prompt was understood as: {}", self.redactor.text(revised)));
        }
        text
    }

    fn asked(&self, arguments: &Map<String, Value>) -> Result<Asked, String> {
        let text = |key: &str| match arguments.get(key) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.as_str())),
            Some(_) => Err(format!("`{key}` has to be a text")),
        };
        let modes: Vec<&str> = self.makers.iter().map(|m| m.way().making.word()).collect();
        let maker = match text("mode")? {
            None if self.makers.len() == 1 => self.makers.first(),
            mode => self.makers.iter().find(|m| Some(m.way().making.word()) == mode),
        };
        let maker = maker.ok_or_else(|| format!("`mode` has to be {}", modes.join(" or ")))?.clone();
        let prompt = text("prompt")?.ok_or("`prompt` is missing")?.to_owned();
        let overwrite = match arguments.get("overwrite") {
            None | Some(Value::Null) => false,
            Some(Value::Bool(flag)) => *flag,
            Some(_) => return Err("`overwrite` has to be true or false".to_owned()),
        };
        let fresh = format!("{}-{:08x}", maker.way().making.word(), random());
        let below = |directory: &str| format!("{}/{fresh}", directory.trim_end_matches('/'));
        let (path, named) = match (text("path")?, text("storage_path")?) {
            (Some(_), Some(_)) => return Err("give `path` or `storage_path`, not both".to_owned()),
            (Some(path), None) if !path.ends_with('/') => (path.to_owned(), true),
            (Some(directory), None) | (None, Some(directory)) => (below(directory), false),
            (None, None) => (below(DIRECTORY), false),
        };
        let mut options = Vec::new();
        for (option, _) in OPTIONS {
            if let Some(value) = option.argument().map(text).transpose()?.flatten() {
                options.push((option, value.to_owned()));
            }
        }
        let format = ending(&path).filter(|_| named).and_then(|end| format_of(maker.way().making, &end));
        if let Some(format) = format.filter(|_| maker.way().takes.contains(&MakingOption::Format)) {
            options.push((MakingOption::Format, format.to_owned()));
        }
        let order = Order { making: maker.way().making, prompt, options };
        Ok(Asked { maker, order, path, named, overwrite })
    }
}

impl Asked {
    fn at(&self, extension: &str) -> String {
        if self.named { self.path.clone() } else { format!("{}.{extension}", self.path) }
    }
}

fn random() -> u32 {
    let [a, b, c, d, ..] = RandomState::new().hash_one(TOOL).to_be_bytes();
    u32::from_be_bytes([a, b, c, d])
}

/// How a file will end, most likely.
fn expected(maker: &dyn Makes) -> &'static str {
    match (maker.way().making, maker.way().api) {
        (Making::Image, _) => "png",
        (Making::Audio, MakingApi::Speech) => "mp3",
        (Making::Audio, _) => "wav",
    }
}

fn ending(path: &str) -> Option<String> {
    let name = path.rsplit('/').next()?;
    let (stem, end) = name.rsplit_once('.')?;
    (!stem.is_empty()).then(|| end.to_ascii_lowercase())
}

fn fits(end: &str, extension: &str) -> bool {
    end == extension
        || matches!((end, extension), ("jpeg", "jpg") | ("opus" | "oga", "ogg") | ("wave", "wav"))
}

/// What services call the type of a file whose name ends like this.
fn format_of(making: Making, end: &str) -> Option<&'static str> {
    Some(match (making, end) {
        (Making::Image, "png") => "png",
        (Making::Image, "jpg" | "jpeg") => "jpeg",
        (Making::Image, "webp") => "webp",
        (Making::Audio, "mp3") => "mp3",
        (Making::Audio, "wav" | "wave") => "wav",
        (Making::Audio, "flac") => "flac",
        (Making::Audio, "aac") => "aac",
        (Making::Audio, "ogg" | "opus" | "oga") => "opus",
        _ => return None,
    })
}

#[async_trait]
impl Toolbox for Studio {
    fn tools(&self) -> Vec<ToolInfo> {
        let modes: Vec<&str> = self.makers.iter().map(|m| m.way().making.word()).collect();
        let what: Vec<&str> = modes
            .iter()
            .map(|mode| if *mode == "image" { "a picture drawn" } else { "a text spoken" })
            .collect();
        let mut members = object(json!({
            "mode": {"type": "string", "enum": modes},
            "prompt": {"type": "string", "maxLength": LONGEST_PROMPT,
                "description": "What is to be seen; for audio the very words that are to be spoken."},
            "path": {"type": "string",
                "description": "The file to write, absolute or relative to the workspace; a new one in generated_media/ when absent."},
            "storage_path": {"type": "string", "description": "A directory for the file, in place of `path`."},
            "overwrite": {"type": "boolean", "description": "Whether a file that is there is replaced; false when absent."},
        }));
        for (option, words) in OPTIONS {
            let takes = self.makers.iter().any(|m| m.way().takes.contains(&option));
            if let Some(name) = option.argument().filter(|_| takes) {
                members.insert(name.to_owned(), json!({"type": "string", "description": words}));
            }
        }
        let schema = json!({"type": "object", "properties": members, "required": ["mode", "prompt"]});
        let description = format!(
            "Have {} and written into a file. It costs money: ask for what is needed, once. The answer names the \
             file, its type and its size.",
            what.join(" or ")
        );
        vec![ToolInfo { name: TOOL.to_owned(), description, schema: object(schema), own: true }]
    }

    async fn call(&self, name: &str, arguments: Map<String, Value>) -> Result<Came, ToolFailed> {
        let id = format!("make-{}", self.next.fetch_add(1, Ordering::Relaxed));
        observed(&self.observer, id, name, &arguments, self.make(&arguments)).await
    }

    async fn keep(&self, _name: &str, _text: &str) -> Result<String, String> {
        Err("nothing is kept here".to_owned())
    }
}

fn object(value: Value) -> Map<String, Value> {
    if let Value::Object(map) = value { map } else { Map::new() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_files_say_what_is_ordered() {
        for (path, end) in [
            ("a.PNG", Some("png")),
            ("a.b/c", None),
            ("/x/.hidden", None),
            ("a.tar.gz", Some("gz")),
            ("", None),
        ] {
            assert_eq!(ending(path).as_deref(), end, "{path}");
        }
        assert_eq!(format_of(Making::Image, "jpg"), Some("jpeg"));
        assert_eq!(format_of(Making::Image, "mp3"), None);
        assert_eq!(format_of(Making::Audio, "ogg"), Some("opus"));
        assert!(fits("jpeg", "jpg") && fits("opus", "ogg") && !fits("svg", "png"));
    }
}
