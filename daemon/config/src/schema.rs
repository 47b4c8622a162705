use crate::{
    keys::{BACKEND, OTHER_NAMES, TOP, kinds},
    shape::{Scope, Shape, Status},
};
use serde_json::{Map, Value, json};

/// The JSON schema of an agent file, made of the same tables that check it. It knows the
/// shape; what values mean together, only [`crate::parse`] does.
#[must_use]
pub fn schema() -> Value {
    let mut schema = scope(&TOP);
    if let Value::Object(schema) = &mut schema {
        schema.insert("$schema".to_owned(), json!("https://json-schema.org/draft/2020-12/schema"));
        schema.insert("title".to_owned(), json!("Cordon agent file"));
        schema.insert("oneOf".to_owned(), json!([{ "required": ["agents"] }, { "required": ["agent"] }]));
    }
    schema
}

fn scope(scope: &Scope) -> Value {
    let mut properties = Map::new();
    let mut patterns = Map::new();
    for key in scope.all() {
        let property = match key.status {
            Status::Supported => {
                let mut property = shape(&key.shape);
                if let (Value::Object(property), false) = (&mut property, key.about.is_empty()) {
                    property.insert("description".to_owned(), json!(key.about));
                    if key.name == "type" && std::ptr::eq(scope, &raw const BACKEND) {
                        let names = kinds().chain(OTHER_NAMES.map(|(name, _)| name));
                        property.insert("enum".to_owned(), names.collect());
                    }
                }
                property
            }
            Status::Ignored(why) => json!({ "deprecated": true, "description": format!("Ignored: {why}.") }),
            Status::NotYet(_) | Status::Gone(_) => continue,
        };
        match key.name.strip_suffix('*') {
            Some(prefix) => patterns.insert(format!("^{prefix}"), property),
            None => properties.insert(key.name.to_owned(), property),
        };
    }
    let mut object = Map::new();
    object.insert("type".to_owned(), json!("object"));
    object.insert("properties".to_owned(), Value::Object(properties));
    if !patterns.is_empty() {
        object.insert("patternProperties".to_owned(), Value::Object(patterns));
    }
    object.insert("additionalProperties".to_owned(), json!(false));
    if !scope.required.is_empty() {
        object.insert("required".to_owned(), json!(scope.required));
    }
    Value::Object(object)
}

fn shape(what: &Shape) -> Value {
    // A reference stands for a value of any type.
    let reference = json!({ "type": "string", "pattern": "\\$\\{[A-Za-z_][A-Za-z0-9_]*\\}" });
    match what {
        Shape::Text | Shape::Secret => json!({ "type": "string" }),
        Shape::Scalar => json!({ "type": ["string", "number", "boolean"] }),
        Shape::Flag => json!({ "anyOf": [{ "type": "boolean" }, reference] }),
        Shape::Number => json!({ "anyOf": [{ "type": "number" }, reference] }),
        Shape::Words(words) => json!({ "anyOf": [{ "enum": words }, reference] }),
        Shape::List(inner) => json!({ "type": "array", "items": shape(inner) }),
        Shape::Map(inner) => scope(inner),
        Shape::Named(inner) => json!({ "type": "object", "additionalProperties": shape(inner) }),
        Shape::OrNull(inner) => json!({ "anyOf": [{ "type": "null" }, shape(inner)] }),
        Shape::Either(inner) => json!({ "anyOf": [
            { "type": "array", "items": shape(inner) },
            { "type": "object", "additionalProperties": shape(inner) },
        ] }),
        Shape::OneOrMore(inner) => {
            json!({ "anyOf": [shape(inner), { "type": "array", "items": shape(inner) }] })
        }
        Shape::OneOf(shapes) => json!({ "anyOf": shapes.iter().map(shape).collect::<Vec<_>>() }),
        Shape::Any => json!({}),
    }
}
