//! What of the person's own becomes a mount, and what does not.

use super::*;
use std::os::unix::net::UnixListener;

impl World {
    fn with(&self, lines: &str) -> Result<Planned, PlanError> {
        let mut cwd = "w\n    command_line_docker_credentials:".to_owned();
        lines.lines().for_each(|line| cwd.push_str(&format!("\n      {line}")));
        self.plan(&cwd, "")
    }

    fn refused(&self, lines: &str) -> String {
        match self.with(lines) {
            Ok(planned) => panic!("it was planned: {:?}", planned.sandbox.paths),
            Err(error) => error.to_string(),
        }
    }
}

fn host(planned: &Planned, inside: &str) -> Option<(PathBuf, Access)> {
    let entry = entry(planned, Path::new(inside))?;
    match &entry.source {
        PathSource::Host(host) => Some((host.clone(), entry.access)),
        _ => None,
    }
}

#[test]
fn well_known_files_are_mounted_one_by_one_and_read_only() {
    let world = World::new();
    world.tree("home");
    let key = world.file("home/.ssh/id_ed25519");
    let nested = world.file("home/.ssh/config.d/work");
    let git = world.file("home/.gitconfig");
    let login = world.file("home/.claude/.credentials.json");
    world.file("home/.claude/history.jsonl");
    let _socket = UnixListener::bind(world.at("home/.ssh/control")).unwrap();
    symlink("/etc/shadow", world.at("home/.ssh/link")).unwrap();
    let planned = world.with("mount: [ssh_keys, git_config, claude_config, npm_config]").unwrap();
    for (inside, outside) in [
        ("/home/agent/.ssh/id_ed25519", &key),
        ("/home/agent/.ssh/config.d/work", &nested),
        ("/home/agent/.gitconfig", &git),
        ("/home/agent/.claude/.credentials.json", &login),
    ] {
        assert_eq!(host(&planned, inside), Some((outside.clone(), Access::Read)), "{inside}");
        assert!(!entry(&planned, Path::new(inside)).unwrap().execute);
    }
    for absent in [".ssh", ".ssh/control", ".ssh/link", ".claude", ".claude/history.jsonl", ".npmrc"] {
        assert!(entry(&planned, &Path::new(HOME).join(absent)).is_none(), "{absent}");
    }
    assert!(
        planned.warnings.iter().any(|w| w.contains("npm_config: there is no ~/.npmrc")),
        "{:?}",
        planned.warnings
    );
    let rule = planned.policy.rule_for(Path::new("/home/agent/.gitconfig")).unwrap();
    assert!(rule.origin.to_string().contains("a.yaml:2"), "{}", rule.origin);
}

#[test]
fn links_and_what_the_agent_cannot_read_are_errors() {
    let world = World::new();
    world.tree("home");
    let real = world.file("dotfiles/gitconfig");
    symlink(&real, world.at("home/.gitconfig")).unwrap();
    let told = world.refused("mount: [git_config]");
    assert!(told.contains("symbolic link") && told.contains("additional_mounts"), "{told}");
    let token = world.file("home/.npmrc");
    fs::set_permissions(&token, fs::Permissions::from_mode(0o000)).unwrap();
    let told = world.refused("mount: [npm_config]");
    assert!(told.contains("may not read it") && told.contains(".npmrc"), "{told}");
}

#[test]
fn additional_mounts_are_read_only_unless_they_say_rw() {
    let world = World::new();
    let (data, out) = (world.tree("data"), world.tree("out"));
    let file = world.file("token");
    let planned = world
        .with("additional_mounts:\n  '@/data': {bind: /mnt/data}\n  '@/out': {bind: /mnt/out, mode: rw}\n  '@/token': {bind: /home/agent/.token, mode: ro}")
        .unwrap();
    assert_eq!(host(&planned, "/mnt/data"), Some((data, Access::Read)));
    assert_eq!(host(&planned, "/mnt/out"), Some((out, Access::Write)));
    assert_eq!(host(&planned, "/home/agent/.token"), Some((file, Access::Read)));
    assert!(planned.warnings.iter().any(|w| w.contains("changed directly")), "{:?}", planned.warnings);
    assert!(!planned.policy.decide(Path::new("/mnt/data/x"), Operation::Write).is_allowed());
    assert!(planned.policy.decide(Path::new("/mnt/out/x"), Operation::Write).is_allowed());
}

#[test]
fn what_must_not_be_mounted_is_refused_with_its_line() {
    let world = World::new();
    world.tree("data");
    let _socket = UnixListener::bind(world.tree("run").join("s")).unwrap();
    symlink(world.at("data"), world.at("link")).unwrap();
    if world.owner.uid == 0 {
        lchown(world.at("link"), Some(UNPRIVILEGED.uid), None).unwrap();
    }
    let state = world.at("state");
    for (source, bind, words) in [
        ("/", "/mnt/x", "the whole machine"),
        ("/etc", "/mnt/x", "belongs to the machine"),
        (state.to_str().unwrap(), "/mnt/x", "Cordon's own state"),
        ("@/run", "/mnt/x", "is a socket"),
        ("@/run/s", "/mnt/x", "neither a file nor a directory"),
        ("@/link", "/mnt/x", "symbolic link"),
        ("@/data", "/etc/x", "belongs to the machine"),
        ("@/data", "/home/agent", "disposable home"),
        ("@/data", "/tmp", "the agent's own"),
    ] {
        let told = world.refused(&format!("additional_mounts:\n  '{source}': {{bind: {bind}}}"));
        assert!(told.contains(words), "{source} {bind}: {told}");
    }
    let workspace = world.at("state/workspaces").join(world.owner.uid.to_string()).join("w/sub");
    let told = world.refused(&format!("additional_mounts:\n  '@/data': {{bind: '{}'}}", workspace.display()));
    assert!(told.contains("mounted by itself") || told.contains("Cordon's own state"), "{told}");
    if Path::new("/var/run/docker.sock").try_exists().unwrap() {
        let told = world.refused("additional_mounts:\n  /var/run/docker.sock: {bind: /mnt/x}");
        assert!(told.contains("machine") || told.contains("neither"), "{told}");
    }
}
