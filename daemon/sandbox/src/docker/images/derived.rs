//! Images that stand on another one and have packages besides: built once for the same content.
//! Nothing here passes through a shell: the builder gets argument lists, and every name is looked
//! at again before it becomes one.

use super::{
    ImageSource,
    build::{BuildEvent, Events, Lines},
};
use crate::{Packages, SandboxError, docker::engine};
use bollard::{Docker, body_full, query_parameters::BuildImageOptions};
use futures_util::StreamExt as _;
use std::collections::{HashMap, VecDeque};

/// What these images are called, with the hash of their content as the tag.
pub(super) const REPOSITORY: &str = "cordon/derived";
/// The whole hash, on the image.
pub(super) const LABEL: &str = "cordon.derived";
/// The image that it stands on, by its name.
pub(super) const LABEL_FROM: &str = "cordon.derived.from";
/// What was installed.
pub(super) const LABEL_PACKAGES: &str = "cordon.derived.packages";
/// Lines of a builder that failed which are told.
const TOLD: usize = 12;
const KEY: &str = "command_line_docker_packages.preinstall";

/// One image to be: what it stands on, and what it gets.
pub(in crate::docker) struct Derived<'a> {
    /// Name of the image below, for people.
    pub(in crate::docker) name: &'a str,
    /// Its content's id: another image under the same name makes another one here.
    pub(in crate::docker) id: &'a str,
    pub(in crate::docker) packages: &'a Packages,
}

