//! The answer to a request for a picture or for speech.

use super::{
    kind::{kind, samples, wav},
    sift::{Blob, Fault, Sift},
};
use crate::{
    api::{ApiError, Failure, Target, Usage, value},
    text::clip,
};
use cordon_providers::{Maker, Making, MakingApi};
use serde_json::Value;

/// What an answer has beside what was made.
const BESIDE: u64 = 4 << 20;
/// Values of it.
const VALUES: usize = 10_000;
/// Of a text that is told.
const TOLD: usize = 1000;

/// What was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Made {
    /// The file.
    pub data: Vec<u8>,
    /// What it is, by its first bytes.
    pub mime: &'static str,
    /// How the names of such files end.
    pub extension: &'static str,
    /// What was used, as far as the answer says.
    pub usage: Usage,
    /// How the model understood the prompt; the words of a server.
    pub revised: Option<String>,
}

/// Reads an answer as it comes, cut anywhere. An error is final.
#[derive(Debug)]
pub struct MadeReader {
    maker: &'static Maker,
    most: usize,
    left: u64,
    body: Body,
}

#[derive(Debug)]
enum Body {
    Json(Box<Sift>),
    File(Vec<u8>),
}

impl MadeReader {
    /// For what this target makes; `most` bytes of it. None when it makes no such thing.
    #[must_use]
    pub fn new(target: &Target, making: Making, most: usize) -> Option<Self> {
        let maker = target.endpoint.maker(making)?;
        let json = |long| Body::Json(Box::new(Sift::new(long, &["thoughtSignature"], most)));
        let body = match maker.api {
            MakingApi::Images(_) => json(&["b64_json"]),
            MakingApi::Content => json(&["data"]),
            MakingApi::Chat => json(&["url"]),
            MakingApi::Speech => Body::File(Vec::new()),
        };
        let left = (most as u64).saturating_mul(4) / 3 + BESIDE;
        Some(Self { maker, most, left, body })
    }

    /// The next piece of the body of a successful response.
    ///
    /// # Errors
    /// When it is too much.
    pub fn push(&mut self, bytes: &[u8]) -> Result<(), ApiError> {
        let too_much = || ApiError::TooMuch { what: "bytes", limit: self.most as u64 };
        self.left = self.left.checked_sub(bytes.len() as u64).ok_or_else(too_much)?;
        match &mut self.body {
            Body::Json(sift) => sift.push(bytes).map_err(|fault| match fault {
                Fault::TooMuch => too_much(),
                Fault::Rest => ApiError::TooMuch { what: "bytes beside what was made", limit: BESIDE },
            }),
            Body::File(file) if file.len() + bytes.len() > self.most => Err(too_much()),
            Body::File(file) => {
                file.extend_from_slice(bytes);
                Ok(())
            }
        }
    }

    /// The body has ended.
    ///
    /// # Errors
    /// When there is nothing of the kind that was ordered in it.
    pub fn finish(self) -> Result<Made, ApiError> {
        let making = self.maker.making;
        let (rest, mut blobs) = match self.body {
            Body::File(data) => {
                let (mime, extension) = kind(making, &data).ok_or_else(|| none(making, &data))?;
                return Ok(Made { data, mime, extension, usage: Usage::default(), revised: None });
            }
            Body::Json(sift) => sift.finish(),
        };
        let text = std::str::from_utf8(&rest).map_err(|_| ApiError::unreadable("what is no text"))?;
        let answer = value::parse(text, VALUES)
            .map_err(|why| ApiError::unreadable(format!("what cannot be read ({why})")))?;
        if answer.get("error").is_some_and(|error| !error.is_null()) {
            return Err(ApiError::Refused(Box::new(Failure::of_body(None, &answer))));
        }
        let found = match self.maker.api {
            MakingApi::Images(_) => image(&answer),
            MakingApi::Chat => picture(&answer),
            MakingApi::Content | MakingApi::Speech => part(&answer),
        };
        let Some(Found { at, mime }) = found else {
            return Err(ApiError::unreadable(format!("no {} in it{}", making.word(), said(&answer))));
        };
        let data = match blobs.get_mut(at) {
            Some(Blob::Bytes(bytes)) => std::mem::take(bytes),
            _ => {
                let what = format!("no base64 where the {} should be; Cordon fetches no URL", making.word());
                return Err(ApiError::unreadable(what));
            }
        };
        let wrapped = samples(mime).filter(|_| making == Making::Audio && kind(making, &data).is_none());
        let data = match wrapped {
            Some(rate) => wav(&data, rate).ok_or_else(|| ApiError::unreadable("half a sample of a sound"))?,
            None => data,
        };
        let (mime, extension) = kind(making, &data).ok_or_else(|| none(making, &data))?;
        let revised = answer.get("data").and_then(|d| value::text(d.get(0)?, "revised_prompt"));
        let revised = revised.map(|text| clip(text, TOLD));
        Ok(Made { data, mime, extension, usage: usage(&answer), revised })
    }
}

