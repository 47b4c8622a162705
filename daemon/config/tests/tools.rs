//! The keys of tools and MCP servers: what they become, and every rule with the key it
//! names and the place it marks.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use common::{errors, parse, warnings};
use cordon_config::{McpTransport, ToolOptions};
use std::{path::Path, time::Duration};

fn file(lines: &str) -> String {
    let mut text = "agents:\n  - id: a\n    backend:\n      type: command\n      command: [ls]\n".to_owned();
    for line in lines.lines() {
        text.push_str(&format!("      {line}\n"));
    }
    text
}

#[track_caller]
fn tools(lines: &str) -> ToolOptions {
    let parsed = parse(&file(lines));
    assert_eq!(parsed.problems, [], "{lines}");
    parsed.file.unwrap().agents.remove(0).tools
}

#[track_caller]
fn fails(lines: &str, reason: &str, key: &str, words: &str) {
    let text = file(lines);
    let parsed = parse(&text);
    let errors = errors(&parsed);
    assert_eq!(errors.len(), 1, "{lines}\n{errors:#?}");
    let problem = errors[0];
    let expected = format!("agents[0].backend.{key}");
    assert_eq!((problem.reason, problem.key.as_str()), (reason, expected.as_str()), "{problem:#?}");
    assert!(format!("{} {}", problem.message, problem.help).contains(words), "{problem:#?}");
    // The key's own line, not that of the agent.
    assert!(problem.line > 5 && problem.column > 6, "{problem:#?}");
    // What is secret is masked, and long lines are cut.
    let line = text.lines().nth(problem.line as usize - 1).unwrap();
    assert!(problem.excerpt.starts_with(line) || problem.excerpt.contains('*'), "{problem:#?}");
}

#[test]
fn what_is_absent_has_its_default() {
    assert_eq!(tools(""), ToolOptions::default());
    assert!(ToolOptions::default().read_before_delete);
}

#[test]
fn switches_lists_and_patterns_arrive() {
    let found = tools(
        "enforce_read_before_delete: false\nexclude_file_operation_mcps: true\nallowed_tools: [write_file]\n\
         exclude_tools: [mcp__x__y, execute_command]\ncommand_line_allowed_commands: ['git (status|diff)', ls]\n\
         command_line_blocked_commands: ['rm\\b']",
    );
    assert!(!found.read_before_delete && found.only_writing_file_tools);
    assert_eq!(found.allowed.unwrap(), ["write_file"]);
    assert_eq!(found.excluded, ["mcp__x__y", "execute_command"]);
    assert_eq!(found.allowed_commands, ["git (status|diff)", "ls"]);
    assert_eq!(found.blocked_commands, ["rm\\b"]);
    assert_eq!(tools("allowed_tools: []").allowed, Some(Vec::new()), "none is not any");
}

#[test]
fn bad_switches_lists_and_patterns_are_marked() {
    let pattern = "command_line_allowed_commands";
    fails("enforce_read_before_delete: maybe", "wrong-type", "enforce_read_before_delete", "true or false");
    fails("exclude_file_operation_mcps: 1", "wrong-type", "exclude_file_operation_mcps", "true or false");
    fails("allowed_tools: ls", "wrong-type", "allowed_tools", "a list");
    fails("exclude_tools: [a, 'b c']", "bad-value", "exclude_tools[1]", "name of a tool");
    fails(&format!("{pattern}: [ls, 'git (']"), "bad-value", &format!("{pattern}[1]"), "unclosed group");
    fails(&format!("{pattern}: ['a{{1000000}}']"), "bad-value", &format!("{pattern}[0]"), "regular");
    fails(
        "command_line_blocked_commands: ['(?=look)']",
        "bad-value",
        "command_line_blocked_commands[0]",
        "look-around",
    );
    let parsed = parse(&file("command_line_blocked_commands: []"));
    assert_eq!(warnings(&parsed)[0].reason, "no-effect");
}

#[test]
fn servers_come_as_a_list_or_as_a_map() {
    let list = "mcp_servers:\n  - name: one\n    command: node server.js\n    args: [--port, 8]\n    \
                env: {MODE: fast, N: 7}\n    cwd: sub/dir\n    allowed_tools: [a]\n    exclude_tools: [b]\n    \
                timeout: 5\n    description: first\n  - name: two\n    type: streamable-http\n    \
                url: https://mcp.example.test/v1?key=x\n    headers: {Authorization: 'Bearer ${KEY}'}";
    let map = list.replace("  - name: one\n    command", "  one:\n    command");
    let map = map.replace("  - name: two\n    type: streamable-http", "  two:\n    type: http");
    for text in [list, &map] {
        let found = tools(text).servers;
        assert_eq!(found.iter().map(|s| s.name.as_str()).collect::<Vec<_>>(), ["one", "two"]);
        assert_eq!(found[0].ready_within, Duration::from_secs(5));
        assert_eq!(found[0].allowed.as_deref(), Some(&["a".to_owned()][..]));
        assert_eq!(found[0].excluded, ["b"]);
        let McpTransport::Stdio { argv, env, cwd } = &found[0].transport else { panic!() };
        assert_eq!(argv, &["node", "server.js", "--port", "8"]);
        assert_eq!(env["N"].reveal(), "7");
        assert_eq!(cwd.as_deref(), Some(Path::new("sub/dir")));
        let McpTransport::Http { url, headers, call_within, allow_localhost, allow_private } =
            &found[1].transport
        else {
            panic!()
        };
        assert_eq!(url.reveal(), "https://mcp.example.test/v1?key=x");
        assert_eq!(headers["Authorization"].reveal(), "Bearer key-from-outside");
        assert_eq!(*call_within, Duration::from_secs(300));
        assert!(!allow_localhost && !allow_private);
        assert_eq!(found[1].ready_within, Duration::from_secs(30));
    }
    let options = tools(list);
    assert_eq!(options.secrets().collect::<Vec<_>>(), ["key-from-outside"], "the word Bearer is none");
    assert!(!format!("{options:?}").contains("key-from-outside"));
}

