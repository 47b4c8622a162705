//! `OpenAI`'s Responses. Nothing is stored there: every request holds the whole
//! conversation, with the thoughts in encrypted form.

mod stream;

pub(super) use stream::Reader;

use super::{
    BuiltIn, Call, CallResult, Choice, Item, Opaque, Origin, Part, RequestError, Text, request::Ask,
};
use serde_json::{Value, json};

pub(super) fn body(ask: &Ask<'_>) -> Result<Value, RequestError> {
    let settings = ask.settings;
    let mut body = json!({
        "model": settings.model,
        "input": input(ask)?,
        "stream": true,
        "store": false,
    });
    if seals_thoughts(&settings.model) {
        body["include"] = json!(["reasoning.encrypted_content"]);
    }
    if !ask.conversation.system.is_empty() {
        body["instructions"] = json!(ask.conversation.system);
    }
    if let Some(max_tokens) = settings.max_tokens {
        body["max_output_tokens"] = json!(max_tokens);
    }
    if let Some(temperature) = settings.temperature {
        body["temperature"] = json!(temperature);
    }
    if let Some(top_p) = settings.top_p {
        body["top_p"] = json!(top_p);
    }
    if let Some(effort) = settings.effort {
        body["reasoning"]["effort"] = json!(effort.name());
    }
    if let Some(summary) = settings.summary {
        body["reasoning"]["summary"] = json!(summary.name());
    }
    if let Some(verbosity) = settings.verbosity {
        body["text"] = json!({"verbosity": verbosity.name()});
    }
    let tools = tools(ask);
    if !tools.is_empty() {
        body["tools"] = json!(tools);
        body["tool_choice"] = json!(match settings.choice {
            Choice::Auto => "auto",
            Choice::None => "none",
            Choice::Required => "required",
        });
        body["parallel_tool_calls"] = json!(!settings.one_call);
    }
    Ok(body)
}

/// Models that do not think refuse to be asked for sealed thoughts.
fn seals_thoughts(model: &str) -> bool {
    let name = model.rsplit('/').next().unwrap_or(model);
    let name = name.strip_prefix("ft:").unwrap_or(name);
    !["gpt-3", "gpt-4", "chatgpt-"].iter().any(|old| name.starts_with(old)) && !name.contains("-chat-latest")
}

fn tools(ask: &Ask<'_>) -> Vec<Value> {
    let own = ask.tools.iter().map(|tool| {
        json!({"type": "function", "name": tool.name, "description": tool.description,
            "parameters": tool.parameters, "strict": false})
    });
    let built_in = ask.settings.built_in.iter().map(|built_in| match built_in {
        BuiltIn::WebSearch { context: Some(size), .. } => {
            json!({"type": "web_search", "search_context_size": size})
        }
        BuiltIn::WebSearch { .. } => json!({"type": "web_search"}),
        BuiltIn::Code => json!({"type": "code_interpreter", "container": {"type": "auto"}}),
        BuiltIn::XSearch => json!({"type": "x_search"}),
    });
    own.chain(built_in).collect()
}

fn input(ask: &Ask<'_>) -> Result<Vec<Value>, RequestError> {
    let mut input = Vec::new();
    for item in &ask.conversation.items {
        match item {
            Item::User(parts) => {
                input.push(json!({"type": "message", "role": "user", "content": content(ask, parts)?}));
            }
            Item::Text(said) if said.text.is_empty() => {}
            Item::Text(said) => input.push(message(said, &ask.origin)),
            Item::Reasoning(thought) => {
                input.extend(Opaque::of(thought.opaque.as_ref(), &ask.origin).cloned())
            }
            Item::Call(call) => input.push(call_item(call, &ask.origin)),
            Item::Result(result) => input.push(output(ask, result)?),
            Item::Kept(kept) => input.extend(Opaque::of(Some(kept), &ask.origin).cloned()),
        }
    }
    Ok(input)
}

/// Without its id: what is not stored cannot be looked up. Only a plain text needs none.
fn message(said: &Text, origin: &Origin) -> Value {
    let mut message = json!({"type": "message", "role": "assistant", "content": said.text});
    if let Some(phase) = Opaque::of(said.opaque.as_ref(), origin) {
        message["phase"] = phase.clone();
    }
    message
}

fn call_item(call: &Call, origin: &Origin) -> Value {
    let mut item = json!({"type": "function_call", "call_id": call.id, "name": call.name,
        "arguments": call.arguments.replayed().0});
    if let Some(Value::Object(more)) = Opaque::of(call.opaque.as_ref(), origin) {
        for (key, value) in more {
            item[key] = value.clone();
        }
    }
    item
}

fn output(ask: &Ask<'_>, result: &CallResult) -> Result<Value, RequestError> {
    let output = match &result.parts[..] {
        [Part::Text(text)] => json!(text),
        [] => json!(""),
        parts => json!(content(ask, parts)?),
    };
    Ok(json!({"type": "function_call_output", "call_id": result.id, "output": output}))
}

fn content(ask: &Ask<'_>, parts: &[Part]) -> Result<Vec<Value>, RequestError> {
    parts
        .iter()
        .map(|part| match part {
            Part::Text(text) => Ok(json!({"type": "input_text", "text": text})),
            Part::Media { mime, data } => {
                let url = format!("data:{mime};base64,{data}");
                if mime.starts_with("image/") {
                    Ok(json!({"type": "input_image", "image_url": url}))
                } else if mime == "application/pdf" {
                    Ok(json!({"type": "input_file", "filename": "document.pdf", "file_data": url}))
                } else {
                    Err(ask.cannot(format!("it takes no {mime}")))
                }
            }
        })
        .collect()
}

#[cfg(test)]
#[path = "responses_tests.rs"]
mod tests;
