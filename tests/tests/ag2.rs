//! Agents of the real Python package ag2 in both walls, with the scripted provider as model.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use cordon_proto::v1::{Outcome, RunState, event::Kind};
use cordon_tests::{
    harness::{Host, Index, KEY, Where, messages, need_docker, skipped, summary},
    provider::{Provider, Script, Turn, When},
};
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

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

const IMAGE: &str = "cordon-test/ag2:latest";

/// How an agent file names the place and the package.
fn place(wall: Where) -> String {
    match wall {
        Where::Local => format!("{}      cli_path: {}\n", wall.keys(), python().display()),
        _ => format!(
            "{}      command_line_docker_image: {IMAGE}\n      command_line_docker_packages:\n        preinstall:\n          \
             python: ['ag2[openai]==0.14.0']\n",
            wall.keys()
        ),
    }
}

/// The base with the package's wheels as its only index, from which its preinstallation takes it.
fn make_image() {
    let wheels = Path::new(env!("CARGO_MANIFEST_DIR")).with_file_name("build").join("peers/ag2-wheels");
    assert!(wheels.is_dir(), "{wheels:?} is not there: scripts/setup-tests.sh makes it");
    let mut index = Index::new();
    index.pip();
    index.wheels(&wheels);
    index.build("cordon/base:latest", IMAGE);
}

/// It looks for the key in every environment, argument and memory that it can read.
fn look(canary: &Path) -> String {
    format!(
        "Let me see.\n```python\nimport glob, os\nprint('six times seven is', 6 * 7)\n\
         print('canary', os.path.exists({canary:?}))\nfound = []\n\
         for path in glob.glob('/proc/[0-9]*/environ') + glob.glob('/proc/[0-9]*/cmdline') + glob.glob('/proc/[0-9]*/fd/*'):\n\
         \x20   try:\n        found.append(({half:?} + {rest:?}).encode() in os.read(os.open(path, os.O_RDONLY | os.O_NONBLOCK), 1 << 20))\n\
         \x20   except OSError: pass\nprint('key', any(found), 'pid', os.getuid())\n```\n",
        canary = canary.display().to_string(),
        half = &KEY[..6],
        rest = &KEY[6..],
    )
}

fn when(contains: &str, turn: Turn) -> When {
    When { contains: contains.to_owned(), turns: vec![turn] }
}

fn keys(provider: &Provider, model: &str) -> String {
    format!(
        "      api_key: ${{OPENAI_API_KEY}}\n      base_url: {}/v1\n      llm_config: {{api_type: openai, model: {model}, stream: true}}\n",
        provider.base_url()
    )
}

