//! `custom_tools`: the user's Python functions.

use super::Build;
use crate::{
    CustomTool, Secret, ToolCode,
    check::{Item, Value},
    report::Quoted,
};
use serde_json::{Map, Value as Json};
use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

const MOST_TOOLS: usize = 128;
/// With `custom_tool__` before it, a name is no longer than model APIs take.
const LONGEST_NAME: usize = 51;
/// What goes to the interpreter at once, as one variable of its environment.
const LARGEST: usize = 64 << 10;
/// A tool of MassGen's own, by its place in that repository.
const MASSGEN: &str = "massgen";

impl Build<'_, '_> {
    pub(super) fn custom_tools(&mut self, list: &Item) -> Vec<CustomTool> {
        let mut tools: Vec<CustomTool> = Vec::new();
        let mut names = BTreeSet::new();
        for entry in list.items().iter().take(MOST_TOOLS) {
            if !matches!(entry.value, Value::Map(_)) {
                continue;
            }
            for tool in self.custom_tool(entry).unwrap_or_default() {
                let shown = tool.name.as_ref().or(tool.function.as_ref());
                if let Some(shown) = shown
                    && !names.insert(shown.clone())
                {
                    let message = format!("there is a custom tool {} already", Quoted(shown));
                    self.report.error(&entry.at(), "duplicate-id", message, "give it another `name`");
                    continue;
                }
                tools.push(tool);
            }
        }
        let size = |tool: &CustomTool| {
            let preset = serde_json::to_string(&tool.preset).map_or(LARGEST, |text| text.len());
            preset + tool.description.as_ref().map_or(0, String::len)
        };
        if list.items().len() > MOST_TOOLS || tools.len() > MOST_TOOLS {
            let message = format!("an agent has at most {MOST_TOOLS} custom tools");
            self.report.error(&list.at(), "too-large", message, "");
        } else if tools.iter().map(size).sum::<usize>() > LARGEST {
            let message = format!("descriptions and preset_args together are larger than {LARGEST} bytes");
            self.report.error(
                &list.at(),
                "too-large",
                message,
                "keep data in a file that the function reads",
            );
        }
        tools
    }

    fn custom_tool(&mut self, entry: &Item) -> Option<Vec<CustomTool>> {
        let function = match (entry.get("function"), entry.get("func")) {
            (Some(_), Some(second)) => {
                let message = "`function` is given too".to_owned();
                self.report.error(&second.at(), "conflict", message, "take one of them out");
                return None;
            }
            (one, other) => one.or(other),
        };
        let code = match entry.get("path") {
            Some(path) => self.tool_code(path)?,
            None => ToolCode::BuiltIn,
        };
        if function.is_none() && !matches!(code, ToolCode::File(_)) {
            let message = "the tool names neither a `function` nor a file".to_owned();
            self.missing(entry, "function", message, "for instance `path: tools.py` and `function: add`");
            return None;
        }
        let functions: Vec<Option<String>> = match function {
            None => vec![None],
            Some(item) => {
                self.words_of(item, is_identifier, "name of a function")?.into_iter().map(Some).collect()
            }
        };
        let count = functions.len();
        let names = entry.get("name").map(|item| self.words_of(item, is_name, "name of a tool"));
        let names = self.one_each(entry.get("name"), names.unwrap_or(Some(Vec::new()))?, count, false)?;
        let texts = entry.get("description").map(texts).unwrap_or_default();
        let descriptions = self.one_each(entry.get("description"), texts, count, true)?;
        let mut secrets = Vec::new();
        let presets = match entry.get("preset_args") {
            Some(item) => self.presets(item, &mut secrets)?,
            None => Vec::new(),
        };
        let presets = self.one_each(entry.get("preset_args"), presets, count, true)?;
        let secrets: Vec<Secret> = secrets.into_iter().map(Secret::new).collect();
        let tools = functions.into_iter().zip(names).zip(descriptions).zip(presets);
        let tools = tools.map(|(((function, name), description), preset)| CustomTool {
            code: code.clone(),
            function,
            name,
            description,
            preset: preset.unwrap_or_default(),
            secrets: secrets.clone(),
            place: self.place(entry),
        });
        Some(tools.collect())
    }

