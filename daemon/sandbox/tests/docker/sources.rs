use crate::{harness::*, needs_docker, needs_runsc};
use cordon_policy::Access;
use cordon_sandbox::{PathEntry, PathKind, Runtime, SandboxError, SandboxSpec, Wall};
use rustix::fs::{CWD, RenameFlags, renameat_with};
use std::{
    fs,
    os::unix::fs::symlink,
    path::Path,
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

/// More sandboxes than it takes to be caught in between, and a bound on them.
const FEWEST: usize = 12;
const MOST: usize = 120;

fn entry(path: &Path, access: Access) -> PathEntry {
    host(path, access, PathKind::Directory)
}

/// Exchanges two names as fast as it can, for as long as it lives.
struct Flipper {
    ends: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Flipper {
    fn start(one: &Path, other: &Path) -> Self {
        let ends = Arc::new(AtomicBool::new(false));
        let (seen, one, other) = (ends.clone(), one.to_owned(), other.to_owned());
        let thread = std::thread::spawn(move || {
            while !seen.load(Ordering::Relaxed) {
                renameat_with(CWD, &one, CWD, &other, RenameFlags::EXCHANGE).unwrap();
            }
        });
        Self { ends, thread: Some(thread) }
    }
}

impl Drop for Flipper {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// A source that another agent exchanges with a link while sandboxes are made of it.
async fn nobody_gets_the_other_tree(access: Access, change: fn(&mut SandboxSpec)) {
    let fixture = Fixture::new();
    let (parent, other) = (fixture.root.join("shared"), fixture.root.join("other"));
    let source = parent.join("context");
    for (directory, word) in [(&source, "named"), (&other, "unnamed")] {
        fs::create_dir_all(directory).unwrap();
        fs::write(directory.join("word"), word).unwrap();
        std::os::unix::fs::chown(directory, Some(UID), Some(UID)).unwrap();
    }
    symlink(&other, parent.join("link")).unwrap();
    let _flipper = Flipper::start(&source, &parent.join("link"));
    let mut exchanged = 0;
    for number in 0..MOST {
        let mut spec = fixture.spec(&format!("flip{number}"));
        spec.paths.push(entry(&source, access));
        spec.policy = policy_of(&spec.paths);
        change(&mut spec);
        match fixture.create(&spec).await {
            Ok(sandbox) => {
                let word = bash(&sandbox, &format!("cat '{}/word'", source.display())).await;
                assert_eq!(word.text, "named", "sandbox {number}");
                fixture.wall.destroy(&sandbox.record).await.unwrap();
            }
            Err(error @ SandboxError::Exchanged { .. }) => {
                assert!(error.is_refusal() && error.to_string().contains("shared/context"), "{error}");
                exchanged += 1;
            }
            // It was a link already when it was looked at, or none when the engine looked.
            Err(
                SandboxError::Io { .. } | SandboxError::Unenforceable { .. } | SandboxError::Engine { .. },
            ) => {}
            Err(error) => panic!("{error}"),
        }
        if exchanged > 0 && number >= FEWEST {
            break;
        }
    }
    assert!(exchanged > 0, "in {MOST} sandboxes the source was never exchanged in between");
    let left: Vec<_> = fs::read_dir(&other).unwrap().flatten().map(|e| e.file_name()).collect();
    assert_eq!(left, ["word"], "something was made in the other tree");
    assert_eq!(fixture.leftovers(), Vec::<String>::new());
}

#[tokio::test]
async fn a_read_source_that_is_exchanged_is_refused() {
    needs_docker!();
    nobody_gets_the_other_tree(Access::Read, |_| {}).await;
}

#[tokio::test]
async fn a_writable_source_that_is_exchanged_is_refused() {
    needs_docker!();
    nobody_gets_the_other_tree(Access::Write, |_| {}).await;
}

#[tokio::test]
async fn a_source_that_is_exchanged_is_refused_in_gvisor_too() {
    needs_runsc!();
    nobody_gets_the_other_tree(Access::Read, |spec| {
        spec.runtime = Runtime::Gvisor;
        spec.image = Some("cordon/base:latest".to_owned());
        spec.limits.pids = 512;
        spec.limits.memory_bytes = 1 << 30;
    })
    .await;
}

/// Unmounts when a test ends, however it ends.
struct Mounted<'a>(&'a Path);

impl<'a> Mounted<'a> {
    fn new(kind: &str, source: &str, options: &str, at: &'a Path) -> Self {
        fs::create_dir_all(at).unwrap();
        output(Command::new("mount").args(["-t", kind, "-o", options, source]).arg(at));
        Self(at)
    }
}

impl Drop for Mounted<'_> {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0).status();
    }
}

/// What a file is called by the kernel is the same inside, whatever it lies on.
#[tokio::test]
async fn sources_on_other_filesystems_and_in_closed_places_are_known_again() {
    needs_docker!();
    let fixture = Fixture::new();
    let (memory, layers) = (fixture.root.join("memory"), fixture.root.join("layers"));
    let _memory = Mounted::new("tmpfs", "none", "size=1m", &memory);
    let parts = ["lower", "upper", "scratch"].map(|name| memory.join(name));
    parts.iter().for_each(|part| fs::create_dir(part).unwrap());
    fs::create_dir(parts[0].join("deep")).unwrap();
    let options = format!(
        "lowerdir={},upperdir={},workdir={}",
        parts[0].display(),
        parts[1].display(),
        parts[2].display()
    );
    let _layers = Mounted::new("overlay", "none", &options, &layers);
    let closed = fixture.work().join("closed");
    fs::create_dir(&closed).unwrap();
    fs::write(closed.join(".env"), "canary").unwrap();
    fs::set_permissions(&closed, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
    let mut spec = fixture.spec("fs1");
    spec.paths.extend([&memory, &layers, &layers.join("deep")].map(|path| entry(path, Access::Read)));
    spec.paths.push(host(&closed.join(".env"), Access::None, PathKind::File));
    spec.policy = policy_of(&spec.paths);
    let sandbox = fixture.create(&spec).await.unwrap();
    let finding = sandbox.findings.iter().find(|f| f.check == "sources").unwrap();
    assert!(finding.ok && finding.expected.starts_with("8 "), "{finding:?}");
    fixture.wall.destroy(&sandbox.record).await.unwrap();
}