fn none(making: Making, data: &[u8]) -> ApiError {
    let began = String::from_utf8_lossy(&data[..data.len().min(60)]).into_owned();
    let word = making.word();
    ApiError::unreadable(format!(
        "{} bytes that are no {word} that is known, beginning with {began:?}",
        data.len()
    ))
}

/// Where it is among what was decoded, and what it is said to be.
struct Found<'a> {
    at: usize,
    mime: &'a str,
}

/// The number that stands in place of what was decoded.
fn number(value: &Value, key: &str) -> Option<usize> {
    usize::try_from(value.get(key)?.as_u64()?).ok()
}

fn image(answer: &Value) -> Option<Found<'_>> {
    let all = value::list(answer, "data");
    all.iter().find_map(|one| number(one, "b64_json")).map(|at| Found { at, mime: "" })
}

fn picture(answer: &Value) -> Option<Found<'_>> {
    let message = value::list(answer, "choices").first()?.get("message")?;
    let all = value::list(message, "images");
    all.iter().find_map(|one| number(one.get("image_url")?, "url")).map(|at| Found { at, mime: "" })
}

fn part(answer: &Value) -> Option<Found<'_>> {
    let content = value::list(answer, "candidates").first()?.get("content")?;
    // A sketch that the model made while it thought is none.
    let parts = value::list(content, "parts").iter().filter(|p| p.get("thought") != Some(&Value::Bool(true)));
    let mut inline = parts.filter_map(|p| p.get("inlineData"));
    inline.find_map(|d| {
        let mime = d.get("mimeType").and_then(Value::as_str).unwrap_or_default();
        Some(Found { at: number(d, "data")?, mime })
    })
}

/// What the model says instead.
fn said(answer: &Value) -> String {
    let candidate = value::list(answer, "candidates").first();
    let blocked = answer.get("promptFeedback").and_then(|f| value::text(f, "blockReason"));
    let finish = candidate.and_then(|c| value::text(c, "finishMessage").or(value::text(c, "finishReason")));
    let parts = candidate.and_then(|c| c.get("content")).map(|c| value::list(c, "parts")).unwrap_or_default();
    let text = parts.iter().find_map(|p| value::text(p, "text"));
    let message = value::list(answer, "choices").first().and_then(|c| c.get("message"));
    let content = message.and_then(|m| value::text(m, "refusal").or(value::text(m, "content")));
    let words: Vec<&str> = [blocked, finish, text, content].into_iter().flatten().collect();
    if words.is_empty() { String::new() } else { format!(": {}", clip(&words.join("; "), TOLD)) }
}

fn usage(answer: &Value) -> Usage {
    let empty = Value::Null;
    let openai = answer.get("usage").unwrap_or(&empty);
    let gemini = answer.get("usageMetadata").unwrap_or(&empty);
    let count = |names: [(&Value, &str); 3]| names.iter().find_map(|(from, key)| counted(from, key));
    let thoughts = counted(gemini, "thoughtsTokenCount").unwrap_or_default();
    let cost = openai.get("cost").and_then(Value::as_f64).filter(|c| (0.0..1e9).contains(c));
    let output =
        count([(openai, "output_tokens"), (openai, "completion_tokens"), (gemini, "candidatesTokenCount")]);
    Usage {
        input: count([(openai, "input_tokens"), (openai, "prompt_tokens"), (gemini, "promptTokenCount")])
            .unwrap_or_default(),
        output: output.unwrap_or_default().saturating_add(thoughts),
        reasoning: thoughts,
        // Not negative, and below 1e15.
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        cost_micros: cost.map(|dollars| (dollars * 1e6).ceil() as u64),
        ..Usage::default()
    }
}

/// A member that is a count.
fn counted(value: &Value, key: &str) -> Option<u64> {
    value.get(key).and_then(Value::as_u64)
}