impl Derived<'_> {
    /// The image's name; it follows from the content alone.
    pub(in crate::docker) fn tag(&self) -> String {
        format!("{REPOSITORY}:{}", &self.hash()[..32])
    }

    /// Whether the engine has it already.
    pub(in crate::docker) async fn is_there(&self, docker: &Docker) -> Result<bool, SandboxError> {
        let tag = self.tag();
        match docker.inspect_image(&tag).await {
            // Somebody else may have given the name to something else.
            Ok(found) => {
                let labels = found.config.and_then(|c| c.labels).unwrap_or_default();
                Ok(labels.get(LABEL) == Some(&self.hash()))
            }
            Err(error) if engine::status(&error) == Some(404) => Ok(false),
            Err(error) => Err(engine::failed(format!("look for image {tag}"))(error)),
        }
    }

    /// Builds it. What the builder says goes to `said`.
    pub(in crate::docker) async fn build(&self, docker: &Docker, said: &Events) -> Result<(), SandboxError> {
        check(self.packages)?;
        let dockerfile = self.dockerfile();
        let mut archive = tar::Builder::new(Vec::new());
        let context = super::context::add(&mut archive, "Dockerfile", dockerfile.as_bytes())
            .and_then(|()| archive.into_inner())
            .map_err(SandboxError::io("make the build context of", self.tag()))?;
        let labels = HashMap::from([
            (LABEL.to_owned(), self.hash()),
            (LABEL_FROM.to_owned(), self.name.to_owned()),
            (LABEL_PACKAGES.to_owned(), self.told()),
        ]);
        let query = BuildImageOptions {
            dockerfile: "Dockerfile".to_owned(),
            t: Some(self.tag()),
            rm: true,
            forcerm: true,
            // A step of last month's would bring last month's package lists.
            nocache: true,
            labels: Some(labels),
            buildargs: Some(proxies()),
            ..BuildImageOptions::default()
        };
        let mut stream = docker.build_image(query, None, Some(body_full(context.into())));
        let (mut lines, mut last) = (Lines::default(), VecDeque::new());
        while let Some(part) = stream.next().await {
            let failed = match part {
                Ok(part) => {
                    for line in lines.take(&part.stream.or(part.status).unwrap_or_default()) {
                        last.push_back(line.clone());
                        if last.len() > TOLD {
                            last.pop_front();
                        }
                        let _ = said.send(Ok(BuildEvent::Line { image: "derived", line })).await;
                    }
                    part.error_detail.map(|detail| detail.message.unwrap_or_default())
                }
                Err(error) => Some(engine::describe(&error)),
            };
            if let Some(why) = failed {
                return Err(self.failure(&why, last.make_contiguous()));
            }
        }
        Ok(())
    }

    fn failure(&self, why: &str, last: &[String]) -> SandboxError {
        let text = last.join("\n");
        let named: Vec<&str> =
            self.all().map(bare).filter(|name| text.lines().any(|line| blames(line, name))).collect();
        let which = if named.is_empty() { String::new() } else { format!(" ({})", named.join(", ")) };
        // Of the step that failed, and without the builder's own words and colours.
        let step = last.iter().rposition(|line| line.starts_with("Step ")).map_or(0, |at| at + 1);
        let own = |line: &&String| !line.starts_with(" ---> ") && !line.contains("intermediate container");
        let said: Vec<String> = last[step..].iter().filter(own).map(|line| plain(line)).collect();
        SandboxError::Unavailable {
            what: format!("{KEY}{which}"),
            why: format!("it could not be installed on {}: {}: {}", self.name, plain(why), said.join(" | ")),
            fix: "Correct the names, or look whether the engine's builds reach the package indexes"
                .to_owned(),
        }
    }

    fn all(&self) -> impl Iterator<Item = &str> {
        let Packages { system, python, npm } = self.packages;
        system.iter().chain(python).chain(npm).map(String::as_str)
    }

    /// One line for people.
    pub(in crate::docker) fn told(&self) -> String {
        let list = |kind: &str, names: &[String]| {
            (!names.is_empty()).then(|| format!("{kind}: {}", sorted(names).join(", ")))
        };
        let Packages { system, python, npm } = self.packages;
        let lists = [list("system", system), list("python", python), list("npm", npm)];
        lists.into_iter().flatten().collect::<Vec<_>>().join("; ")
    }

    /// Of everything that the image's content follows from, each part with its length before it.
    fn hash(&self) -> String {
        let mut hasher = blake3::Hasher::new();
        let mut part = |bytes: &[u8]| {
            hasher.update(&(bytes.len() as u64).to_le_bytes());
            hasher.update(bytes);
        };
        part(self.id.as_bytes());
        part(self.dockerfile().as_bytes());
        hasher.finalize().to_hex().to_string()
    }

    fn dockerfile(&self) -> String {
        let Packages { system, python, npm } = self.packages;
        let mut system = sorted(system);
        // What installs the others, where the image has none.
        if !python.is_empty() {
            system.push("python3-pip");
        }
        if !npm.is_empty() {
            system.push("npm");
        }
        system.sort_unstable();
        system.dedup();
        let mut lines = vec![format!("FROM {}", self.id), "USER 0:0".to_owned()];
        if !system.is_empty() {
            lines.push(run(&["apt-get", "update"], &[]));
            let install = ["env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "install", "-y"];
            lines.push(run(&[&install[..], &["--no-install-recommends", "--"]].concat(), &system));
        }
        if !python.is_empty() {
            let pip = [
                "python3",
                "-m",
                "pip",
                "install",
                "--no-cache-dir",
                "--no-input",
                "--break-system-packages",
            ];
            lines.push(run(&[&pip[..], &["--"]].concat(), &sorted(python)));
        }
        if !npm.is_empty() {
            let install = ["npm", "install", "--global", "--no-audit", "--no-fund", "--"];
            lines.push(run(&install, &sorted(npm)));
        }
        lines.push(String::new());
        lines.join("\n")
    }
}

fn sorted(names: &[String]) -> Vec<&str> {
    let mut names: Vec<&str> = names.iter().map(String::as_str).collect();
    names.sort_unstable();
    names.dedup();
    names
}

/// One step of the builder, as a list: no shell reads it.
fn run(command: &[&str], names: &[&str]) -> String {
    let all: Vec<&str> = command.iter().chain(names).copied().collect();
    format!("RUN {}", serde_json::Value::from(all))
}

