//! `command_line_docker_credentials`: what of the person's own an agent gets. Files of variables
//! are read by the client, with the rights of whoever asks, and never here.

use super::{Build, backend::OWN_NAMES};
use crate::{
    AdditionalMount, CredentialMount, Credentials, ENV_FILE, ENVIRONMENT, Secret,
    check::{Item, Value},
    mask,
    report::{At, Quoted},
    variables,
};
use std::{
    collections::BTreeMap,
    path::{Component, Path, PathBuf},
};

const MOST_MOUNTS: usize = 64;
/// Shorter values are words of every output.
const LEAST_SECRET: usize = 8;
/// Of a whole environment these mean something else inside.
const NOT_PASSED: [&str; 8] = ["PATH", "PWD", "OLDPWD", "SHELL", "SHLVL", "USER", "LOGNAME", "_"];

impl Build<'_, '_> {
    pub(super) fn credentials(&mut self, item: &Item) -> Credentials {
        let mut credentials = Credentials::default();
        for word in item.get("mount").map(Item::items).unwrap_or_default() {
            let mount = CredentialMount::ALL.iter().find(|(name, _)| word.text() == Some(name));
            if let Some((_, mount)) = mount
                && !credentials.mounts.contains(mount)
            {
                credentials.mounts.push(*mount);
            }
        }
        if let Some(mounts) = item.get("additional_mounts") {
            credentials.additional = self.additional_mounts(mounts);
        }
        self.whole_environment(item, &mut credentials);
        self.variables_of_file(item, &mut credentials);
        self.by_name(item, &mut credentials);
        credentials
    }

    fn additional_mounts(&mut self, item: &Item) -> Vec<AdditionalMount> {
        let Value::Map(entries) = &item.value else { return Vec::new() };
        if entries.len() > MOST_MOUNTS {
            let message = format!("{} mounts; an agent has at most {MOST_MOUNTS}", entries.len());
            self.report.error(&item.at(), "too-large", message, "");
            return Vec::new();
        }
        let mut inside = BTreeMap::new();
        let mut mounts = Vec::new();
        for (host, entry) in entries {
            let Some(mount) = self.additional_mount(host, entry) else { continue };
            if let Some(line) = inside.insert(mount.inside.clone(), entry.mark.line) {
                let message = format!("the mount of line {line} stands at the same place inside");
                self.report.error(&entry.at(), "duplicate-path", message, "give each a `bind` of its own");
                continue;
            }
            mounts.push(mount);
        }
        mounts
    }

    fn additional_mount(&mut self, host: &str, entry: &Item) -> Option<AdditionalMount> {
        if !matches!(entry.value, Value::Map(_)) {
            return None;
        }
        if !host.contains('/') && host != "~" {
            let message = format!("{} is no path: there are no named volumes", Quoted(host));
            let help = "write an absolute path, or one that begins with ./ or ~/";
            self.report.error(&entry.at(), "bad-value", message, help);
            return None;
        }
        let path = self.source.directory.join(self.expand_home_in(entry, host)?);
        let path: PathBuf = path.components().collect();
        if !path.is_absolute() || path.components().any(|c| c == Component::ParentDir) {
            let message = format!("{} is not absolute, or has `..` in it", Quoted(host));
            self.report.error(&entry.at(), "bad-value", message, "write the path without `..`");
            return None;
        }
        let Some(bind) = entry.get("bind") else {
            let message = format!("the mount of {} has no `bind`", Quoted(host));
            self.missing(entry, "bind", message, "name the absolute path inside");
            return None;
        };
        let inside: PathBuf = Path::new(bind.text()?).components().collect();
        if !self.no_parents(bind, &inside) {
            return None;
        }
        if !inside.is_absolute() || inside.parent().is_none() {
            let message = format!("{} is no place for a mount", Quoted(&bind.written));
            self.report.error(&bind.at(), "bad-value", message, "an absolute path inside, and not `/`");
            return None;
        }
        let mode = entry.get("mode");
        let write = mode.and_then(Item::text) == Some("rw");
        if let (true, Some(mode)) = (write, mode) {
            let message = "the agent changes the original, and nothing of that is staged".to_owned();
            self.report.warn(&mode.at(), "weaker-sandbox", message, "leave `mode` out: `ro` is the default");
        }
        match (self.exists)(&path) {
            Ok(true) => Some(AdditionalMount { host: path, inside, write, place: self.place(entry) }),
            Ok(false) => {
                let message = format!("{} does not exist", Quoted(host));
                self.report.error(&entry.at(), "path-missing", message, "make it, or take the entry out");
                None
            }
            Err(e) => {
                let message = format!("{} cannot be looked at: {e}", Quoted(host));
                self.report.error(&entry.at(), "path-missing", message, "");
                None
            }
        }
    }

