//! A policy in rows for a person: every rule with who enforces it in each wall, or what may be
//! done at some paths.

use crate::plan::Planned;
use cordon_backends::key_in_shells;
use cordon_policy::{Access, Denial, Operation, Rule, Source, Verdict};
use cordon_proto::v1;
use cordon_sandbox::{Network, PathEntry, PathSource, WallKind};
use std::path::{Path, PathBuf};

/// What is told of a path, in this order.
const OPERATIONS: [Operation; 8] = [
    Operation::Read,
    Operation::List,
    Operation::Execute,
    Operation::Write,
    Operation::Create,
    Operation::Delete,
    Operation::Rename,
    Operation::Link,
];

/// One row for each path; for each rule and each host, without paths.
pub(super) fn rows(planned: &Planned, directory: &Path, paths: &[String]) -> Vec<v1::ExplainRow> {
    if !paths.is_empty() {
        return paths.iter().map(|path| of_path(planned, &canonical(&directory.join(path)))).collect();
    }
    let mut rows: Vec<_> = planned.policy.rules().map(|rule| of_rule(planned, rule)).collect();
    rows.extend(hosts(planned));
    rows.extend(variables(planned));
    rows
}

/// What can be connected to, and who says so.
fn hosts(planned: &Planned) -> Vec<v1::ExplainRow> {
    let agent = &planned.context.agent;
    let row = |name: String, rule: &str, origin: String, layer: &str| v1::ExplainRow {
        agent: agent.id.clone(),
        path: name,
        access: "connect".to_owned(),
        rule: rule.to_owned(),
        origin,
        layer: layer.to_owned(),
        local_layer: "egress".to_owned(),
        docker_layer: layer.to_owned(),
        ..Default::default()
    };
    let written = |key: &str| format!("{key} ({})", agent.place);
    let mode = "command_line_docker_network_mode";
    let open = match &planned.sandbox.network {
        Network::Bridge { .. } => {
            Some(("a bridge of its own: all but this host and other sandboxes", "firewall"))
        }
        Network::Host => Some(("the host's own network: no wall", "nobody")),
        Network::Isolated => None,
    };
    let mut rows: Vec<_> =
        open.map(|(rule, layer)| row("*".to_owned(), rule, written(mode), layer)).into_iter().collect();
    for open in &mut rows {
        open.local_layer = "no such network".to_owned();
    }
    let Some(egress) = &planned.sandbox.egress else { return rows };
    let own = |named: bool| if named { written("egress.allow") } else { "built in".to_owned() };
    rows.extend(egress.allow.iter().map(|host| {
        let named = agent.egress.iter().flatten().any(|rule| rule == host);
        row(host.to_string(), "allowed host, public addresses", own(named), "egress")
    }));
    rows.extend(egress.grants.iter().map(|grant| {
        let literals = agent.egress.iter().flatten().filter_map(|rule| rule.literal());
        let named = literals.into_iter().any(|(host, port)| host == grant.host && port == grant.port);
        let origin = if named { written("egress.allow") } else { written("base_url or mcp_servers") };
        row(grant.to_string(), "granted destination", origin, "egress")
    }));
    rows
}

/// Who inside sees the key, and what else of the person's environment goes in.
fn variables(planned: &Planned) -> Vec<v1::ExplainRow> {
    let agent = &planned.context.agent;
    let variable = |name: &str, access: &str, rule: &str, origin: String| v1::ExplainRow {
        agent: agent.id.clone(),
        path: format!("${name}"),
        access: access.to_owned(),
        rule: rule.to_owned(),
        origin,
        layer: "environment".to_owned(),
        local_layer: "environment".to_owned(),
        docker_layer: "environment".to_owned(),
        ..Default::default()
    };
    let key = key_in_shells(agent.backend).map(|(name, seen)| match seen {
        true => variable(
            name,
            "all",
            "the program passes its key on to the shells it starts",
            "built in".to_owned(),
        ),
        false => variable(
            name,
            "program",
            "the program keeps its key from the shells it starts",
            "built in".to_owned(),
        ),
    });
    let names = agent.credentials.variables.keys();
    let what = "passed to the program and to what it starts";
    let origin = format!("command_line_docker_credentials ({})", agent.place);
    key.into_iter().chain(names.map(|name| variable(name, "all", what, origin.clone()))).collect()
}

