use super::*;
use std::{
    fs::{self as files, Permissions},
    os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink},
    sync::atomic::{AtomicUsize, Ordering},
};

struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn at(&self, name: &str) -> PathBuf {
        self.0.path().canonicalize().unwrap().join(name)
    }

    fn empty(&self, name: &str) -> PathBuf {
        files::create_dir(self.at(name)).unwrap();
        self.at(name)
    }

    fn sealed(&self) -> Sealed {
        Sealed::new(self.at("sealed"))
    }

    fn left(&self) -> usize {
        files::read_dir(self.at("sealed")).unwrap().count()
    }
}

fn fill(at: &Path) -> Result<(), ForkError> {
    files::create_dir(at.join("d")).unwrap();
    files::write(at.join("d/f"), "bytes").unwrap();
    files::hard_link(at.join("d/f"), at.join("same")).unwrap();
    symlink("/etc/passwd", at.join("link")).unwrap();
    files::set_permissions(at.join("d/f"), Permissions::from_mode(0o640)).unwrap();
    files::set_permissions(at.join("d"), Permissions::from_mode(0o550)).unwrap();
    let past = std::time::UNIX_EPOCH + std::time::Duration::new(1_000_000_000, 7);
    files::File::open(at.join("d")).unwrap().set_modified(past).unwrap();
    Ok(())
}

#[test]
fn many_see_the_same_files_in_directories_of_their_own() {
    let place = Place::new();
    let sealed = place.sealed();
    let filled = AtomicUsize::new(0);
    let hold = || {
        sealed.hold("key", |at| {
            filled.fetch_add(1, Ordering::Relaxed);
            fill(at)
        })
    };
    let held: Vec<_> = std::thread::scope(|scope| {
        let all: Vec<_> = (0..8).map(|_| scope.spawn(|| hold().unwrap())).collect();
        all.into_iter().map(|one| one.join().unwrap()).collect()
    });
    assert_eq!(filled.load(Ordering::Relaxed), 1);
    let (one, two) = (place.empty("one"), place.empty("two"));
    assert!(held[0].link_into(&one).unwrap() && held[1].link_into(&two).unwrap());
    let look = |path: &Path| files::symlink_metadata(path).unwrap();
    for name in ["d/f", "same"] {
        assert_eq!(look(&one.join(name)).ino(), look(&two.join(name)).ino());
        assert_eq!(look(&one.join(name)).nlink(), 6);
        assert_eq!(look(&one.join(name)).mode() & 0o7777, 0o640);
    }
    assert_ne!(look(&one.join("d")).ino(), look(&two.join("d")).ino());
    assert_eq!(look(&one.join("d")).mode() & 0o7777, 0o550);
    assert_eq!((look(&one.join("d")).mtime(), look(&one.join("d")).mtime_nsec()), (1_000_000_000, 7));
    assert_eq!(files::read_link(one.join("link")).unwrap(), Path::new("/etc/passwd"));
    assert_ne!(look(&one.join("link")).ino(), look(&two.join("link")).ino());

    assert_eq!(place.left(), 1);
    drop(held);
    assert_eq!(place.left(), 0, "nobody holds it");
    assert_eq!(files::read(one.join("d/f")).unwrap(), b"bytes");
}

#[test]
fn what_could_not_be_filled_is_tried_again_and_what_was_left_never_counts() {
    let place = Place::new();
    let sealed = place.sealed();
    let refused = sealed.hold("key", |at| {
        files::write(at.join("half"), "").unwrap();
        Err(ForkError::Cancelled)
    });
    assert!(refused.is_err());
    assert_eq!(place.left(), 0);
    // As a process that died would leave it.
    files::create_dir(place.at("sealed/key")).unwrap();
    files::write(place.at("sealed/key/half"), "").unwrap();
    let held = sealed.hold("key", fill).unwrap();
    let one = place.empty("one");
    assert!(held.link_into(&one).unwrap());
    assert!(one.join("same").is_file() && !one.join("half").try_exists().unwrap());
    sealed.remove_left("key").unwrap();
    assert_eq!(place.left(), 1);
    drop(held);
    assert_eq!(place.left(), 0);
}

#[test]
fn what_cannot_be_linked_is_said() {
    let place = Place::new();
    let deep: PathBuf = std::iter::repeat_n("d", 100).collect();
    let too_deep = |at: &Path| -> Result<(), ForkError> {
        files::create_dir_all(at.join(&deep)).unwrap();
        Ok(())
    };
    let sealed = place.sealed();
    let held = sealed.hold("deep", too_deep).unwrap();
    assert!(!held.link_into(&place.empty("one")).unwrap());
    // Another filesystem.
    let elsewhere = tempfile::tempdir_in("/dev/shm").unwrap();
    let here = files::metadata(place.0.path()).unwrap().dev();
    assert_ne!(files::metadata(elsewhere.path()).unwrap().dev(), here, "/dev/shm is no other filesystem");
    let held = sealed.hold("key", fill).unwrap();
    assert!(!held.link_into(&elsewhere.path().canonicalize().unwrap()).unwrap());
    // A name that is taken is a mistake, and no reason to copy.
    let taken = place.empty("taken");
    files::write(taken.join("same"), "").unwrap();
    assert!(held.link_into(&taken).is_err());
    assert_eq!(files::read(taken.join("same")).unwrap(), b"");
}
