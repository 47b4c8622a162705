use super::*;
use crate::plan::{Host, Owner, Purpose, Request, plan};
use cordon_config::AgentFile;

const FILE: &str = "agent:
  id: a
  egress: {allow: [example.com]}
  backend:
    type: command
    command: [\"true\"]
    cwd: work  # line 7
orchestrator:
  context_paths:
    - path: CONTEXT
      permission: write
      protected_paths: [keep]
";

/// The plan of an agent with one writable context path and a protected path in it.
fn planned(place: &Path) -> Planned {
    let (uid, gid) = (nix::unistd::Uid::effective().as_raw(), nix::unistd::Gid::effective().as_raw());
    let context = place.join("project");
    std::fs::create_dir_all(context.join("keep")).unwrap();
    std::fs::write(context.join(".env"), "KEY=1").unwrap();
    std::fs::create_dir(place.join("state")).unwrap();
    let owner = if uid == 0 { 65_534 } else { uid };
    for path in [&context, &context.join("keep"), &context.join(".env")] {
        std::os::unix::fs::chown(path, (uid == 0).then_some(owner), None).unwrap();
    }
    let content = FILE.replace("CONTEXT", context.to_str().unwrap());
    let source = crate::file::FileSource {
        name: "a.yaml",
        content: content.as_bytes(),
        directory: place,
        variables: &Default::default(),
    };
    let checked = crate::file::check(&source).unwrap();
    let file: &AgentFile = &checked.file;
    let host = Host {
        state: place.join("state"),
        daemon: "test".into(),
        program_path: vec!["/usr/bin".into(), "/bin".into()],
    };
    let request = Request {
        run: "r",
        index: 0,
        agent: &file.agents[0],
        file,
        owner: &Owner { uid, gid, home: place.to_path_buf() },
        variables: &Default::default(),
        wall: Some(WallKind::Local),
        purpose: Purpose::Look,
        line: None,
    };
    plan(&host, &request).unwrap()
}

fn place() -> (tempfile::TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let place = directory.path().canonicalize().unwrap();
    (directory, place)
}

#[test]
fn a_rule_says_where_it_is_from_and_who_enforces_it_in_each_wall() {
    let (_keep, place) = place();
    let planned = planned(&place);
    let rows = rows(&planned, &place, &[]);
    let row = |path: &Path| rows.iter().find(|r| Path::new(&r.path) == path).unwrap();
    let context = row(&place.join("project"));
    assert_eq!((context.access.as_str(), context.origin.as_str()), ("write", "a.yaml:10"));
    assert_eq!(context.local_layer, "mount view, landlock, staged");
    assert_eq!(context.docker_layer, "mount view, landlock(*), staged");
    let workspace = row(&planned.workspace.path);
    assert_eq!(
        (workspace.local_layer.as_str(), workspace.origin.as_str()),
        ("mount view, landlock", "a.yaml:7")
    );
    let kept = row(&place.join("project/keep"));
    assert_eq!((kept.rule.as_str(), kept.origin.as_str()), ("protected path", "a.yaml:12"));
    let peers = row(&place.join("state/views/r/0"));
    assert_eq!((peers.access.as_str(), peers.rule.as_str()), ("read", "peers view"));
    assert_eq!(context.layer, context.local_layer);
    let secret = row(&place.join("project/.env"));
    assert_eq!((secret.access.as_str(), secret.docker_layer.as_str()), ("none", "mount view, hidden"));
    let shadow = row(Path::new("/etc/shadow"));
    assert_eq!(shadow.local_layer, "not in the mount view");
    assert_eq!(shadow.docker_layer, "the image's own permissions");
    assert_eq!(row(Path::new("/usr")).docker_layer, "read-only image, landlock(*)");
    let layers =
        |path| [&row(Path::new(path)).local_layer, &row(Path::new(path)).docker_layer].map(String::as_str);
    assert_eq!(layers("/dev/null"), ["private /dev, landlock", "the engine's /dev, landlock(*)"]);
    assert_eq!(layers("/proc"), ["private /proc, landlock", "the engine's masked /proc, landlock(*)"]);
    let host = row(Path::new("example.com"));
    assert_eq!((host.access.as_str(), host.origin.as_str()), ("connect", "egress.allow (a.yaml:2)"));
    assert_eq!(rows.len(), planned.policy.rules().count() + 1);
}

#[test]
fn a_path_gets_a_verdict_for_each_operation_and_what_would_allow_it() {
    let (_keep, place) = place();
    let planned = planned(&place);
    let asked = ["project/keep/file", "/opt/nothing"].map(str::to_owned);
    let rows = rows(&planned, &place, &asked);
    let verdict = |n: usize, operation: &str| {
        rows[n].verdicts.iter().find(|v| v.operation == operation).unwrap().clone()
    };
    assert!(verdict(0, "read").allowed && verdict(0, "read").would_allow.is_empty());
    let write = verdict(0, "write");
    assert!(!write.allowed && write.rule.contains("protected path"), "{write:?}");
    assert!(write.would_allow.contains("protected_paths"), "{write:?}");
    assert_eq!(write.origin, "a.yaml:12");
    let outside = verdict(1, "read");
    assert!(!outside.allowed && outside.would_allow.contains("context_paths"), "{outside:?}");
    assert_eq!(rows[1].access, "none");
    assert_eq!(rows[0].verdicts.len(), OPERATIONS.len());
}
