use super::*;
use std::{
    fs,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink},
};

const SESSION: &[&str] = &[".codex/sessions", ".gemini/tmp/*/chats"];

struct World {
    dir: tempfile::TempDir,
    identity: Identity,
}

/// A user whose rights the daemon takes: one that owns nothing of this machine, or the test's own.
fn identity() -> Identity {
    match rustix::process::geteuid().is_root() {
        true => Identity { uid: 54_321, gid: 54_321 },
        false => {
            Identity { uid: rustix::process::getuid().as_raw(), gid: rustix::process::getgid().as_raw() }
        }
    }
}

impl World {
    /// A home, and beside it a place of somebody else's with a canary.
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let world = Self { identity: identity(), dir };
        for name in ["home", "outside"] {
            fs::create_dir(world.path(name)).unwrap();
        }
        fs::write(world.path("outside/canary"), "alive").unwrap();
        // Anybody may write there: only the way there is to stop it.
        fs::set_permissions(world.path("outside"), fs::Permissions::from_mode(0o777)).unwrap();
        fs::set_permissions(world.path("outside/canary"), fs::Permissions::from_mode(0o666)).unwrap();
        world.own("home");
        world
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn own(&self, name: &str) {
        std::os::unix::fs::lchown(self.path(name), Some(self.identity.uid), Some(self.identity.gid)).unwrap();
    }

    fn make(&self, name: &str) {
        fs::create_dir(self.path(name)).unwrap();
        self.own(name);
    }

    fn clear(&self, earlier: &[(&str, Put)], wanted: &[(&str, Put)]) -> Result<Vec<PathBuf>, HomeError> {
        let places = |list: &[(&str, Put)]| list.iter().map(|(p, put)| (PathBuf::from(p), *put)).collect();
        clear(&self.path("home"), self.identity, &places(earlier), &places(wanted), SESSION)
    }

    fn assert_unharmed(&self) {
        assert_eq!(fs::read(self.path("outside/canary")).unwrap(), b"alive");
        let names: Vec<_> =
            fs::read_dir(self.path("outside")).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert_eq!(names, ["canary"]);
    }
}

#[test]
fn room_is_made_in_a_fresh_home_and_again_in_the_same() {
    let world = World::new();
    let wanted =
        [(".codex/config.toml", Put::Seed), (".codex/auth.json", Put::OnFile), ("share/x", Put::OnDirectory)];
    assert!(world.clear(&[], &wanted).unwrap().is_empty());
    assert!(!world.path("home/.codex/config.toml").try_exists().unwrap(), "the guest writes it");
    let auth = fs::metadata(world.path("home/.codex/auth.json")).unwrap();
    assert_eq!((auth.len(), auth.uid()), (0, world.identity.uid));
    assert!(world.path("home/share/x").is_dir());
    // What a program left in between stays, and a closed seed of last time is no obstacle.
    fs::write(world.path("home/.codex/sessions"), "kept").unwrap();
    world.own("home/.codex/sessions");
    fs::write(world.path("home/.codex/config.toml"), "old").unwrap();
    fs::set_permissions(world.path("home/.codex/config.toml"), fs::Permissions::from_mode(0o400)).unwrap();
    world.own("home/.codex/config.toml");
    assert!(world.clear(&wanted, &wanted).unwrap().is_empty());
    assert!(!world.path("home/.codex/config.toml").try_exists().unwrap());
    assert_eq!(fs::read(world.path("home/.codex/sessions")).unwrap(), b"kept");
}

#[test]
fn what_only_an_earlier_run_had_put_there_goes() {
    let world = World::new();
    let earlier = [("a/login", Put::OnFile), ("a/settings", Put::Seed), ("gone/x", Put::Seed)];
    world.clear(&[], &earlier).unwrap();
    fs::write(world.path("home/a/settings"), "x").unwrap();
    world.own("home/a/settings");
    fs::remove_dir(world.path("home/gone")).unwrap();
    symlink(world.path("outside"), world.path("home/gone")).unwrap();
    world.clear(&earlier, &[]).unwrap();
    assert!(
        !world.path("home/a/login").try_exists().unwrap()
            && !world.path("home/a/settings").try_exists().unwrap()
    );
    world.assert_unharmed();
}

