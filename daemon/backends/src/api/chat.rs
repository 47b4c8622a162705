//! Chat completions: what `OpenAI` began and everybody speaks, each a little differently.

mod stream;

pub(super) use stream::Reader;

use super::{
    BuiltIn, CallResult, Choice, Effort, Item, Opaque, Part, Replay, RequestError, Thinking,
    request::Ask,
    value::{append, text},
};
use serde_json::{Value, json};

pub(super) fn body(ask: &Ask<'_>) -> Result<Value, RequestError> {
    let settings = ask.settings;
    let dialect = ask.endpoint.chat();
    let mut body = json!({
        "model": settings.model,
        "messages": messages(ask)?,
        "stream": true,
        "stream_options": {"include_usage": true},
    });
    let numbers = [
        (dialect.max_tokens, settings.max_tokens.map(|n| json!(n))),
        ("temperature", settings.temperature.map(|n| json!(n))),
        ("top_p", settings.top_p.map(|n| json!(n))),
        ("top_k", settings.top_k.map(|n| json!(n))),
        ("repetition_penalty", settings.repetition_penalty.map(|n| json!(n))),
        ("verbosity", settings.verbosity.map(|v| json!(v.name()))),
        ("separate_reasoning", settings.separate_reasoning.map(|v| json!(v))),
        ("chat_template_kwargs", settings.template.as_ref().map(|t| json!(t))),
    ];
    for (key, value) in numbers {
        if let Some(value) = value {
            body[key] = value;
        }
    }
    thinking(ask, dialect.thinking, &mut body)?;
    searches(ask, &mut body);
    if dialect.replay == Replay::Details {
        // Without it, no answer says what it cost.
        body["usage"] = json!({"include": true});
    }
    if !ask.tools.is_empty() {
        let tools = ask.tools.iter().map(|tool| {
            json!({"type": "function", "function":
                {"name": tool.name, "description": tool.description, "parameters": tool.parameters}})
        });
        body["tools"] = tools.collect();
        body["tool_choice"] = json!(match settings.choice {
            Choice::Auto => "auto",
            Choice::None => "none",
            Choice::Required => "required",
        });
        if settings.one_call {
            body["parallel_tool_calls"] = json!(false);
        }
    }
    Ok(body)
}

fn thinking(ask: &Ask<'_>, thinking: Thinking, body: &mut Value) -> Result<(), RequestError> {
    let settings = ask.settings;
    match thinking {
        Thinking::Effort => {
            if let Some(effort) = settings.effort {
                body["reasoning_effort"] = json!(effort.name());
            }
        }
        Thinking::Switch => {
            let thinks = settings.effort.map(|effort| effort != Effort::None);
            if let Some(thinks) = settings.reasoning_enabled.or(thinks) {
                let kind = if thinks { "enabled" } else { "disabled" };
                body["thinking"] = json!({"type": kind});
            }
        }
        Thinking::Object => {
            if let (Some(_), Some(tokens)) = (settings.effort, settings.reasoning_tokens) {
                return Err(ask.value(
                    "reasoning.max_tokens",
                    tokens,
                    "reasoning.effort says the same already",
                ));
            }
            if let Some(effort) = settings.effort {
                body["reasoning"]["effort"] = json!(effort.name());
            }
            if let Some(tokens) = settings.reasoning_tokens {
                body["reasoning"]["max_tokens"] = json!(tokens);
            }
            if let Some(exclude) = settings.reasoning_exclude {
                body["reasoning"]["exclude"] = json!(exclude);
            }
            if let Some(enabled) = settings.reasoning_enabled {
                body["reasoning"]["enabled"] = json!(enabled);
            }
        }
    }
    Ok(())
}

fn searches(ask: &Ask<'_>, body: &mut Value) {
    for built_in in &ask.settings.built_in {
        let BuiltIn::WebSearch { engine, max_results, context, prompt } = built_in else { continue };
        let mut plugin = json!({"id": "web"});
        if let Some(engine) = engine {
            plugin["engine"] = json!(engine);
        }
        if let Some(max_results) = max_results {
            plugin["max_results"] = json!(max_results);
        }
        if let Some(prompt) = prompt {
            plugin["search_prompt"] = json!(prompt);
        }
        body["plugins"] = json!([plugin]);
        if let Some(context) = context {
            body["web_search_options"] = json!({"search_context_size": context});
        }
    }
}

