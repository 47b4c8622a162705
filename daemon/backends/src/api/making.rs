//! What is asked for and is no words: a picture, or speech. Requests are built and answers are
//! read here, as pure code like that of conversations. An answer is hostile: its base64 is decoded
//! while it comes and never more of it than is allowed, what is not the picture is bounded, and
//! what type the bytes are is what they begin with.

mod answer;
mod base64;
mod kind;
mod sift;

pub use answer::{Made, MadeReader};

use super::{Endpoint, Request, RequestError, Target, secret_header};
use cordon_providers::{Maker, Making, MakingApi, MakingOption};
use serde_json::{Map, Value, json};

/// Longest text that is drawn or spoken.
pub const LONGEST_PROMPT: usize = 32 << 10;
/// Longest of all other words.
const LONGEST_WORD: usize = 2 << 10;

/// What is to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    /// What.
    pub making: Making,
    /// What is to be seen on it, or to be said.
    pub prompt: String,
    /// What else is said of it, each once.
    pub options: Vec<(MakingOption, String)>,
}

impl Order {
    fn get(&self, option: MakingOption) -> Option<&str> {
        self.options.iter().find(|(o, _)| *o == option).map(|(_, value)| value.as_str())
    }

    fn put(&self, body: &mut Map<String, Value>, key: &str, option: MakingOption) {
        if let Some(value) = self.get(option) {
            body.insert(key.to_owned(), json!(value));
        }
    }
}

impl Endpoint {
    /// How the server there makes this, if it does.
    #[must_use]
    pub fn maker(&self, making: Making) -> Option<&'static Maker> {
        self.provider().maker_at(Some(self.host().0), making)
    }
}

/// Builds the request for what is ordered. The model is the target's.
///
/// # Errors
/// When this server does not make it, or what is said of it does not fit.
pub fn making_request(target: &Target, order: &Order) -> Result<Request, RequestError> {
    let Target { endpoint, key, settings } = target;
    let provider = endpoint.provider().name;
    let maker = endpoint.maker(order.making).ok_or(RequestError::MakesNone {
        provider,
        making: order.making.word(),
        able: able(order.making),
    })?;
    let model = settings.model.strip_prefix("models/").unwrap_or(&settings.model);
    let bad = |setting: &'static str, value: String, why: &str| RequestError::Value {
        setting,
        value,
        provider,
        why: why.to_owned(),
    };
    if model.is_empty() || matches!(model, "." | "..") {
        return Err(bad("model", format!("{model:?}"), "it names no model"));
    }
    if order.prompt.trim().is_empty() || order.prompt.len() > LONGEST_PROMPT {
        let why = format!("it has to have 1 to {LONGEST_PROMPT} bytes");
        return Err(bad("prompt", format!("a text of {} bytes", order.prompt.len()), &why));
    }
    for (option, value) in &order.options {
        let name = option.argument().unwrap_or("format");
        if !maker.takes.contains(option) {
            let known: Vec<&str> = maker.takes.iter().filter_map(|o| o.argument()).collect();
            let why = if known.is_empty() {
                "it takes nothing but the prompt".to_owned()
            } else {
                format!("beside the prompt it takes {}", known.join(", "))
            };
            return Err(bad(name, format!("{:?}", cut(value)), &why));
        }
        if value.is_empty() || value.len() > LONGEST_WORD {
            let why = format!("it has to have 1 to {LONGEST_WORD} bytes");
            return Err(bad(name, format!("a text of {} bytes", value.len()), &why));
        }
    }
    let (url, body) = match maker.api {
        MakingApi::Images(format) => {
            (endpoint.of_model(model, &["images", "generations"]), images(model, format, order))
        }
        MakingApi::Speech => (endpoint.of_model(model, &["audio", "speech"]), speech(model, maker, order)),
        MakingApi::Content => {
            let safety: Vec<Value> = settings
                .safety
                .iter()
                .map(|(category, threshold)| json!({"category": category, "threshold": threshold}))
                .collect();
            (endpoint.generate_url(model, "generateContent"), content(maker, order, safety))
        }
        MakingApi::Chat => (endpoint.of_model(model, &["chat", "completions"]), chat(model, order)),
    };
    let headers = vec![("content-type", "application/json".to_owned())];
    let secret = secret_header(endpoint, key.as_ref())?;
    Ok(Request { url, headers, secret, body: Value::Object(body).to_string().into_bytes() })
}

pub(super) fn able(making: Making) -> String {
    making.providers().join(", ")
}

fn cut(value: &str) -> String {
    value.chars().take(100).collect()
}

fn object(value: Value) -> Map<String, Value> {
    if let Value::Object(map) = value { map } else { Map::new() }
}

fn images(model: &str, format: Option<&str>, order: &Order) -> Map<String, Value> {
    let mut body = object(json!({"model": model, "prompt": order.prompt, "n": 1}));
    order.put(&mut body, "size", MakingOption::Size);
    order.put(&mut body, "quality", MakingOption::Quality);
    order.put(&mut body, "aspect_ratio", MakingOption::AspectRatio);
    // The older models answer with a URL unless they are told, and know one type.
    let older = model.starts_with("dall-e");
    if let Some(format) = format.or(older.then_some("b64_json")) {
        body.insert("response_format".to_owned(), json!(format));
    }
    if !older {
        order.put(&mut body, "output_format", MakingOption::Format);
    }
    body
}

fn speech(model: &str, maker: &Maker, order: &Order) -> Map<String, Value> {
    let voice = order.get(MakingOption::Voice).or(maker.voice);
    let mut body = object(json!({"model": model, "input": order.prompt, "voice": voice}));
    order.put(&mut body, "instructions", MakingOption::Instructions);
    let format = order.get(MakingOption::Format).unwrap_or("mp3");
    body.insert("response_format".to_owned(), json!(format));
    body
}

fn content(maker: &Maker, order: &Order, safety: Vec<Value>) -> Map<String, Value> {
    let mut settings = Map::new();
    match order.making {
        Making::Image => {
            settings.insert("responseModalities".to_owned(), json!(["IMAGE"]));
            let mut image = Map::new();
            order.put(&mut image, "aspectRatio", MakingOption::AspectRatio);
            order.put(&mut image, "imageSize", MakingOption::Size);
            if !image.is_empty() {
                settings.insert("imageConfig".to_owned(), Value::Object(image));
            }
        }
        Making::Audio => {
            settings.insert("responseModalities".to_owned(), json!(["AUDIO"]));
            let voice = order.get(MakingOption::Voice).or(maker.voice);
            let voice = json!({"voiceConfig": {"prebuiltVoiceConfig": {"voiceName": voice}}});
            settings.insert("speechConfig".to_owned(), voice);
        }
    }
    let mut body = object(json!({
        "contents": [{"role": "user", "parts": [{"text": order.prompt}]}],
        "generationConfig": settings,
    }));
    if !safety.is_empty() {
        body.insert("safetySettings".to_owned(), Value::Array(safety));
    }
    body
}

fn chat(model: &str, order: &Order) -> Map<String, Value> {
    let mut body = object(json!({
        "model": model,
        "messages": [{"role": "user", "content": order.prompt}],
        "modalities": ["image", "text"],
        "stream": false,
        "usage": {"include": true},
    }));
    let mut image = Map::new();
    order.put(&mut image, "aspect_ratio", MakingOption::AspectRatio);
    order.put(&mut image, "image_size", MakingOption::Size);
    if !image.is_empty() {
        body.insert("image_config".to_owned(), Value::Object(image));
    }
    body
}

#[cfg(test)]
#[path = "making_tests.rs"]
mod tests;