#[test]
fn any_program_may_be_named_because_it_runs_inside() {
    for command in ["/opt/my-server", "bash -c x", "[curl, '-d', '$(id) ; | &', x]", "./server"] {
        let found = tools(&format!("mcp_servers: {{x: {{command: {command}}}}}"));
        assert!(matches!(found.servers[0].transport, McpTransport::Stdio { .. }), "{command}");
    }
}

#[test]
fn servers_with_mistakes_are_marked() {
    let one = |rest: &str| format!("mcp_servers:\n  - {{{rest}}}");
    let at = |key: &str| format!("mcp_servers[0]{key}");
    fails("mcp_servers: 7", "wrong-type", "mcp_servers", "a list or a map");
    fails(&one("command: ls"), "missing-key", &at(".name"), "mcp__NAME__TOOL");
    fails(&one("name: x"), "missing-key", &at(".command"), "command");
    fails(&one("name: x, comand: y, command: z"), "unknown-key", &at(".comand"), "command");
    fails(&one("name: a__b, command: ls"), "bad-id", &at(".name"), "no `__`");
    fails(&one("name: ../x, command: ls"), "bad-id", &at(".name"), "letters");
    fails(
        "mcp_servers: {x: {name: y, command: ls}}",
        "conflict",
        "mcp_servers.x.name",
        "the key is the name",
    );
    fails(
        "mcp_servers:\n  - {name: x, command: ls}\n  - {name: x, command: ls}",
        "duplicate-id",
        "mcp_servers[1]",
        "already",
    );
    fails(
        &one("name: x, type: sse, url: 'https://a.test'"),
        "not-supported-yet",
        &at(".type"),
        "streamable-http",
    );
    fails(&one("name: x, type: pipe, command: ls"), "bad-value", &at(".type"), "stdio");
    fails(&one("name: x, command: 'bash -c \"a b\"'"), "bad-value", &at(".command"), "as a list");
    fails(&one("name: x, command: []"), "bad-value", &at(".command"), "no program");
    fails(&one("name: x, command: ls, cwd: ../up"), "bad-value", &at(".cwd"), "..");
    fails(&one("name: x, command: ls, url: 'https://a.test'"), "conflict", &at(".url"), "streamable-http");
    fails(&one("name: x, command: ls, env: {LD-X: y}"), "bad-value", &at(".env.LD-X"), "variable");
    fails(&one("name: x, command: ls, timeout: 301"), "bad-value", &at(".timeout"), "300");
    fails(
        &one("name: x, command: ls, env: {K: '${UNSET_ONE}'}"),
        "unset-variable",
        &at(".env.K"),
        "UNSET_ONE",
    );
}

#[test]
fn urls_lead_outside_unless_they_are_let() {
    let one =
        |url: &str, more: &str| format!("mcp_servers:\n  - {{name: x, type: http, url: '{url}'{more}}}");
    let near = "mcp_servers[0].url";
    for url in ["http://127.0.0.1:8080/mcp", "http://localhost/", "http://[::1]:9/", "http://10.0.0.1/"] {
        fails(&one(url, ""), "not-public", near, "security");
        tools(&one(url, ", security: {allow_private_ips: true}"));
    }
    fails(
        &one("http://169.254.169.254/", ", security: {allow_localhost: true}"),
        "not-public",
        near,
        "private",
    );
    tools(&one("http://127.0.0.1:8080/mcp", ", security: {allow_localhost: true}"));
    tools(&format!("{}\negress: {{allow: ['127.0.0.1:8080']}}", one("http://127.0.0.1:8080/mcp", "")));
    fails(&one("https://a.test:22/", ""), "bad-value", near, "another service");
    fails(&one("https://u:p@a.test/", ""), "bad-value", near, "password");
    fails(&one("ftp://a.test/", ""), "bad-value", near, "https://");
    fails(&one("https://a.test/#x", ""), "bad-value", near, "fragment");
    let security = ", security: {allowed_hostnames: [b.test]}";
    fails(&one("https://a.test/", security), "conflict", near, "allowed_hostnames");
    tools(&one("https://B.test/", security));
    fails(
        &one("https://a.test/", ", headers: {'a b': c}"),
        "bad-value",
        "mcp_servers[0].headers.a b",
        "name",
    );
    fails(
        &one("https://a.test/", ", headers: {Host: c}"),
        "conflict",
        "mcp_servers[0].headers.Host",
        "itself",
    );
    fails(
        &one("https://a.test/", ", headers: {X: \"a\\nb\"}"),
        "bad-value",
        "mcp_servers[0].headers.X",
        "header",
    );
    let parsed = parse(&file(&one("https://a.test/", ", security: {level: strict}")));
    assert_eq!(warnings(&parsed)[0].reason, "ignored-key");
}
