use super::*;

fn sources(root: &Path) -> Vec<Source> {
    let make = |name: &str| {
        let path = root.join(name);
        fs::create_dir(&path).unwrap();
        Source::own(&path, &Path::new("/in").join(name)).unwrap()
    };
    vec![make("a"), make("b")]
}

/// What an honest guest says of a view that is right.
fn honest(sources: &[Source]) -> Vec<Identified> {
    let said = |source: &Source| Identified {
        path: boot::bytes(&source.target),
        errno: 0,
        device_major: source.identity.device.0,
        device_minor: source.identity.device.1,
        inode: source.identity.inode,
        r#type: source.identity.kind,
        no_mount: false,
    };
    sources.iter().map(said).collect()
}

fn never(_: &Source) -> Result<Found, String> {
    panic!("nothing was closed")
}

#[test]
fn a_view_that_is_right_is_no_refusal() {
    let keep = tempfile::tempdir().unwrap();
    let sources = sources(keep.path());
    compare("s1", &sources, &honest(&sources), never).unwrap();
}

#[test]
fn every_single_difference_is_noticed() {
    type Change = fn(&mut Vec<Identified>);
    let changes: [Change; 11] = [
        |a| a[1].inode += 1,
        |a| a[1].device_major += 1,
        |a| a[1].device_minor += 1,
        |a| a[1].r#type = FileType::Symlink.as_raw_mode(),
        |a| a[1].no_mount = true,
        |a| a[1].errno = 2,
        |a| a[1].errno = u32::MAX,
        |a| a[1].path = "/in/a".into(),
        |a| a.swap(0, 1),
        |a| drop(a.pop()),
        // A guest that does not know the question.
        Vec::clear,
    ];
    let keep = tempfile::tempdir().unwrap();
    let sources = sources(keep.path());
    for (number, change) in changes.into_iter().enumerate() {
        let mut answers = honest(&sources);
        change(&mut answers);
        let error = compare("s1", &sources, &answers, never).unwrap_err();
        assert!(matches!(&error, SandboxError::Exchanged { .. }) && error.is_refusal(), "{number}: {error}");
        assert!(error.to_string().contains("/in/"), "{number}: {error}");
    }
}

#[test]
fn what_is_closed_to_the_guest_is_looked_at_from_outside() {
    let keep = tempfile::tempdir().unwrap();
    let sources = sources(keep.path());
    let mut answers = honest(&sources);
    answers[1].errno = Errno::ACCESS.raw_os_error().cast_unsigned();
    let right = |source: &Source| Ok(Found { identity: source.identity, no_mount: false });
    compare("s1", &sources, &answers, right).unwrap();
    let other = |_: &Source| Ok(Found { identity: sources[0].identity, no_mount: false });
    assert!(compare("s1", &sources, &answers, other).is_err());
    assert!(compare("s1", &sources, &answers, |_| Err("gone".to_owned())).is_err());
}

#[test]
fn a_link_in_a_root_leads_nowhere_outside_of_it() {
    let keep = tempfile::tempdir().unwrap();
    let sources = sources(keep.path());
    let inside = keep.path().join("root");
    fs::create_dir(&inside).unwrap();
    std::os::unix::fs::symlink(keep.path(), inside.join("in")).unwrap();
    let root = open(&inside, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()).unwrap();
    assert!(beneath(&root, &sources[0]).is_err());
}

#[test]
fn parents_are_read_past_odd_names() {
    let own = i32::try_from(std::process::id()).unwrap();
    assert_eq!(parent(own), Some(std::os::unix::process::parent_id().cast_signed()));
    assert_eq!(parent(i32::MAX), None);
}
