//! One line of the stream as a message of the protocol.

use crate::{
    shown,
    strict::{self, Parsed},
};
use rmcp::model::{
    CallToolRequest, CallToolRequestParams, ClientJsonRpcMessage, ClientRequest, ErrorCode, ErrorData,
    InitializeRequest, ListToolsRequest, PingRequest, RequestId, RequestMetaObject,
};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use std::borrow::Cow;

/// Longer ids are not echoed, and so not taken.
const ID_BYTES: usize = 1024;

/// Why a line is no message of ours.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub(crate) id: Option<RequestId>,
    pub(crate) error: ErrorData,
}

impl Refusal {
    pub(crate) fn new(id: Option<RequestId>, code: ErrorCode, message: impl Into<Cow<'static, str>>) -> Self {
        Self { id, error: ErrorData::new(code, message, None) }
    }
}

/// Reads a line. Nothing: it asks for nothing.
pub(crate) fn read(line: &[u8]) -> Result<Option<ClientJsonRpcMessage>, Refusal> {
    let Parsed { value, flaw, two_ids } = strict::parse(line).map_err(|error| {
        Refusal::new(None, ErrorCode::PARSE_ERROR, format!("the line is no JSON: {error}"))
    })?;
    let bad = |id, message: String| Err(Refusal::new(id, ErrorCode::INVALID_REQUEST, message));
    let mut object = match value {
        Value::Object(object) => object,
        Value::Array(_) => return bad(None, "batches are not served; send one message a line".to_owned()),
        _ => return bad(None, "a message is a JSON object".to_owned()),
    };
    let id = match object.remove("id") {
        None => None,
        Some(id) => match read_id(id) {
            Some(id) => Some(id),
            None => return bad(None, "id is neither an integer nor a string of up to 1024 bytes".to_owned()),
        },
    };
    if let Some(flaw) = flaw {
        return bad(id.filter(|_| !two_ids), format!("the message is not served: {flaw}"));
    }
    if object.get("jsonrpc").and_then(Value::as_str) != Some("2.0") {
        return bad(id, "jsonrpc is not \"2.0\"".to_owned());
    }
    match object.remove("method") {
        Some(Value::String(method)) => {
            if object.contains_key("result") || object.contains_key("error") {
                return bad(id, "a message is a request or a response, not both".to_owned());
            }
            let params = object.remove("params");
            match id {
                Some(id) => request(&method, params)
                    .map(|request| Some(ClientJsonRpcMessage::request(request, id.clone())))
                    .map_err(|why| Refusal::new(Some(id), ErrorCode::INVALID_PARAMS, why)),
                // Nobody answers a notification, not even a wrong one.
                None => Ok(typed(&method, params).ok().map(ClientJsonRpcMessage::notification)),
            }
        }
        Some(_) => bad(id, "method is not a string".to_owned()),
        // We ask the client for nothing, so whatever it answers is not for us.
        None if object.contains_key("result") || object.contains_key("error") => Ok(None),
        None => bad(id, "the message has no method".to_owned()),
    }
}

fn read_id(id: Value) -> Option<RequestId> {
    match id {
        Value::Number(number) => number.as_i64().map(RequestId::Number),
        Value::String(text) if text.len() <= ID_BYTES => Some(RequestId::String(text.into())),
        _ => None,
    }
}

fn request(method: &str, params: Option<Value>) -> Result<ClientRequest, String> {
    match method {
        "tools/call" => call(params).map(ClientRequest::CallToolRequest),
        // By name, so that wrong arguments are wrong arguments and not an unknown method.
        "initialize" => typed::<InitializeRequest>(method, params).map(ClientRequest::InitializeRequest),
        "tools/list" => typed::<ListToolsRequest>(method, params).map(ClientRequest::ListToolsRequest),
        "ping" => typed::<PingRequest>(method, params).map(ClientRequest::PingRequest),
        _ => typed(method, params),
    }
}

fn typed<T: DeserializeOwned>(method: &str, params: Option<Value>) -> Result<T, String> {
    let mut message = Map::new();
    message.insert("method".to_owned(), Value::String(method.to_owned()));
    if let Some(params) = params {
        message.insert("params".to_owned(), params);
    }
    serde_json::from_value(Value::Object(message))
        .map_err(|error| format!("params: {}", shown(&error.to_string())))
}

/// The one message that is large and comes often: taken apart in place, nothing is copied.
fn call(params: Option<Value>) -> Result<CallToolRequest, String> {
    let Some(Value::Object(mut params)) = params else { return Err("params is not an object".to_owned()) };
    let Some(Value::String(name)) = params.remove("name") else {
        return Err("params.name is not a string".to_owned());
    };
    let mut wanted = CallToolRequestParams::new(name);
    match params.remove("arguments") {
        None | Some(Value::Null) => {}
        Some(Value::Object(arguments)) => wanted = wanted.with_arguments(arguments),
        Some(_) => return Err("params.arguments is not an object".to_owned()),
    }
    let mut request = CallToolRequest::new(wanted);
    match params.remove("_meta") {
        None | Some(Value::Null) => {}
        Some(Value::Object(meta)) => {
            request.extensions.insert(RequestMetaObject::from(meta));
        }
        Some(_) => return Err("params._meta is not an object".to_owned()),
    }
    Ok(request)
}
