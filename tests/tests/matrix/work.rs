//! What an agent does for its user: commands, files, servers, another turn, and being stopped.

use crate::place::{Place, nowhere};
use cordon_proto::v1::{Outcome, event::Kind};
use cordon_tests::{
    harness::{Cli, KEY, More, denials, messages, wait_until},
    provider::{Script, Turn},
};
use std::{
    fs,
    os::unix::fs::MetadataExt as _,
    time::{Duration, Instant},
};

/// A command has its effect, as the agent's user, and is told with what it printed; the key goes to
/// the provider and nowhere else.
pub(crate) fn command(place: &Place<'_>) {
    // Claude Code gives its environment, key and all, to the shells it starts, and keeps what they print in its
    // session: there the values are not asked for. The others keep the key to themselves.
    let look = if place.cli == Cli::ClaudeCode { "env | sed 's/=.*/=/'; exit 3" } else { "env; exit 3" };
    let provider = place.provider(Script::of([
        Turn::shell("echo from-the-agent > hello.txt; id -u; echo out-4''2"),
        Turn::shell(look),
        Turn::text("It is done."),
    ]));
    let (file, ws) = place.file("command", &provider.base_url(), More::default());
    let done = place.run(&file, "please do it");
    let summary = done.expect(Outcome::Success);
    let uid = place.host.agent_uid();

    assert_eq!(fs::read_to_string(ws.join("hello.txt")).unwrap(), "from-the-agent\n");
    assert_eq!(fs::metadata(ws.join("hello.txt")).unwrap().uid(), uid);
    assert!(done.ran.stdout.contains("It is done."), "{}", done.ran.stdout);
    assert!(messages(&done.events).iter().any(|m| m == "It is done."), "{:?}", messages(&done.events));
    let commands = done.commands();
    assert_eq!(commands.len(), 2, "{commands:?}");
    assert!(commands[0].command.contains("hello.txt") && commands[0].status == "completed", "{commands:?}");
    assert!(commands[0].output.contains("out-42"), "{commands:?}");
    assert!(commands[0].output.contains(&uid.to_string()), "somebody else's: {commands:?}");
    // Not every program says how a command ended; one that does says the truth.
    assert!(matches!(commands[1].exit_code, None | Some(3)), "{commands:?}");
    assert!(commands[1].output.contains("PATH="), "{commands:?}");
    let usage = summary.usage.expect("the usage");
    // Anthropic's protocol counts what came from the cache apart, and the others with the rest.
    let input = if place.cli == Cli::ClaudeCode { 360 } else { 300 };
    assert_eq!((usage.input_tokens, usage.cached_input_tokens, usage.output_tokens), (input, 60, 30));
    assert!(summary.files.iter().any(|f| f.path.ends_with(b"hello.txt")), "{:?}", summary.files);

    let requests = provider.requests();
    let asked = |text: &str| requests.iter().any(|r| r.body.to_string().contains(text));
    assert!(asked("please do it") && asked("as the scripted one"), "the model was not told");
    assert_eq!(provider.keys(), [KEY]);
    let shown = &commands[1].output;
    assert!(
        !shown.contains("planted-key") && !shown.contains("[redacted]"),
        "the shell has the key: {shown}"
    );
    assert!(!format!("{:?}", done.events).contains(KEY), "the key is in the journal");
    // Beside this run there are others, which need theirs.
    nowhere(&place.host.path("state"), KEY, "secrets");
    nowhere(&place.host.path("state/runs").join(&done.run.id), KEY, "");
    nowhere(&ws, KEY, "");
    assert!(!place.host.log().contains(KEY), "the key is in the log");
}

/// A file that is made and one that is changed, by the program's own tools, told as such.
pub(crate) fn edit(place: &Place<'_>) {
    let ws = place.host.tree("ws-edit");
    place.host.put(&ws.join("there.txt"), "first\nsecond\nthird\n");
    let path = |name: &str| ws.join(name).display().to_string();
    let provider = place.provider(Script::of([
        Turn::write(path("made.txt"), "made\n"),
        Turn::read(path("there.txt")),
        Turn::edit(path("there.txt"), "second", "changed"),
    ]));
    let (file, _) = place.file("edit", &provider.base_url(), More::default());
    let done = place.run(&file, "x");
    let summary = done.expect(Outcome::Success);
    assert_eq!(fs::read_to_string(ws.join("made.txt")).unwrap(), "made\n");
    assert_eq!(fs::read_to_string(ws.join("there.txt")).unwrap(), "first\nchanged\nthird\n");
    let told = |name: &str| {
        done.kinds().any(|k| matches!(k, Kind::FileChange(f) if f.path.ends_with(name.as_bytes())))
    };
    assert!(told("made.txt") && told("there.txt"), "{:?}", done.events);
    let mut files: Vec<_> = summary
        .files
        .iter()
        .map(|f| (String::from_utf8_lossy(&f.path).rsplit('/').next().unwrap().to_owned(), f.change.clone()))
        .collect();
    files.sort();
    assert_eq!(files, [("made.txt".into(), "added".into()), ("there.txt".into(), "modified".into())]);
}

