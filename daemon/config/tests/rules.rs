//! One row for every rule of the agent file: what is wrong, which reason it has, which
//! key it names, and what the excerpt marks.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use common::{errors, parse, warnings};

/// A file whose only agent has this backend block, one key a line.
fn backend(lines: &str) -> String {
    let mut text = "agents:\n  - id: a\n    backend:\n".to_owned();
    for line in lines.lines() {
        text.push_str(&format!("      {line}\n"));
    }
    text
}

/// The text that the marker line of an excerpt stands below.
fn marked(excerpt: &str) -> String {
    let (line, marker) = excerpt.split_once('\n').unwrap();
    let skip = marker.chars().take_while(|c| *c == ' ').count();
    line.chars().skip(skip).take(marker.chars().count() - skip).collect()
}

/// Exactly one error, with this reason, key and marked text; the message or the help has the words.
#[track_caller]
fn fails(text: &str, reason: &str, key: &str, mark: &str, words: &str) {
    let parsed = parse(text);
    let errors = errors(&parsed);
    assert_eq!(errors.len(), 1, "{text}\n{errors:#?}");
    let problem = errors[0];
    assert_eq!((problem.reason, problem.key.as_str()), (reason, key), "{text}\n{problem:#?}");
    assert_eq!(marked(&problem.excerpt), mark, "{text}\n{problem:#?}");
    assert!(format!("{} {}", problem.message, problem.help).contains(words), "{text}\n{problem:#?}");
    // The place and the excerpt are of one line.
    let line = text.lines().nth(problem.line as usize - 1).unwrap();
    let at: String = line.chars().skip(problem.column as usize - 1).take(mark.chars().count()).collect();
    assert!(at == mark || mark.contains('*'), "{problem:#?}");
}

/// No error, and exactly one warning.
#[track_caller]
fn warns(text: &str, reason: &str, key: &str, words: &str) {
    let parsed = parse(text);
    assert_eq!(errors(&parsed), Vec::<&cordon_config::Problem>::new(), "{text}");
    let warnings = warnings(&parsed);
    assert_eq!(warnings.len(), 1, "{text}\n{warnings:#?}");
    assert_eq!((warnings[0].reason, warnings[0].key.as_str()), (reason, key), "{text}");
    assert!(warnings[0].message.contains(words), "{text}\n{:#?}", warnings[0]);
}

#[track_caller]
fn fine(text: &str) -> cordon_config::AgentFile {
    let parsed = parse(text);
    assert_eq!(parsed.problems, [], "{text}");
    parsed.file.unwrap()
}

const B: &str = "agents[0].backend";

#[test]
fn top_level() {
    let agent = "agent: {id: a, backend: {type: command, command: [ls]}}\n";
    fine(agent);
    fails("ui: {}\n", "missing-key", "", "ui: {}", "neither `agents` nor `agent`");
    fails(&format!("{agent}agents: []\n"), "conflict", "agent", agent[7..].trim_end(), "both");
    fails("agents: []\n", "bad-value", "agents", "[]", "empty");
    fails(&format!("{agent}agnets: 1\n"), "unknown-key", "agnets", "agnets", "did you mean `agents`?");
    fails(&format!("{agent}num_agents: 3\n"), "old-key", "num_agents", "num_agents", "V1");
    fails(
        &format!("{agent}checkpoint: {{}}\n"),
        "not-supported-yet",
        "checkpoint",
        "checkpoint",
        "checkpoint",
    );
    warns(&format!("{agent}memory: {{enabled: true}}\n"), "ignored-key", "memory", "journal");
    fails(&format!("{agent}cwd: x\n"), "unknown-key", "cwd", "cwd", "belongs in agents[].backend");
    fails("- a\n", "wrong-type", "", "- a", "expected a map, found a list");
    warns(&format!("{agent}ui: {{display_type: simple}}\n"), "ignored-key", "ui", "client");
    warns(
        &format!("{agent}orchestrator: {{voting_sensitivity: strict}}\n"),
        "ignored-key",
        "orchestrator.voting_sensitivity",
        "vote",
    );
    warns(
        &format!("{agent}orchestrator: {{fairness_x: 1}}\n"),
        "ignored-key",
        "orchestrator.fairness_x",
        "vote",
    );
    fails(
        &format!("{agent}orchestrator: {{coordination: {{write_mode: direct}}}}\n"),
        "bad-value",
        "orchestrator.coordination.write_mode",
        "direct",
        "auto, isolated, worktree, legacy",
    );
    fine(&format!("{agent}orchestrator: {{coordination: {{enable_planning_mode: false}}}}\n"));
}