/// Code that is written, run and reported in a place; then another run that goes on with the conversation.
async fn works_and_goes_on(wall: Where) {
    let mut host = Host::start();
    host.set_env("OPENAI_API_KEY", KEY);
    let ws = host.tree("ws");
    let canary = host.path("home").join("canary");
    host.put(&canary, "token-5b1f");
    let script = Script {
        when: vec![
            when("Code output", Turn::text("It is 42.")),
            when("six times seven", Turn::text(look(&canary))),
            when("and its half", Turn::text("That is 21.")),
        ],
        without_tools: true,
        ..Script::default()
    };
    let provider = Provider::start(script).await.unwrap();
    let text = format!(
        "agents:\n  - id: coder\n    backend:\n      type: ag2\n      cwd: {}\n{}      api_key: ${{OPENAI_API_KEY}}\n      \
         base_url: {}/v1\n      agent_config:\n        name: coder\n        llm_config: {{api_type: openai, model: gpt-4o, stream: true}}\n        \
         code_execution_config: {{executor: {{type: LocalCommandLineCodeExecutor, timeout: 60, work_dir: code}}}}\n",
        ws.display(),
        place(wall),
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
    let outputs = events.iter().filter_map(|e| match &e.kind {
        Some(Kind::Command(c)) if c.status == "completed" => Some(c.output.clone()),
        _ => None,
    });
    let output = outputs.into_iter().next().expect("the code ran");
    assert!(output.contains("six times seven is 42") && output.contains("canary False"), "{output}");
    assert!(output.contains(&format!("key False pid {}", host.agent_uid())), "{output}");
    assert_eq!(provider.keys(), [KEY], "its model, and nobody else, saw it");
    assert_eq!(provider.requests().len(), 2);

    let ran = host.cordon(["run", "--resume", &run.id, "and its half?"]).expect_code(0);
    assert!(ran.stdout.contains("That is 21."), "{}", ran.stdout);
    let asked = provider.requests();
    assert_eq!(asked.len(), 3);
    let spoken: Vec<&str> =
        asked[2].body["messages"].as_array().unwrap().iter().filter_map(|m| m["content"].as_str()).collect();
    let at = |words: &str| spoken.iter().position(|said| said.contains(words));
    let order =
        ["what is six times seven?", "Let me see.", "Code output", "It is 42.", "and its half?"].map(at);
    assert!(order.is_sorted() && order.iter().all(Option::is_some), "{order:?} {spoken:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_writes_code_that_runs_inside_and_goes_on_and_nobody_there_finds_its_key() {
    if skipped("ag2") {
        return;
    }
    works_and_goes_on(Where::Local).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn it_does_so_in_docker_with_the_package_installed_from_the_agent_file() {
    if skipped("ag2") || skipped("docker") {
        return;
    }
    need_docker();
    make_image();
    works_and_goes_on(Where::Docker).await;
}

/// Keys beside `agent_config`: the kind of agent, its model, and how its code is run.
#[tokio::test(flavor = "multi_thread")]
async fn an_agent_without_a_map_of_its_own_is_one_too() {
    if skipped("ag2") {
        return;
    }
    let mut host = Host::start();
    host.set_env("OPENAI_API_KEY", KEY);
    let code = "```bash\npwd > where.txt; echo made-it\n```\n";
    let script = Script {
        when: vec![when("Code output: made-it", Turn::text("Made.")), when("make it", Turn::text(code))],
        without_tools: true,
        ..Script::default()
    };
    let provider = Provider::start(script).await.unwrap();
    let agent = |name: &str, more: &str| {
        let ws = host.tree(name);
        let common = format!("{}{}", place(Where::Local), keys(&provider, "gpt-4o"));
        format!(
            "  - id: {name}\n    system_message: Be {name}.\n    backend:\n      type: ag2\n      cwd: {}\n{common}{more}",
            ws.display()
        )
    };
    let code = "      code_execution_config: {timeout: 60, work_dir: here}\n";
    let agents = [
        agent("plain", code),
        agent("conversing", &format!("      agent_type: conversable\n{code}")),
        agent("silent", "      code_execution_config: false\n"),
    ];
    let file = host.agent_file("a.yaml", &format!("agents:\n{}", agents.concat()));
    let ran = host.cordon(["run", file.to_str().unwrap(), "make it"]).expect_code(0);
    for name in ["plain", "conversing"] {
        let here = host.path(name).join("here");
        let told = fs::read_to_string(here.join("where.txt")).unwrap();
        assert_eq!(told.trim(), here.canonicalize().unwrap().to_str().unwrap(), "{}", ran.stdout);
    }
    let left: Vec<_> = fs::read_dir(host.path("silent")).unwrap().collect();
    assert!(left.is_empty(), "{left:?} {}", ran.stdout);
    let systems: Vec<String> =
        provider.requests().iter().map(|r| r.body["messages"][0]["content"].to_string()).collect();
    for (name, asked) in [("plain", 2), ("conversing", 2), ("silent", 1)] {
        let own = systems.iter().filter(|s| s.contains(&format!("Be {name}."))).count();
        assert_eq!(own, asked, "{systems:?}");
    }
}

/// From 1.0 on the package has other agents, and none of those that files describe.
#[tokio::test(flavor = "multi_thread")]
async fn a_package_that_is_too_new_ends_the_run_and_says_which_is_not() {
    if skipped("ag2") {
        return;
    }
    let mut host = Host::start();
    host.set_env("OPENAI_API_KEY", KEY);
    let venv = host.path("venv");
    let made =
        Command::new("/usr/bin/python3").args(["-m", "venv", "--without-pip"]).arg(&venv).status().unwrap();
    assert!(made.success());
    let packages =
        fs::read_dir(venv.join("lib")).unwrap().next().unwrap().unwrap().path().join("site-packages");
    for (file, text) in [
        ("ag2/__init__.py", "class Agent: pass\n"),
        ("ag2-1.2.1.dist-info/METADATA", "Metadata-Version: 2.1\nName: ag2\nVersion: 1.2.1\n"),
    ] {
        fs::create_dir_all(packages.join(file).parent().unwrap()).unwrap();
        fs::write(packages.join(file), text).unwrap();
    }
    let provider = Provider::start(Script::default()).await.unwrap();
    let text = format!(
        "agents:\n  - id: coder\n    backend:\n      type: ag2\n      cwd: {}\n      cli_path: {}\n{}",
        host.tree("ws").display(),
        venv.join("bin/python3").display(),
        keys(&provider, "gpt-4o"),
    );
    let file = host.agent_file("a.yaml", &text);
    let ran = host.cordon(["run", file.to_str().unwrap(), "x"]).expect_code(1);
    let said = format!("{}{}", ran.stdout, ran.stderr);
    assert!(
        said.contains("has ag2 1.2.1, which has no classic agents") && said.contains("0.9 to 0.14"),
        "{said}"
    );
    assert!(said.contains("ag2[openai]==0.14.0"), "{said}");
    assert!(provider.requests().is_empty());
}
