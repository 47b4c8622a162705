//! What the tests of several backends share.

use crate::{Context, Driver, ExecPlan, Exit, Step, Turn, TurnOutcome};
use cordon_config::{Agent, BackendKind, DockerOptions, ExecutionMode};
use cordon_policy::{Access, NetworkMode, Origin, Place, Policy, Rule, Source};
use cordon_proto::v1::OutputStream;
use cordon_proto::v1::event::Kind;
use cordon_sandbox::WallKind;
use std::path::Path;
use std::sync::Arc;

pub(crate) fn context(backend: BackendKind, owner_home: &Path) -> Context {
    Context {
        agent: Agent {
            id: "a".into(),
            system_message: None,
            backend,
            model: None,
            base_url: None,
            api_key: None,
            cwd: None,
            cwd_place: Place { file: "agent.yaml".into(), line: 1, column: 1 },
            context_paths: Vec::new(),
            mode: ExecutionMode::Docker,
            docker: DockerOptions {
                image: None,
                network: NetworkMode::Bridge,
                memory_bytes: None,
                cpus: None,
                sudo: false,
                runtime: Default::default(),
                packages: Default::default(),
            },
            effort: None,
            egress: None,
            command: Vec::new(),
            steps: Vec::new(),
            env: Default::default(),
            program: Default::default(),
            credentials: Default::default(),
            api: cordon_config::ApiOptions::default(),
            tools: Default::default(),
            place: Place { file: "agent.yaml".into(), line: 1, column: 1 },
        },
        wall: WallKind::Docker,
        workspace: "/w".into(),
        home: "/home/agent".into(),
        owner_home: owner_home.into(),
        logins: owner_home.join("cordon-logins"),
        variables: Default::default(),
        program_path: Vec::new(),
    }
}

/// The name for a session that begins.
pub(crate) const NEW_SESSION: &str = "0f1e2d3c-0000-4000-8000-0123456789ab";

/// The workspace is writable, /usr and /r are readable, nothing else is allowed.
pub(crate) fn turn(prompt: &str) -> Turn {
    let rule =
        |path: &str, access, source| Rule { path: path.into(), access, origin: Origin::built_in(source) };
    let policy = Policy::new([
        rule("/w", Access::Write, Source::Workspace),
        rule("/usr", Access::Read, Source::System),
        rule("/r", Access::Read, Source::ContextPath),
    ]);
    Turn {
        number: 1,
        prompt: prompt.into(),
        session: None,
        new_session: NEW_SESSION.into(),
        counted: Default::default(),
        policy: Arc::new(policy.unwrap()),
    }
}

pub(crate) fn exit(code: i32) -> Exit {
    Exit { code: Some(code), signal: None, timed_out: false, cancelled: false, failed_to_start: None }
}

pub(crate) fn not_started(errno: i32) -> Exit {
    Exit {
        code: None,
        signal: None,
        timed_out: false,
        cancelled: false,
        failed_to_start: Some((errno, "exec".into())),
    }
}

/// One process: what it prints and how it ends.
pub(crate) type Played<'a> = (&'a [(OutputStream, &'a [u8])], Exit);

/// Plays a turn to its end: the plans, the events, the outcome.
pub(crate) fn play(
    driver: &mut dyn Driver,
    processes: &[Played<'_>],
) -> (Vec<ExecPlan>, Vec<Kind>, TurnOutcome) {
    let (mut plans, mut events) = (Vec::new(), Vec::new());
    let mut processes = processes.iter();
    loop {
        let (more, step) = driver.next();
        events.extend(more);
        match step {
            Step::Done(outcome) => {
                assert!(processes.next().is_none(), "fewer processes were asked for than played");
                return (plans, events, outcome);
            }
            Step::Exec(plan) => {
                plans.push(plan);
                let (output, exit) = processes.next().expect("more processes were asked for than played");
                for (stream, data) in *output {
                    events.extend(driver.output(*stream, data));
                }
                events.extend(driver.exited(exit));
            }
        }
    }
}

pub(crate) fn argv(plan: &ExecPlan) -> Vec<String> {
    plan.argv.iter().map(|a| String::from_utf8(a.clone()).unwrap()).collect()
}