#[test]
fn unknown_keys_are_found_inside_what_is_not_supported_yet() {
    let text = backend("type: replay\nsteps: [{say: hi}]\nhooks: {PreToolUs: []}");
    let parsed = parse(&text);
    let found: Vec<_> = errors(&parsed).iter().map(|p| (p.reason, p.key.as_str())).collect();
    assert_eq!(
        found,
        [
            ("not-supported-yet", "agents[0].backend.hooks"),
            ("unknown-key", "agents[0].backend.hooks.PreToolUs"),
        ]
    );
}

#[test]
fn ids() {
    let with = |id: &str| format!("agents:\n  - id: {id}\n    backend: {{type: command, command: [ls]}}\n");
    for good in ["a", "A1", "a.b-c_d", &"x".repeat(64)] {
        assert_eq!(fine(&with(good)).agents[0].id, *good);
    }
    fails(&with("../x"), "bad-id", "agents[0].id", "../x", "lead out of");
    fails(&with("a/b"), "bad-id", "agents[0].id", "a/b", "lead out of");
    for bad in [".a", "-a", "_a", "a b", "ä", &"x".repeat(65)] {
        fails(&with(bad), "bad-id", "agents[0].id", bad, "letters, digits");
    }
    fails(&with("7"), "wrong-type", "agents[0].id", "7", "expected text, found an integer");
    fails(&with("\"\""), "bad-id", "agents[0].id", "\"\"", "no id");
    let twice = "agents:\n  - {id: a, backend: {type: command, command: [ls]}}\n  - {id: a, backend: {type: command, command: [ls]}}\n";
    fails(twice, "duplicate-id", "agents[1].id", "a", "line 2");
    fails(
        "agent: {backend: {type: command, command: [ls]}}\n",
        "missing-key",
        "agent.id",
        "{backend: {type: command, command: [ls]}}",
        "no `id`",
    );
    fails("agent: {id: a}\n", "missing-key", "agent.backend", "{id: a}", "no `backend`");
}

