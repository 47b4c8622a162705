use super::*;
use std::{fs, os::unix::fs::symlink};

fn spec() -> SandboxSpec {
    SandboxSpec { paths: Vec::new(), ..crate::fixture::spec() }
}

// What the wall puts into every view, as it stands on any machine.
fn fixed() -> Fixed<'static> {
    Fixed {
        directory: Path::new("/usr"),
        guest: Path::new("/proc/self/exe"),
        table: Path::new("/etc/passwd"),
        empty_directory: Path::new("/etc"),
        empty_file: Path::new("/etc/group"),
        volumes: &[],
    }
}

fn entry(path: &Path, access: Access, kind: PathKind) -> PathEntry {
    let source = match access {
        Access::None => PathSource::Empty,
        _ => PathSource::Host(path.to_path_buf()),
    };
    PathEntry { path: path.to_path_buf(), source, kind, access, execute: false }
}

fn find<'a>(view: &'a View, target: &Path) -> &'a Mount {
    view.mounts.iter().find(|m| m.target.as_deref() == target.to_str()).unwrap()
}

fn canonical() -> (tempfile::TempDir, PathBuf) {
    let keep = tempfile::tempdir().unwrap();
    let path = keep.path().canonicalize().unwrap();
    (keep, path)
}

#[test]
fn names_with_separators_are_values_and_nothing_more() {
    let (_keep, root) = canonical();
    let odd = root.join("a:b,c=\"d'\n${e}");
    fs::create_dir(&odd).unwrap();
    let spec = SandboxSpec { paths: vec![entry(&odd, Access::Write, PathKind::Directory)], ..spec() };
    let view = view(&spec, &fixed()).unwrap();
    let mount = find(&view, &odd);
    assert_eq!(mount.source.as_deref(), odd.to_str());
    assert_eq!((mount.typ, mount.read_only), (Some(MountType::BIND), Some(false)));
    assert!(view.tmpfs.values().all(|v| !v.contains("a:b")));
}

#[test]
fn only_what_is_granted_is_writable() {
    let (_keep, root) = canonical();
    let paths: Vec<PathBuf> = ["", "ro", "hidden"].iter().map(|p| root.join(p)).collect();
    fs::create_dir(root.join("ro")).unwrap();
    fs::write(root.join("hidden"), "secret").unwrap();
    let spec = SandboxSpec {
        paths: vec![
            entry(&root, Access::Write, PathKind::Directory),
            entry(&paths[1], Access::Read, PathKind::Directory),
            entry(&paths[2], Access::None, PathKind::File),
        ],
        ..spec()
    };
    let view = view(&spec, &fixed()).unwrap();
    assert_eq!(find(&view, &root).read_only, Some(false));
    assert_eq!(find(&view, &paths[1]).read_only, Some(true));
    let hidden = find(&view, &paths[2]);
    assert_eq!((hidden.read_only, hidden.source.as_deref()), (Some(true), Some("/etc/group")));
    // Read-only ones without what is mounted below them, which would stay writable.
    for mount in &view.mounts {
        let options = mount.bind_options.as_ref().unwrap();
        assert_eq!(options.non_recursive, mount.read_only, "{mount:?}");
        assert_eq!(options.propagation, Some(MountBindOptionsPropagationEnum::RPRIVATE));
    }
}

#[test]
fn a_mount_point_that_root_would_have_to_make_is_refused() {
    let (_keep, root) = canonical();
    let absent = root.join("absent");
    let spec = SandboxSpec {
        paths: vec![
            entry(&root, Access::Write, PathKind::Directory),
            entry(&absent, Access::None, PathKind::Directory),
        ],
        ..spec()
    };
    let error = view(&spec, &fixed()).unwrap_err();
    assert!(error.is_refusal() && error.to_string().contains("absent"), "{error}");
    assert!(!absent.try_exists().unwrap());
}

#[test]
fn a_link_as_source_or_mount_point_is_refused() {
    let (_keep, root) = canonical();
    let (real, link) = (root.join("real"), root.join("link"));
    fs::create_dir(&real).unwrap();
    symlink(&real, &link).unwrap();
    let source = SandboxSpec { paths: vec![entry(&link, Access::Write, PathKind::Directory)], ..spec() };
    assert!(view(&source, &fixed()).is_err());
    let nested = SandboxSpec {
        paths: vec![
            entry(&root, Access::Write, PathKind::Directory),
            entry(&link, Access::None, PathKind::Directory),
        ],
        ..spec()
    };
    assert!(view(&nested, &fixed()).unwrap_err().is_refusal());
}

#[test]
fn a_file_that_became_a_directory_is_refused() {
    let (_keep, root) = canonical();
    let spec = SandboxSpec { paths: vec![entry(&root, Access::Read, PathKind::File)], ..spec() };
    assert!(view(&spec, &fixed()).unwrap_err().to_string().contains("kind of file"));
}

#[test]
fn the_containers_own_places_are_not_taken() {
    for path in
        ["/", "/proc", "/proc/1", "/sys/fs", "/dev", "/run", "/run/cordon", "/run/cordon/x", "/a/../b", "b"]
    {
        let spec =
            SandboxSpec { paths: vec![entry(Path::new(path), Access::None, PathKind::Directory)], ..spec() };
        assert!(view(&spec, &fixed()).unwrap_err().is_refusal(), "{path}");
    }
}

#[test]
fn a_path_twice_is_refused() {
    let twice = entry(Path::new("/x"), Access::None, PathKind::Directory);
    let spec = SandboxSpec { paths: vec![twice.clone(), twice], ..spec() };
    assert!(view(&spec, &fixed()).unwrap_err().is_refusal());
}

#[test]
fn what_lies_between_the_home_and_a_login_file_belongs_to_the_agent() {
    let (_keep, root) = canonical();
    let login = root.join("auth.json");
    fs::write(&login, "{}").unwrap();
    let inside = PathEntry {
        path: "/home/agent/.codex/auth.json".into(),
        source: PathSource::Host(login),
        kind: PathKind::File,
        access: Access::Read,
        execute: false,
    };
    let spec = SandboxSpec { paths: vec![inside], ..spec() };
    let view = view(&spec, &fixed()).unwrap();
    let options = &view.tmpfs["/home/agent/.codex"];
    assert!(options.contains("uid=1000,gid=1000") && options.contains("mode=700"), "{options}");
    assert!(view.tmpfs["/tmp"].contains("mode=1777") && view.tmpfs["/tmp"].contains("nosuid,nodev"));
    assert!(
        view.tmpfs.values().all(|v| v.contains("nr_inodes=")),
        "empty files are without end: {:?}",
        view.tmpfs
    );
    assert_eq!(view.tmpfs.len(), 3);
}

#[test]
fn a_volume_of_the_image_is_covered() {
    let volumes = ["/data".to_owned(), "/tmp".to_owned()];
    let view = view(&spec(), &Fixed { volumes: &volumes, ..fixed() }).unwrap();
    let mount = find(&view, Path::new("/data"));
    assert_eq!((mount.source.as_deref(), mount.read_only), (Some("/etc"), Some(true)));
    assert!(!view.mounts.iter().any(|m| m.target.as_deref() == Some("/tmp")));
}
