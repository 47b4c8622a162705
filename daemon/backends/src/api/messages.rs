//! Anthropic's Messages.

mod stream;

pub(super) use stream::Reader;

use super::{
    BuiltIn, Call, CallResult, Choice, Effort, Item, Opaque, Origin, Part, RequestError, Settings,
    request::Ask,
};
use serde_json::{Value, json};

/// `max_tokens` has to be there.
const MAX_TOKENS: u32 = 16_384;

pub(super) fn body(ask: &Ask<'_>) -> Result<Value, RequestError> {
    let settings = ask.settings;
    let mut body = json!({
        "model": settings.model,
        "messages": messages(ask)?,
        "stream": true,
    });
    if ask.endpoint.is_own() {
        // The conversation is sent again with every call: its beginning is read from a cache.
        body["cache_control"] = json!({"type": "ephemeral"});
    }
    if !ask.conversation.system.is_empty() {
        body["system"] = json!(ask.conversation.system);
    }
    if let Some(temperature) = settings.temperature {
        body["temperature"] = json!(temperature);
    }
    if let Some(top_p) = settings.top_p {
        body["top_p"] = json!(top_p);
    }
    if let Some(top_k) = settings.top_k {
        body["top_k"] = json!(top_k);
    }
    thinking(ask, &mut body)?;
    let tools = tools(ask);
    if !tools.is_empty() {
        body["tools"] = json!(tools);
        let kind = match settings.choice {
            Choice::Auto => "auto",
            Choice::None => "none",
            Choice::Required => "any",
        };
        body["tool_choice"] = json!({"type": kind});
        if settings.one_call && settings.choice != Choice::None {
            body["tool_choice"]["disable_parallel_tool_use"] = json!(true);
        }
    }
    Ok(body)
}

fn thinking(ask: &Ask<'_>, body: &mut Value) -> Result<(), RequestError> {
    let settings = ask.settings;
    let mut max_tokens = settings.max_tokens.unwrap_or(MAX_TOKENS);
    let shown = settings.summary.map(|_| "summarized");
    match (settings.effort, settings.reasoning_tokens) {
        (Some(Effort::None), _) => body["thinking"] = json!({"type": "disabled"}),
        (Some(Effort::Minimal), _) => {
            return Err(ask.value(
                "reasoning.effort",
                "minimal",
                "it takes none, low, medium, high, xhigh and max",
            ));
        }
        (effort, Some(budget)) => {
            // The answer comes out of the same limit as the thoughts.
            if settings.max_tokens.is_none() {
                max_tokens = max_tokens.saturating_add(budget);
            }
            if budget < 1024 || budget >= max_tokens {
                let why = "it has to be at least 1024 and less than max_tokens";
                return Err(ask.value("reasoning.max_tokens", budget, why));
            }
            body["thinking"] = json!({"type": "enabled", "budget_tokens": budget});
            if let Some(effort) = effort {
                body["output_config"] = json!({"effort": effort.name()});
            }
        }
        (Some(effort), None) => {
            body["thinking"] = json!({"type": "adaptive"});
            body["output_config"] = json!({"effort": effort.name()});
        }
        (None, None) if shown.is_some() => body["thinking"] = json!({"type": "adaptive"}),
        (None, None) => {}
    }
    if let (Some(shown), Some(thinking)) = (shown, body.get_mut("thinking"))
        && thinking["type"] != "disabled"
    {
        thinking["display"] = json!(shown);
    }
    body["max_tokens"] = json!(max_tokens);
    Ok(())
}

fn tools(ask: &Ask<'_>) -> Vec<Value> {
    let own = ask.tools.iter().map(
        |tool| json!({"name": tool.name, "description": tool.description, "input_schema": tool.parameters}),
    );
    let built_in = ask.settings.built_in.iter().filter_map(|built_in| match built_in {
        BuiltIn::WebSearch { .. } => Some(json!({"type": "web_search_20250305", "name": "web_search"})),
        BuiltIn::Code => Some(json!({"type": "code_execution_20250825", "name": "code_execution"})),
        BuiltIn::XSearch => None,
    });
    own.chain(built_in).collect()
}

/// What the header of unfinished features has to name.
pub(super) fn beta(settings: &Settings) -> Option<&'static str> {
    settings.built_in.contains(&BuiltIn::Code).then_some("code-execution-2025-08-25")
}

/// Roles take turns: what is said in a row by one goes into one message.
fn messages(ask: &Ask<'_>) -> Result<Vec<Value>, RequestError> {
    let mut messages: Vec<(&str, Vec<Value>)> = Vec::new();
    let mut add = |role: &'static str, block: Value| match messages.last_mut() {
        Some((last, blocks)) if *last == role => blocks.push(block),
        _ => messages.push((role, vec![block])),
    };
    for item in &ask.conversation.items {
        match item {
            Item::User(parts) => {
                for part in parts {
                    if let Some(block) = part_block(ask, part)? {
                        add("user", block);
                    }
                }
            }
            Item::Text(said) if said.text.is_empty() => {}
            Item::Text(said) => add("assistant", json!({"type": "text", "text": said.text})),
            Item::Reasoning(thought) => {
                if let Some(block) = Opaque::of(thought.opaque.as_ref(), &ask.origin) {
                    add("assistant", block.clone());
                }
            }
            Item::Call(call) => add("assistant", call_block(call, &ask.origin)),
            Item::Result(result) => add("user", result_block(ask, result)?),
            Item::Kept(kept) => {
                if let Some(block) = Opaque::of(Some(kept), &ask.origin) {
                    add("assistant", block.clone());
                }
            }
        }
    }
    Ok(messages.into_iter().map(|(role, content)| json!({"role": role, "content": content})).collect())
}

fn part_block(ask: &Ask<'_>, part: &Part) -> Result<Option<Value>, RequestError> {
    Ok(match part {
        // An empty text is refused.
        Part::Text(text) if text.is_empty() => None,
        Part::Text(text) => Some(json!({"type": "text", "text": text})),
        Part::Media { mime, data } => {
            let kind = match mime.as_str() {
                "image/jpeg" | "image/png" | "image/gif" | "image/webp" => "image",
                "application/pdf" => "document",
                _ => return Err(ask.cannot(format!("it takes no {mime}"))),
            };
            Some(json!({"type": kind, "source": {"type": "base64", "media_type": mime, "data": data}}))
        }
    })
}

fn call_block(call: &Call, origin: &Origin) -> Value {
    let mut block = json!({"type": "tool_use", "id": call.id, "name": call.name,
        "input": call.arguments.replayed().1});
    if let Some(Value::Object(more)) = Opaque::of(call.opaque.as_ref(), origin) {
        for (key, value) in more {
            block[key] = value.clone();
        }
    }
    block
}

fn result_block(ask: &Ask<'_>, result: &CallResult) -> Result<Value, RequestError> {
    let mut content = Vec::new();
    for part in &result.parts {
        content.extend(part_block(ask, part)?);
    }
    let mut block = json!({"type": "tool_result", "tool_use_id": result.id, "content": content});
    if result.failed {
        block["is_error"] = json!(true);
    }
    Ok(block)
}

#[cfg(test)]
#[path = "messages_tests.rs"]
mod tests;