#[test]
fn backend_types() {
    fails(
        &backend("type: codx\ncwd: w"),
        "unknown-backend",
        &format!("{B}.type"),
        "codx",
        "did you mean `codex`?",
    );
    fails(
        &backend("type: zzz"),
        "unknown-backend",
        &format!("{B}.type"),
        "zzz",
        "codex, claude_code, gemini_cli, copilot, command, replay",
    );
    for other in ["antigravity_cli", "uitars"] {
        let text = backend(&format!("type: {other}"));
        fails(&text, "unsupported-backend", &format!("{B}.type"), other, "Cordon has no backend type");
    }
    for provider in cordon_providers::PROVIDERS {
        let mut lines = format!("type: {}\nmodel: m", provider.name);
        if provider.name == "azure_openai" {
            lines.push_str("\nazure_endpoint: https://r.openai.azure.com");
        }
        assert_eq!(fine(&backend(&lines)).agents[0].backend.name(), provider.name);
    }
    for name in ["gemini_cli", "gemini-cli"] {
        let file = fine(&backend(&format!("type: {name}\ncwd: w")));
        assert_eq!(file.agents[0].backend.name(), "gemini_cli");
    }
    for kind in ["gemini_cli", "copilot"] {
        // As with the others, the network of a container is said, not guessed.
        fails(
            &backend(&format!("type: {kind}\ncommand_line_execution_mode: docker")),
            "missing-key",
            &format!("{B}.command_line_docker_network_mode"),
            &format!("type: {kind}"),
            &format!("required for {kind} in docker"),
        );
    }
    fails(&backend("model: x"), "missing-key", &format!("{B}.type"), "model: x", "no `type`");
    fails(
        &backend("type: codex"),
        "missing-key",
        &format!("{B}.cwd"),
        "type: codex",
        "`cwd` is required for codex",
    );
    fails(
        &backend("type: claude_code"),
        "missing-key",
        &format!("{B}.cwd"),
        "type: claude_code",
        "claude_code",
    );
    fails(
        &backend("type: command"),
        "missing-key",
        &format!("{B}.command"),
        "type: command",
        "`command` is required",
    );
    fails(
        &backend("type: replay"),
        "missing-key",
        &format!("{B}.steps"),
        "type: replay",
        "`steps` is required",
    );
    fails(
        &backend("type: codex\ncwd: w\nsteps: [{say: x}]"),
        "conflict",
        &format!("{B}.steps"),
        "[{say: x}]",
        "belongs to type replay",
    );
    fails(
        &backend("type: codex\ncwd: w\nmodle: x"),
        "unknown-key",
        &format!("{B}.modle"),
        "modle",
        "did you mean `model`?",
    );
    fails(
        &backend("type: codex\ncwd: w\nsystem_prompt: x"),
        "old-key",
        &format!("{B}.system_prompt"),
        "system_prompt",
        "system_message",
    );
    fails(
        &backend("type: codex\ncwd: w\nmodel: --evil"),
        "bad-value",
        &format!("{B}.model"),
        "--evil",
        "no name of a model",
    );
    fails(
        &backend("type: codex\ncwd: w\nmodel: 5"),
        "wrong-type",
        &format!("{B}.model"),
        "5",
        "expected text, found an integer",
    );
    fails(
        &backend("type: codex\ncwd: w\ntemperature: 0.1"),
        "unsupported-key",
        &format!("{B}.temperature"),
        "0.1",
        "model APIs",
    );
    fine(&backend("type: codex\ncwd: w\nenable_web_search: false"));
    fails(
        &backend("type: codex\ncwd: w\nenable_web_search: maybe"),
        "wrong-type",
        &format!("{B}.enable_web_search"),
        "maybe",
        "true or false",
    );
    fails(
        &backend("type: codex\ncwd: w\ncommand_line_blacklist_patterns: [rm]"),
        "old-key",
        &format!("{B}.command_line_blacklist_patterns"),
        "command_line_blacklist_patterns",
        "text of commands",
    );
    fails(
        &backend("type: command\ncommand: [ls]\nmodel: x"),
        "unsupported-key",
        &format!("{B}.model"),
        "x",
        "in `command`",
    );
}

#[test]
fn workspaces() {
    for (cwd, mark) in [("../x", "../x"), ("a/../../b", "a/../../b"), ("/srv/../etc", "/srv/../etc")] {
        fails(&backend(&format!("type: codex\ncwd: {cwd}")), "bad-value", &format!("{B}.cwd"), mark, "`..`");
    }
    for cwd in [".", "./", "/"] {
        fails(
            &backend(&format!("type: codex\ncwd: {cwd}")),
            "bad-value",
            &format!("{B}.cwd"),
            cwd,
            "for itself",
        );
    }
    fails(&backend("type: codex\ncwd: ''"), "bad-value", &format!("{B}.cwd"), "''", "empty");
    let file = fine(&backend("type: codex\ncwd: ~/work"));
    assert_eq!(file.agents[0].cwd.as_deref().unwrap().to_str(), Some("/home/user/work"));
    let shared = "agents:\n  - {id: a, backend: {type: codex, cwd: w}}\n  - {id: b, backend: {type: codex, cwd: ./w}}\n";
    // As in MassGen, a name stands for a directory of each agent's own.
    warns(shared, "shared-workspace", "agents[1].backend.cwd", "line 2");
    let agents = parse(shared).file.unwrap().agents;
    assert_eq!(
        agents.iter().map(|a| a.cwd.as_deref().unwrap().to_str().unwrap()).collect::<Vec<_>>(),
        ["w", "w-b"]
    );
    // What somebody has already is nobody else's.
    fails(
        &shared.replace("./w", "/w").replace("w}", "/w}").replace("//", "/"),
        "shared-workspace",
        "agents[1].backend.cwd",
        "/w",
        "line 2",
    );
    let third = "  - {id: c, backend: {type: codex, cwd: w-b}}\n";
    let agents = parse(&(shared.to_owned() + third)).file.unwrap().agents;
    assert_eq!(agents[2].cwd.as_deref().unwrap().to_str(), Some("w-b-c"));
}

