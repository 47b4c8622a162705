//! Gemini's generateContent.

mod stream;

pub(super) use stream::Reader;

use super::{BuiltIn, Choice, Effort, Item, Opaque, Part, RequestError, request::Ask};
use serde_json::{Map, Value, json};
use std::collections::HashSet;

/// What the first call of a step says in place of a signature that there is none of, as
/// in a conversation that another model began. The service takes it as that.
const UNSIGNED: &str = "skip_thought_signature_validator";

pub(super) fn body(ask: &Ask<'_>) -> Result<Value, RequestError> {
    let settings = ask.settings;
    let mut body = json!({"contents": contents(ask)});
    if !ask.conversation.system.is_empty() {
        body["systemInstruction"] = json!({"parts": [{"text": ask.conversation.system}]});
    }
    let mut config = Map::new();
    let numbers = [
        ("temperature", settings.temperature.map(|n| json!(n))),
        ("topP", settings.top_p.map(|n| json!(n))),
        ("topK", settings.top_k.map(|n| json!(n))),
        ("maxOutputTokens", settings.max_tokens.map(|n| json!(n))),
        ("thinkingConfig", thinking(ask)?),
    ];
    config.extend(numbers.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?))));
    if !config.is_empty() {
        body["generationConfig"] = Value::Object(config);
    }
    if !settings.safety.is_empty() {
        let safety = settings.safety.iter();
        body["safetySettings"] = safety
            .map(|(category, threshold)| json!({"category": category, "threshold": threshold}))
            .collect();
    }
    tools(ask, &mut body);
    Ok(body)
}

fn thinking(ask: &Ask<'_>) -> Result<Option<Value>, RequestError> {
    let settings = ask.settings;
    let mut config = Map::new();
    match (settings.effort, settings.reasoning_tokens) {
        (Some(_), Some(tokens)) => {
            return Err(ask.value("reasoning.max_tokens", tokens, "reasoning.effort says the same already"));
        }
        (Some(Effort::Max), None) => {
            let why = "it takes none, minimal, low, medium, high and xhigh";
            return Err(ask.value("reasoning.effort", "max", why));
        }
        (Some(Effort::None), None) => {
            config.insert("thinkingBudget".to_owned(), json!(0));
        }
        (Some(effort), None) => {
            config.insert("thinkingLevel".to_owned(), json!(effort.name().to_uppercase()));
        }
        (None, Some(tokens)) => {
            config.insert("thinkingBudget".to_owned(), json!(tokens));
        }
        (None, None) => {}
    }
    if settings.summary.is_some() {
        config.insert("includeThoughts".to_owned(), json!(true));
    }
    Ok((!config.is_empty()).then_some(Value::Object(config)))
}

fn tools(ask: &Ask<'_>, body: &mut Value) {
    let mut tools = Vec::new();
    if !ask.tools.is_empty() {
        let declared = ask.tools.iter().map(|tool| {
            json!({"name": tool.name, "description": tool.description, "parametersJsonSchema": tool.parameters})
        });
        tools.push(json!({"functionDeclarations": declared.collect::<Value>()}));
        let mode = match ask.settings.choice {
            Choice::Auto => "AUTO",
            Choice::None => "NONE",
            Choice::Required => "ANY",
        };
        body["toolConfig"] = json!({"functionCallingConfig": {"mode": mode}});
    }
    for built_in in &ask.settings.built_in {
        match built_in {
            BuiltIn::WebSearch { .. } => tools.push(json!({"googleSearch": {}})),
            BuiltIn::Code => tools.push(json!({"codeExecution": {}})),
            BuiltIn::XSearch => {}
        }
    }
    if tools.len() > 1 && !ask.tools.is_empty() {
        // Both kinds together are only served when what the service does itself is shown.
        body["toolConfig"]["includeServerSideToolInvocations"] = json!(true);
    }
    if !tools.is_empty() {
        body["tools"] = json!(tools);
    }
}

/// Roles take turns: what is said in a row by one goes into one content.
fn contents(ask: &Ask<'_>) -> Vec<Value> {
    let mut contents: Vec<(&str, Vec<Value>)> = Vec::new();
    let mut add = |role: &'static str, part: Value| match contents.last_mut() {
        Some((last, parts)) if *last == role => parts.push(part),
        _ => contents.push((role, vec![part])),
    };
    let mut with_id = HashSet::new();
    let mut first_call = true;
    for item in &ask.conversation.items {
        let own = |opaque: Option<&Opaque>| Opaque::of(opaque, &ask.origin).cloned();
        match item {
            Item::User(said) => said.iter().for_each(|part| add("user", part_of(part))),
            Item::Text(said) => {
                let signature = own(said.opaque.as_ref());
                if !said.text.is_empty() || signature.is_some() {
                    add("model", signed(json!({"text": said.text}), signature));
                }
            }
            Item::Reasoning(thought) => {
                if let Some(signature) = own(thought.opaque.as_ref()) {
                    add("model", signed(json!({"text": thought.text, "thought": true}), Some(signature)));
                }
            }
            Item::Call(call) => {
                let mut part =
                    json!({"functionCall": {"name": call.name, "args": call.arguments.replayed().1}});
                match own(call.opaque.as_ref()) {
                    Some(own) => {
                        if own.get("id").is_some() {
                            with_id.insert(call.id.as_str());
                            part["functionCall"]["id"] = json!(call.id);
                        }
                        part = signed(part, own.get("thoughtSignature").cloned());
                    }
                    None if first_call => part["thoughtSignature"] = json!(UNSIGNED),
                    None => {}
                }
                add("model", part);
            }
            Item::Result(result) => {
                let mut words = String::new();
                let mut media = Vec::new();
                for part in &result.parts {
                    match part {
                        Part::Text(text) => words.push_str(text),
                        Part::Media { .. } => media.push(part_of(part)),
                    }
                }
                let key = if result.failed { "error" } else { "output" };
                let mut response = json!({"name": result.name, "response": {key: words}});
                if with_id.contains(result.id.as_str()) {
                    response["id"] = json!(result.id);
                }
                if !media.is_empty() {
                    response["parts"] = json!(media);
                }
                add("user", json!({"functionResponse": response}));
            }
            Item::Kept(kept) => {
                if let Some(part) = own(Some(kept)) {
                    add("model", part);
                }
            }
        }
        first_call = match item {
            Item::Call(_) => false,
            Item::User(_) | Item::Result(_) => true,
            _ => first_call,
        };
    }
    contents.into_iter().map(|(role, parts)| json!({"role": role, "parts": parts})).collect()
}

fn signed(mut part: Value, signature: Option<Value>) -> Value {
    if let Some(signature) = signature {
        part["thoughtSignature"] = signature;
    }
    part
}

fn part_of(part: &Part) -> Value {
    match part {
        Part::Text(text) => json!({"text": text}),
        Part::Media { mime, data } => json!({"inlineData": {"mimeType": mime, "data": data}}),
    }
}

#[cfg(test)]
#[path = "generate_tests.rs"]
mod tests;
