//! From an agent file and trees on the disk to rules and a view, without a wall.

mod credentials;
mod staged;

use super::*;
use cordon_config::Source as FileSource;
use cordon_policy::{Access, Operation, Verdict};
use cordon_sandbox::{PathEntry, PathSource};
use std::{
    fs,
    os::unix::fs::{PermissionsExt as _, chown, lchown, symlink},
    path::Path,
};

/// A host with a state directory and room for the user's trees.
struct World {
    _dir: tempfile::TempDir,
    root: PathBuf,
    host: Host,
    owner: Owner,
}

impl World {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        fs::set_permissions(&root, fs::Permissions::from_mode(0o755)).unwrap();
        fs::create_dir_all(root.join("state/workspaces")).unwrap();
        let host = Host {
            state: root.join("state"),
            daemon: "test".to_owned(),
            program_path: vec!["/usr/bin".into(), "/bin".into()],
        };
        let (uid, gid) = (nix::unistd::geteuid().as_raw(), nix::unistd::getegid().as_raw());
        Self { _dir: dir, host, owner: Owner { uid, gid, home: root.join("home") }, root }
    }

    fn at(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// A directory of the user's that agents run as.
    fn tree(&self, name: &str) -> PathBuf {
        let path = self.at(name);
        fs::create_dir_all(&path).unwrap();
        path.ancestors().take_while(|above| *above != self.root).for_each(|above| self.give(above));
        path
    }

    fn file(&self, name: &str) -> PathBuf {
        let path = self.at(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, name).unwrap();
        self.give(&path);
        path
    }

    fn give(&self, path: &Path) {
        if self.owner.uid == 0 {
            chown(path, Some(UNPRIVILEGED.uid), Some(UNPRIVILEGED.gid)).unwrap();
        }
    }

    /// Plans an agent whose `cwd` and `context_paths` are written below, one path in a line;
    /// `@` stands for the root of this world.
    fn plan(&self, cwd: &str, contexts: &str) -> Result<Planned, PlanError> {
        self.plan_with(cwd, contexts, "")
    }

    /// The same with lines of the orchestrator's.
    fn plan_with(&self, cwd: &str, contexts: &str, more: &str) -> Result<Planned, PlanError> {
        let more = if more.is_empty() { String::new() } else { format!("orchestrator:\n{more}") };
        let contexts =
            if contexts.is_empty() { String::new() } else { format!("    context_paths:\n{contexts}") };
        let text = format!(
            "agent:\n  id: a\n  backend:\n    type: command\n    command: [\"true\"]\n    cwd: {cwd}\n{contexts}{more}"
        )
        .replace('@', self.root.to_str().unwrap());
        let variables = Variables::new();
        let source = FileSource {
            name: "a.yaml",
            content: text.as_bytes(),
            directory: &self.root,
            variables: &variables,
        };
        let parsed = cordon_config::parse(&source);
        let file = parsed.file.unwrap_or_else(|| panic!("{:?}\n{text}", parsed.problems));
        let request = Request {
            run: "run",
            index: 0,
            agent: &file.agents[0],
            file: &file,
            owner: &self.owner,
            variables: &variables,
            wall: Some(WallKind::Local),
            purpose: Purpose::Start,
            line: None,
        };
        let planned = plan(&self.host, &request);
        if let Ok(planned) = &planned {
            remove_placeholders(&planned.placeholders);
        }
        planned
    }

    fn error(&self, cwd: &str, contexts: &str) -> String {
        match self.plan(cwd, contexts) {
            Ok(planned) => panic!("it was planned: {:?}", planned.sandbox.paths),
            Err(error) => error.to_string(),
        }
    }
}

fn entry<'a>(planned: &'a Planned, path: &Path) -> Option<&'a PathEntry> {
    planned.sandbox.paths.iter().find(|entry| entry.path == path)
}

fn access(planned: &Planned, path: &Path) -> Access {
    planned.policy.rule_for(path).map_or(Access::None, |rule| rule.access)
}

fn fix(planned: &Planned, path: &Path, operation: Operation) -> String {
    match planned.policy.decide(path, operation) {
        Verdict::Denied(denial) => denial.would_allow,
        Verdict::Allowed(rule) => panic!("{operation} {path:?} is allowed by {rule:?}"),
    }
}

const WRITE: &str = "    - path: '@/c'\n      permission: write\n";
const LEGACY: &str = "    - path: '@/c'\n      permission: write\n      write_mode: legacy\n";
/// The line of the first context path.
const LINE: &str = "a.yaml:8";

