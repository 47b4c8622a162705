//! What an agent file says to a CLI program and about its container: what it becomes, and every
//! rule with the key it names.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use common::{errors, parse, parse_as, warnings};
use cordon_config::{Agent, CredentialMount, ENV_FILE, ENVIRONMENT, PermissionMode, Runtime};
use std::{path::Path, time::Duration};

fn file(kind: &str, lines: &str) -> String {
    let mut text = format!("agents:\n  - id: a\n    backend:\n      type: {kind}\n      cwd: w\n");
    if kind == "command" {
        text.push_str("      command: [ls]\n");
    }
    if kind == "replay" {
        text.push_str("      steps: [{say: hi}]\n");
    }
    for line in lines.lines() {
        text.push_str(&format!("      {line}\n"));
    }
    text
}

#[track_caller]
fn agent(kind: &str, lines: &str) -> Agent {
    let parsed = parse(&file(kind, lines));
    assert_eq!(parsed.problems, [], "{lines}");
    parsed.file.unwrap().agents.remove(0)
}

#[track_caller]
fn fails(kind: &str, lines: &str, reason: &str, key: &str, words: &str) {
    let parsed = parse(&file(kind, lines));
    let errors = errors(&parsed);
    assert_eq!(errors.len(), 1, "{lines}\n{errors:#?}");
    let key = format!("agents[0].backend{key}");
    assert_eq!((errors[0].reason, errors[0].key.as_str()), (reason, key.as_str()), "{errors:#?}");
    assert!(format!("{} {}", errors[0].message, errors[0].help).contains(words), "{errors:#?}");
}

#[track_caller]
fn warns(kind: &str, lines: &str, reason: &str, words: &str) -> Agent {
    let parsed = parse(&file(kind, lines));
    let found = warnings(&parsed);
    assert_eq!(found.len(), 1, "{lines}\n{:#?}", parsed.problems);
    assert_eq!(found[0].reason, reason, "{found:#?}");
    assert!(format!("{} {}", found[0].message, found[0].help).contains(words), "{found:#?}");
    parsed.file.unwrap().agents.remove(0)
}

#[test]
fn what_a_program_is_told_arrives() {
    let none = agent("claude_code", "").program;
    assert_eq!(none, cordon_config::ProgramOptions::default());
    let told = agent(
        "claude_code",
        "enable_web_search: true\ntimeout: 90\ndisallowed_tools: [WebFetch, 'Bash(rm *)']\n\
         permission_mode: plan\ncli_path: ~/bin/claude\ntrust_repository: true\nenable_mcp_command_line: true",
    );
    assert_eq!(told.program.web_search, Some(true));
    assert_eq!(told.program.timeout, Some(Duration::from_secs(90)));
    assert_eq!(told.program.disallowed, ["WebFetch", "Bash(rm *)"]);
    assert_eq!(told.program.permission_mode, Some(PermissionMode::Plan));
    assert_eq!(told.program.path.as_deref(), Some(Path::new("/home/user/bin/claude")));
    assert!(told.program.trust_repository && told.tools.offer_own);
    for (word, mode) in [
        ("default", PermissionMode::Default),
        ("acceptEdits", PermissionMode::AcceptEdits),
        ("bypassPermissions", PermissionMode::BypassPermissions),
    ] {
        assert_eq!(
            agent("gemini_cli", &format!("permission_mode: {word}")).program.permission_mode,
            Some(mode)
        );
        assert_eq!(mode.name(), word);
    }
}

#[test]
fn what_no_program_can_be_told_is_marked() {
    fails("claude_code", "timeout: 0", "bad-value", ".timeout", "more than 0");
    fails("claude_code", "permission_mode: dontAsk", "bad-value", ".permission_mode", "acceptEdits");
    fails(
        "claude_code",
        "permision_mode: plan",
        "unknown-key",
        ".permision_mode",
        "did you mean `permission_mode`?",
    );
    fails("claude_code", "cli_path: bin/claude", "bad-value", ".cli_path", "no absolute path");
    fails("claude_code", "cli_path: /opt/../claude", "bad-value", ".cli_path", "..");
    for rule in ["''", "'-x'", "'a b'", "'a,b'", "'Bash(x'", "'(x)'", "'a, b(x)'", "\"a\\nb\""] {
        fails(
            "claude_code",
            &format!("disallowed_tools: [{rule}]"),
            "bad-value",
            ".disallowed_tools[0]",
            "Bash(rm *)",
        );
    }
    let docker = "command_line_execution_mode: docker\ncommand_line_docker_network_mode: bridge\ncli_path: /opt/claude";
    assert_eq!(warns("claude_code", docker, "no-effect", "command_line_docker_image").program.path, None);
}

