use super::*;
use crate::api::{ApiError, PROVIDERS, Settings, provider};
use ::base64::{Engine as _, engine::general_purpose::STANDARD};
use cordon_config::Secret;
use proptest::prelude::*;

const PNG: &[u8] = b"\x89PNG\r\n\x1a\nrest";
const MP3: &[u8] = b"ID3\x04rest";

fn target(name: &str, base: Option<&str>, model: &str) -> Target {
    let endpoint = Endpoint::new(provider(name).unwrap(), base, None).unwrap();
    let settings = Settings { model: model.to_owned(), ..Settings::default() };
    Target { endpoint, key: Some(Secret::new("k-1".to_owned())), settings }
}

fn order(making: Making, options: &[(MakingOption, &str)]) -> Order {
    let options = options.iter().map(|(o, v)| (*o, (*v).to_owned())).collect();
    Order { making, prompt: "a fox".to_owned(), options }
}

fn asked(target: &Target, order: &Order) -> (String, Value) {
    let request = making_request(target, order).unwrap();
    assert!(!format!("{request:?}").contains("k-1"));
    (request.url.to_string(), serde_json::from_slice(&request.body).unwrap())
}

#[test]
fn every_maker_can_be_asked() {
    for provider in PROVIDERS {
        let base = provider.base_url.unwrap_or("https://r.openai.azure.com");
        for making in Making::ALL {
            let target = target(provider.name, Some(base), "m");
            match making_request(&target, &order(making, &[])) {
                Ok(request) => {
                    assert!(provider.maker(making).is_some());
                    assert!(request.secret.is_some() && request.url.scheme() == "https");
                }
                Err(error) => {
                    assert!(provider.maker(making).is_none(), "{} {error}", provider.name);
                    assert!(error.to_string().contains("openai, gemini"), "{error}");
                }
            }
        }
    }
}

#[test]
fn each_is_asked_in_its_own_words() {
    let small = [(MakingOption::Size, "1024x1024"), (MakingOption::Format, "webp")];
    let (url, body) = asked(&target("openai", None, "gpt-image-2"), &order(Making::Image, &small));
    assert_eq!(url, "https://api.openai.com/v1/images/generations");
    assert_eq!(
        body,
        json!({"model": "gpt-image-2", "prompt": "a fox", "n": 1, "size": "1024x1024", "output_format": "webp"})
    );
    let (_, body) = asked(&target("openai", None, "dall-e-3"), &order(Making::Image, &small));
    assert_eq!((&body["response_format"], body.get("output_format")), (&json!("b64_json"), None));
    let (url, body) = asked(&target("openai", None, "t"), &order(Making::Audio, &[]));
    assert_eq!(url, "https://api.openai.com/v1/audio/speech");
    assert_eq!(body, json!({"model": "t", "input": "a fox", "voice": "alloy", "response_format": "mp3"}));
    let (url, body) = asked(&target("grok", None, "g"), &order(Making::Image, &[]));
    assert_eq!(url, "https://api.x.ai/v1/images/generations");
    assert_eq!(body["response_format"], "b64_json");
    let wide = [(MakingOption::AspectRatio, "16:9"), (MakingOption::Size, "2K")];
    let (url, body) = asked(&target("gemini", None, "models/g"), &order(Making::Image, &wide));
    assert_eq!(url, "https://generativelanguage.googleapis.com/v1beta/models/g:generateContent");
    let config =
        json!({"responseModalities": ["IMAGE"], "imageConfig": {"aspectRatio": "16:9", "imageSize": "2K"}});
    assert_eq!(body["generationConfig"], config);
    let (_, body) = asked(&target("gemini", None, "g"), &order(Making::Audio, &[]));
    let voice = &body["generationConfig"]["speechConfig"]["voiceConfig"]["prebuiltVoiceConfig"]["voiceName"];
    assert_eq!(voice, "Kore");
    let (url, body) = asked(&target("openrouter", None, "google/g"), &order(Making::Image, &wide));
    assert_eq!(url, "https://openrouter.ai/api/v1/chat/completions");
    assert_eq!((&body["modalities"], &body["stream"]), (&json!(["image", "text"]), &json!(false)));
    let azure = target("azure_openai", Some("https://r.openai.azure.com"), "../x y");
    let (url, _) = asked(&azure, &order(Making::Audio, &[]));
    let begins = "https://r.openai.azure.com/openai/deployments/..%2Fx%20y/audio/speech?api-version=";
    assert!(url.starts_with(begins), "{url}");
    let any = target("chatcompletion", Some("https://openrouter.ai/api/v1"), "m");
    assert!(asked(&any, &order(Making::Image, &[])).0.ends_with("/chat/completions"));
}

