use crate::{Locked, LoginError, Store};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use cordon_backends::{Facts, LOGIN_KINDS, LoginKind, LoginSource};
use proptest::prelude::*;
use std::{
    fs,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink},
    path::PathBuf,
};

struct World {
    _dir: tempfile::TempDir,
    state: PathBuf,
    home: PathBuf,
}

fn codex() -> &'static LoginKind {
    LOGIN_KINDS[0]
}

/// A login that ends at this time.
fn login(end: u64) -> Vec<u8> {
    let claims = URL_SAFE_NO_PAD.encode(format!("{{\"exp\":{end}}}"));
    let tokens = format!(r#"{{"access_token":"h.{claims}.s","refresh_token":"the-refresh-token-{end}"}}"#);
    format!("{{\"tokens\":{tokens}}}").into_bytes()
}

fn me() -> (u32, u32) {
    (rustix::process::getuid().as_raw(), rustix::process::getgid().as_raw())
}

impl World {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        let (state, home) = (root.join("state"), root.join("home"));
        fs::create_dir(&state).unwrap();
        fs::create_dir_all(home.join(".codex")).unwrap();
        Self { _dir: dir, state, home }
    }

    fn put(&self, content: &[u8]) {
        fs::write(self.home.join(".codex/auth.json"), content).unwrap();
    }

    fn person(&self) -> Vec<u8> {
        fs::read(self.home.join(".codex/auth.json")).unwrap()
    }

    fn shown(&self) -> Vec<u8> {
        let place = Store::new(&self.state).place(7, codex());
        fs::read(place.view(LoginSource::Person).join("auth.json")).unwrap()
    }

    fn lock(&self) -> Locked {
        Store::new(&self.state).place(7, codex()).lock().unwrap()
    }

    fn current(&self, locked: &Locked) -> Result<crate::Current, LoginError> {
        locked.current(LoginSource::Person, &self.home, &mut |_| Ok(()))
    }

    /// What a program does to its copy.
    fn program_writes(&self, content: &[u8]) {
        let place = Store::new(&self.state).of(7).join("codex/renewing-person/copy/auth.json");
        fs::write(place, content).unwrap();
    }
}

#[test]
fn a_renewed_login_goes_to_every_place_it_came_from() {
    let world = World::new();
    world.put(&login(100));
    fs::set_permissions(world.home.join(".codex/auth.json"), fs::Permissions::from_mode(0o640)).unwrap();
    let locked = world.lock();
    let current = world.current(&locked).unwrap();
    let renewing = locked.begin(&current, me()).unwrap();
    assert!(locked.result(&renewing, &current.facts).unwrap().is_none());
    for half in [&b"{\"tok"[..], &login(50)] {
        world.program_writes(half);
        assert!(locked.result(&renewing, &current.facts).unwrap().is_none(), "half, or older");
    }
    world.program_writes(&login(200));
    let new = locked.result(&renewing, &current.facts).unwrap().unwrap();
    let mut told = Vec::new();
    let mut tell = |facts: &Facts| {
        assert_eq!(world.shown(), login(100), "told before it is seen");
        told.extend(facts.secrets.clone());
        Ok(())
    };
    locked.renewed(&new, &world.home, &mut tell).unwrap();
    assert!(told.contains(&"the-refresh-token-200".to_owned()));
    locked.done(renewing).unwrap();
    assert_eq!((world.person(), world.shown()), (login(200), login(200)));
    assert_eq!(fs::metadata(world.home.join(".codex/auth.json")).unwrap().mode() & 0o777, 0o640);
    // And again from there.
    let current = world.current(&locked).unwrap();
    let renewing = locked.begin(&current, me()).unwrap();
    world.program_writes(&login(300));
    let new = locked.result(&renewing, &current.facts).unwrap().unwrap();
    locked.renewed(&new, &world.home, &mut |_| Ok(())).unwrap();
    assert_eq!(world.person(), login(300));
}

#[test]
fn what_the_person_did_meanwhile_counts() {
    let world = World::new();
    world.put(&login(100));
    let locked = world.lock();
    let current = world.current(&locked).unwrap();
    let renewing = locked.begin(&current, me()).unwrap();
    world.program_writes(&login(200));
    world.put(&login(150));
    let new = locked.result(&renewing, &current.facts).unwrap().unwrap();
    locked.renewed(&new, &world.home, &mut |_| Ok(())).unwrap();
    assert_eq!(world.person(), login(150), "never written over");
    assert_eq!(world.current(&locked).unwrap().mark(), crate::place::mark(&login(150)));
    assert_eq!(world.shown(), login(150));
}