#[test]
fn links_fifos_and_directories_in_the_way_lead_nowhere() {
    let world = World::new();
    let home = |name: &str| world.path("home").join(name);
    symlink(world.path("outside"), home(".codex")).unwrap();
    symlink(world.path("outside/canary"), home("file")).unwrap();
    nix::unistd::mkfifo(&home(".gemini"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    nix::unistd::mkfifo(&home("fifo"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    for name in ["home/settings", "home/settings/deep", "home/login"] {
        world.make(name);
    }
    symlink(world.path("outside"), home("settings/deep/out")).unwrap();
    for name in [".codex", "file", ".gemini", "fifo"] {
        world.own(&format!("home/{name}"));
    }
    let wanted = [
        (".codex/config.toml", Put::Seed),
        (".codex/auth.json", Put::OnFile),
        (".gemini/settings.json", Put::Seed),
        ("fifo", Put::Seed),
        ("file", Put::Seed),
        ("login", Put::OnFile),
        ("settings", Put::Seed),
    ];
    let mut removed = world.clear(&[], &wanted).unwrap();
    removed.sort();
    let expected = [".codex", ".gemini", "fifo", "file", "login", "settings"];
    assert_eq!(removed, expected.map(PathBuf::from));
    assert!(home(".codex").symlink_metadata().unwrap().is_dir());
    assert!(home(".codex/auth.json").symlink_metadata().unwrap().is_file());
    assert!(home("login").symlink_metadata().unwrap().is_file());
    for name in ["fifo", "file", "settings"] {
        assert!(home(name).symlink_metadata().is_err(), "{name}");
    }
    world.assert_unharmed();
}

#[test]
fn a_second_name_of_a_file_is_not_written_to() {
    let world = World::new();
    fs::write(world.path("home/other"), "mine").unwrap();
    fs::hard_link(world.path("home/other"), world.path("home/login")).unwrap();
    world.own("home/other");
    world.clear(&[], &[("login", Put::OnFile)]).unwrap();
    assert_eq!(fs::read(world.path("home/other")).unwrap(), b"mine");
    assert_eq!(fs::metadata(world.path("home/login")).unwrap().nlink(), 1);
}

#[test]
fn permissions_that_the_agent_took_away_are_given_back() {
    let world = World::new();
    world.make("home/.codex");
    world.make("home/.codex/auth.json");
    world.make("home/.codex/auth.json/below");
    for name in ["home/.codex/auth.json/below", "home/.codex/auth.json", "home/.codex", "home"] {
        fs::set_permissions(world.path(name), fs::Permissions::from_mode(0o0)).unwrap();
    }
    // It is no session: gone before anything is in the way.
    assert!(world.clear(&[], &[(".codex/auth.json", Put::OnFile)]).unwrap().is_empty());
    assert!(world.path("home/.codex/auth.json").is_file());
    world.make("home/login");
    fs::set_permissions(world.path("home/login"), fs::Permissions::from_mode(0o0)).unwrap();
    assert_eq!(world.clear(&[], &[("login", Put::OnFile)]).unwrap(), [PathBuf::from("login")]);
    assert!(world.path("home/login").is_file());
}

#[test]
fn what_is_not_the_agents_is_left_and_refused() {
    let world = World::new();
    if !rustix::process::geteuid().is_root() {
        return;
    }
    // As a program with more rights might have left it.
    fs::create_dir(world.path("home/.codex")).unwrap();
    fs::write(world.path("home/.codex/config.toml"), "roots").unwrap();
    let error = world.clear(&[], &[(".codex/config.toml", Put::Seed)]).unwrap_err();
    assert!(error.to_string().contains(".codex/config.toml"), "{error}");
    assert_eq!(fs::read(world.path("home/.codex/config.toml")).unwrap(), b"roots");
    // And a home of somebody else's is none.
    fs::create_dir(world.path("other")).unwrap();
    let error =
        clear(&world.path("other"), world.identity, &Places::new(), &Places::new(), SESSION).unwrap_err();
    assert!(error.to_string().contains("user 0 owns it"), "{error}");
}

#[test]
fn a_link_for_a_home_is_not_followed() {
    let world = World::new();
    symlink(world.path("home"), world.path("link")).unwrap();
    assert!(clear(&world.path("link"), world.identity, &Places::new(), &Places::new(), SESSION).is_err());
}

#[test]
fn paths_that_leave_the_home_are_refused() {
    let world = World::new();
    for path in ["../outside/canary", "/etc/passwd", "a/../../outside/canary", ""] {
        assert!(world.clear(&[], &[(path, Put::Seed)]).is_err(), "{path}");
        assert!(world.clear(&[(path, Put::Seed)], &[]).is_err(), "{path}");
    }
    world.assert_unharmed();
}

#[test]
fn a_line_goes_whole_and_nothing_beside_it() {
    let world = World::new();
    let state = world.path("state");
    for name in ["homes/a/one", "homes/a/two", "homes/b/one"] {
        fs::create_dir_all(state.join(name)).unwrap();
    }
    symlink(world.path("outside"), state.join("homes/a/one/link")).unwrap();
    remove(&state, "a").unwrap();
    remove(&state, "a").unwrap();
    assert!(!state.join("homes/a").try_exists().unwrap() && state.join("homes/b/one").is_dir());
    symlink(world.path("outside"), state.join("homes/c")).unwrap();
    remove(&state, "c").unwrap();
    world.assert_unharmed();
}

#[test]
fn only_the_session_stays_of_what_programs_read_by_themselves() {
    let world = World::new();
    let put = |name: &str| {
        let path = world.path("home").join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, "x").unwrap();
        for at in path.ancestors().take_while(|at| *at != world.path("home")) {
            std::os::unix::fs::lchown(at, Some(world.identity.uid), Some(world.identity.gid)).unwrap();
        }
    };
    let kept = [".codex/sessions/a/b", ".gemini/tmp/p/chats/c", ".gemini/tmp/q/chats/c", "notes", "src/.env"];
    let gone = [
        ".agents/x",
        ".bashrc",
        ".claude.json",
        ".codex/config.toml",
        ".codex/hooks/x",
        ".codex/sessions2",
        ".gemini/chats/x",
        ".gemini/tmp/bin/rg",
        ".gemini/tmp/p/checkpoints/x",
    ];
    kept.iter().chain(&gone).for_each(|name| put(name));
    symlink(world.path("outside"), world.path("home/.config")).unwrap();
    symlink(world.path("outside"), world.path("home/.gemini/tmp/r")).unwrap();
    symlink(world.path("outside"), world.path("home/.gemini/tmp/q/sub")).unwrap();
    fs::create_dir(world.path("home/.gemini/tmp/s")).unwrap();
    symlink(world.path("outside"), world.path("home/.gemini/tmp/s/chats")).unwrap();
    for name in ["home/.config", "home/.gemini/tmp/r", "home/.gemini/tmp/q/sub", "home/.gemini/tmp/s/chats"] {
        world.own(name);
    }
    world.own("home/.gemini/tmp/s");
    fs::set_permissions(world.path("home/.gemini/tmp/s"), fs::Permissions::from_mode(0o0)).unwrap();
    let mut odd = world.clear(&[], &[]).unwrap();
    odd.sort();
    assert_eq!(odd, [".gemini/tmp/r", ".gemini/tmp/s/chats"].map(PathBuf::from));
    for name in kept {
        assert_eq!(fs::read(world.path("home").join(name)).unwrap(), b"x", "{name}");
    }
    for name in gone.iter().chain(&[".config", ".gemini/tmp/q/sub"]) {
        assert!(world.path("home").join(name).symlink_metadata().is_err(), "{name}");
    }
    world.assert_unharmed();
    // Again, with nothing to do; and links instead of the program's own directories.
    assert!(world.clear(&[], &[]).unwrap().is_empty());
    fs::rename(world.path("home/.codex"), world.path("home/moved")).unwrap();
    symlink("moved", world.path("home/.codex")).unwrap();
    world.own("home/.codex");
    assert_eq!(world.clear(&[], &[]).unwrap(), [PathBuf::from(".codex")]);
    assert!(world.path("home/.codex").symlink_metadata().is_err());
}

#[test]
fn what_was_written_for_one_run_goes_with_it() {
    let world = World::new();
    let places = [(".codex/config.toml", Put::Seed), ("plain/seed", Put::Seed), ("plain/on", Put::OnFile)];
    world.clear(&[], &places).unwrap();
    for name in [".codex/config.toml", "plain/seed"] {
        fs::write(world.path("home").join(name), "secret").unwrap();
        world.own(&format!("home/{name}"));
    }
    fs::create_dir(world.path("home/.codex/sessions")).unwrap();
    world.own("home/.codex/sessions");
    let places: Places = places.iter().map(|(p, put)| (PathBuf::from(p), *put)).collect();
    for _ in 0..2 {
        tidy::leave(&world.path("home"), world.identity, &places, SESSION).unwrap();
        assert!(!world.path("home/.codex/config.toml").try_exists().unwrap());
        assert!(!world.path("home/plain/seed").try_exists().unwrap());
        assert!(world.path("home/plain/on").is_file() && world.path("home/.codex/sessions").is_dir());
    }
}