#[test]
fn execution_mode_and_docker() {
    let docker =
        |more: &str| backend(&format!("type: codex\ncwd: w\ncommand_line_execution_mode: docker\n{more}"));
    let key = |name: &str| format!("{B}.command_line_docker_{name}");
    fine(&docker("command_line_docker_network_mode: bridge"));
    fails(&docker(""), "missing-key", &key("network_mode"), "type: codex", "required for codex");
    for bad in ["none", "host"] {
        let text = docker(&format!("command_line_docker_network_mode: {bad}"));
        fails(&text, "bad-network-mode", &key("network_mode"), bad, "only `bridge`");
    }
    let text = docker("command_line_docker_network_mode: bogus");
    fails(&text, "bad-network-mode", &key("network_mode"), "bogus", "none, bridge, host");
    let claude = "type: claude_code\ncwd: w\ncommand_line_execution_mode: docker";
    fails(
        &backend(claude),
        "missing-key",
        &key("network_mode"),
        "type: claude_code",
        "required for claude_code",
    );
    fine(&backend(&format!("{claude}\ncommand_line_docker_network_mode: none")));
    warns(
        &backend(&format!("{claude}\ncommand_line_docker_network_mode: host")),
        "weaker-sandbox",
        &key("network_mode"),
        "host",
    );
    let text = backend(&format!("{claude}\ncommand_line_docker_network_mode: host\negress: {{allow: []}}"));
    let parsed = parse(&text);
    assert_eq!(errors(&parsed)[0].reason, "conflict");
    let file = fine(&backend("type: command\ncommand: [ls]\ncommand_line_execution_mode: docker"));
    assert_eq!(file.agents[0].docker.network, cordon_policy::NetworkMode::None);

    let mode = |mode: &str| backend(&format!("type: codex\ncwd: w\ncommand_line_execution_mode: {mode}"));
    warns(&mode("srt"), "other-mode", &format!("{B}.command_line_execution_mode"), "local sandbox");
    fails(
        &mode("podman"),
        "bad-value",
        &format!("{B}.command_line_execution_mode"),
        "podman",
        "docker, local",
    );

    let bridge =
        |more: &str| docker(&format!("command_line_docker_network_mode: bridge\ncommand_line_docker_{more}"));
    assert_eq!(fine(&bridge("memory_limit: 2g")).agents[0].docker.memory_bytes, Some(2 << 30));
    assert_eq!(fine(&bridge("memory_limit: 8388608")).agents[0].docker.memory_bytes, Some(8 << 20));
    fails(&bridge("memory_limit: 2x"), "bad-value", &key("memory_limit"), "2x", "512m or 2g");
    fails(&bridge("memory_limit: 5m"), "bad-value", &key("memory_limit"), "5m", "out of range");
    fails(&bridge("memory_limit: [1]"), "wrong-type", &key("memory_limit"), "[1]", "found a list");
    assert_eq!(fine(&bridge("cpu_limit: 1.5")).agents[0].docker.cpus, Some(1.5));
    assert_eq!(fine(&bridge("cpu_limit: ${N}")).agents[0].docker.cpus, Some(7.0));
    fails(&bridge("cpu_limit: 0"), "bad-value", &key("cpu_limit"), "0", "cores");
    fails(&bridge("cpu_limit: .inf"), "wrong-type", &key("cpu_limit"), ".inf", "a number");
    fails(&bridge("cpu_limit: two"), "wrong-type", &key("cpu_limit"), "two", "expected a number, found text");
    fails(&bridge("image: --privileged"), "bad-value", &key("image"), "--privileged", "image");
    fails(
        &bridge("netwrk_mode: none"),
        "unknown-key",
        &key("netwrk_mode"),
        "command_line_docker_netwrk_mode",
        "network_mode",
    );
    warns(&bridge("enable_sudo: true"), "weaker-sandbox", &key("enable_sudo"), "root");
    fails(
        &backend("type: codex\ncwd: w\ncommand_line_docker_enable_sudo: true"),
        "conflict",
        &key("enable_sudo"),
        "true",
        "local",
    );
    fine(&backend("type: codex\ncwd: w\ncommand_line_docker_image: x"));
    warns(
        &backend("type: codex\ncwd: w\ncommand_line_docker_network_mode: host"),
        "no-effect",
        &key("network_mode"),
        "docker only",
    );
}

