//! The four wire protocols, as the daemon speaks them, against the scripted provider, which
//! the official clients keep honest: pieces cut anywhere, thoughts that have to come back, and
//! every way to be broken.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod asking;

use asking::{
    asked, calls,
    conversation::{THOUGHTS, WAYS, WORDS, arguments, look, model, script},
    text, thoughts,
};
use cordon_backends::api::{ApiError, Conversation, FailureKind, Item, Opaque, Part, Stop, Usage, Written};
use cordon_tests::provider::{self, Failure, Provider, Script, Shape, Turn};
use serde_json::{Value, json};
use std::time::Duration;

fn shapes() -> Vec<Shape> {
    let of = |delta, interleave, chunk| Shape { delta, interleave, chunk, pause_ms: 0 };
    vec![of(0, false, 0), of(1, true, 13), of(7, false, 3)]
}

fn shows_thoughts(kind: &str) -> bool {
    kind != "azure_openai"
}

#[tokio::test]
async fn a_conversation_with_tools_and_thoughts_comes_through_however_it_is_cut() {
    for shape in shapes() {
        for (kind, path) in WAYS {
            let provider = Provider::start(script(shape.clone())).await.unwrap();
            let model = model(kind, path, &provider);
            let mut conversation = asked("go");
            let answers = model.converse(&mut conversation).await;
            let said: Vec<String> = answers.iter().map(text).collect();
            assert_eq!(said, [WORDS, "", "Done: ü."], "{kind} {shape:?}");
            let called: Vec<_> = answers.iter().map(calls).collect();
            let looks: Vec<_> = (0..3).map(|n| ("look".to_owned(), arguments(n))).collect();
            assert_eq!(called, [looks, vec![("note".to_owned(), json!({}))], vec![]], "{kind} {shape:?}");
            if shows_thoughts(kind) {
                let thought: Vec<String> = answers.iter().map(thoughts).collect();
                assert_eq!(thought, [THOUGHTS, "", "Enough."], "{kind} {shape:?}");
            }
            assert!(
                answers.iter().all(|a| a.stop == Stop::End && a.model == "scripted-model"),
                "{answers:?}"
            );
            // Anthropic does not count what was cached as input.
            let input = if *kind == "claude" { 1434 } else { 1234 };
            let usage = Usage { input, cached: 200, output: 56, reasoning: 7, ..Usage::default() };
            assert_eq!(answers[0].usage, usage, "{kind} {shape:?}");
            // And a second prompt, with all of it before it.
            conversation.items.push(Item::User(vec![Part::Text("again".to_owned())]));
            let again = model.converse(&mut conversation).await;
            assert_eq!(calls(&again[0]), called_of(0..3), "{kind} {shape:?}");
            assert_eq!(provider.keys(), ["planted-key"]);
            assert!(provider.requests().iter().all(|r| !r.path.contains("planted-key")));
        }
    }
}

fn called_of(of: std::ops::Range<usize>) -> Vec<(String, Value)> {
    of.map(|n| ("look".to_owned(), arguments(n))).collect()
}

/// That the provider does check: thoughts that are lost, and thoughts that are changed.
#[tokio::test]
async fn thoughts_that_do_not_come_back_as_they_were_are_refused() {
    for (kind, path) in [("openai", "/v1"), ("claude", ""), ("gemini", "/v1beta"), ("openrouter", "/api/v1")]
    {
        let provider = Provider::start(script(Shape::default())).await.unwrap();
        let model = model(kind, path, &provider);
        let mut whole = asked("go");
        model.converse(&mut whole).await;
        let changed = |change: &dyn Fn(&mut Opaque)| {
            let mut items = whole.items.clone();
            for item in &mut items {
                match item {
                    Item::Reasoning(r) => r.opaque.as_mut().into_iter().for_each(change),
                    Item::Call(c) => c.opaque.as_mut().into_iter().for_each(change),
                    _ => {}
                }
            }
            Conversation { items, ..whole.clone() }
        };
        let lost = changed(&|opaque| opaque.origin.model = "another".to_owned());
        let forged = changed(&|opaque| {
            opaque.json = serde_json::from_str(&opaque.json.to_string().replace("Ev+/", "Ew+/")).unwrap();
        });
        assert!(model.ask(&whole).await.answer.is_ok(), "{kind}");
        for wrong in [lost, forged] {
            let error = model.ask(&wrong).await.answer.unwrap_err();
            assert!(
                matches!(&error, ApiError::Refused(f) if f.kind == FailureKind::BadRequest),
                "{kind} {error}"
            );
            assert!(error.to_string().contains("thoughts"), "{kind} {error}");
        }
    }
}

