//! References are replaced, names are told, and no value is ever shown.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use common::{errors, parse, parse_as, warnings};

const CODEX: &str = "agent: {id: a, backend: {type: codex, cwd: w, api_key: KEY}}\n";

#[test]
fn a_key_comes_from_a_variable_and_is_not_shown() {
    let parsed = parse(&CODEX.replace("KEY}", "'${KEY}'}"));
    let agent = &parsed.file.as_ref().unwrap().agents[0];
    assert_eq!(agent.api_key.as_ref().unwrap().reveal(), "key-from-outside");
    assert!(!format!("{parsed:?}").contains("key-from-outside"));
    assert_eq!(parsed.problems, []);
}

#[test]
fn the_names_of_variables_are_told_whether_set_or_not() {
    let text = "agent: {id: '${B}', backend: {type: claude_code, cwd: '${A}/x', api_key: '${KEY}'}}\n";
    let parsed = parse(text);
    assert_eq!(
        parsed.variables,
        ["A", "ANTHROPIC_API_KEY", "B", "CLAUDE_CODE_API_KEY", "CLAUDE_CODE_OAUTH_TOKEN", "KEY"]
    );
    let found: Vec<_> =
        errors(&parsed).iter().map(|p| (p.reason, p.key.as_str(), p.message.as_str())).collect();
    assert_eq!(
        found,
        [
            ("unset-variable", "agent.id", "the variable `B` is not set"),
            ("unset-variable", "agent.backend.cwd", "the variable `A` is not set"),
        ]
    );
}

#[test]
fn a_variable_cannot_become_structure() {
    let text =
        "agent: {id: a, system_message: '${EVIL}', backend: {type: codex, cwd: w, env: {A: '${EVIL}'}}}\n";
    let evil = "x}}\nagents: [{id: b}]";
    let parsed = parse_as("a.yaml", text.as_bytes(), &[("EVIL", evil)]);
    let file = parsed.file.unwrap();
    assert_eq!(file.agents.len(), 1);
    assert_eq!(file.agents[0].env["A"], evil);
    assert_eq!(file.agents[0].system_message.as_deref(), Some(evil));
}

#[test]
fn values_of_variables_do_not_show_in_problems() {
    let text = "agent:\n  id: ${KEY}!\n  backend:\n    type: ${KEY}\n    model: -${KEY}\n    cwd: ../${KEY}\n    \
                base_url: ${KEY}\n    command_line_execution_mode: ${KEY}\n    command_line_docker_network_mode: ${KEY}\n    \
                command_line_docker_image: -${KEY}\n    command_line_docker_memory_limit: ${KEY}\n    \
                command_line_docker_cpu_limit: ${KEY}\n    model_reasoning_effort: ${KEY}\n    env: {HOME: '${KEY}'}\n    \
                egress: {allow: ['${KEY} ']}\n    cli_path: ${KEY}\n    azure_endpoint: ${KEY}\n    \
                permission_mode: ${KEY}\n    disallowed_tools: ['${KEY} ']\n    command_line_docker_packages: {preinstall: {npm: ['-${KEY}']}}\n    \
                command_line_docker_credentials: {env_file: '~${KEY}', additional_mounts: {/a: {bind: '${KEY}'}}}\n    context_paths: [{path: 'missing/${KEY}', protected_paths: ['/${KEY}']}]\n";
    let parsed = parse(text);
    assert!(errors(&parsed).len() >= 19, "{:#?}", parsed.problems);
    assert!(!format!("{:?}", parsed.problems).contains("key-from-outside"), "{:#?}", parsed.problems);
}

#[test]
fn a_literal_key_is_masked_wherever_its_line_is_quoted() {
    for text in [
        CODEX.replace("KEY", "hunter2, bogus: 1"),
        CODEX.replace("KEY", "hunter2"),
        "agent:\n  id: a\n  backend:\n    type: codex\n    api_key:\n      hunter2\n".to_owned(),
        "agent:\n  id: a\n  backend:\n    type: codex\n    api_key: [hunter2]\n".to_owned(),
        "agent:\n  id: a\n  backend:\n    type: codex\n    api_key: {x: hunter2}\n".to_owned(),
        "agent:\n  id: a\n  backend:\n    type: codex\n    api_key: >\n      hunter2 x\n".to_owned(),
        "agent:\n  id: a\n  backend:\n    type: codex\n    api_key: 'hunter2\n".to_owned(),
        "agent:\n  id: a\n  backend:\n    api_key: hunter2: x\n".to_owned(),
        "agent:\n  id: a\n  backend: {api_key:\nhunter2 x, type: codex}\n".to_owned(),
        "api_key: &a hunter2\nagent: {id: *a, backend: *a}\n".to_owned(),
        "agent: {id: a, backend: {type: codex, cwd: w, env: {MY_TOKEN: hunter2}}}\n".to_owned(),
        "agent: {id: a, backend: {type: codex, cwd: w, mcp_servers: [{name: x, env: {API_KEY: hunter2}}]}}\n"
            .to_owned(),
        "agent: {id: a, backend: {type: codex, cwd: w, mcp_servers: [{name: x, type: http, headers: {X-Odd: hunter2}}]}}\n"
            .to_owned(),
        "agent: {id: a, backend: {type: codex, cwd: w, mcp_servers: [{name: x, type: http, headers:\n  {Authorization: Bearer hunter2, Host: hunter2}}]}}\n"
            .to_owned(),
    ] {
        let parsed = parse(&text);
        assert!(!parsed.problems.is_empty(), "{text}");
        for problem in &parsed.problems {
            assert!(!format!("{problem:?}").contains("hunter2"), "{text}\n{problem:#?}");
        }
    }
}

#[test]
fn keys_with_a_known_form_are_masked_under_any_name() {
    let key = "sk-proj-abcdefghijklmnop";
    for text in [
        format!("agent: {{id: a, backend: {{type: codex, cwd: w, modell: {key}}}}}\n"),
        format!("agent: {{id: {key}/, backend: {{type: codex, cwd: w}}}}\n"),
        format!("{key}: x\nagent: {{id: a, backend: {{type: codex, cwd: w}}}}\n"),
    ] {
        let parsed = parse(&text);
        assert!(!errors(&parsed).is_empty());
        assert!(!format!("{:?}", parsed.problems).contains(key), "{:#?}", parsed.problems);
    }
}

#[test]
fn a_literal_key_is_warned_of() {
    let parsed = parse(CODEX);
    assert_eq!(errors(&parsed), Vec::<&cordon_config::Problem>::new());
    assert_eq!(warnings(&parsed)[0].reason, "literal-secret");
}

#[test]
fn a_dollar_keeps_a_reference_as_text() {
    let parsed =
        parse("agent: {id: a, backend: {type: command, command: [sh, -c, 'echo $HOME $${N} ${N}']}}\n");
    assert_eq!(parsed.file.unwrap().agents[0].command[2], "echo $HOME ${N} 7");
}