/// What the sandbox refuses is told with the rule behind it, where that stands, and what would allow it.
pub(crate) fn denial(place: &Place<'_>) {
    // Not below /tmp: inside, that is the agent's own, and a name missing there is no denial.
    let outside = tempfile::tempdir_in("/var/tmp").unwrap();
    let secret = outside.path().join("secret");
    place.host.put(&secret, "token-outside");
    let other = place.host.tree("other-agents-workspace");
    place.host.put(&other.join("plan"), "token-other");
    let shared = place.host.tree("shared");
    place.host.put(&shared.join("notes"), "to read");
    let home = place.host.path("home").join("canary");
    place.host.put(&home, "token-home");
    let notes = shared.join("notes");
    let provider = place.provider(Script::of([
        Turn::shell(format!("cat {}", secret.display())),
        Turn::shell(format!("cat {0}; echo x > {0}", notes.display())),
        Turn::shell("cat /etc/shadow"),
        Turn::shell(format!("cat {} {}/plan; true", home.display(), other.display())),
        Turn::text("I gave up."),
    ]));
    let paths = format!("      context_paths:\n        - path: {}\n", shared.display());
    let (file, _) = place.file("denial", &provider.base_url(), More { backend: &paths, file: "" });
    let done = place.run(&file, "x");
    done.expect(Outcome::Success);
    let denied = denials(&done.events);
    let of = |operation: &str, target: &std::path::Path| {
        let target = target.display().to_string();
        let found = denied.iter().find(|d| d.target == target && d.operation == operation);
        found.unwrap_or_else(|| panic!("no denial to {operation} {target}: {denied:?}"))
    };
    let read = of("read", &secret);
    assert!(read.layer == "mount view" && read.would_allow.contains("context_paths"), "{read:?}");
    let write = of("write", &notes);
    assert!(write.rule.contains("read only") && write.origin.contains("denial.yaml:"), "{write:?}");
    assert!(write.would_allow.contains("permission: write"), "{write:?}");
    of("read", std::path::Path::new("/etc/shadow"));
    let everything = format!("{:?}", done.events);
    for token in ["token-outside", "token-home", "token-other", "root:*", "root:$", "root:!"] {
        assert!(!everything.contains(token), "{token} was read");
    }
    assert!(everything.contains("to read"), "what it may read it can");
    assert_eq!(fs::read_to_string(&notes).unwrap(), "to read");
}

const SERVER: &str = r#"      mcp_servers:
        clock:
          command: [bash, -c]
          args:
            - |
              echo started > server-started.txt
              while IFS= read -r line; do
                id=$(sed -n 's/.*"id":\([0-9]*\).*/\1/p' <<< "$line")
                case $line in
                  *'"initialize"'*) result='{"protocolVersion":"2025-06-18","capabilities":{"tools":{}},"serverInfo":{"name":"clock","version":"1"}}' ;;
                  *'"tools/list"'*) result='{"tools":[{"name":"now","description":"What time it is.","inputSchema":{"type":"object","properties":{"zone":{"type":"string"}}}},{"name":"hidden","description":"Not offered.","inputSchema":{"type":"object"}}]}' ;;
                  *'"tools/call"'*) result='{"content":[{"type":"text","text":"it is tick-47'$((10+1))' for '$(id -u)'"}]}' ;;
                  *) continue ;;
                esac
                printf '{"jsonrpc":"2.0","id":%s,"result":%s}\n' "$id" "$result"
              done
          exclude_tools: [hidden]
"#;