    /// For each function what is said of it; of all together, where that makes sense.
    fn one_each<T: Clone>(
        &mut self,
        item: Option<&Item>,
        given: Vec<T>,
        count: usize,
        shared: bool,
    ) -> Option<Vec<Option<T>>> {
        match (given.len(), item) {
            (0, _) => Some(vec![None; count]),
            (1, _) if shared => Some(vec![given.into_iter().next(); count]),
            (found, _) if found == count => Some(given.into_iter().map(Some).collect()),
            (found, Some(item)) => {
                let message = format!("{found} for {count} functions");
                self.report.error(&item.at(), "conflict", message, "give one for each function");
                None
            }
            (_, None) => None,
        }
    }

    fn words_of(&mut self, item: &Item, good: fn(&str) -> bool, what: &str) -> Option<Vec<String>> {
        let words = texts(item);
        if let Some(bad) = words.iter().find(|word| !good(word)) {
            let message = format!("{} is no {what}", Quoted(bad));
            self.report.error(&item.at(), "bad-value", message, "letters, digits and `_`");
            return None;
        }
        if words.is_empty() && !matches!(item.value, Value::Bad) {
            self.report.error(&item.at(), "bad-value", format!("there is no {what}"), "");
        }
        (!words.is_empty()).then_some(words)
    }

    /// A map, or a list of one for each function.
    fn presets(&mut self, item: &Item, found: &mut Vec<String>) -> Option<Vec<Map<String, Json>>> {
        let Value::Free(value, secrets) = &item.value else { return None };
        let maps = match value {
            Json::Null => Some(Vec::new()),
            Json::Object(map) => Some(vec![map.clone()]),
            Json::Array(items) => items.iter().map(|i| i.as_object().cloned()).collect(),
            _ => None,
        };
        if maps.is_none() {
            let message = "expected a map of arguments, or a list of such maps".to_owned();
            self.report.error(&item.at(), "wrong-type", message, "");
        }
        found.extend(secrets.iter().cloned());
        maps
    }

    fn tool_code(&mut self, item: &Item) -> Option<ToolCode> {
        let text = item.text()?;
        let is_file = text.contains('/') || text.ends_with(".py");
        if !is_file && text.split('.').all(is_identifier) {
            return Some(ToolCode::Module(text.to_owned()));
        }
        let path = self.source.directory.join(self.expand_home(item)?);
        let path: PathBuf = path.components().collect();
        if !text.ends_with(".py") || !path.is_absolute() {
            let message = format!("{} is neither a Python file nor a module", Quoted(&item.written));
            self.report.error(&item.at(), "bad-value", message, "for instance `path: tools/add.py`");
            return None;
        }
        match (self.exists)(&path) {
            Ok(true) => Some(ToolCode::File(path)),
            // As MassGen's users write it: a file of that package, wherever that is installed.
            Ok(false) if let Some(module) = of_massgen(text) => Some(ToolCode::Module(module)),
            Ok(false) => {
                let message = format!("the Python file {} does not exist", Quoted(&item.written));
                let help = "paths are relative to the agent file";
                self.report.error(&item.at(), "path-missing", message, help);
                None
            }
            Err(e) => {
                let message = format!("the Python file {} cannot be looked at: {e}", Quoted(&item.written));
                self.report.error(&item.at(), "path-missing", message, "");
                None
            }
        }
    }

    pub(super) fn custom_python(&mut self, item: &Item) -> Option<PathBuf> {
        let path = self.expand_home(item)?;
        if !path.is_absolute() {
            let message = format!("{} is no absolute path", Quoted(&item.written));
            let help = "write the whole path of the interpreter, for instance ~/venv/bin/python3";
            self.report.error(&item.at(), "bad-value", message, help);
            return None;
        }
        self.no_parents(item, &path).then_some(path)
    }
}

/// `massgen/tool/_basic/_add.py` as the module that it is.
fn of_massgen(text: &str) -> Option<String> {
    let path = Path::new(text).strip_prefix(".").unwrap_or(Path::new(text)).with_extension("");
    let parts: Option<Vec<&str>> =
        path.iter().map(|part| part.to_str().filter(|p| is_identifier(p))).collect();
    let parts = parts.filter(|parts| parts.len() > 1 && parts.first() == Some(&MASSGEN))?;
    Some(parts.join("."))
}

fn texts(item: &Item) -> Vec<String> {
    match &item.value {
        Value::Text(text) => vec![text.clone()],
        Value::List(items) => items.iter().filter_map(|i| i.text().map(str::to_owned)).collect(),
        _ => Vec::new(),
    }
}

fn is_identifier(text: &str) -> bool {
    text.len() <= 128
        && text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

fn is_name(text: &str) -> bool {
    (1..=LONGEST_NAME).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-'))
}