fn row(planned: &Planned, path: &Path, rule: Option<&Rule>) -> v1::ExplainRow {
    // What is done there is done in a fork.
    let staged = rule.is_some_and(|r| r.access > Access::None) && planned.is_staged(path);
    let [local, docker] = [WallKind::Local, WallKind::Docker].map(|wall| {
        let layer = layer(planned, path, rule, wall);
        if staged { format!("{layer}, staged") } else { layer.to_owned() }
    });
    v1::ExplainRow {
        agent: planned.context.agent.id.clone(),
        path: path.to_string_lossy().into_owned(),
        layer: if planned.context.wall == WallKind::Local { &local } else { &docker }.clone(),
        local_layer: local,
        docker_layer: docker,
        ..Default::default()
    }
}

fn of_rule(planned: &Planned, rule: &Rule) -> v1::ExplainRow {
    v1::ExplainRow {
        access: rule.access.to_string(),
        rule: rule.origin.source.to_string(),
        origin: rule.origin.to_string(),
        ..row(planned, &rule.path, Some(rule))
    }
}

fn of_path(planned: &Planned, path: &Path) -> v1::ExplainRow {
    let verdicts = OPERATIONS.map(|operation| verdict(operation, planned.policy.decide(path, operation)));
    let rule = planned.policy.rule_for(path);
    let access = rule.map_or(Access::None, |r| r.access);
    v1::ExplainRow {
        access: access.to_string(),
        rule: rule.map_or_else(|| "no rule allows this path".to_owned(), words),
        origin: rule.map_or_else(|| "built in".to_owned(), |r| r.origin.to_string()),
        verdicts: verdicts.into(),
        ..row(planned, path, rule)
    }
}

fn verdict(operation: Operation, verdict: Verdict<'_>) -> v1::ExplainVerdict {
    let operation = operation.to_string();
    match verdict {
        Verdict::Allowed(rule) => v1::ExplainVerdict {
            operation,
            allowed: true,
            rule: words(rule),
            origin: rule.origin.to_string(),
            would_allow: String::new(),
        },
        Verdict::Denied(denial) => {
            let Denial { rule, origin, would_allow, .. } = *denial;
            v1::ExplainVerdict { operation, allowed: false, rule, origin: origin.to_string(), would_allow }
        }
    }
}

fn words(rule: &Rule) -> String {
    let path = rule.path.to_string_lossy().escape_debug().to_string();
    format!("{path} is {} ({})", rule.access, rule.origin.source)
}

/// Who enforces what the rule says of a path, in one wall.
fn layer(planned: &Planned, path: &Path, rule: Option<&Rule>, wall: WallKind) -> &'static str {
    let local = wall == WallKind::Local;
    let around = |p: &&PathEntry| path.starts_with(&p.path);
    let entry = planned.sandbox.paths.iter().filter(around).max_by_key(|p| p.path.as_os_str().len());
    let source = rule.map(|r| r.origin.source);
    match (rule.map(|r| r.access), entry, source) {
        (None, ..) if local => "not in the mount view, landlock",
        (None, ..) => "not mounted; what an image has there is read-only, landlock(*)",
        (Some(Access::None), Some(entry), _) if entry.source == PathSource::Empty => "mount view, hidden",
        (Some(Access::None), ..) if local => "not in the mount view",
        (Some(Access::None), ..) => "the image's own permissions",
        (_, _, Some(Source::Temporary | Source::Home)) if local => "private tmpfs, landlock",
        (_, _, Some(Source::Temporary | Source::Home)) => "private tmpfs, landlock(*)",
        (_, _, Some(Source::System)) if path.starts_with("/dev") && local => "private /dev, landlock",
        (_, _, Some(Source::System)) if path.starts_with("/dev") => "the engine's /dev, landlock(*)",
        (_, _, Some(Source::System)) if path.starts_with("/proc") && local => "private /proc, landlock",
        (_, _, Some(Source::System)) if path.starts_with("/proc") => "the engine's masked /proc, landlock(*)",
        (_, _, Some(Source::System)) if !local => "read-only image, landlock(*)",
        (_, _, Some(Source::Program)) if !local => "in the image",
        _ if local => "mount view, landlock",
        _ => "mount view, landlock(*)",
    }
}

/// The real place of the nearest existing ancestor, and the rest as written.
fn canonical(path: &Path) -> PathBuf {
    let mut rest = Vec::new();
    let mut at = path;
    loop {
        if let Ok(real) = at.canonicalize() {
            return rest.iter().rev().fold(real, |path: PathBuf, name| path.join(name));
        }
        match (at.parent(), at.file_name()) {
            (Some(parent), Some(name)) => {
                rest.push(name);
                at = parent;
            }
            _ => return path.to_path_buf(),
        }
    }
}

#[cfg(test)]
#[path = "explain_tests.rs"]
mod tests;