#[test]
fn what_a_writable_context_path_is() {
    use cordon_config::{DriftPolicy, WriteMode};
    let file = |coordination: &str, entry: &str| {
        format!(
            "{}orchestrator:\n  coordination: {{{coordination}}}\n  context_paths: [{{path: /p{entry}}}]\n",
            backend("type: codex\ncwd: w\ncontext_paths: [{path: /q, permission: write}]")
        )
    };
    let modes = |coordination: &str, entry: &str| {
        let file = fine(&file(coordination, entry));
        file.agents[0].context_paths.iter().map(|c| c.write_mode).collect::<Vec<_>>()
    };
    let (staged, legacy) = (WriteMode::Staged, WriteMode::Legacy);
    let write = ", permission: write";
    assert_eq!(modes("", write), [staged, staged]);
    assert_eq!(modes("write_mode: auto", write), [staged, staged]);
    assert_eq!(modes("write_mode: isolated", write), [staged, staged]);
    assert_eq!(modes("write_mode: legacy", write), [legacy, legacy]);
    assert_eq!(modes("write_mode: legacy", &format!("{write}, write_mode: isolated")), [staged, legacy]);
    assert_eq!(modes("", &format!("{write}, write_mode: legacy")), [legacy, staged]);
    let worktree = file("write_mode: worktree", write);
    warns(&worktree, "other-mode", "orchestrator.coordination.write_mode", "no git worktree");
    assert_eq!(parse(&worktree).file.unwrap().agents[0].context_paths[0].write_mode, staged);
    let key = "orchestrator.context_paths[0].write_mode";
    warns(&file("", ", write_mode: legacy"), "no-effect", key, "only read");
    fails(&file("", &format!("{write}, write_mode: git")), "bad-value", key, "git", "legacy");
    for policy in [DriftPolicy::Skip, DriftPolicy::Ours, DriftPolicy::Merge, DriftPolicy::Fail] {
        let file = fine(&file(&format!("drift_conflict_policy: {}", policy.name()), write));
        assert_eq!(file.drift, Some(policy));
    }
    let presenter = file("drift_conflict_policy: prefer_presenter", write);
    let key = "orchestrator.coordination.drift_conflict_policy";
    warns(&presenter, "other-policy", key, "never overwritten");
    assert_eq!(parse(&presenter).file.unwrap().drift, Some(DriftPolicy::Merge));
    assert_eq!(fine(&file("", write)).drift, None);
    // Two words about one path, in two places.
    let twice = format!(
        "{}orchestrator:\n  context_paths: [{{path: /q, permission: write, write_mode: legacy}}]\n",
        backend("type: codex\ncwd: w\ncontext_paths: [{path: /q, permission: write}]")
    );
    warns(&twice, "contradictory-path", "agents[0].backend.context_paths[0]", "something else");
}

#[test]
fn context_paths() {
    let with = |entry: &str| backend(&format!("type: codex\ncwd: w\ncontext_paths:\n  - {entry}"));
    let key = |name: &str| format!("{B}.context_paths[0].{name}");
    let file = fine(&with(
        "{path: ./src/, permission: write, protected_paths: [./a, /project/src/b], allow: [.vscode]}",
    ));
    let context = &file.agents[0].context_paths[0];
    assert_eq!(context.path.to_str(), Some("/project/src"));
    assert!(context.write);
    assert_eq!(
        context.protected.iter().map(|p| p.path.to_str().unwrap()).collect::<Vec<_>>(),
        ["a", "/project/src/b"]
    );
    assert_eq!(context.allow.iter().map(|p| p.to_str().unwrap()).collect::<Vec<_>>(), [".vscode"]);
    assert_eq!(
        (context.place.line, context.place.column, context.place.file.as_str()),
        (7, 18, "agent.yaml")
    );
    assert!(!fine(&with("path: /srv")).agents[0].context_paths[0].write);
    assert_eq!(fine(&with("path: ~/src")).agents[0].context_paths[0].path.to_str(), Some("/home/user/src"));
    assert_eq!(
        fine(&backend("type: codex\ncwd: /w\ncontext_paths: [{path: '${cwd}/src'}]")).agents[0].context_paths
            [0]
        .path
        .to_str(),
        Some("/w/src")
    );

    fails(&with("path: missing"), "path-missing", &key("path"), "missing", "/project/missing");
    fails(&with("permission: read"), "missing-key", &key("path"), "permission: read", "no `path`");
    fails(&with("{path: src, permission: rw}"), "bad-value", &key("permission"), "rw", "none of read, write");
    fails(
        &with("{path: src, protected_paths: [../x]}"),
        "bad-value",
        &key("protected_paths[0]"),
        "../x",
        "`..`",
    );
    fails(
        &with("{path: src, protected_paths: [/etc]}"),
        "bad-value",
        &key("protected_paths[0]"),
        "/etc",
        "outside",
    );
    fails(
        &with("{path: src, protected_paths: [/project/srcx]}"),
        "bad-value",
        &key("protected_paths[0]"),
        "/project/srcx",
        "outside",
    );
    fails(&with("{path: src, protected_paths: [.]}"), "bad-value", &key("protected_paths[0]"), ".", "itself");
    fails(&with("{path: src, allow: [a/../../b]}"), "bad-value", &key("allow[0]"), "a/../../b", "`..`");
    fails(
        &with("{path: src, mode: ro}"),
        "unknown-key",
        &key("mode"),
        "mode",
        "known here: path, permission",
    );
    fails(&with("path: /"), "bad-value", &key("path"), "/", "whole machine");
    fails(&with("path: ~root/x"), "bad-value", &key("path"), "~root/x", "another user");
    fails(&with("src"), "wrong-type", &format!("{B}.context_paths[0]"), "src", "expected a map");
    let twice = backend("type: codex\ncwd: w\ncontext_paths: [{path: src}, {path: ./src}]");
    fails(&twice, "duplicate-path", &format!("{B}.context_paths[1]"), "{path: ./src}", "line 6");
}

