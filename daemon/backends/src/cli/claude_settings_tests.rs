use super::*;
use crate::testing::context;
use cordon_config::BackendKind;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

fn set(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|n| (*n).to_owned()).collect()
}

fn stdio(name: &str, allowed: Option<&[&str]>, excluded: &[&str]) -> Server {
    Server {
        name: name.into(),
        reach: Reach::Stdio {
            command: "node".into(),
            args: vec!["s.js".into()],
            env: BTreeMap::from([("A".to_owned(), "b".to_owned())]),
            cwd: None,
        },
        ready_within: Duration::from_secs(5),
        call_within: Duration::from_secs(300),
        allowed: allowed.map(set),
        excluded: set(excluded),
    }
}

fn here() -> Context {
    context(BackendKind::ClaudeCode, Path::new("/nowhere"))
}

fn file<'a>(seeds: &'a [SeedFile], name: &str) -> Option<&'a [u8]> {
    seeds.iter().find(|s| s.path == Path::new(name)).map(|s| s.content.as_slice())
}

#[test]
fn modes_and_filters_become_arguments() {
    let mut context = here();
    assert_eq!(
        arguments(&context, &[]),
        ["--dangerously-skip-permissions", "--disallowedTools=WebSearch", "--disallowedTools=WebFetch"]
    );
    context.agent.program.web_search = Some(true);
    context.agent.program.permission_mode = Some(PermissionMode::AcceptEdits);
    context.agent.program.disallowed = vec!["Bash(rm *)".into()];
    let servers = [stdio("one", Some(&["a"]), &["c"]), stdio("two", None, &[])];
    assert_eq!(
        arguments(&context, &servers),
        [
            "--permission-mode=acceptEdits",
            "--mcp-config=/home/agent/.claude/cordon-mcp.json",
            "--settings=/home/agent/.claude/cordon-settings.json",
            "--disallowedTools=Bash(rm *)",
            "--disallowedTools=mcp__one__c",
            "--allowedTools=mcp__one__a",
        ]
    );
    let waits: Vec<_> = environment(&servers).into_iter().map(|(n, v)| format!("{n}={v}")).collect();
    assert_eq!(waits, ["MCP_TIMEOUT=5000", "MCP_TOOL_TIMEOUT=300000"]);
}

#[test]
fn servers_stand_in_a_file_and_nothing_of_them_in_an_argument() {
    let http = Server {
        reach: Reach::Http {
            url: "https://h.test/mcp?key=secret-one".into(),
            headers: BTreeMap::from([("X-Key".to_owned(), "secret-two".to_owned())]),
        },
        ..stdio("web", None, &[])
    };
    let servers = [stdio("one", None, &[]), http];
    let seeds = seeds(&here(), &servers).unwrap();
    let told: Value = serde_json::from_slice(file(&seeds, SERVERS).unwrap()).unwrap();
    assert_eq!(
        told["mcpServers"],
        json!({
            "one": { "type": "stdio", "command": "node", "args": ["s.js"], "env": { "A": "b" } },
            "web": {
                "type": "http", "url": "https://h.test/mcp?key=secret-one", "headers": { "X-Key": "secret-two" }
            },
        })
    );
    assert!(file(&seeds, SETTINGS).is_none());
    assert!(!arguments(&here(), &servers).join(" ").contains("secret"));
    let mut odd = stdio("one", None, &[]);
    odd.reach =
        Reach::Stdio { command: "x".into(), args: vec!["${HOME}".into()], env: BTreeMap::new(), cwd: None };
    assert!(super::seeds(&here(), &[odd]).unwrap_err().to_string().contains("replaces ${NAME}"));
}

#[test]
fn a_list_of_the_only_tools_is_a_hook_before_all_others() {
    let seeds =
        seeds(&here(), &[stdio("one", Some(&["a.b", "c"]), &[]), stdio("none", Some(&[]), &[])]).unwrap();
    let told: Value = serde_json::from_slice(file(&seeds, SETTINGS).unwrap()).unwrap();
    let hooks = &told["hooks"]["PreToolUse"];
    assert_eq!(hooks[0]["matcher"], r"^mcp__one__(?!(?:a\.b|c)$).*$");
    assert_eq!(hooks[1]["matcher"], "^mcp__none__.*$");
    let mut trusted = here();
    trusted.agent.program.trust_repository = true;
    let seeds = super::seeds(&trusted, &[]).unwrap();
    assert_eq!(file(&seeds, SETTINGS), Some(&br#"{"enableAllProjectMcpServers":true}"#[..]));
}

proptest! {
    #[test]
    fn an_escaped_text_is_that_text(text in "[ -~]{0,20}") {
        let pattern = regex_syntax_of(&escaped(&text));
        prop_assert_eq!(pattern, text);
    }
}

/// The text of a pattern in which every special character is escaped.
fn regex_syntax_of(pattern: &str) -> String {
    let mut out = String::new();
    let mut chars = pattern.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => out.extend(chars.next()),
            c => {
                assert!(c.is_ascii_alphanumeric() || c == '_' || c == '-', "{c} stands unescaped");
                out.push(c);
            }
        }
    }
    out
}
