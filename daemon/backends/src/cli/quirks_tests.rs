use crate::testing::{argv, context, exit, play, turn};
use crate::{Backend, Context, ExecPlan, Exit, Needs, backend};
use cordon_config::{BackendKind, Secret};
use cordon_proto::v1::{Outcome, OutputStream, event::Kind};
use std::path::Path;

const ALL: [BackendKind; 4] =
    [BackendKind::Codex, BackendKind::ClaudeCode, BackendKind::GeminiCli, BackendKind::Copilot];

/// What each program printed in a run in which all was well.
fn recorded(kind: BackendKind) -> &'static [u8] {
    match kind {
        BackendKind::Codex => include_bytes!("../../tests/fixtures/codex-0.169.0.jsonl"),
        BackendKind::ClaudeCode => include_bytes!("../../tests/fixtures/claude-code-2.1.197.jsonl"),
        BackendKind::GeminiCli => include_bytes!("golden/gemini-0.61.0.jsonl"),
        _ => include_bytes!("golden/copilot-1.0.102.jsonl"),
    }
}

fn agent(kind: BackendKind) -> (Context, &'static dyn Backend) {
    let mut context = context(kind, Path::new("/nowhere"));
    context.agent.model = Some("the-model".into());
    context.agent.base_url = Some("http://10.1.2.3:4000/v1".into());
    context.agent.api_key = Some(Secret::new("a-key-that-is-long-enough".into()));
    (context, backend(kind))
}

fn needs(kind: BackendKind) -> Needs {
    let (context, backend) = agent(kind);
    backend.needs(&context).unwrap()
}

/// One turn: what the program was started with, what came of what it printed, and how it ended.
fn run(
    kind: BackendKind,
    said: &[(OutputStream, &[u8])],
    end: Exit,
) -> (ExecPlan, Vec<Kind>, Outcome, String) {
    let (context, backend) = agent(kind);
    let mut driver = backend.turn(&context, turn("the prompt")).unwrap();
    let counts = kind == BackendKind::Copilot && end.code.is_some() && !end.cancelled && !end.timed_out;
    let mut all = vec![(said, end)];
    // It looks at the file with the tokens, which is not there.
    all.extend(counts.then_some((&[][..], exit(1))));
    let (mut plans, events, outcome) = play(&mut *driver, &all);
    (plans.remove(0), events, outcome.outcome, outcome.message)
}

#[test]
fn no_end_that_somebody_else_made_is_a_success() {
    for kind in ALL {
        let said = [(OutputStream::Stdout, recorded(kind))];
        assert_eq!(run(kind, &said, exit(0)).2, Outcome::Success, "{kind:?}");
        let ends = [
            (Exit { cancelled: true, ..exit(0) }, Outcome::Cancelled),
            (Exit { timed_out: true, ..exit(0) }, Outcome::TimedOut),
            (Exit { code: None, signal: Some(15), ..exit(0) }, Outcome::AgentFailed),
            (exit(1), Outcome::AgentFailed),
            (exit(143), Outcome::AgentFailed),
        ];
        for (end, expected) in ends {
            assert_eq!(run(kind, &said, end.clone()).2, expected, "{kind:?} {end:?}");
        }
        // Cut anywhere before its last event, 0 is no success.
        let text = recorded(kind);
        let last = text[..text.len() - 1].iter().rposition(|b| *b == b'\n').unwrap();
        for cut in [0, last / 2, last] {
            let said = [(OutputStream::Stdout, &text[..cut])];
            assert_eq!(run(kind, &said, exit(0)).2, Outcome::AgentFailed, "{kind:?} at {cut}");
        }
    }
}

#[test]
fn an_end_without_a_word_is_told() {
    for kind in ALL {
        for (end, words) in [(exit(1), "code 1"), (exit(0), "code 0"), (exit(127), "code 127")] {
            let (_, _, outcome, message) = run(kind, &[], end);
            assert_eq!(outcome, Outcome::AgentFailed, "{kind:?}");
            assert!(message.contains("without its success event") && message.contains(words), "{message}");
        }
    }
}

#[test]
fn noise_on_standard_error_decides_nothing() {
    let noise = b"(node:7) Warning: error\n{\"type\":\"error\",\"message\":\"no\"}\n{\"type\":\"result\",\"is_error\":true}\n\
        {\"type\":\"turn.failed\",\"error\":{}}\nUnhandled rejection: EROFS: read-only file system\n\xff\xfe";
    for kind in ALL {
        let quiet = run(kind, &[(OutputStream::Stdout, recorded(kind))], exit(0));
        let said = [
            (OutputStream::Stderr, &noise[..]),
            (OutputStream::Stdout, recorded(kind)),
            (OutputStream::Stderr, &noise[..]),
        ];
        assert_eq!(run(kind, &said, exit(0)), quiet, "{kind:?}");
    }
}

#[test]
fn an_exit_code_of_its_own_is_told_with_its_words() {
    let said = [(OutputStream::Stderr, &b"Invalid auth method selected.\n"[..])];
    let (_, _, outcome, message) = run(BackendKind::GeminiCli, &said, exit(41));
    assert_eq!(outcome, Outcome::AgentFailed);
    assert!(message.contains("code 41") && message.contains("Invalid auth method selected."), "{message}");
}