#[test]
fn the_orchestrators_context_paths_win() {
    let text = "orchestrator: {context_paths: [{path: a, permission: read}]}\n".to_owned()
        + &backend(
            "type: codex\ncwd: w\ncontext_paths: [{path: ./a, permission: write}, {path: b, permission: write}]",
        );
    let key = format!("{B}.context_paths[0]");
    warns(&text, "contradictory-path", &key, "something else of the same path on line 1");
    // Nothing is said where both say the same.
    fine(&text.replace("path: ./a, permission: write", "path: ./a"));
    let file = parse(&text).file.unwrap();
    let got: Vec<_> = file.agents[0]
        .context_paths
        .iter()
        .map(|c| (c.path.to_str().unwrap(), c.write, c.place.line))
        .collect();
    assert_eq!(got, [("/project/a", false, 1), ("/project/b", true, 7)]);
}

#[test]
fn values() {
    let with = |line: &str| backend(&format!("type: codex\ncwd: w\n{line}"));
    fails(&with("base_url: localhost:80"), "bad-value", &format!("{B}.base_url"), "localhost:80", "https://");
    fails(
        &with("model_reasoning_effort: hihg"),
        "bad-value",
        &format!("{B}.model_reasoning_effort"),
        "hihg",
        "did you mean `high`?",
    );
    warns(
        &with("model_reasoning_effort: low\nreasoning: {effort: high}"),
        "conflict",
        &format!("{B}.reasoning.effort"),
        "wins",
    );
    assert_eq!(
        fine(&with("reasoning: {effort: xhigh}")).agents[0].effort,
        Some(cordon_config::Effort::XHigh)
    );
    warns(&with("reasoning: {summary: auto}"), "no-effect", &format!("{B}.reasoning.summary"), "thoughts");
    for bad in ["none", "minimal", "max"] {
        let key = format!("{B}.reasoning.effort");
        fails(&with(&format!("reasoning: {{effort: {bad}}}")), "bad-value", &key, bad, "low, medium, high");
    }
    fails(&with("reasoning: true"), "unsupported-key", &format!("{B}.reasoning"), "true", "reasoning.effort");
    fails(
        &with("egress: {allow: ['a b']}"),
        "bad-value",
        &format!("{B}.egress.allow[0]"),
        "'a b'",
        "no host rule",
    );
    fails(
        &with("egress: {allow: ['*.test']}"),
        "bad-value",
        &format!("{B}.egress.allow[0]"),
        "'*.test'",
        "two labels",
    );
    fails(&with("egress: {}"), "missing-key", &format!("{B}.egress.allow"), "{}", "no `allow`");
    fails(&with("egress:"), "wrong-type", &format!("{B}.egress"), "egress", "expected a map");
    assert_eq!(fine(&with("egress: {allow: []}")).agents[0].egress, Some(vec![]));
    assert_eq!(fine(&with("model: x")).agents[0].egress, None);
    let both =
        with("egress: {allow: []}").replace("    backend:", "    egress: {allow: [a.test]}\n    backend:");
    fails(&both, "conflict", &format!("{B}.egress"), "{allow: []}", "beside `backend`");
    fails(&with("env: {1A: x}"), "bad-value", &format!("{B}.env.1A"), "x", "no name");
    fails(&with("env: {HOME: x}"), "conflict", &format!("{B}.env.HOME"), "x", "Cordon itself");
    fails(&with("env: {A: [x]}"), "wrong-type", &format!("{B}.env.A"), "[x]", "found a list");
    fails(&with("env: {A: \"x\\0y\"}"), "bad-value", &format!("{B}.env.A"), "\"x\\0y\"", "NUL");
    let env = &fine(&with("env: {A: 1.20, B: true, C: '${N}'}")).agents[0].env;
    assert_eq!(env.values().collect::<Vec<_>>(), ["1.20", "true", "7"]);
}