/// Everything that the model said in a row is one message; results follow one by one.
fn messages(ask: &Ask<'_>) -> Result<Vec<Value>, RequestError> {
    let items = &ask.conversation.items;
    let mut messages = Vec::new();
    if !ask.conversation.system.is_empty() {
        messages.push(json!({"role": "system", "content": ask.conversation.system}));
    }
    // Older thoughts are of no use, and some servers refuse them.
    let turn = items.iter().rposition(|i| matches!(i, Item::User(_))).unwrap_or_default();
    let mut said = Value::Null;
    let mut media = Vec::new();
    for (at, item) in items.iter().enumerate() {
        if !matches!(item, Item::Result(_)) && !media.is_empty() {
            messages.push(json!({"role": "user", "content": std::mem::take(&mut media)}));
        }
        match item {
            Item::User(_) | Item::Result(_) => messages.extend(finished(&mut said)),
            _ if said.is_null() => said = json!({"role": "assistant", "content": null}),
            _ => {}
        }
        match item {
            Item::User(parts) => messages.push(json!({"role": "user", "content": content(ask, parts)?})),
            Item::Text(words) => append(&mut said, "content", &words.text),
            Item::Reasoning(thought) => match Opaque::of(thought.opaque.as_ref(), &ask.origin) {
                Some(Value::String(member)) if at > turn => append(&mut said, member, &thought.text),
                Some(details @ Value::Array(_)) => said["reasoning_details"] = details.clone(),
                _ => {}
            },
            Item::Call(call) => {
                let mut tool = json!({"id": call.id, "type": "function",
                    "function": {"name": call.name, "arguments": call.arguments.replayed().0}});
                if let Some(more) = Opaque::of(call.opaque.as_ref(), &ask.origin) {
                    tool["extra_content"] = more.clone();
                }
                match said.get_mut("tool_calls").and_then(Value::as_array_mut) {
                    Some(calls) => calls.push(tool),
                    None => said["tool_calls"] = json!([tool]),
                }
            }
            Item::Result(result) => {
                let (text, more) = split(result);
                messages.push(json!({"role": "tool", "tool_call_id": result.id, "content": text}));
                if !more.is_empty() {
                    media.extend(parts(ask, &more)?);
                }
            }
            Item::Kept(_) => {}
        }
    }
    messages.extend(finished(&mut said));
    if !media.is_empty() {
        messages.push(json!({"role": "user", "content": media}));
    }
    Ok(messages)
}

fn finished(said: &mut Value) -> Option<Value> {
    let message = said.take();
    (message.get("tool_calls").is_some() || text(&message, "content").is_some()).then_some(message)
}

/// A result is text here; pictures follow as if a person showed them.
fn split(result: &CallResult) -> (String, Vec<Part>) {
    let mut text = String::new();
    let mut media = Vec::new();
    for part in &result.parts {
        match part {
            Part::Text(words) => text.push_str(words),
            Part::Media { mime, .. } => {
                text.push_str(&format!("[{mime}: in the message after the results]"));
                media.push(Part::Text(format!("From {} ({}):", result.name, result.id)));
                media.push(part.clone());
            }
        }
    }
    (text, media)
}

fn content(ask: &Ask<'_>, said: &[Part]) -> Result<Value, RequestError> {
    match said {
        [Part::Text(text)] => Ok(json!(text)),
        said => parts(ask, said).map(Value::Array),
    }
}

fn parts(ask: &Ask<'_>, said: &[Part]) -> Result<Vec<Value>, RequestError> {
    said.iter()
        .map(|part| match part {
            Part::Text(text) => Ok(json!({"type": "text", "text": text})),
            Part::Media { mime, data } => match mime.split_once('/') {
                Some(("image", _)) => Ok(
                    json!({"type": "image_url", "image_url": {"url": format!("data:{mime};base64,{data}")}}),
                ),
                Some(("audio", kind @ ("wav" | "mp3"))) => {
                    Ok(json!({"type": "input_audio", "input_audio": {"data": data, "format": kind}}))
                }
                Some(("audio", "mpeg")) => {
                    Ok(json!({"type": "input_audio", "input_audio": {"data": data, "format": "mp3"}}))
                }
                _ => Err(ask.cannot(format!("it takes no {mime}"))),
            },
        })
        .collect()
}

#[cfg(test)]
#[path = "chat_tests.rs"]
mod tests;
