use super::*;
use rustix::process::getuid;
use std::{
    fs,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown},
};

fn root() {
    assert!(getuid().is_root(), "acting for others is tested as root");
}

#[test]
fn files_are_the_owners_and_roots_are_closed() {
    root();
    let top = tempfile::tempdir().unwrap();
    fs::set_permissions(top.path(), fs::Permissions::from_mode(0o777)).unwrap();
    let secret = top.path().join("secret");
    fs::write(&secret, "roots").unwrap();
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o600)).unwrap();
    let grouped = top.path().join("grouped");
    fs::write(&grouped, "groups").unwrap();
    chown(&grouped, Some(0), Some(7777)).unwrap();
    fs::set_permissions(&grouped, fs::Permissions::from_mode(0o640)).unwrap();
    let mine = top.path().join("mine");
    let owner = Owner { groups: vec![7777], ..Owner::new(4321, 1234) };
    as_owner(&owner, || {
        assert_eq!(fs::read(&secret).unwrap_err().kind(), io::ErrorKind::PermissionDenied);
        assert_eq!(fs::read(&grouped).unwrap(), b"groups");
        fs::write(&mine, "x").unwrap();
        // No capability is left over: not even that of giving a file away.
        assert!(chown(&mine, Some(0), Some(0)).is_err());
        assert_eq!(geteuid().as_raw(), 0);
        // Another thread has the daemon's rights.
        std::thread::scope(|s| s.spawn(|| assert!(geteuid().is_root())).join().unwrap());
    })
    .unwrap();
    let meta = fs::metadata(&mine).unwrap();
    assert_eq!((meta.uid(), meta.gid()), (4321, 1234));
    assert_eq!(fs::read(&secret).unwrap(), b"roots");
}

#[test]
fn who_acts_for_whom_is_kept_apart_and_given_back() {
    root();
    let top = tempfile::tempdir().unwrap();
    fs::set_permissions(top.path(), fs::Permissions::from_mode(0o777)).unwrap();
    let before = (capabilities(None).unwrap(), getgroups().unwrap());
    let whose = |name: &str| {
        let path = top.path().join(name);
        fs::write(&path, "").unwrap();
        fs::metadata(path).unwrap().uid()
    };
    let (a, b) = (Owner { groups: vec![5, 6], ..Owner::new(1001, 1001) }, Owner::new(1002, 1002));
    as_owner(&a, || {
        assert_eq!(whose("a"), 1001);
        assert_eq!(as_daemon(|| whose("daemon")), 0);
        assert_eq!(
            as_owner(&b, || (whose("b"), as_daemon(|| whose("daemons")), whose("bb"))).unwrap(),
            (1002, 0, 1002)
        );
        assert_eq!(as_owner(&Owner::new(0, 0), || whose("root")).unwrap(), 0);
        assert_eq!(as_owner(&a, || whose("again")).unwrap(), 1001);
        assert_eq!(whose("aa"), 1001);
        assert_eq!(getgroups().unwrap().len(), 2);
    })
    .unwrap();
    assert_eq!(whose("end"), 0);
    // Also when it ends in a panic.
    let panicked = std::panic::catch_unwind(|| as_owner(&a, || as_daemon(|| panic!("in the midst"))));
    assert!(panicked.is_err());
    assert_eq!(whose("after"), 0);
    assert_eq!((capabilities(None).unwrap(), getgroups().unwrap()), before);
}

#[test]
fn nobody_is_nobody() {
    for (user, group) in [(u32::MAX, 0), (0, u32::MAX)] {
        assert!(matches!(as_owner(&Owner::new(user, group), || ()), Err(RightsError::Nobody { .. })));
    }
    let owner = Owner { groups: vec![u32::MAX], ..Owner::new(1, 1) };
    assert!(matches!(as_owner(&owner, || ()), Err(RightsError::Nobody { .. })));
}

#[test]
fn who_is_not_root_acts_for_nobody_else() {
    root();
    let run = || {
        rustix::thread::set_thread_res_uid(
            rustix::fs::Uid::from_raw(4321),
            rustix::fs::Uid::from_raw(4321),
            rustix::fs::Uid::from_raw(4321),
        )
        .unwrap();
        assert!(as_owner(&Owner::new(4321, 1), || true).unwrap());
        assert!(matches!(
            as_owner(&Owner::new(1, 1), || ()),
            Err(RightsError::Another { daemon: 4321, user: 1 })
        ));
        assert!(matches!(as_owner(&Owner::new(0, 0), || ()), Err(RightsError::Another { .. })));
    };
    std::thread::spawn(run).join().unwrap();
}