#[test]
fn steps_and_commands() {
    let steps = |steps: &str| backend(&format!("type: replay\nsteps: {steps}"));
    let key = |n: &str| format!("{B}.steps{n}");
    fails(&steps("[]"), "bad-value", &key(""), "[]", "empty");
    fails(&steps("[{}]"), "bad-value", &key("[0]"), "{}", "does nothing");
    fails(&steps("[{exec: []}]"), "bad-value", &key("[0].exec"), "[]", "no program");
    fails(&steps("[{exec: ls -la}]"), "wrong-type", &key("[0].exec"), "ls -la", "expected a list");
    fails(&steps("[{read: a, say: b}]"), "conflict", &key("[0]"), "{read: a, say: b}", "one thing");
    fails(
        &steps("[{write: {path: a}}]"),
        "missing-key",
        &key("[0].write.content"),
        "{path: a}",
        "no `content`",
    );
    fails(&steps("[{run: a}]"), "unknown-key", &key("[0].run"), "run", "exec, read, write, say");
    let command = |command: &str| backend(&format!("type: command\ncommand: {command}"));
    fails(&command("make test"), "wrong-type", &format!("{B}.command"), "make test", "expected a list");
    assert_eq!(fine(&command("[head, -n, 5]")).agents[0].command, ["head", "-n", "5"]);
}

#[test]
fn timeouts() {
    let with = |line: &str| backend("type: codex\ncwd: w") + "timeout_settings:\n  " + line + "\n";
    let defaults = fine(&backend("type: codex\ncwd: w")).timeouts;
    let seconds = |d: std::time::Duration| d.as_secs();
    assert_eq!((seconds(defaults.run), seconds(defaults.grace), seconds(defaults.idle)), (1800, 10, 300));
    assert_eq!(defaults.turn, None);
    assert_eq!(fine(&with("idle_timeout_seconds: 0.5")).timeouts.idle.as_millis(), 500);
    assert_eq!(fine(&with("initial_round_timeout_seconds: null")).timeouts.turn, None);
    for bad in ["0", "-1", "1e300"] {
        let key = "timeout_settings.orchestrator_timeout_seconds";
        fails(&with(&format!("orchestrator_timeout_seconds: {bad}")), "bad-value", key, bad, "more than 0");
    }
    fails(&with("idle: 3"), "unknown-key", "timeout_settings.idle", "idle", "idle_timeout_seconds");
    warns(
        &with("subsequent_round_timeout_seconds: 9"),
        "ignored-key",
        "timeout_settings.subsequent_round_timeout_seconds",
        "one round",
    );
}

#[test]
fn all_problems_come_at_once_and_in_order() {
    let text = "agents:\n  - id: ../x\n    backend: {type: codx, bogus: 1, cwd: ..}\n  - id: b\n    backend: {type: codex}\ntimeout_settings: {idle_timeout_seconds: no}\n";
    let parsed = parse(text);
    let found: Vec<_> = errors(&parsed).iter().map(|p| (p.line, p.reason)).collect();
    assert_eq!(
        found,
        [
            (2, "bad-id"),
            (3, "unknown-backend"),
            (3, "unknown-key"),
            (3, "bad-value"),
            (5, "missing-key"),
            (6, "wrong-type"),
        ]
    );
}
