//! Pictures and speech, as the services make them, and what they may answer instead.

use super::{
    Failure,
    body::{self, Answer, json_answer},
    failure,
    server::Protocol,
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use hyper::{StatusCode, header::LOCATION};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// How what is ordered is made.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Making {
    /// As it should be.
    #[default]
    Made,
    /// These bytes in place of a picture or a sound.
    Bytes(Vec<u8>),
    /// Base64 of so many bytes.
    Huge(usize),
    /// This as the body.
    Body(String),
    /// 307, to this place.
    Redirect(String),
    /// Another failure.
    Fails(Failure),
    /// Never answers.
    Hangs,
}

/// A picture of one pixel.
pub const PNG: &[u8] = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x01\0\0\0\x01\x08\x06\0\0\0\x1f\x15\xc4\x89\0\0\0\rIDATx\xdac\xfc\xcf\xc0P\x0f\0\x04\x85\x01\x80\x84\xa9\x8c!\0\0\0\0IEND\xaeB`\x82";
/// The beginning of a sound.
pub const MP3: &[u8] = b"ID3\x04\0\0\0\0\0\0\xff\xfb\x90\x64";
/// Samples without a header.
pub const SAMPLES: &[u8] = &[1, 2, 3, 4, 5, 6];

/// What is ordered by this request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ordered {
    Images,
    Speech,
    Content,
    Chat,
}

/// Whether this is no conversation but an order.
pub(super) fn ordered(path: &str, request: &Value) -> Option<Ordered> {
    let has = |list: &Value, word: &str| list.as_array().is_some_and(|l| l.iter().any(|v| v == word));
    let modalities = &request["generationConfig"]["responseModalities"];
    match path {
        "/images/generations" => Some(Ordered::Images),
        "/audio/speech" => Some(Ordered::Speech),
        "/chat/completions" if has(&request["modalities"], "image") => Some(Ordered::Chat),
        _ if has(modalities, "IMAGE") || has(modalities, "AUDIO") => Some(Ordered::Content),
        _ => None,
    }
}

/// What the services refuse.
fn check(ordered: Ordered, request: &Value) -> Result<(), String> {
    let known: &[&str] = match ordered {
        Ordered::Images => {
            &["model", "prompt", "n", "size", "quality", "response_format", "output_format", "aspect_ratio"]
        }
        Ordered::Speech => &["model", "input", "voice", "instructions", "response_format"],
        Ordered::Content => &["contents", "generationConfig", "safetySettings"],
        Ordered::Chat => &["model", "messages", "modalities", "stream", "usage", "image_config"],
    };
    let unknown = request.as_object().into_iter().flatten().find(|(key, _)| !known.contains(&key.as_str()));
    if let Some((key, _)) = unknown {
        return Err(format!("Unknown parameter: {key}"));
    }
    let model = request["model"].as_str().unwrap_or_default();
    if model.starts_with("gpt-image") && !request["response_format"].is_null() {
        return Err("Unknown parameter: 'response_format'.".to_owned());
    }
    if ordered == Ordered::Speech && !request["voice"].is_string() {
        return Err("voice is required".to_owned());
    }
    Ok(())
}

pub(super) async fn answer(ordered: Ordered, request: &Value, making: &Making) -> Answer {
    let protocol = match ordered {
        Ordered::Images | Ordered::Speech => Protocol::Responses,
        Ordered::Content => Protocol::Gemini,
        Ordered::Chat => Protocol::Completions,
    };
    if let Err(wrong) = check(ordered, request) {
        return failure::error(protocol, 400, false, &wrong);
    }
    let sound = ordered == Ordered::Speech || request["generationConfig"]["speechConfig"].is_object();
    let usual = match (ordered, sound) {
        (Ordered::Speech, _) => MP3,
        (_, true) => SAMPLES,
        _ => PNG,
    };
    let bytes = match making {
        Making::Made => usual.to_vec(),
        Making::Bytes(bytes) => bytes.clone(),
        Making::Huge(size) => [usual, vec![0; *size].as_slice()].concat(),
        Making::Body(text) => return body::whole("application/json", text.clone().into()),
        Making::Redirect(place) => {
            let mut answer = Answer::default();
            *answer.status_mut() = StatusCode::TEMPORARY_REDIRECT;
            if let Ok(place) = place.parse() {
                answer.headers_mut().insert(LOCATION, place);
            }
            return answer;
        }
        Making::Fails(failure) => match failure.refusal(protocol, "the model") {
            Some(refusal) => return refusal,
            None => std::future::pending().await,
        },
        Making::Hangs => std::future::pending().await,
    };
    if ordered == Ordered::Speech {
        return body::whole("audio/mpeg", bytes.into());
    }
    let data = STANDARD.encode(bytes);
    json_answer(&match ordered {
        Ordered::Images => {
            json!({"created": 1, "data": [{"b64_json": data, "revised_prompt": "as understood"}],
            "usage": {"input_tokens": 20, "output_tokens": 4160, "total_tokens": 4180}})
        }
        Ordered::Chat => json!({"id": "gen-1", "choices": [{"index": 0, "finish_reason": "stop", "message": {
                "role": "assistant", "content": "Here it is.",
                "images": [{"type": "image_url", "image_url": {"url": format!("data:image/png;base64,{data}")}}]}}],
            "usage": {"prompt_tokens": 20, "completion_tokens": 1290, "cost": 0.0387}}),
        Ordered::Content | Ordered::Speech => {
            let mime = if sound { "audio/L16;codec=pcm;rate=24000" } else { "image/png" };
            json!({"candidates": [{"content": {"role": "model", "parts": [
                    {"inlineData": {"mimeType": mime, "data": data}, "thoughtSignature": "c2VhbA=="}]},
                    "finishReason": "STOP"}],
                "usageMetadata": {"promptTokenCount": 20, "candidatesTokenCount": 1120, "totalTokenCount": 1140}})
        }
    })
}
