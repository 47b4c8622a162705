//! The first pass: a tree becomes items of the types that the key tables promise.
//! Everything that is wrong with keys, types and references is reported here.

use crate::{
    keys::BACKEND,
    mask,
    report::{At, Quoted, Report},
    scalar::{self, Plain},
    shape::{Key, Scope, Shape, Status},
    suggest,
    tree::{Entry, Kind, Mark, Node},
    variables::{Unexpanded, Variables},
};
use std::collections::BTreeMap;

/// Shorter values are words of every output.
const LEAST_SECRET: usize = 8;

/// A value of the type that its shape promises.
#[derive(Debug)]
pub(crate) enum Value {
    /// Not usable; reported already.
    Bad,
    Null,
    Text(String),
    Flag(bool),
    Number(f64),
    List(Vec<Item>),
    Map(BTreeMap<String, Item>),
    /// Whatever stands there, with the texts in it that must never be shown.
    Free(serde_json::Value, Vec<String>),
}

/// A value, where it stands, and how the user wrote it.
#[derive(Debug)]
pub(crate) struct Item {
    pub(crate) value: Value,
    pub(crate) path: String,
    pub(crate) mark: Mark,
    /// The scalar as written, references and all: this may be shown.
    pub(crate) written: String,
}

impl Item {
    pub(crate) fn at(&self) -> At<'_> {
        At::new(&self.path, self.mark)
    }

    pub(crate) fn get(&self, key: &str) -> Option<&Item> {
        match &self.value {
            Value::Map(entries) => entries.get(key),
            _ => None,
        }
    }

    pub(crate) fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    pub(crate) fn number(&self) -> Option<f64> {
        match self.value {
            Value::Number(number) => Some(number),
            _ => None,
        }
    }

    pub(crate) fn flag(&self) -> Option<bool> {
        match self.value {
            Value::Flag(flag) => Some(flag),
            _ => None,
        }
    }

    pub(crate) fn items(&self) -> &[Item] {
        match &self.value {
            Value::List(items) => items,
            _ => &[],
        }
    }
}

pub(crate) struct Checker<'r, 'a> {
    pub(crate) report: &'r mut Report<'a>,
    pub(crate) variables: &'r mut Variables<'a>,
}

impl Checker<'_, '_> {
    pub(crate) fn item(&mut self, node: &Node, shape: &'static Shape, path: String) -> Item {
        let shape = shape.for_kind(&node.kind);
        let at = At::new(&path, node.mark);
        let mut written = String::new();
        let value = match (shape, &node.kind) {
            (Shape::Map(scope), Kind::Map(entries)) => self.map(entries, scope, &path),
            (Shape::Named(inner) | Shape::Either(inner), Kind::Map(entries)) => Value::Map(
                entries
                    .iter()
                    .map(|e| (e.key.clone(), self.item(&e.value, inner, join(&path, &e.key))))
                    .collect(),
            ),
            (Shape::List(inner) | Shape::Either(inner) | Shape::OneOrMore(inner), Kind::List(items)) => {
                Value::List(
                    items
                        .iter()
                        .enumerate()
                        .map(|(n, i)| self.item(i, inner, format!("{path}[{n}]")))
                        .collect(),
                )
            }
            (Shape::OrNull(_), Kind::Scalar { text, plain: true }) if scalar::plain(text) == Plain::Null => {
                Value::Null
            }
            (Shape::Any, _) => {
                let mut secrets = Vec::new();
                self.free(node, &path, false, &mut secrets).map_or(Value::Bad, |v| Value::Free(v, secrets))
            }
            (Shape::OrNull(inner), _) | (Shape::OneOrMore(inner), Kind::Scalar { .. }) => {
                return self.item(node, inner, path);
            }
            (_, Kind::Scalar { text, plain }) => {
                written.clone_from(text);
                self.scalar(text, *plain, shape, &at)
            }
            _ => self.wrong_type(node, shape, &at),
        };
        Item { value, path, mark: node.mark, written }
    }