    fn whole_environment(&mut self, item: &Item, credentials: &mut Credentials) {
        let Some(flag) = item.get("pass_all_env").filter(|f| f.flag() == Some(true)) else { return };
        credentials.whole_environment = true;
        let all = self.variables.several(ENVIRONMENT).unwrap_or_default();
        let mut left_out = Vec::new();
        for (name, value) in all {
            if !variables::is_name(&name)
                || value.contains('\0')
                || is_own(&name)
                || NOT_PASSED.contains(&name.as_str())
            {
                left_out.push(name);
                continue;
            }
            if mask::names_a_secret(&name) || mask::looks_secret(&value) {
                hide(credentials, &name, &value);
            }
            credentials.variables.insert(name, Secret::new(value));
        }
        let message = "every variable of your environment goes into the sandbox".to_owned();
        let told: Vec<String> = left_out.iter().take(24).map(|n| crate::excerpt::shown(n, 40)).collect();
        let help = if told.is_empty() {
            "name those that the agent needs under `env_vars`".to_owned()
        } else {
            format!("but not {}: Cordon sets them, or they mean something else inside", told.join(", "))
        };
        self.report.warn(&flag.at(), "weaker-sandbox", message, help);
    }

    fn variables_of_file(&mut self, item: &Item, credentials: &mut Credentials) {
        let (file, only) = (item.get("env_file"), item.get("env_vars_from_file"));
        let Some(named) = file.or(only) else { return };
        let (path, shown) = match file {
            Some(file) => match self.expand_home(file) {
                Some(path) => (path.to_string_lossy().into_owned(), file.written.as_str()),
                None => return,
            },
            None => (".env".to_owned(), ".env"),
        };
        let only = only.map(|list| self.variable_names(list));
        let Some(found) = self.variables.several(&format!("{ENV_FILE}{path}")) else {
            let message = format!("{} is not there, and none of its variables is passed", Quoted(shown));
            self.report.warn(&named.at(), "path-missing", message, "relative to the agent file");
            return;
        };
        for (name, value) in
            found.iter().filter(|(n, _)| only.as_ref().is_none_or(|o| o.iter().any(|i| i.0 == **n)))
        {
            self.pass(credentials, &named.at(), name, value);
        }
        for (name, item) in only.iter().flatten().filter(|(name, _)| !found.contains_key(name)) {
            let message = format!("{} does not set `{name}`", Quoted(shown));
            self.report.warn(&item.at(), "unset-variable", message, "");
        }
    }

    fn by_name(&mut self, item: &Item, credentials: &mut Credentials) {
        let Some(list) = item.get("env_vars") else { return };
        for (name, item) in self.variable_names(list) {
            match self.variables.get(&name).map(str::to_owned) {
                Some(value) => self.pass(credentials, &item.at(), &name, &value),
                None => {
                    let message = format!("the variable `{name}` is not set, and is not passed");
                    self.report.warn(
                        &item.at(),
                        "unset-variable",
                        message,
                        "set it in the environment or in .env",
                    );
                }
            }
        }
    }

    fn variable_names<'i>(&mut self, list: &'i Item) -> Vec<(String, &'i Item)> {
        let mut names = Vec::new();
        for item in self.bounded(list) {
            let Some(name) = item.text() else { continue };
            if !variables::is_name(name) {
                let message = format!("{} is no name of a variable", Quoted(&item.written));
                self.report.error(
                    &item.at(),
                    "bad-value",
                    message,
                    "letters, digits and `_`, no digit first",
                );
                continue;
            }
            names.push((name.to_owned(), item));
        }
        names
    }

    fn pass(&mut self, credentials: &mut Credentials, at: &At<'_>, name: &str, value: &str) {
        if is_own(name) {
            let message = format!("{} is set by Cordon itself", Quoted(name));
            self.report.error(at, "conflict", message, "take it out");
            return;
        }
        if value.contains('\0') || !variables::is_name(name) {
            return;
        }
        hide(credentials, name, value);
        credentials.variables.insert(name.to_owned(), Secret::new(value.to_owned()));
    }
}

fn is_own(name: &str) -> bool {
    OWN_NAMES.contains(&name) || name.starts_with("CORDON_")
}

/// From all output. A path or a plain number says nothing secret, and hiding it would make every
/// message unreadable; where the name says that it is a secret, it is one, however it looks.
fn hide(credentials: &mut Credentials, name: &str, value: &str) {
    let plain = value.starts_with(['/', '~']) || value.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    if value.len() >= LEAST_SECRET && (!plain || mask::names_a_secret(name)) {
        credentials.secrets.push(Secret::new(value.to_owned()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_named_a_secret_is_hidden_however_it_looks() {
        for (name, value, hidden) in [
            ("AWS_SECRET_ACCESS_KEY", "/looks/like+a+path/", true),
            ("SERVICE_TOKEN", "1234567890.12", true),
            ("SERVICE_URL", "https://user:word@host", true),
            ("JAVA_HOME", "/usr/lib/jvm/default", false),
            ("BUILD_NUMBER", "1234567890", false),
        ] {
            let mut credentials = Credentials::default();
            hide(&mut credentials, name, value);
            assert_eq!(credentials.secrets.iter().any(|s| s.reveal() == value), hidden, "{name}");
        }
    }
}