#[test]
fn what_an_earlier_daemon_left_is_found_again() {
    let world = World::new();
    world.put(&login(100));
    {
        let locked = world.lock();
        let current = world.current(&locked).unwrap();
        let mut renewing = locked.begin(&current, me()).unwrap();
        renewing.remember(serde_json::json!({ "id": "s" })).unwrap();
        world.program_writes(&login(200));
    }
    let left = Store::new(&world.state).left();
    assert_eq!((left.len(), left[0].0.owner, left[0].1), (1, 7, LoginSource::Person));
    assert_eq!(left[0].0.peek(LoginSource::Person).unwrap().unwrap().sandbox["id"], "s");
    let locked = world.lock();
    let renewing = locked.left(LoginSource::Person).unwrap().unwrap();
    let current = world.current(&locked).unwrap();
    assert!(locked.is_of(&renewing, &current));
    let new = locked.result(&renewing, &current.facts).unwrap().unwrap();
    // The daemon ends between its own copy and the person's.
    locked.renewed(&new, &world.state, &mut |_| Ok(())).unwrap();
    assert_eq!((world.person(), world.shown()), (login(100), login(200)));
    assert_eq!(world.current(&locked).unwrap().mark(), new.mark());
    assert_eq!(world.person(), login(200));
    locked.done(renewing).unwrap();
    assert!(Store::new(&world.state).left().is_empty());
}

#[test]
fn nobody_but_the_daemon_gets_to_it_and_links_are_not_followed() {
    let world = World::new();
    world.put(&login(100));
    let locked = world.lock();
    world.current(&locked).unwrap();
    let mode = |path: PathBuf| fs::metadata(path).unwrap().mode() & 0o777;
    assert_eq!(mode(world.state.join("credentials")), 0o700);
    assert_eq!(mode(world.state.join("credentials/7/codex")), 0o700);
    assert_eq!(mode(world.state.join("credentials/7/codex/person")), 0o755);
    assert_eq!(mode(world.state.join("credentials/7/codex/person/auth.json")), 0o444);
    let own = world.home.join(".codex/auth.json");
    fs::rename(&own, world.home.join("other")).unwrap();
    symlink(world.home.join("other"), &own).unwrap();
    assert!(world.current(&locked).unwrap_err().to_string().contains("symbolic link"));
    fs::remove_file(&own).unwrap();
    assert!(matches!(world.current(&locked), Err(LoginError::None(_))));
    world.put(b"not a login: secret-value");
    assert!(!world.current(&locked).unwrap_err().to_string().contains("secret-value"));
}

#[test]
fn cordons_own_login_is_kept_and_forgotten() {
    let world = World::new();
    let locked = world.lock();
    assert!(!locked.forget().unwrap());
    locked.keep_own(login(100)).unwrap();
    assert!(locked.keep_own(b"{}".to_vec()).is_err());
    let own = locked.current(LoginSource::Own, &world.home, &mut |_| Ok(())).unwrap();
    assert_eq!(own.mark(), crate::place::mark(&login(100)));
    assert!(locked.forget().unwrap());
    assert!(locked.current(LoginSource::Own, &world.home, &mut |_| Ok(())).is_err());
}

#[test]
fn what_is_being_made_is_read_only_where_it_is_a_small_plain_file() {
    let world = World::new();
    let store = Store::new(&world.state);
    let place = store.place(7, codex());
    assert!(place.look(LoginSource::Own, &world.home).unwrap().is_none());
    let making = place.lock().unwrap().make(me()).unwrap();
    let file = making.directory().join("auth.json");
    assert!(making.result().unwrap().is_none());
    fs::write(world.home.join("other"), login(100)).unwrap();
    symlink(world.home.join("other"), &file).unwrap();
    assert!(making.result().unwrap_err().to_string().contains("symbolic link"));
    fs::remove_file(&file).unwrap();
    rustix::fs::mkfifoat(rustix::fs::CWD, &file, rustix::fs::Mode::RWXU).unwrap();
    assert!(making.result().unwrap_err().to_string().contains("not a regular file"));
    fs::remove_file(&file).unwrap();
    fs::File::create(&file).and_then(|f| f.set_len(100 << 20)).unwrap();
    assert!(making.result().unwrap_err().to_string().contains("larger than"));
    fs::write(&file, login(100)).unwrap();
    let made = making.result().unwrap().unwrap();
    place.lock().unwrap().keep_own(made).unwrap();
    // Who makes another, or a daemon that starts, finds nothing of it.
    let again = place.lock().unwrap().make(me()).unwrap();
    assert!(again.result().unwrap().is_none());
    assert!(store.forget_unfinished().is_empty());
    assert!(!place.directory().join("making").is_dir());
    let (path, facts) = place.look(LoginSource::Own, &world.home).unwrap().unwrap();
    assert_eq!((path, facts.renewable), (place.view(LoginSource::Own).join("auth.json"), true));
}

proptest! {
    #[test]
    fn no_content_makes_it_panic(content in proptest::collection::vec(any::<u8>(), 0..200), json in "\\PC{0,80}") {
        for kind in LOGIN_KINDS {
            let _ = kind.look(&content);
            let _ = kind.look(json.as_bytes());
            let _ = kind.look(format!("{{\"tokens\":{{\"access_token\":{json:?}}}}}").as_bytes());
        }
    }
}