    fn scalar(&mut self, text: &str, plain: bool, shape: &Shape, at: &At<'_>) -> Value {
        if text.contains('\0') {
            self.report.error(at, "bad-value", "the text holds a NUL".to_owned(), "");
            return Value::Bad;
        }
        let expanded = match self.variables.expand(text) {
            Ok(expanded) => expanded,
            Err(faults) => {
                for fault in faults {
                    self.unexpanded(fault, at);
                }
                return Value::Bad;
            }
        };
        let kind = if plain { scalar::plain(text) } else { Plain::Text };
        // A variable's value is text; where something else is wanted it is read as that.
        let free = expanded.is_some();
        let value = expanded.as_deref().unwrap_or(text);
        let found = match shape {
            Shape::Text | Shape::Secret | Shape::Words(_) if kind == Plain::Text => {
                Some(Value::Text(value.to_owned()))
            }
            Shape::Scalar if kind != Plain::Null => Some(Value::Text(value.to_owned())),
            Shape::Flag if plain || free => scalar::flag(value).map(Value::Flag),
            Shape::Number if free || matches!(kind, Plain::Integer | Plain::Number) => {
                scalar::number(value).map(Value::Number)
            }
            _ => None,
        };
        match (found, shape) {
            (Some(Value::Text(word)), Shape::Words(words)) if !words.contains(&word.as_str()) => {
                let message = format!("{} is none of {}", Quoted(text), words.join(", "));
                self.report.error(
                    at,
                    "bad-value",
                    message,
                    suggest::did_you_mean(text, words.iter().copied()),
                );
                Value::Bad
            }
            (Some(value), _) => value,
            (None, _) => {
                let (found, help) = match kind {
                    Plain::Null => ("nothing (null)", ""),
                    Plain::Flag => ("true or false", "put it in quotes"),
                    Plain::Integer => ("an integer", "put it in quotes"),
                    Plain::Number => ("a number", "put it in quotes"),
                    Plain::Text => ("text", ""),
                };
                let help =
                    if matches!(shape, Shape::Text | Shape::Secret | Shape::Words(_)) { help } else { "" };
                let message = format!("expected {}, found {found}", shape.expected());
                self.report.error(at, "wrong-type", message, help);
                Value::Bad
            }
        }
    }

    /// What stands there as JSON, with references replaced. Texts below a key that names a secret,
    /// or that a variable which does is in, are secret.
    fn free(
        &mut self,
        node: &Node,
        path: &str,
        secret: bool,
        secrets: &mut Vec<String>,
    ) -> Option<serde_json::Value> {
        use serde_json::Value as Json;
        match &node.kind {
            Kind::List(items) => {
                let items = items.iter().enumerate();
                let items = items.map(|(n, i)| self.free(i, &format!("{path}[{n}]"), secret, secrets));
                items.collect::<Option<Vec<_>>>().map(Json::Array)
            }
            Kind::Map(entries) => {
                let entries = entries.iter().map(|e| {
                    let secret = secret || mask::names_a_secret(&e.key);
                    let value = self.free(&e.value, &join(path, &e.key), secret, secrets)?;
                    Some((e.key.clone(), value))
                });
                entries.collect::<Option<serde_json::Map<_, _>>>().map(Json::Object)
            }
            Kind::Scalar { text, plain } => {
                let at = At::new(path, node.mark);
                let kind = if *plain { scalar::plain(text) } else { Plain::Text };
                match kind {
                    Plain::Null => return Some(Json::Null),
                    Plain::Flag => return scalar::flag(text).map(Json::Bool),
                    Plain::Integer if let Ok(number) = text.parse::<i64>() => return Some(number.into()),
                    Plain::Integer | Plain::Number if let Some(number) = scalar::number(text) => {
                        return Some(number.into());
                    }
                    _ => {}
                }
                let Value::Text(value) = self.scalar(text, false, &Shape::Text, &at) else { return None };
                let named = text.contains("${") && mask::names_a_secret(text);
                if (secret || named || mask::looks_secret(&value)) && value.len() >= LEAST_SECRET {
                    secrets.push(value.clone());
                }
                Some(Json::String(value))
            }
        }
    }

    fn wrong_type(&mut self, node: &Node, shape: &Shape, at: &At<'_>) -> Value {
        let found = match node.kind {
            Kind::Scalar { .. } => "a single value",
            Kind::List(_) => "a list",
            Kind::Map(_) => "a map",
        };
        let message = format!("expected {}, found {found}", shape.expected());
        self.report.error(at, "wrong-type", message, "");
        Value::Bad
    }

    fn unexpanded(&mut self, fault: Unexpanded, at: &At<'_>) {
        let (reason, message, help) = match fault {
            Unexpanded::Unset(name) => (
                "unset-variable",
                format!("the variable `{name}` is not set"),
                format!("set {name} in the environment or in .env; write $${{{name}}} for the text itself"),
            ),
            Unexpanded::NoCwd => (
                "unset-variable",
                "`${cwd}` is used, and there is no usable `cwd` in the same backend block".to_owned(),
                "give the backend a `cwd`, or write $${cwd} for the text itself".to_owned(),
            ),
            Unexpanded::NotAName(name) => (
                "bad-value",
                format!("{} is no name of a variable", Quoted(&name)),
                "references are written ${NAME}; write $${ for the text ${ itself".to_owned(),
            ),
            Unexpanded::TooLarge => (
                "too-large",
                "the values of the variables add up to more than 1 MiB".to_owned(),
                String::new(),
            ),
        };
        self.report.error(at, reason, message, help);
    }

