//! The user's Python functions in the hands of the real CLIs, in both walls.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use cordon_proto::v1::{Outcome, ToolCallEvent, event::Kind};
use cordon_tests::{
    harness::{Cli, Host, KEY, More, User, Where, agent_text, need_image, skipped, summary},
    provider::{Provider, Script, Turn},
};
use serde_json::json;
use std::fs;

const CASES: &[(Cli, Where)] = &[
    (Cli::Codex, Where::Local),
    (Cli::ClaudeCode, Where::Local),
    (Cli::GeminiCli, Where::Local),
    (Cli::Copilot, Where::Local),
    (Cli::Codex, Where::Docker),
    (Cli::ClaudeCode, Where::Docker),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_program_calls_a_function_of_the_users() {
    if skipped("clis") {
        return;
    }
    let mut host = Host::with_clis(User::Tester);
    host.start_daemon();
    let canary = host.path("home/canary");
    host.put(&canary, "token-5b1f");
    let tools = format!(
        "import os\n\ndef weigh(word: str, times: int = 2) -> str:\n    \"\"\"Weighs a word.\"\"\"\n    \
         with open('weighed.txt', 'w') as file:\n        file.write(word * times)\n    \
         return f'it weighs {{len(word) * times}} for {{os.getuid()}}, canary {{os.path.exists({:?})}}'\n\n\
         def never(word: str) -> str:\n    \"\"\"Not-offered.\"\"\"\n    return 'no'\n",
        canary.display().to_string()
    );
    host.put(&host.path("files/tools.py"), tools);
    for (at, (cli, place)) in CASES.iter().enumerate() {
        if *place == Where::Docker {
            if skipped("docker") {
                continue;
            }
            need_image(cli.image());
        }
        let ws = host.tree(&format!("ws{at}"));
        let turns = [
            Turn::mcp("custom_tools", "custom_tool__weigh", json!({"word": "ünder", "times": 3})),
            Turn::text("It was weighed."),
        ];
        let provider = Provider::start(Script::of(turns)).await.unwrap();
        let lines = "      custom_tools:\n        - path: tools.py\n          function: weigh\n";
        let text = agent_text(*cli, *place, &provider.base_url(), &ws, More { backend: lines, file: "" });
        let file = host.agent_file("a.yaml", &text);
        let mut command = host.command("cordon");
        command.args(["run", file.to_str().unwrap(), "weigh it"]).env("PLANTED_KEY", KEY);
        let ran = host.finish(&mut command);
        let mut api = host.api().await;
        let run = api.list().await.into_iter().max_by_key(|r| r.started_unix_ms).unwrap();
        let events = api.events(&run.id, true).await;
        let label = format!("{cli} {place}\n{}{}", ran.stdout, ran.stderr);
        assert_eq!(summary(&events).outcome(), Outcome::Success, "{label}");
        let ended = events.iter().filter_map(|e| match &e.kind {
            Some(Kind::ToolCall(call)) if call.status != "started" && call.name.contains("weigh") => {
                Some(call)
            }
            _ => None,
        });
        let calls: Vec<_> = ended.collect();
        let expected = format!("it weighs 15 for {}, canary False", host.agent_uid());
        let told = |c: &&ToolCallEvent| c.status == "completed" && c.result.contains(&expected);
        assert!(calls.len() == 1 && calls.iter().all(told), "{label}\n{calls:?}");
        assert_eq!(fs::read_to_string(ws.join("weighed.txt")).unwrap(), "ünder".repeat(3), "{label}");
        let told: String = provider.requests().iter().map(|r| r.body.to_string()).collect();
        assert!(told.contains(&expected), "{label}: the model was not told");
        assert!(!told.contains("Not-offered."), "{label}");
        // Codex keeps what tools say of themselves until the model asks for it.
        assert!(told.contains("Weighs a word.") || *cli == Cli::Codex, "{label}");
    }
}