#[test]
fn every_key_that_a_backend_cannot_honour_is_an_error() {
    for (kind, line, words) in [
        ("codex", "disallowed_tools: [x]", "exclude_tools"),
        ("codex", "permission_mode: plan", "bypassPermissions"),
        ("codex", "permission_mode: acceptEdits", "bypassPermissions"),
        ("claude_code", "provider: azure", "codex, copilot and azure_openai"),
        ("command", "model: x", "`command`"),
        ("command", "enable_web_search: true", "`command`"),
        ("command", "cli_path: /bin/ls", "first word"),
        ("command", "trust_repository: true", "take the key out"),
        ("replay", "api_key: ${KEY}", "replay"),
        ("replay", "permission_mode: plan", "replay"),
        ("replay", "enable_mcp_command_line: true", "replay"),
    ] {
        let parsed = parse(&file(kind, line));
        let errors: Vec<_> = errors(&parsed).into_iter().filter(|e| e.reason == "unsupported-key").collect();
        assert_eq!(errors.len(), 1, "{kind} {line} {:#?}", parsed.problems);
        assert!(errors[0].message.starts_with(&format!("{kind} cannot honour ")), "{errors:#?}");
        assert!(errors[0].help.contains(words), "{errors:#?}");
    }
    let text = "agents: [{id: a, system_message: hi, backend: {type: command, command: [ls]}}]";
    assert_eq!(errors(&parse(text))[0].key, "agents[0].system_message");
    // What asks for nothing is fine.
    agent("replay", "enable_web_search: false\ntrust_repository: false\nenable_mcp_command_line: false");
}

#[test]
fn azure_is_chosen_by_a_key_and_never_by_a_variable() {
    let full = "provider: azure\nazure_endpoint: https://r.openai.azure.test/\nazure_deployment: d-1\napi_version: 2025-04-01-preview";
    let azure = agent("codex", full).program.azure.unwrap();
    assert_eq!(azure.endpoint, "https://r.openai.azure.test");
    assert_eq!(
        (azure.deployment.as_deref(), azure.api_version.as_deref()),
        (Some("d-1"), Some("2025-04-01-preview"))
    );
    let azure = agent("copilot", "azure_endpoint: https://r.test\ndeployment_name: d").program.azure.unwrap();
    assert_eq!((azure.deployment.as_deref(), azure.api_version), (Some("d"), None));
    let azure = agent("copilot", "provider: azure\nbase_url: https://b.test/x").program.azure.unwrap();
    assert_eq!(azure.endpoint, "https://b.test/x");

    let text = file("codex", "provider: azure");
    let of = [("AZURE_OPENAI_ENDPOINT", "https://e.test"), ("AZURE_OPENAI_API_VERSION", "v1")];
    let parsed = parse_as("a.yaml", text.as_bytes(), &of);
    let azure = parsed.file.unwrap().agents.remove(0).program.azure.unwrap();
    assert_eq!((azure.endpoint.as_str(), azure.api_version.as_deref()), ("https://e.test", Some("v1")));
    for name in ["AZURE_OPENAI_API_KEY", "AZURE_OPENAI_ENDPOINT", "AZURE_OPENAI_API_VERSION"] {
        assert!(parsed.variables.iter().any(|v| v == name), "{:?}", parsed.variables);
    }
    let parsed = parse_as("a.yaml", file("codex", "").as_bytes(), &of);
    assert!(!parsed.variables.iter().any(|v| v.starts_with("AZURE")));
    assert_eq!(parsed.file.unwrap().agents[0].program.azure, None);

    fails("codex", "provider: azure", "missing-key", ".azure_endpoint", "AZURE_OPENAI_ENDPOINT");
    fails("codex", "api_version: v1", "conflict", ".api_version", "provider: azure");
    fails("codex", "azure_endpoint: r.openai.azure.test", "bad-value", ".azure_endpoint", "https://");
    fails(
        "codex",
        "azure_endpoint: https://r.test\napi_version: 'a&b=c'",
        "bad-value",
        ".api_version",
        "letters",
    );
    fails(
        "codex",
        "azure_endpoint: https://r.test\nazure_deployment: a\ndeployment_name: b",
        "conflict",
        ".deployment_name",
        "take one of them out",
    );
}

