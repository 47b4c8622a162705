use super::Build;
use crate::{ContextPath, Protected, check::Item, report::Quoted};
use std::{
    collections::HashMap,
    path::{Component, Path, PathBuf},
};

impl Build<'_, '_> {
    /// The entries of one `context_paths` list, without those that `shared` has already: the
    /// orchestrator's win, as in MassGen, and where they say something else, that is told.
    pub(super) fn context_paths(&mut self, list: &Item, shared: &[ContextPath]) -> Vec<ContextPath> {
        let shared: HashMap<&Path, &ContextPath> = shared.iter().map(|c| (c.path.as_path(), c)).collect();
        let mut lines: HashMap<PathBuf, u32> = HashMap::new();
        let mut paths: Vec<ContextPath> = Vec::new();
        for entry in list.items() {
            let Some(context) = self.context_path(entry) else { continue };
            if let Some(line) = lines.insert(context.path.clone(), context.place.line) {
                let message = format!("the same path is given on line {line} already");
                self.report.error(&entry.at(), "duplicate-path", message, "take one of them out");
                continue;
            }
            match shared.get(context.path.as_path()) {
                None => paths.push(context),
                Some(first) if is_same(first, &context) => {}
                Some(first) => {
                    let message = format!(
                        "the orchestrator says something else of the same path on line {}, and its word counts",
                        first.place.line
                    );
                    self.report.warn(&entry.at(), "contradictory-path", message, "take one of them out");
                }
            }
        }
        paths
    }

    fn context_path(&mut self, entry: &Item) -> Option<ContextPath> {
        if !matches!(entry.value, crate::check::Value::Map(_)) {
            return None;
        }
        let Some(item) = entry.get("path") else {
            self.missing(entry, "path", "the context path has no `path`".to_owned(), "");
            return None;
        };
        let path = self.existing(item);
        let inside = path.as_deref();
        let protected =
            entry.get("protected_paths").map(|p| self.inside(p, inside, false)).unwrap_or_default();
        let allow = entry.get("allow").map(|a| self.inside(a, inside, true)).unwrap_or_default();
        let allow = allow.into_iter().map(|named| named.path).collect();
        let write = entry.get("permission").and_then(Item::text) == Some("write");
        let write_mode = self.write_mode(entry);
        if let (false, Some(mode)) = (write, entry.get("write_mode")) {
            let message = "`write_mode` says nothing of a path that is only read".to_owned();
            self.report.warn(&mode.at(), "no-effect", message, "add `permission: write`, or take it out");
        }
        Some(ContextPath {
            path: path?,
            write,
            write_mode: write_mode.unwrap_or(self.write_mode),
            protected,
            allow,
            place: self.place(item),
        })
    }

    fn existing(&mut self, item: &Item) -> Option<PathBuf> {
        let path = self.expand_home(item)?;
        let path = self.source.directory.join(path);
        if !path.is_absolute() {
            let message =
                "the directory of the agent file is not known: relative paths mean nothing".to_owned();
            self.report.error(&item.at(), "bad-value", message, "write an absolute path");
            return None;
        }
        // Without the `.` of `./src`; what `..` means, only the file system knows.
        let path: PathBuf = path.components().collect();
        if path.parent().is_none() {
            let message = "the whole machine cannot be a context path".to_owned();
            self.report.error(&item.at(), "bad-value", message, "name the trees that the agent needs");
            return None;
        }
        // The joined path is told only where no variable hides in it.
        let told = if item.written.contains("${") {
            item.written.clone()
        } else {
            path.to_string_lossy().into_owned()
        };
        match (self.exists)(&path) {
            Ok(true) => Some(path),
            Ok(false) => {
                let message = format!("the context path {} does not exist", Quoted(&told));
                self.report.error(&item.at(), "path-missing", message, "make it, or take the entry out");
                None
            }
            Err(e) => {
                let message = format!("the context path {} cannot be looked at: {e}", Quoted(&told));
                self.report.error(&item.at(), "path-missing", message, "");
                None
            }
        }
    }

    /// Paths inside a context path. With `relative`, absolute ones are made so.
    fn inside(&mut self, list: &Item, root: Option<&Path>, relative: bool) -> Vec<Protected> {
        let mut paths = Vec::new();
        for item in list.items() {
            let Some(text) = item.text() else { continue };
            let path = Path::new(text);
            if !self.no_parents(item, path) {
                continue;
            }
            let below = match (path.is_absolute(), root) {
                (false, _) => Some(path),
                (true, Some(root)) => path.strip_prefix(root).ok(),
                // The root itself is wrong; that was reported.
                (true, None) => continue,
            };
            let Some(below) = below else {
                let message = format!("{} lies outside its context path", Quoted(&item.written));
                self.report.error(&item.at(), "bad-value", message, "write it relative to `path`");
                continue;
            };
            let below: PathBuf = below.components().filter(|c| *c != Component::CurDir).collect();
            if below.as_os_str().is_empty() {
                let message = format!("{} is the context path itself", Quoted(&item.written));
                self.report.error(&item.at(), "bad-value", message, "use `permission` for the whole of it");
                continue;
            }
            let path = if relative || !path.is_absolute() { below } else { path.to_path_buf() };
            paths.push(Protected { path, place: self.place(item) });
        }
        paths
    }
}

fn is_same(one: &ContextPath, other: &ContextPath) -> bool {
    let mode = !one.write || one.write_mode == other.write_mode;
    let names = |of: &ContextPath| of.protected.iter().map(|p| p.path.clone()).collect::<Vec<_>>();
    one.write == other.write && mode && names(one) == names(other) && one.allow == other.allow
}
