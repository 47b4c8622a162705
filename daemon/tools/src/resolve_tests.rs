use super::*;
use cordon_policy::{Access, Origin, Policy, Rule, Source};
use std::{fs, os::unix::fs::symlink};

struct World {
    _keep: tempfile::TempDir,
    root: PathBuf,
    table: Table,
}

fn world() -> World {
    let keep = tempfile::tempdir().unwrap();
    let root = keep.path().canonicalize().unwrap();
    for directory in ["ws/sub", "ws-secret", "out"] {
        fs::create_dir_all(root.join(directory)).unwrap();
    }
    fs::write(root.join("ws/a"), "a").unwrap();
    fs::write(root.join("ws/.env"), "hidden").unwrap();
    fs::write(root.join("out/canary"), "canary").unwrap();
    let rule =
        |path: &str, access, source| Rule { path: root.join(path), access, origin: Origin::built_in(source) };
    let policy = Policy::new([
        rule("ws", Access::Write, Source::Workspace),
        rule("ws/.env", Access::None, Source::Secret),
        rule("ws/keep", Access::Read, Source::ProtectedPath),
    ])
    .unwrap();
    let table = Table::new(policy, &root.join("ws")).unwrap();
    World { _keep: keep, root, table }
}

fn open(world: &World, path: &str) -> Result<Opened, ToolError> {
    Resolver::new(&world.table).open(path, Operation::Read)
}

#[test]
fn what_links_lead_to_decides() {
    let w = world();
    symlink(w.root.join("out/canary"), w.root.join("ws/out")).unwrap();
    symlink(w.root.join("ws/a"), w.root.join("ws/in")).unwrap();
    symlink("/proc/self/root", w.root.join("ws/magic")).unwrap();
    assert!(open(&w, "in").is_ok());
    assert!(matches!(open(&w, "out"), Err(ToolError::Denied(_))));
    assert!(matches!(open(&w, "magic/etc/passwd"), Err(ToolError::Denied(_) | ToolError::Unsuitable(..))));
}

#[test]
fn a_refusal_does_not_tell_whether_something_is_there() {
    let w = world();
    let there = open(&w, &w.root.join("out/canary").to_string_lossy()).unwrap_err().to_string();
    let not = open(&w, &w.root.join("out/nothing").to_string_lossy()).unwrap_err().to_string();
    assert_eq!(there.replace("canary", "X"), not.replace("nothing", "X"));
    assert!(matches!(open(&w, "nothing"), Err(ToolError::NotFound(_))));
}

#[test]
fn spellings_change_nothing() {
    let w = world();
    for path in [
        "../ws-secret",
        "../out/canary",
        ".env",
        "./.env",
        "sub/../.env",
        "sub/../../out/canary",
        "//etc/shadow",
    ] {
        assert!(matches!(open(&w, path), Err(ToolError::Denied(_))), "{path}");
    }
    for path in ["a", "./a", "sub/../a", "sub//../a"] {
        assert!(open(&w, path).is_ok(), "{path}");
    }
    for path in ["", "a\0b", &"x/".repeat(3000)] {
        assert!(matches!(open(&w, path), Err(ToolError::Arguments(_))), "{path:?}");
    }
}

#[test]
fn a_spot_is_the_name_itself() {
    let w = world();
    symlink(w.root.join("out/new"), w.root.join("ws/dangling")).unwrap();
    symlink(w.root.join("out"), w.root.join("ws/dir")).unwrap();
    let resolver = Resolver::new(&w.table);
    let spot = resolver.spot("dangling", Operation::Create).unwrap();
    assert_eq!(spot.path, w.root.join("ws/dangling"));
    assert_eq!(spot.look().unwrap().unwrap().kind(), FileType::Symlink);
    assert!(matches!(resolver.spot("dir/new", Operation::Create), Err(ToolError::Denied(_))));
    assert!(matches!(resolver.spot("keep/x", Operation::Create), Err(ToolError::Denied(_))));
    assert!(matches!(resolver.spot("sub/..", Operation::Create), Err(ToolError::Arguments(_))));
}