const DOCKER: &str = "command_line_execution_mode: docker\ncommand_line_docker_network_mode: bridge\n";

#[test]
fn runtimes_and_packages_arrive_and_hold_in_docker_only() {
    let more = "command_line_docker_runtime: runsc\ncommand_line_docker_packages:\n  preinstall:\n    \
                system: [jq, 'g++']\n    python: [requests, 'numpy >= 2', requests]\n    npm: ['@types/node@22']";
    let docker = agent("codex", &format!("{DOCKER}{more}")).docker;
    assert_eq!(docker.runtime, Runtime::Runsc);
    assert_eq!(docker.packages.system, ["jq", "g++"]);
    assert_eq!(docker.packages.python, ["requests", "numpy>=2"]);
    assert_eq!(docker.packages.npm, ["@types/node@22"]);
    assert!(agent("codex", "").docker.packages.is_empty());
    warns("codex", "command_line_docker_runtime: runsc", "no-effect", "docker");
    warns("codex", "command_line_docker_packages: {preinstall: {npm: [x]}}", "no-effect", "docker");
    let key = ".command_line_docker_packages.preinstall";
    for (list, bad) in [
        ("system", "'jq; reboot'"),
        ("system", "'--reinstall'"),
        ("system", "jq-"),
        ("python", "'-r/etc/passwd'"),
        ("python", "'x @ https://a.test/x.whl'"),
        ("npm", "'git+https://a.test/x'"),
        ("npm", "../x"),
    ] {
        let lines = format!("{DOCKER}command_line_docker_packages: {{preinstall: {{{list}: [{bad}]}}}}");
        fails("codex", &lines, "bad-value", &format!("{key}.{list}[0]"), "no name of a package");
    }
    fails(
        "codex",
        &format!("{DOCKER}command_line_docker_packages: {{preinstall: {{pip: [x]}}}}"),
        "unknown-key",
        &format!("{key}.pip"),
        "npm",
    );
    fails(
        "codex",
        &format!("{DOCKER}command_line_docker_runtime: kata"),
        "bad-value",
        ".command_line_docker_runtime",
        "runsc",
    );
}

#[test]
fn mounts_arrive_read_only_unless_they_say_otherwise() {
    let with = |lines: &str| format!("command_line_docker_credentials:\n  {lines}");
    let found = agent("codex", &with("mount: [ssh_keys, git_config, ssh_keys]")).credentials;
    assert_eq!(found.mounts, [CredentialMount::SshKeys, CredentialMount::GitConfig]);
    let found = agent(
        "command",
        &with("additional_mounts: {/data/in: {bind: /mnt/in}, ~/x: {bind: /mnt/x, mode: ro}}"),
    );
    let found = found.credentials.additional;
    assert_eq!(found.len(), 2);
    assert_eq!(
        (found[0].host.as_path(), found[0].inside.as_path()),
        (Path::new("/data/in"), Path::new("/mnt/in"))
    );
    assert_eq!(found[1].host, Path::new("/home/user/x"));
    assert!(found.iter().all(|m| !m.write));
    let key = ".command_line_docker_credentials";
    let found = warns(
        "command",
        &with("additional_mounts: {./x: {bind: /mnt/x, mode: rw}}"),
        "weaker-sandbox",
        "staged",
    );
    assert!(found.credentials.additional[0].write);
    assert_eq!(found.credentials.additional[0].host, Path::new("/project/x"));
    for (mount, at, words) in [
        ("volume: {bind: /x}", ".volume", "no named volumes"),
        ("/a/../b: {bind: /x}", "./a/../b", "`..`"),
        ("/a: {bind: x}", "./a.bind", "absolute"),
        ("/a: {bind: /}", "./a.bind", "not `/`"),
        ("/a: {bind: /x/../y}", "./a.bind", ".."),
        ("/a: {bind: /x, mode: wr}", "./a.mode", "ro, rw"),
    ] {
        let lines = with(&format!("additional_mounts: {{{mount}}}"));
        fails("codex", &lines, "bad-value", &format!("{key}.additional_mounts{at}"), words);
    }
    fails(
        "codex",
        &with("additional_mounts: {/missing: {bind: /x}}"),
        "path-missing",
        &format!("{key}.additional_mounts./missing"),
        "make it",
    );
    fails(
        "codex",
        &with("additional_mounts: {/a: {}}"),
        "missing-key",
        &format!("{key}.additional_mounts./a.bind"),
        "bind",
    );
    fails("codex", &with("mount: [ssh_key]"), "bad-value", &format!("{key}.mount[0]"), "ssh_keys");
}

