use super::*;
use crate::backend;
use crate::testing::{argv, context, exit, not_started, play, turn};
use cordon_config::BackendKind;
use std::os::unix::fs::PermissionsExt as _;

fn for_command(command: &[&str]) -> Context {
    let mut context = context(BackendKind::Command, Path::new("/nowhere"));
    context.agent.command = command.iter().map(|a| (*a).to_owned()).collect();
    context
}

#[test]
fn the_program_gets_the_prompt_and_its_exit_code_decides() {
    let mut context = for_command(&["./agent.sh", "--once"]);
    context.agent.env.insert("MODE".into(), "quick".into());
    let command = backend(BackendKind::Command);
    assert_eq!(command.needs(&context).unwrap().image.as_deref(), Some(BASE_IMAGE));
    for (code, expected) in [(0, Outcome::Success), (3, Outcome::AgentFailed)] {
        let mut driver = command.turn(&context, turn("do it")).unwrap();
        let output = [(OutputStream::Stderr, &b"some\nlast words\n"[..])];
        let (plans, events, outcome) = play(&mut *driver, &[(&output, exit(code))]);
        assert_eq!(argv(&plans[0]), ["./agent.sh", "--once"]);
        assert_eq!(plans[0].stdin.as_deref(), Some(&b"do it"[..]));
        assert_eq!(plans[0].env, [("MODE".to_owned(), b"quick".to_vec())]);
        assert_eq!((outcome.outcome, events), (expected, vec![]));
        assert_eq!(outcome.message.contains("last words"), code != 0, "{}", outcome.message);
    }
}

#[test]
fn a_program_that_the_policy_hides_is_a_denial() {
    for (program, errno, denied) in
        [("/opt/tool", 2, true), ("/opt/tool", 13, true), ("/usr/bin/none", 2, false), ("none", 2, false)]
    {
        let mut driver = backend(BackendKind::Command).turn(&for_command(&[program]), turn("p")).unwrap();
        let (_, events, outcome) = play(&mut *driver, &[(&[], not_started(errno))]);
        // What is not there is nothing that Cordon could mend.
        let expected = if errno == 2 { Outcome::AgentFailed } else { Outcome::Broken };
        assert_eq!(outcome.outcome, expected);
        assert!(outcome.message.contains(program), "{}", outcome.message);
        assert_eq!(matches!(&events[..], [Kind::Denial(d)] if d.operation == "execute"), denied, "{program}");
    }
}

#[test]
fn a_program_outside_the_system_is_shown_to_the_local_wall() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().canonicalize().unwrap();
    let tool = root.join("tool");
    std::fs::write(&tool, "#!/bin/sh\n").unwrap();
    std::fs::set_permissions(&tool, std::fs::Permissions::from_mode(0o755)).unwrap();
    let name = tool.to_str().unwrap();
    let programs = |context: &Context| backend(BackendKind::Command).needs(context).unwrap().programs;

    let mut context = for_command(&[name]);
    assert_eq!(programs(&context), [] as [PathBuf; 0]);
    context.wall = WallKind::Local;
    assert_eq!(programs(&context), std::slice::from_ref(&tool));
    context.agent.command = vec!["tool".into()];
    context.program_path = vec![root.clone()];
    assert_eq!(programs(&context), std::slice::from_ref(&tool));
    let mut driver = backend(BackendKind::Command).turn(&context, turn("p")).unwrap();
    assert_eq!(argv(&play(&mut *driver, &[(&[], exit(0))]).0[0]), [name]);
    context.workspace = root;
    assert_eq!(programs(&context), [] as [PathBuf; 0]);
    context.agent.command = vec!["/no/such/program".into()];
    let error = backend(BackendKind::Command).needs(&context).unwrap_err();
    assert!(matches!(error, BackendError::NoProgram { .. }), "{error}");
}

#[test]
fn an_empty_command_is_refused() {
    for command in [&[][..], &[""], &["a\0b"]] {
        assert!(backend(BackendKind::Command).needs(&for_command(command)).is_err());
    }
}