#[test]
fn a_guarded_name_tells_the_place_of_its_context_path() {
    let world = World::new();
    let c = world.tree("c");
    world.file("c/.git/config");
    world.file("c/sub/.env");
    let planned = world.plan("w", WRITE).unwrap();
    for (path, operation, told) in [
        (".git/config", Operation::Write, "add `.git/config` to `allow` of the context path "),
        ("sub/.env", Operation::Read, "add `sub/.env` to `allow` of the context path "),
        (".mcp.json", Operation::Create, "add `.mcp.json` to `allow` of the context path "),
    ] {
        let fix = fix(&planned, &c.join(path), operation);
        assert!(fix.starts_with(told) && fix.contains(LINE), "{fix}");
    }
    // Doing what it says is enough.
    let more = format!("{WRITE}      allow: [.git, .git/config, sub/.env]\n");
    let planned = world.plan("w", &more).unwrap();
    assert!(planned.policy.decide(&c.join(".git/config"), Operation::Write).is_allowed());
    assert!(planned.policy.decide(&c.join("sub/.env"), Operation::Write).is_allowed());
    assert!(!planned.policy.decide(&c.join(".git/hooks"), Operation::Create).is_allowed());
}

#[test]
fn a_socket_in_a_tree_is_hidden_and_one_in_a_fork_is_nobodys() {
    let world = World::new();
    let c = world.tree("c");
    let _listens = std::os::unix::net::UnixListener::bind(c.join("s")).unwrap();
    nix::unistd::mkfifo(&c.join("fifo"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    for more in [LEGACY, "    - path: '@/c'\n"] {
        let planned = world.plan("w", more).unwrap();
        let hidden = entry(&planned, &c.join("s")).unwrap();
        assert_eq!((&hidden.source, hidden.access), (&PathSource::Empty, Access::None));
        assert!(entry(&planned, &c.join("fifo")).is_none());
        let fix = fix(&planned, &c.join("s"), Operation::Read);
        assert!(fix.starts_with("add `s` to `allow` of the context path ") && fix.contains(LINE), "{fix}");
        let planned = world.plan("w", &format!("{more}      allow: [s]\n")).unwrap();
        assert!(entry(&planned, &c.join("s")).is_none());
    }
    assert!(entry(&world.plan("w", WRITE).unwrap(), &c.join("s")).is_none());
}

#[test]
fn what_only_repeats_is_not_mounted_and_makes_no_placeholder() {
    let world = World::new();
    let c = world.tree("c");
    world.file("c/.git/HEAD");
    world.file("c/.ssh/id_rsa");
    // A link where nobody may write needs no guard of its own.
    symlink("../githooks", c.join(".git/hooks")).unwrap();
    let planned = world.plan("w", WRITE).unwrap();
    assert_eq!(entry(&planned, &c.join(".ssh")).unwrap().source, PathSource::Empty);
    assert!(entry(&planned, &c.join(".ssh/id_rsa")).is_none(), "below a hidden directory");
    assert!(planned.placeholders.iter().all(|path| !path.starts_with(c.join(".git"))), "{planned:?}");
    assert!(!c.join(".claude").try_exists().unwrap(), "a placeholder was left");
}

#[test]
fn trees_within_trees_have_their_own_say() {
    let world = World::new();
    let (ws, inner) = (world.tree("ws"), world.tree("ws/inner"));
    world.file("ws/.env");
    world.file("ws/inner/.env");
    let planned = world.plan("'@/ws'", "    - path: '@/ws/inner'\n").unwrap();
    assert_eq!(access(&planned, &ws.join(".env")), Access::Write);
    assert_eq!(access(&planned, &inner.join("x")), Access::Read);
    assert_eq!(access(&planned, &inner.join(".env")), Access::None);

    let outer = world.tree("outer");
    world.tree("outer/ws");
    world.file("outer/ws/.env");
    world.file("outer/.env");
    let planned = world.plan("'@/outer/ws'", "    - path: '@/outer'\n").unwrap();
    assert_eq!(access(&planned, &outer.join("x")), Access::Read);
    assert_eq!(access(&planned, &outer.join(".env")), Access::None);
    assert_eq!(access(&planned, &outer.join("ws/.env")), Access::Write);
    assert_eq!(entry(&planned, &outer.join("ws")).unwrap().access, Access::Write);

    // Write within read within write, and a writable tree within a writable one is no mount.
    let c = world.tree("c");
    world.tree("c/r/w");
    world.tree("c/same");
    let more = "    - path: '@/c/r'\n    - path: '@/c/r/w'\n      permission: write\n    - path: '@/c/same'\n      permission: write\n";
    let planned = world.plan("w", &format!("{WRITE}{more}")).unwrap();
    for (path, expected) in
        [("x", Access::Write), ("r/x", Access::Read), ("r/w/x", Access::Write), ("same/x", Access::Write)]
    {
        assert_eq!(access(&planned, &c.join(path)), expected, "{path}");
    }
    // Its own guards are in it, held in place by a pin.
    assert_eq!(entry(&planned, &c.join("same")).unwrap().access, Access::Write);
    assert_eq!(entry(&planned, &c.join("same/.git")).unwrap().access, Access::Read);
}

#[test]
fn something_visible_in_a_hidden_directory_cannot_be_enforced() {
    let world = World::new();
    world.tree("c/.ssh");
    world.file("c/.ssh/config");
    let told = world.error("w", &format!("{WRITE}    - path: '@/c/.ssh/config'\n"));
    assert!(told.contains("which is hidden") && told.contains("a.yaml:10"), "{told}");
}

#[test]
fn a_context_path_that_is_a_git_directory_keeps_its_hooks() {
    let world = World::new();
    world.tree("c/.git");
    world.file("c/.git/config");
    let planned = world.plan("w", "    - path: '@/c/.git'\n      permission: write\n").unwrap();
    assert!(planned.policy.decide(&world.at("c/.git/index"), Operation::Create).is_allowed());
    assert!(!planned.policy.decide(&world.at("c/.git/config"), Operation::Write).is_allowed());
    assert!(!planned.policy.decide(&world.at("c/.git/hooks"), Operation::Create).is_allowed());
}

#[test]
fn what_contradicts_itself_is_refused_with_both_places() {
    let world = World::new();
    world.tree("c/d");
    world.tree("ws");
    for (cwd, contexts, places) in [
        ("w", format!("{WRITE}    - path: '@/c/d/..'\n"), ["a.yaml:8", "a.yaml:10"]),
        ("'@/ws'", "    - path: '@/ws'\n".to_owned(), ["a.yaml:6", "a.yaml:8"]),
        (
            "w",
            format!("{WRITE}      protected_paths: [d]\n    - path: '@/c/d'\n      permission: write\n"),
            ["a.yaml:10", "a.yaml:11"],
        ),
    ] {
        let told = world.error(cwd, &contexts);
        assert!(told.contains("contradicts"), "{told}");
        assert!(places.iter().all(|place| told.contains(place)), "{told}");
    }
    let planned =
        world.plan("w", &format!("{WRITE}    - path: '@/c/d/..'\n      permission: write\n")).unwrap();
    assert!(
        planned.warnings.iter().any(|w| w.contains("named twice") && w.contains("a.yaml:10")),
        "{planned:?}"
    );
}

#[test]
fn the_machines_trees_and_our_own_are_no_context_paths() {
    let world = World::new();
    let state = world.at("state").display().to_string();
    for path in
        ["/proc", "/sys/kernel", "/dev/shm", "/etc", "/usr/lib", "/run", "/var", "/tmp", "/home", &state]
    {
        if !Path::new(path).try_exists().unwrap() {
            continue;
        }
        let told = world.error("w", &format!("    - path: {path}\n"));
        assert!(told.contains("cannot be used") && told.contains(LINE), "{told}");
    }
}

#[test]
fn a_link_as_a_context_path_is_followed_only_where_root_made_it() {
    let world = World::new();
    let c = world.tree("c");
    symlink(&c, world.at("link")).unwrap();
    if world.owner.uid == 0 {
        let planned = world.plan("w", "    - path: '@/link'\n").unwrap();
        assert_eq!(access(&planned, &c.join("x")), Access::Read);
        assert_eq!(access(&planned, &world.at("link")), Access::Write, "the private /tmp speaks for it");
        lchown(world.at("link"), Some(UNPRIVILEGED.uid), None).unwrap();
    }
    let told = world.error("w", "    - path: '@/link'\n");
    assert!(told.contains("symbolic link") && told.contains(LINE), "{told}");
}

#[test]
fn a_protected_path_that_cannot_be_protected_is_refused() {
    let world = World::new();
    let c = world.tree("c");
    world.tree("outside");
    world.file("c/plain");
    symlink(world.at("outside"), c.join("out")).unwrap();
    for (name, words) in
        [("out", "symbolic link"), ("out/x", "symbolic link"), ("plain/x", "not a directory")]
    {
        let told = world.error("w", &format!("{WRITE}      protected_paths: [{name}]\n"));
        assert!(told.contains(words) && told.contains("a.yaml:10"), "{told}");
    }
    // A guarded name that is a link, and one behind what is not a directory.
    symlink("elsewhere", c.join(".envrc")).unwrap();
    let told = world.error("w", WRITE);
    assert!(told.contains("symbolic link") && told.contains(".envrc"), "{told}");
    fs::remove_file(c.join(".envrc")).unwrap();
    world.file("c/.git");
    let told = world.error("w", &format!("{WRITE}      allow: [.git]\n"));
    assert!(told.contains("is not a directory") && told.contains("under `allow`"), "{told}");
    // Guarded itself it keeps what would be in it away.
    let planned = world.plan("w", WRITE).unwrap();
    assert_eq!(access(&planned, &c.join(".git/hooks")), Access::Read);
}

#[test]
fn a_file_with_a_name_outside_is_read_only_by_every_name_inside() {
    let world = World::new();
    let (c, ws) = (world.tree("c"), world.tree("ws"));
    fs::create_dir(c.join("keep")).unwrap();
    let outside = world.file("outside");
    for name in ["c/two", "c/three", "ws/four"] {
        fs::hard_link(&outside, world.at(name)).unwrap();
    }
    // All names in writable trees; one of them in a protected path.
    world.file("c/own");
    fs::hard_link(c.join("own"), ws.join("own")).unwrap();
    world.file("c/part");
    fs::hard_link(c.join("part"), c.join("keep/part")).unwrap();
    let planned = world.plan("'@/ws'", &format!("{LEGACY}      protected_paths: [keep]\n")).unwrap();
    for (name, expected) in [
        ("c/two", Access::Read),
        ("c/three", Access::Read),
        ("ws/four", Access::Read),
        ("c/own", Access::Write),
        ("ws/own", Access::Write),
        ("c/part", Access::Read),
        ("c/keep/part", Access::Read),
    ] {
        assert_eq!(access(&planned, &world.at(name)), expected, "{name}");
    }
    assert_eq!(entry(&planned, &c.join("two")).unwrap().access, Access::Read);
    let told = fix(&planned, &c.join("two"), Operation::Write);
    assert!(told.contains("by a copy of itself"), "{told}");
    // A read-only tree needs nothing of the kind.
    let planned = world.plan("w", "    - path: '@/c'\n").unwrap();
    assert!(entry(&planned, &c.join("two")).is_none());
}

#[test]
fn what_is_hidden_by_one_name_is_hidden_by_all() {
    let world = World::new();
    let (c, r) = (world.tree("c"), world.tree("r"));
    for tree in [&c, &r] {
        fs::write(tree.join(".env"), "KEY=1").unwrap();
        fs::hard_link(tree.join(".env"), tree.join("plain")).unwrap();
        fs::write(tree.join("other"), "").unwrap();
        fs::hard_link(tree.join("other"), tree.join("another")).unwrap();
    }
    let planned = world.plan("w", &format!("{WRITE}    - path: '@/r'\n")).unwrap();
    for (name, expected) in [
        ("c/.env", Access::None),
        ("c/plain", Access::None),
        ("c/other", Access::Write),
        ("r/.env", Access::None),
        ("r/plain", Access::None),
        ("r/other", Access::Read),
    ] {
        assert_eq!(access(&planned, &world.at(name)), expected, "{name}");
    }
    assert_eq!(entry(&planned, &c.join("plain")).unwrap().access, Access::None);
    let told = fix(&planned, &c.join("plain"), Operation::Read);
    assert!(told.contains("by a copy of itself"), "{told}");
}

#[test]
fn too_many_names_to_guard_are_an_error_that_says_which() {
    let world = World::new();
    let c = world.tree("c");
    let outside = world.tree("outside");
    for n in 0..=guards::MOST_CARVED {
        let name = format!("f{n}");
        fs::write(c.join(&name), "").unwrap();
        fs::hard_link(c.join(&name), outside.join(&name)).unwrap();
    }
    let told = world.error("w", LEGACY);
    assert!(told.contains("hard links") && told.contains("2001 files") && told.contains(LINE), "{told}");
}

#[test]
fn many_context_paths_are_planned_in_time() {
    let world = World::new();
    let mut contexts = String::new();
    for n in 0..1_000 {
        let _ = world.tree(&format!("many/{n}"));
        contexts.push_str(&format!("    - path: '@/many/{n}'\n"));
    }
    let started = std::time::Instant::now();
    let planned = world.plan("w", &contexts).unwrap();
    // The workspace and the peers view beside them.
    assert_eq!(planned.sandbox.paths.len(), 1_002);
    assert!(started.elapsed() < Duration::from_secs(20), "{:?}", started.elapsed());
}