#[test]
fn variables_are_asked_for_by_name_and_hidden_by_value() {
    let text = file(
        "codex",
        "command_line_docker_credentials:\n  env_vars: [KEY, N, NOT_THERE]\n  env_file: deploy/agent.env\n  \
         env_vars_from_file: [FROM_FILE, NEITHER]",
    );
    let wanted = format!("{ENV_FILE}deploy/agent.env");
    let told = r#"{"FROM_FILE":"value-of-the-file","OTHER":"left-out"}"#;
    let of = [("KEY", "key-from-outside"), ("N", "7"), (wanted.as_str(), told)];
    let parsed = parse_as("a.yaml", text.as_bytes(), &of);
    assert!(parsed.variables.contains(&wanted), "{:?}", parsed.variables);
    let reasons: Vec<_> = warnings(&parsed).iter().map(|w| (w.reason, w.message.clone())).collect();
    assert_eq!(reasons.len(), 2, "{reasons:?}");
    assert!(reasons.iter().all(|(reason, _)| *reason == "unset-variable"), "{reasons:?}");
    let credentials = parsed.file.unwrap().agents.remove(0).credentials;
    let names: Vec<_> = credentials.variables.keys().map(String::as_str).collect();
    assert_eq!(names, ["FROM_FILE", "KEY", "N"]);
    let hidden: Vec<_> = credentials.secrets.iter().map(|s| s.reveal()).collect();
    assert_eq!(hidden, ["value-of-the-file", "key-from-outside"], "a number hides nothing");
    assert!(!format!("{credentials:?}").contains("from-outside"));

    warns("codex", "command_line_docker_credentials: {env_file: .env}", "path-missing", ".env");
    let key = ".command_line_docker_credentials.env_vars[0]";
    fails("codex", "command_line_docker_credentials: {env_vars: [HOME]}", "conflict", key, "Cordon itself");
    fails("codex", "command_line_docker_credentials: {env_vars: ['A-B']}", "bad-value", key, "letters");
}

#[test]
fn a_whole_environment_is_passed_with_a_warning_that_names_what_is_not() {
    let text = file("codex", "command_line_docker_credentials: {pass_all_env: true}");
    let told = r#"{"EDITOR":"vi","MY_TOKEN":"token-of-mine","PATH":"/bin","HTTPS_PROXY":"http://p","URL":"https://u:secret@h/"}"#;
    let parsed = parse_as("a.yaml", text.as_bytes(), &[(ENVIRONMENT, told)]);
    let found = warnings(&parsed);
    assert_eq!(found.len(), 1, "{found:#?}");
    assert!(found[0].help.contains("HTTPS_PROXY, PATH"), "{found:#?}");
    assert!(parsed.variables.iter().any(|v| v == ENVIRONMENT));
    let credentials = parsed.file.unwrap().agents.remove(0).credentials;
    assert!(credentials.whole_environment);
    assert_eq!(credentials.variables.keys().collect::<Vec<_>>(), ["EDITOR", "MY_TOKEN", "URL"]);
    assert_eq!(credentials.secrets.len(), 2);
    // Nonsense in place of an environment is none.
    let parsed = parse_as("a.yaml", text.as_bytes(), &[(ENVIRONMENT, "[1")]);
    assert!(parsed.file.unwrap().agents[0].credentials.variables.is_empty());
}