#[test]
fn what_does_not_fit_is_not_asked() {
    let refused = |order: &Order| making_request(&target("grok", None, "g"), order).unwrap_err().to_string();
    let why = refused(&order(Making::Image, &[(MakingOption::Size, "2K")]));
    assert!(why.contains("size") && why.contains("aspect_ratio"), "{why}");
    assert!(refused(&Order { prompt: " ".to_owned(), ..order(Making::Image, &[]) }).contains("prompt"));
    let long = "x".repeat(LONGEST_PROMPT + 1);
    assert!(refused(&Order { prompt: long, ..order(Making::Image, &[]) }).contains("prompt"));
    assert!(
        refused(&order(Making::Audio, &[])).contains("grok makes no audio; backends that do: openai, gemini")
    );
    assert!(making_request(&target("openai", None, ".."), &order(Making::Image, &[])).is_err());
}

fn read(name: &str, making: Making, body: &[u8], piece: usize) -> Result<Made, ApiError> {
    let mut reader = MadeReader::new(&target(name, None, "m"), making, 1000).unwrap();
    for piece in body.chunks(piece) {
        reader.push(piece)?;
    }
    reader.finish()
}

/// One good answer of each interface.
fn answers() -> Vec<(&'static str, Making, Vec<u8>)> {
    let png = STANDARD.encode(PNG);
    let images = json!({"created": 1, "data": [{"b64_json": png, "revised_prompt": "a red fox"}],
        "usage": {"input_tokens": 7, "output_tokens": 4160, "total_tokens": 4167}});
    let content = json!({"candidates": [{"content": {"parts": [
            {"text": "Here."}, {"thought": true, "inlineData": {"mimeType": "image/png", "data": "AAAA"}},
            {"inlineData": {"mimeType": "text/html", "data": png}, "thoughtSignature": "x".repeat(2000)}]},
            "finishReason": "STOP"}],
        "usageMetadata": {"promptTokenCount": 7, "candidatesTokenCount": 1120, "thoughtsTokenCount": 30}});
    let sound = json!({"candidates": [{"content": {"parts": [{"inlineData": {
        "mimeType": "audio/L16;codec=pcm;rate=24000", "data": STANDARD.encode([1, 2, 3, 4])}}]}}]});
    let chat = json!({"choices": [{"message": {"content": "Here.", "images": [
            {"type": "image_url", "image_url": {"url": format!("data:image/png;base64,{png}")}}]}}],
        "usage": {"prompt_tokens": 7, "completion_tokens": 1290, "cost": 0.0387}});
    vec![
        ("openai", Making::Image, images.to_string().into_bytes()),
        ("grok", Making::Image, images.to_string().into_bytes()),
        ("gemini", Making::Image, content.to_string().into_bytes()),
        ("gemini", Making::Audio, sound.to_string().into_bytes()),
        ("openrouter", Making::Image, chat.to_string().into_bytes()),
        ("openai", Making::Audio, MP3.to_vec()),
    ]
}