/// The proxies that this daemon itself was told of. Names that the builder knows: their values
/// stay out of the image's history.
fn proxies() -> HashMap<String, String> {
    let names = ["http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY"];
    names.iter().filter_map(|name| Some(((*name).to_owned(), std::env::var(name).ok()?))).collect()
}

/// A line of somebody else's without escape sequences of colour, and with nothing raw in it.
fn plain(line: &str) -> String {
    let mut text = String::new();
    let mut rest = line.trim();
    while let Some((before, after)) = rest.split_once("\u{1b}[") {
        text.push_str(before);
        rest = after.find('m').filter(|at| *at < 12).map_or(after, |at| &after[at + 1..]);
    }
    text.push_str(rest);
    text.escape_debug().to_string().replace("\\\"", "\"")
}

/// A package's name without its version.
fn bare(name: &str) -> &str {
    let from = usize::from(name.starts_with('@'));
    name[from..].find(['=', '<', '>', '~', '!', '[', '@']).map_or(name, |at| &name[..from + at])
}

/// Whether a line of a package manager complains about this package. It decides what is told.
fn blames(line: &str, name: &str) -> bool {
    let complains = ["E: ", "ERROR", "error", "ERR!", "No matching", "404", "unable", "Unable"];
    let whole = |at: usize| {
        let is_part = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        !line[..at].ends_with(is_part) && !line[at + name.len()..].starts_with(is_part)
    };
    complains.iter().any(|word| line.contains(word)) && line.match_indices(name).any(|(at, _)| whole(at))
}

/// Refuses what could be anything but the name of a package, whatever the agent file's validator
/// let through.
pub(in crate::docker) fn check(packages: &Packages) -> Result<(), SandboxError> {
    check_list("system", &packages.system, is_system)?;
    check_list("python", &packages.python, is_python)?;
    check_list("npm", &packages.npm, is_npm)
}

fn check_list(kind: &str, names: &[String], good: fn(&str) -> bool) -> Result<(), SandboxError> {
    let Some(bad) = names.iter().find(|name| name.len() > 200 || !good(name)) else { return Ok(()) };
    Err(SandboxError::Unenforceable {
        rule: format!("{KEY}.{kind}: {:?}", bad.chars().take(80).collect::<String>()),
        wall: "docker",
        why: "it is no name of a package".to_owned(),
        fix: "Name packages as their index has them, with a version where one is wanted".to_owned(),
    })
}

fn made_of(text: &str, more: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || more.contains(c))
}

fn is_archive(text: &str) -> bool {
    [".tgz", ".tar", ".gz", ".zip", ".whl", ".deb"].iter().any(|end| text.to_ascii_lowercase().ends_with(end))
}

fn is_system(text: &str) -> bool {
    let (name, version) = text.split_once('=').map_or((text, None), |(name, version)| (name, Some(version)));
    // A `-` at the end would take it away.
    made_of(name, "+.-")
        && !name.ends_with('-')
        && version.is_none_or(|v| made_of(v, "+.-:~"))
        && !is_archive(text)
}

fn is_python(text: &str) -> bool {
    made_of(text, "._-[],=<>~!*+") && !is_archive(text)
}

fn is_npm(text: &str) -> bool {
    let (scope, rest) = match text.strip_prefix('@').map(|scoped| scoped.split_once('/')) {
        Some(Some((scope, rest))) => (scope, rest),
        Some(None) => return false,
        None => ("x", text),
    };
    made_of(scope, "._-") && made_of(rest, "._-@^~+") && !is_archive(rest)
}

/// Whether an image of ours is meant that can be built without being asked for.
pub(in crate::docker) fn sudo_source(image: &str) -> Option<&'static ImageSource> {
    ImageSource::find(image).filter(|found| found.is_sudo())
}

#[cfg(test)]
#[path = "derived_tests.rs"]
mod tests;