/// A server of the agent file runs inside the sandbox, and its tool is called and told.
pub(crate) fn mcp(place: &Place<'_>) {
    let provider = place.provider(Script::of([
        Turn::mcp("clock", "now", serde_json::json!({"zone": "UTC"})),
        Turn::text("It was told the time."),
    ]));
    let (file, _) = place.file("mcp", &provider.base_url(), More { backend: SERVER, file: "" });
    let done = place.run(&file, "x");
    done.expect(Outcome::Success);
    let told: Vec<_> =
        done.kinds().filter_map(|k| if let Kind::ToolCall(call) = k { Some(call) } else { None }).collect();
    let calls = || told.iter().filter(|call| call.status != "started");
    let call = calls().find(|c| c.name.contains("now")).unwrap_or_else(|| panic!("{:?}", done.events));
    assert_eq!(call.status, "completed", "{call:?}");
    let with = told.iter().any(|c| c.id == call.id && c.arguments.contains("UTC"));
    assert!(call.name.contains("clock") && with, "{told:?}");
    assert!(call.result.contains(&format!("tick-4711 for {}", place.host.agent_uid())), "{call:?}");
    let requests = provider.requests();
    let last = requests.last().unwrap().body.to_string();
    assert!(last.contains("tick-4711"), "the model was not told the result: {last}");
    assert!(
        !requests.iter().any(|r| r.body.to_string().contains("Not offered.")),
        "an excluded tool is offered"
    );
}

/// Another turn goes on with the conversation, in the same home and workspace.
pub(crate) fn resume(place: &Place<'_>) {
    let mut script =
        Script::of([Turn::shell("echo first >> turns.txt; echo kept > ~/kept"), Turn::text("Once.")]);
    script.when.push(cordon_tests::provider::When {
        contains: "second task".into(),
        turns: vec![Turn::shell("echo second >> turns.txt; cat ~/kept"), Turn::text("Twice.")],
    });
    let provider = place.provider(script);
    let (file, ws) = place.file("resume", &provider.base_url(), More::default());
    let first = place.run(&file, "the first task");
    let one = first.expect(Outcome::Success);
    let session = |done: &crate::place::Done| {
        let found =
            done.kinds().find_map(|k| if let Kind::Session(s) = k { Some(s.id.clone()) } else { None });
        found.unwrap_or_else(|| panic!("no session was told: {:?}", done.events))
    };
    let before = provider.requests().len();
    let second = place.finish(&file, &["run", "--resume", &first.run.id, "the second task"]);
    let two = second.expect(Outcome::Success);
    assert_ne!(first.run.id, second.run.id, "a resumed run is a run of its own");
    assert_eq!(session(&first), session(&second), "it is another session");
    assert_eq!(fs::read_to_string(ws.join("turns.txt")).unwrap(), "first\nsecond\n");
    assert!(second.commands().iter().any(|c| c.output.contains("kept")), "{:?}", second.commands());
    // The model was told the whole conversation.
    let asked = provider.requests()[before..].iter().any(|r| {
        let body = r.body.to_string();
        body.contains("the first task") && body.contains("Once.") && body.contains("the second task")
    });
    assert!(asked, "the conversation did not go on");
    // Each turn has its own usage, whatever the program counts.
    let (one, two) = (one.usage.unwrap(), two.usage.unwrap());
    assert_eq!((one.input_tokens, one.output_tokens), (two.input_tokens, two.output_tokens));
    place.nothing_is_left(&second.run.id, &file);
}

/// One that is stopped is cancelled, soon, whatever its exit code says.
pub(crate) fn cancel(place: &Place<'_>) {
    let provider = place.provider(Script::of([Turn::shell("echo begun > begun.txt; sleep 600")]));
    let (file, ws) = place.file("cancel", &provider.base_url(), More::default());
    let mut client = place.client(&["run", file.to_str().unwrap(), "x"]);
    let mut client =
        client.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped()).spawn().unwrap();
    let over = wait_until(Duration::from_secs(60), || {
        fs::read(ws.join("begun.txt")).is_ok() || matches!(client.try_wait(), Ok(Some(_)))
    });
    let running = over && matches!(client.try_wait(), Ok(None));
    assert!(running, "{:?}", client.wait_with_output());
    let run = place.run_of(&file).unwrap();
    let from = Instant::now();
    let _ = place.host.cordon(["stop", &run.id]).expect_code(0);
    let done = place.ended(client, &file);
    let took = from.elapsed();
    done.expect(Outcome::Cancelled);
    // The grace before the end is 10 s, and one that heeds the signal needs none of it.
    let limit = if place.cli == Cli::GeminiCli { 15 } else { 9 };
    assert!(took < Duration::from_secs(limit), "{took:?}");
    place.nothing_is_left(&done.run.id, &file);
}