#[test]
fn every_answer_is_read() {
    for (name, making, body) in answers() {
        let made = read(name, making, &body, 3).unwrap();
        if making == Making::Image {
            assert_eq!((made.data.as_slice(), made.mime, made.extension), (PNG, "image/png", "png"));
            assert_eq!(made.usage.input, 7);
        }
        match (name, making) {
            ("gemini", Making::Audio) => assert_eq!((made.mime, made.data.len()), ("audio/wav", 48)),
            ("openai", Making::Audio) => assert_eq!((made.mime, made.data.as_slice()), ("audio/mpeg", MP3)),
            ("gemini", _) => assert_eq!((made.usage.output, made.usage.reasoning), (1150, 30)),
            ("openrouter", _) => assert_eq!(made.usage.cost_micros, Some(38_700)),
            _ => assert_eq!((made.usage.output, made.revised.as_deref()), (4160, Some("a red fox"))),
        }
    }
}

#[test]
fn what_is_no_picture_is_none() {
    let failed = |name: &str, body: Value| {
        read(name, Making::Image, body.to_string().as_bytes(), 100).unwrap_err().to_string()
    };
    let of = |data: &[u8]| json!({"data": [{"b64_json": STANDARD.encode(data)}]});
    assert!(failed("openai", of(b"#!/bin/sh\nrm")).contains("no image"));
    assert!(failed("openai", of(b"")).contains("no image"));
    assert!(failed("openai", json!({"data": [{"b64_json": "?"}]})).contains("no base64"));
    assert!(failed("openai", json!({"data": [{"url": "https://x.test/p.png"}]})).contains("no image in it"));
    assert!(failed("openai", json!({"data": [{"b64_json": 0}]})).contains("no base64"));
    assert!(failed("openai", json!({"data": [{"b64_json": 1e300}]})).contains("no image in it"));
    assert!(failed("openai", json!([])).contains("no image in it"));
    let error = json!({"error": {"message": "no money", "code": "insufficient_quota"}});
    assert!(failed("openai", error).contains("nothing left to bill"));
    let blocked = json!({"promptFeedback": {"blockReason": "SAFETY"}});
    assert!(failed("gemini", blocked).contains("SAFETY"));
    let talks =
        json!({"candidates": [{"content": {"parts": [{"text": "I will not."}]}, "finishReason": "STOP"}]});
    assert!(failed("gemini", talks).contains("I will not."));
    let link =
        json!({"choices": [{"message": {"images": [{"image_url": {"url": "https://x.test/p.png"}}]}}]});
    assert!(failed("openrouter", link).contains("Cordon fetches no URL"));
    for bad in [&b"{"[..], b"", b"<html>", b"{\"data\":[{\"b64_json\":\"AAAA", b"\xff\xfe", b"{}{}"] {
        assert!(read("openai", Making::Image, bad, 2).is_err(), "{bad:?}");
        assert!(read("openai", Making::Audio, bad, 2).is_err(), "{bad:?}");
    }
    let large = of(&[0; 1001]).to_string();
    assert!(matches!(read("openai", Making::Image, large.as_bytes(), 9), Err(ApiError::TooMuch { .. })));
    assert!(matches!(read("openai", Making::Audio, &[b'I'; 1001], 9), Err(ApiError::TooMuch { .. })));
    let spaces = vec![b' '; 5 << 20];
    assert!(matches!(read("openai", Making::Image, &spaces, 9999), Err(ApiError::TooMuch { .. })));
}

proptest! {
    #[test]
    fn an_answer_is_the_same_however_it_is_cut(which in 0usize..6, piece in 1usize..500) {
        let (name, making, body) = answers().swap_remove(which);
        prop_assert_eq!(read(name, making, &body, piece), read(name, making, &body, body.len()));
    }

    #[test]
    fn a_broken_answer_is_an_error_or_the_same_picture(which in 0usize..6, at: prop::sample::Index, byte: u8, cut: bool) {
        let (name, making, mut body) = answers().swap_remove(which);
        let at = at.index(body.len());
        if cut { body.truncate(at) } else { body[at] = byte }
        if let Ok(made) = read(name, making, &body, 50) {
            prop_assert!(made.data.len() <= 1000 + 44);
            prop_assert!(kind::kind(making, &made.data).is_some());
        }
    }
}