#[tokio::test]
async fn each_refusal_is_known_for_what_it_is() {
    let expected = [
        (Failure::Refuse, FailureKind::Auth, false),
        (Failure::UnknownModel, FailureKind::NotFound, false),
        (Failure::BadRequest, FailureKind::BadRequest, false),
        (Failure::TooLong, FailureKind::ContextTooLong, false),
        (Failure::RateLimit, FailureKind::RateLimit, true),
        (Failure::RateLimitBare, FailureKind::RateLimit, true),
        (Failure::ServerError, FailureKind::Server, true),
        (Failure::Overloaded, FailureKind::Overloaded, true),
        (Failure::Redirect(1), FailureKind::Redirected, false),
    ];
    for (failure, kind, again) in expected {
        let provider = Provider::start(Script::failing(failure)).await.unwrap();
        for (way, path) in WAYS {
            let error = model(way, path, &provider).ask(&asked("go")).await.answer.unwrap_err();
            let ApiError::Refused(refused) = &error else { panic!("{way} {error}") };
            assert_eq!((refused.kind, error.is_retryable()), (kind, again), "{way} {error}");
            let wait = (failure == Failure::RateLimit).then_some(Duration::from_secs(1));
            assert_eq!(error.retry_after(), wait, "{way} {error}");
        }
    }
    // Only one of them has a word for it.
    let provider = Provider::start(Script::failing(Failure::Quota)).await.unwrap();
    for (way, path) in [("openai", "/v1"), ("chatcompletion", "/v1")] {
        let error = model(way, path, &provider).ask(&asked("go")).await.answer.unwrap_err();
        assert!(matches!(&error, ApiError::Refused(f) if f.kind == FailureKind::Billing), "{error}");
        assert!(!error.is_retryable());
    }
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_none() {
    for failure in [Failure::InStream, Failure::Truncated, Failure::Reset, Failure::Garbage] {
        for shape in shapes() {
            let turn = Turn { text: WORDS.repeat(9), ..Turn::calls([look(0), look(1)]) };
            let script = Script { shape, ..Script::of([turn.failing(failure, 0)]) };
            let provider = Provider::start(script).await.unwrap();
            for (way, path) in WAYS {
                let heard = model(way, path, &provider).ask(&asked("go")).await;
                let error = heard.answer.unwrap_err();
                assert!(error.is_retryable(), "{way} {failure:?} {error}");
                match failure {
                    Failure::InStream => {
                        assert!(error.to_string().contains("in the middle"), "{way} {error}")
                    }
                    Failure::Garbage => {
                        assert!(matches!(error, ApiError::Unreadable { .. }), "{way} {error}")
                    }
                    _ => assert_eq!(error, ApiError::Truncated, "{way} {failure:?}"),
                }
            }
        }
    }
}

#[tokio::test]
async fn an_answer_of_100_mb_is_refused_before_it_is_read() {
    for failure in [Failure::Huge(100 << 20), Failure::Flood(100 << 20)] {
        let provider = Provider::start(Script::failing(failure)).await.unwrap();
        for (way, path) in [("openai", "/v1"), ("claude", ""), ("gemini", "/v1beta"), ("vllm", "/v1")] {
            let heard = model(way, path, &provider).ask(&asked("go")).await;
            let error = heard.answer.unwrap_err();
            assert!(matches!(error, ApiError::TooMuch { .. }), "{way} {failure:?} {error}");
            assert!(heard.read < 64 << 20, "{way} {failure:?}: {} bytes were read", heard.read);
        }
    }
}

#[tokio::test]
async fn a_call_that_was_cut_off_is_none() {
    for (way, path) in WAYS {
        let turn = Turn { stop: Some(provider::Stop::Length), ..Turn::calls([look(0), look(1)]) };
        let provider = Provider::start(Script::of([turn])).await.unwrap();
        let answer = model(way, path, &provider).ask(&asked("go")).await.answer.unwrap();
        assert_eq!(answer.stop, Stop::Length, "{way}");
        // This one never sends half a call.
        let whole = if *way == "gemini" { 2 } else { 1 };
        assert_eq!(calls(&answer), called_of(0..whole), "{way}");
        let broken = |i: &&Item| matches!(i, Item::Call(c) if matches!(c.arguments, Written::Broken(_)));
        assert_eq!(answer.items.iter().filter(broken).count(), 2 - whole, "{way}");
    }
}

#[tokio::test]
async fn a_refusal_of_the_model_is_one() {
    for (way, path) in WAYS {
        let turn = Turn { stop: Some(provider::Stop::Refusal), ..Turn::text("I will not.") };
        let provider = Provider::start(Script::of([turn])).await.unwrap();
        let answer = model(way, path, &provider).ask(&asked("go")).await.answer.unwrap();
        assert!(matches!(answer.stop, Stop::Refused(_)), "{way} {answer:?}");
        assert_eq!(text(&answer), "I will not.", "{way}");
    }
}
