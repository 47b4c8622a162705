use crate::{harness::*, needs_docker};
use cordon_policy::Access;
use cordon_sandbox::{PathKind, Wall};
use std::{fs, os::unix::fs::MetadataExt as _};

#[tokio::test]
async fn names_with_separators_stay_whole() {
    needs_docker!();
    let fixture = Fixture::named(":a,b=c\"d'\\e ${HOME} \u{e4}");
    let sandbox = fixture.create(&fixture.spec("odd1")).await.unwrap();
    let path = fixture.work();
    let quoted = path.to_str().unwrap().replace('\'', "'\\''");
    let outcome = bash(&sandbox, &format!("cd '{quoted}' && echo made > file && pwd")).await;
    assert_eq!((outcome.code, outcome.text.trim_end()), (Some(0), path.to_str().unwrap()));
    let made = path.join("file");
    assert_eq!(fs::read_to_string(&made).unwrap(), "made\n");
    assert_eq!(made.metadata().unwrap().uid(), UID);
    fixture.wall.destroy(&sandbox.record).await.unwrap();
}

#[tokio::test]
async fn a_newline_in_a_path_works_or_is_refused() {
    needs_docker!();
    let fixture = Fixture::named("a\nb");
    match fixture.create(&fixture.spec("nl1")).await {
        Ok(sandbox) => {
            assert_eq!(bash(&sandbox, "echo ok").await.text, "ok\n");
            fixture.wall.destroy(&sandbox.record).await.unwrap();
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
    assert_eq!(fixture.leftovers(), Vec::<String>::new());
    assert!(!fixture.root.parent().unwrap().join("ra").try_exists().unwrap());
}

#[tokio::test]
async fn protected_and_hidden_paths_hold_inside_a_writable_tree() {
    needs_docker!();
    let fixture = Fixture::new();
    let work = fixture.work();
    for directory in ["keep", "none"] {
        fs::create_dir(work.join(directory)).unwrap();
        fs::write(work.join(directory).join("file"), "canary").unwrap();
        for path in [work.join(directory), work.join(directory).join("file")] {
            std::os::unix::fs::chown(path, Some(UID), Some(UID)).unwrap();
        }
    }
    fs::write(work.join(".env"), "KEY=canary").unwrap();
    std::os::unix::fs::chown(work.join(".env"), Some(UID), Some(UID)).unwrap();
    let mut spec = fixture.spec("prot1");
    spec.paths.push(host(&work.join("keep"), Access::Read, PathKind::Directory));
    spec.paths.push(host(&work.join("none"), Access::None, PathKind::Directory));
    spec.paths.push(host(&work.join(".env"), Access::None, PathKind::File));
    spec.policy = policy_of(&spec.paths);
    let sandbox = fixture.create(&spec).await.unwrap();
    let script = format!(
        "cd '{}'; cat keep/file .env none/file; echo x > keep/file; rm -rf keep none .env; mv keep other; \
         mv .env other; ln keep/file linked; echo x > new && cat new; ls none",
        work.display()
    );
    let text = bash(&sandbox, &format!("exec 2>&1; {script}")).await.text;
    // The one canary that may be read, and the file that may be made.
    assert_eq!(text.matches("canary").count(), 1, "{text}");
    assert!(text.contains("\nx\n"), "{text}");
    assert_eq!(fs::read_to_string(work.join("keep/file")).unwrap(), "canary");
    assert_eq!(fs::read_to_string(work.join("none/file")).unwrap(), "canary");
    assert_eq!(fs::read_to_string(work.join(".env")).unwrap(), "KEY=canary");
    assert!(!work.join("other").try_exists().unwrap() && !work.join("linked").try_exists().unwrap());
    fixture.wall.destroy(&sandbox.record).await.unwrap();
}

#[tokio::test]
async fn a_login_file_is_read_only_in_a_home_that_can_be_written() {
    needs_docker!();
    let fixture = Fixture::new();
    let login = fixture.root.join("auth.json");
    fs::write(&login, "{}").unwrap();
    let mut spec = fixture.spec("login1");
    spec.paths.push(cordon_sandbox::PathEntry {
        path: "/home/agent/.codex/auth.json".into(),
        ..host(&login, Access::Read, PathKind::File)
    });
    spec.policy = policy_of(&spec.paths);
    let sandbox = fixture.create(&spec).await.unwrap();
    let script = "exec 2>&1; cat ~/.codex/auth.json; echo x > ~/.codex/auth.json; echo s > ~/.codex/state && cat ~/.codex/state";
    let text = bash(&sandbox, script).await.text;
    assert!(text.starts_with("{}") && text.ends_with("s\n"), "{text}");
    assert_eq!(fs::read_to_string(&login).unwrap(), "{}");
    fixture.wall.destroy(&sandbox.record).await.unwrap();
}

/// The view, the policy, and what the probe has to say of them.
#[tokio::test]
async fn a_wall_that_differs_from_its_policy_starts_nothing() {
    needs_docker!();
    let fixture = Fixture::new();
    let work = fixture.work();
    fs::create_dir(work.join("keep")).unwrap();
    fs::write(work.join(".env"), "KEY=canary").unwrap();
    for path in [work.join("keep"), work.join(".env")] {
        std::os::unix::fs::chown(path, Some(UID), Some(UID)).unwrap();
    }
    let right = {
        let mut spec = fixture.spec("wrong1");
        spec.paths.push(host(&work.join(".env"), Access::None, PathKind::File));
        spec.paths.push(host(&work.join("keep"), Access::Read, PathKind::Directory));
        spec.policy = policy_of(&spec.paths);
        spec
    };
    let cases = [
        (".env", "rule none at", "read allowed", None),
        ("keep", "rule read at", "write allowed", Some(Access::Write)),
        ("", "rule write at", "write refused", Some(Access::Read)),
    ];
    for (name, rule, difference, access) in cases {
        let mut spec = right.clone();
        let path = if name.is_empty() { work.clone() } else { work.join(name) };
        match access {
            Some(access) => {
                spec.paths.iter_mut().filter(|e| e.path == path).for_each(|e| e.access = access);
            }
            None => spec.paths.retain(|e| e.path != path),
        }
        let error = fixture.create(&spec).await.unwrap_err();
        assert!(error.is_refusal(), "{error}");
        let error = error.to_string();
        assert!(error.contains(rule) && error.contains(difference), "{error}");
        assert!(error.contains("(context path, built in)"), "{error}");
        assert_eq!(fixture.leftovers(), Vec::<String>::new());
    }
    assert_eq!(fs::read_dir(&work).unwrap().count(), 2);
}
