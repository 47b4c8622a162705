use super::Build;
use crate::{
    BackendKind, ReplayStep,
    check::{Item, Value},
    report::{At, Quoted},
};
use std::path::PathBuf;

impl Build<'_, '_> {
    pub(super) fn command(&mut self, backend: &Item, kind: Option<BackendKind>) -> Vec<String> {
        let item = self.belongs(backend, "command", kind, BackendKind::Command);
        item.map(|i| self.argv(i)).unwrap_or_default()
    }

    pub(super) fn steps(&mut self, backend: &Item, kind: Option<BackendKind>) -> Vec<ReplayStep> {
        let Some(item) = self.belongs(backend, "steps", kind, BackendKind::Replay) else { return Vec::new() };
        if matches!(&item.value, Value::List(items) if items.is_empty()) {
            self.report.error(&item.at(), "bad-value", "the list of steps is empty".to_owned(), "");
        }
        item.items().iter().filter_map(|s| self.step(s)).collect()
    }

    /// A key that one type of backend requires and the others do not have.
    fn belongs<'i>(
        &mut self,
        backend: &'i Item,
        key: &str,
        kind: Option<BackendKind>,
        owner: BackendKind,
    ) -> Option<&'i Item> {
        let item = backend.get(key);
        match (item, kind) {
            (None, Some(kind)) if kind == owner => {
                let help = match owner {
                    BackendKind::Command => {
                        "for instance `command: [make, test]`; the prompt is on its standard input"
                    }
                    _ => "for instance `steps: [{exec: [ls]}]`",
                };
                self.missing(backend, key, format!("`{key}` is required for {}", owner.name()), help);
            }
            (Some(item), Some(kind)) if kind != owner => {
                let message = format!("`{key}` belongs to type {}, not to {}", owner.name(), kind.name());
                self.report.error(&item.at(), "conflict", message, "");
                return None;
            }
            _ => {}
        }
        item
    }

    fn argv(&mut self, item: &Item) -> Vec<String> {
        let Value::List(items) = &item.value else { return Vec::new() };
        let argv: Vec<String> = items.iter().filter_map(|i| i.text().map(str::to_owned)).collect();
        if items.is_empty() || argv.first().is_some_and(String::is_empty) {
            self.report.error(
                &item.at(),
                "bad-value",
                "no program is named".to_owned(),
                "the first entry is the program",
            );
        }
        argv
    }

    fn step(&mut self, item: &Item) -> Option<ReplayStep> {
        let Value::Map(entries) = &item.value else { return None };
        let at = At::new(&item.path, item.mark);
        let mut kinds = entries.iter();
        let Some((kind, value)) = kinds.next() else {
            self.report.error(
                &at,
                "bad-value",
                "the step does nothing".to_owned(),
                "one of exec, read, write, say",
            );
            return None;
        };
        if let Some((second, _)) = kinds.next() {
            let message = format!("a step does one thing, not both {} and {}", Quoted(kind), Quoted(second));
            self.report.error(&at, "conflict", message, "make two steps of it");
            return None;
        }
        match kind.as_str() {
            "exec" => Some(ReplayStep::Exec { argv: self.argv(value) }),
            "read" => Some(ReplayStep::Read { path: self.step_path(value)? }),
            "say" => Some(ReplayStep::Say { text: value.text()?.to_owned() }),
            "write" => {
                for key in ["path", "content"] {
                    if value.get(key).is_none() && matches!(value.value, Value::Map(_)) {
                        self.missing(value, key, format!("the step has no `{key}`"), "");
                    }
                }
                let path = self.step_path(value.get("path")?)?;
                Some(ReplayStep::Write { path, content: value.get("content")?.text()?.to_owned() })
            }
            _ => None,
        }
    }

    /// As recorded: also a path that the policy denies, which is what a replay may show.
    fn step_path(&mut self, item: &Item) -> Option<PathBuf> {
        let text = item.text()?;
        if text.is_empty() {
            self.report.error(&item.at(), "bad-value", "the path is empty".to_owned(), "");
            return None;
        }
        Some(PathBuf::from(text))
    }
}