    fn map(&mut self, entries: &[Entry], scope: &'static Scope, path: &str) -> Value {
        let mut items = BTreeMap::new();
        let is_backend = std::ptr::eq(scope, &raw const BACKEND);
        if is_backend {
            // The other values of the block may name it.
            self.variables.cwd = None;
            if let Some((entry, key)) = entries.iter().find(|e| e.key == "cwd").zip(scope.find("cwd")) {
                let item = self.item(&entry.value, &key.shape, join(path, "cwd"));
                self.variables.cwd = item.text().map(str::to_owned);
                items.insert(entry.key.clone(), item);
            }
        }
        for entry in entries.iter().filter(|e| !(is_backend && e.key == "cwd")) {
            let path = join(path, &entry.key);
            if let Some(item) = self.entry(entry, scope, path) {
                items.insert(entry.key.clone(), item);
            }
        }
        if is_backend {
            self.variables.cwd = None;
        }
        Value::Map(items)
    }

    fn entry(&mut self, entry: &Entry, scope: &'static Scope, path: String) -> Option<Item> {
        let at = At::new(&path, entry.mark);
        let key: &'static Key = match scope.find(&entry.key) {
            Some(key) => key,
            None => {
                self.unknown(entry, scope, &at);
                let mark = entry.value.mark;
                return Some(Item { value: Value::Bad, path, mark, written: String::new() });
            }
        };
        match key.status {
            Status::Supported => return Some(self.item(&entry.value, &key.shape, path)),
            Status::NotYet(help) => {
                self.report.error(&at, "not-supported-yet", not_yet(entry), help);
                self.only_unknown(&entry.value, &key.shape, &path);
            }
            // What asks for nothing is not missed.
            Status::Ignored(_) if asks_for_nothing(&entry.value) => {}
            Status::Ignored(why) => {
                let message = format!("{} is ignored: {why}", Quoted(&entry.key));
                self.report.warn(&at, "ignored-key", message, "take it out to be rid of this warning");
            }
            Status::Gone(instead) => {
                let message = format!("{} is not honoured any more", Quoted(&entry.key));
                self.report.error(&at, "old-key", message, instead);
            }
        }
        None
    }

    fn unknown(&mut self, entry: &Entry, scope: &Scope, at: &At<'_>) {
        let message = format!("unknown key {} in {}", Quoted(&entry.key), scope.name);
        // Not for those that nobody will see.
        let help = if self.report.is_full() { String::new() } else { suggest::for_key(&entry.key, scope) };
        self.report.error(at, "unknown-key", message, help);
    }

    /// Keys inside something that is not honoured yet: only their spelling is checked.
    fn only_unknown(&mut self, node: &Node, shape: &'static Shape, path: &str) {
        match (shape, &node.kind) {
            (Shape::Map(scope), Kind::Map(entries)) => {
                for entry in entries {
                    let path = join(path, &entry.key);
                    match scope.find(&entry.key) {
                        Some(key) => self.only_unknown(&entry.value, &key.shape, &path),
                        None => self.unknown(entry, scope, &At::new(&path, entry.mark)),
                    }
                }
            }
            (Shape::Either(inner), Kind::List(items)) => {
                for (n, item) in items.iter().enumerate() {
                    self.only_unknown(item, inner, &format!("{path}[{n}]"));
                }
            }
            (Shape::Either(inner), Kind::Map(entries)) => {
                for entry in entries {
                    self.only_unknown(&entry.value, inner, &join(path, &entry.key));
                }
            }
            _ => {}
        }
    }
}

fn asks_for_nothing(node: &Node) -> bool {
    let Kind::Scalar { text, plain: true } = &node.kind else { return false };
    scalar::plain(text) == Plain::Null || scalar::flag(text) == Some(false)
}

fn not_yet(entry: &Entry) -> String {
    format!("{} is not supported yet", Quoted(&entry.key))
}

fn join(path: &str, key: &str) -> String {
    let key = crate::excerpt::shown(&mask::words(key), 80);
    if path.is_empty() { key } else { format!("{path}.{key}") }
}

/// Hides every value whose key names a secret from the excerpts to come.
pub(crate) fn hide_secrets(node: &Node, secret: bool, report: &mut Report<'_>) {
    match &node.kind {
        Kind::Scalar { text, .. } => {
            if secret && !mask::is_reference(text) {
                report.hide(node.mark);
            }
        }
        Kind::List(items) => items.iter().for_each(|i| hide_secrets(i, secret, report)),
        Kind::Map(entries) => {
            entries.iter().for_each(|e| hide_secrets(&e.value, secret || holds_secrets(&e.key), report));
        }
    }
}

/// Of headers everything is hidden: which of them are secret, only the server knows.
fn holds_secrets(key: &str) -> bool {
    mask::names_a_secret(key) || key == "headers"
}
