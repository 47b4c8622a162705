//! Agents of the real Python package ag2 inside the local wall, with the scripted provider as model.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use cordon_proto::v1::{Outcome, RunState, event::Kind};
use cordon_tests::{
    harness::{Host, KEY, messages, skipped, summary},
    provider::{Provider, Script, Turn, When},
};
use std::path::{Path, PathBuf};

/// The environment that has the package.
fn python() -> PathBuf {
    let own = std::env::var_os("CORDON_TEST_AG2").map(PathBuf::from);
    let venv =
        own.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).with_file_name("build").join("ag2-venv"));
    let python = venv.join("bin/python3");
    assert!(
        python.try_exists().unwrap(),
        "{} is not there: scripts/setup-tests.sh makes it",
        python.display()
    );
    python
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_writes_code_that_runs_inside_and_nobody_there_finds_its_key() {
    if skipped("ag2") {
        return;
    }
    let mut host = Host::start();
    host.set_env("OPENAI_API_KEY", KEY);
    let ws = host.tree("ws");
    let canary = host.path("home").join("canary");
    host.put(&canary, "token-5b1f");
    // It looks for the key in every environment, argument and memory that it can read.
    let code = format!(
        "Let me see.\n```python\nimport glob, os\nprint('six times seven is', 6 * 7)\n\
         print('canary', os.path.exists({canary:?}))\nfound = []\n\
         for path in glob.glob('/proc/[0-9]*/environ') + glob.glob('/proc/[0-9]*/cmdline') + glob.glob('/proc/[0-9]*/fd/*'):\n\
         \x20   try:\n        found.append(({half:?} + {rest:?}).encode() in os.read(os.open(path, os.O_RDONLY | os.O_NONBLOCK), 1 << 20))\n\
         \x20   except OSError: pass\nprint('key', any(found), 'pid', os.getuid())\n```\n",
        canary = canary.display().to_string(),
        half = &KEY[..6],
        rest = &KEY[6..],
    );
    let when = |contains: &str, turn| When { contains: contains.to_owned(), turns: vec![turn] };
    let script = Script {
        when: vec![when("Code output", Turn::text("It is 42.")), when("six times seven", Turn::text(code))],
        without_tools: true,
        ..Script::default()
    };
    let provider = Provider::start(script).await.unwrap();
    let text = format!(
        "agent:\n  id: coder\n  backend:\n    type: ag2\n    cwd: {}\n    cli_path: {}\n    api_key: ${{OPENAI_API_KEY}}\n    \
         base_url: {}/v1\n    agent_config:\n      name: coder\n      llm_config: {{api_type: openai, model: gpt-4o, stream: true}}\n      \
         code_execution_config: {{executor: {{type: LocalCommandLineCodeExecutor, timeout: 60, work_dir: code}}}}\n",
        ws.display(),
        python().display(),
        provider.base_url(),
    );
    let file = host.agent_file("a.yaml", &text);
    let ran = host.cordon(["run", file.to_str().unwrap(), "what is six times seven?"]).expect_code(0);
    assert!(!format!("{}{}", ran.stdout, ran.stderr).contains(KEY));
    let mut api = host.api().await;
    let run = api.only_run().await;
    assert_eq!((run.state(), run.outcome()), (RunState::Ended, Outcome::Success));
    let events = api.events(&run.id, false).await;
    let said = messages(&events);
    assert!(said.iter().any(|m| m.contains("It is 42.")), "{said:#?} {:?}", summary(&events));
    let outputs: Vec<String> = events
        .iter()
        .filter_map(|e| match &e.kind {
            Some(Kind::Command(c)) if c.status == "completed" => Some(c.output.clone()),
            _ => None,
        })
        .collect();
    let output = outputs.first().expect("the code ran");
    assert!(output.contains("six times seven is 42") && output.contains("canary False"), "{output}");
    assert!(output.contains(&format!("key False pid {}", host.agent_uid())), "{output}");
    assert_eq!(provider.keys(), [KEY], "its model, and nobody else, saw it");
    let asked = provider.requests();
    assert_eq!(asked.len(), 2);
}