#[test]
fn every_program_is_told_to_be_quiet() {
    let expected: [(BackendKind, &[(&str, &str)]); 4] = [
        // The rest stands in its file of settings.
        (BackendKind::Codex, &[]),
        (
            BackendKind::ClaudeCode,
            &[
                ("CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC", "1"),
                ("DISABLE_AUTOUPDATER", "1"),
                ("CLAUDE_CODE_MAX_RETRIES", "4"),
            ],
        ),
        (
            BackendKind::GeminiCli,
            &[("GEMINI_CLI_NO_RELAUNCH", "true"), ("GEMINI_CLI_TRUST_WORKSPACE", "true")],
        ),
        (BackendKind::Copilot, &[("COPILOT_OFFLINE", "true"), ("COPILOT_AUTO_UPDATE", "false")]),
    ];
    for (kind, variables) in expected {
        let needs = needs(kind);
        for (name, value) in variables {
            let found = needs.env.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str());
            assert_eq!(found, Some(*value), "{kind:?} {name}");
        }
        // With it the program did not start.
        assert!(needs.env.iter().all(|(name, _)| name != "CLAUDE_CODE_SUBPROCESS_ENV_SCRUB"));
        // With a provider of its own nothing of the vendor's is asked for.
        assert!(needs.hosts.iter().all(|rule| rule.to_string().starts_with("10.1.2.3")), "{:?}", needs.hosts);
    }
    let file = |kind, name: &str| {
        let seed = needs(kind).seeds.into_iter().find(|s| s.path.ends_with(name)).unwrap();
        String::from_utf8(seed.content).unwrap()
    };
    let codex: toml::Table = file(BackendKind::Codex, "config.toml").parse().unwrap();
    assert_eq!(codex["analytics"]["enabled"].as_bool(), Some(false));
    assert_eq!(codex["check_for_update_on_startup"].as_bool(), Some(false));
    for feature in ["plugins", "api_key_model_discovery", "unbounded_connection_retries"] {
        assert_eq!(codex["features"][feature].as_bool(), Some(false), "{feature}");
    }
    let gemini: serde_json::Value =
        serde_json::from_str(&file(BackendKind::GeminiCli, "settings.json")).unwrap();
    assert_eq!(gemini["privacy"]["usageStatisticsEnabled"], false);
    assert_eq!(gemini["security"]["folderTrust"]["enabled"], false);
    assert_eq!(gemini["general"]["retryFetchErrors"], false);
}

#[test]
fn every_home_is_in_the_private_one() {
    for (kind, name, value) in [
        (BackendKind::Codex, "CODEX_HOME", "/home/agent/.codex"),
        (BackendKind::ClaudeCode, "CLAUDE_CONFIG_DIR", "/home/agent/.claude"),
        (BackendKind::GeminiCli, "GEMINI_CLI_HOME", "/home/agent"),
        (BackendKind::Copilot, "COPILOT_HOME", "/home/agent/.copilot"),
    ] {
        assert!(needs(kind).env.contains(&(name.to_owned(), value.to_owned())), "{kind:?}");
    }
}

#[test]
fn every_prompt_comes_by_standard_input_alone() {
    for kind in ALL {
        let plan = run(kind, &[], exit(1)).0;
        assert_eq!(plan.stdin.as_deref(), Some(&b"the prompt"[..]), "{kind:?}");
        assert!(
            argv(&plan).iter().all(|a| !a.contains("the prompt") && !a.contains("a-key-that")),
            "{kind:?}"
        );
    }
    assert_eq!(argv(&run(BackendKind::Codex, &[], exit(1)).0).last().unwrap(), "-");
}

#[test]
fn a_session_goes_on_with_the_same_model() {
    const SESSION: &str = "019b0000-0000-7000-8000-000000000000";
    for kind in ALL {
        let (context, backend) = agent(kind);
        let resumed = crate::Turn { session: Some(SESSION.to_owned()), ..turn("more") };
        let mut driver = backend.turn(&context, resumed).unwrap();
        let crate::Step::Exec(plan) = driver.next().1 else { panic!("nothing to run") };
        let argv = argv(&plan);
        assert!(argv.contains(&"--model=the-model".to_owned()), "{argv:?}");
        assert!(argv.iter().any(|a| a.ends_with(SESSION)), "{argv:?}");
    }
}

#[test]
fn every_quirk_has_its_test() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let rows: Vec<Vec<&str>> = include_str!("quirks.md")
        .lines()
        .filter(|line| line.starts_with("| ") && !line.starts_with("| program "))
        .map(|line| line.trim_matches('|').split('|').map(|cell| cell.trim().trim_matches('`')).collect())
        .collect();
    assert!(rows.len() > 40, "{}", rows.len());
    for row in rows {
        let [_, _, file, function] = row[..] else { panic!("a row of other cells: {row:?}") };
        let text = std::fs::read_to_string(root.join(file)).unwrap_or_else(|e| panic!("{file}: {e}"));
        assert!(text.contains(&format!("fn {function}(")), "{file} has no {function}");
    }
}
