//! A real S3 server on this machine, over a directory that a test may look into and damage.
#![allow(
    dead_code,
    unreachable_pub,
    missing_docs,
    clippy::unwrap_used,
    clippy::panic,
    reason = "shared; each test binary uses its part"
)]

use cordon_objects::{Keys, Remote, Target, Times};
use cordon_snapshots::{SnapshotRequest, Store, StoreOptions, Taken};
use std::{
    fs,
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, SystemTime},
};

/// Two variables that cargo sets for every test: their values are the keys.
pub const ID: &str = "CARGO_PKG_NAME";
pub const SECRET: &str = "CARGO_PKG_VERSION";

pub struct Server {
    child: Child,
    pub home: tempfile::TempDir,
    pub url: String,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn program() -> Option<PathBuf> {
    let built = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../build/tools/bin/s3s-fs");
    let places = std::env::var_os("CORDON_TEST_S3").map(PathBuf::from).into_iter().chain([built]);
    places.into_iter().find(|p| p.try_exists().unwrap_or(false))
}

/// Nothing where the environment says that S3 is not tested.
pub fn server() -> Option<Server> {
    let Some(program) = program() else {
        let skipped = std::env::var("CORDON_TEST_SKIP").unwrap_or_default();
        assert!(
            skipped.split(',').any(|s| s == "s3"),
            "no S3 server: scripts/setup-tests.sh puts s3s-fs into build/tools, or CORDON_TEST_S3 names one; CORDON_TEST_SKIP=s3 leaves these tests out"
        );
        return None;
    };
    let home = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
    fs::create_dir_all(home.path().join("s3/team")).unwrap();
    let mut child = Command::new(program)
        .args(["--host", "127.0.0.1", "--port", "0"])
        .args(["--access-key", &std::env::var(ID).unwrap(), "--secret-key", &std::env::var(SECRET).unwrap()])
        .arg(home.path().join("s3"))
        .env("RUST_LOG", "s3s_fs=info")
        .env("NO_COLOR", "1")
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let url = loop {
        let line = lines.next().unwrap().unwrap();
        if let Some((_, url)) = line.split_once("server is running at ") {
            break url.chars().take_while(|c| c.is_ascii_graphic()).collect::<String>();
        }
    };
    // It would wait for who reads what it says.
    std::thread::spawn(move || lines.for_each(drop));
    Some(Server { child, home, url })
}

impl Server {
    pub fn target(&self) -> Target {
        Target::parse(&format!("s3://team/one?endpoint={}", self.url)).unwrap()
    }

    pub fn remote(&self) -> Remote {
        Remote::open(&self.target(), &keys(), Times::default()).unwrap()
    }

    /// What lies in one of the bucket's directories, without the server's own notes.
    pub fn files(&self, directory: &str) -> Vec<PathBuf> {
        let dir = self.home.path().join("s3/team/one").join(directory);
        let Ok(read) = fs::read_dir(dir) else { return Vec::new() };
        let mut all: Vec<_> = read.map(|e| e.unwrap().path()).collect();
        all.retain(|p| p.is_file() && !p.file_name().unwrap().to_str().unwrap().starts_with('.'));
        all.sort();
        all
    }

    /// Makes everything there older, as the bucket's clock sees it.
    pub fn age(&self, directory: &str, by: Duration) {
        for path in self.files(directory) {
            let file = fs::File::options().write(true).open(path).unwrap();
            file.set_modified(SystemTime::now() - by).unwrap();
        }
    }

    pub fn dir(&self, name: &str) -> PathBuf {
        let dir = self.home.path().join(name);
        fs::create_dir_all(&dir).unwrap();
        dir
    }

    pub fn store(&self, name: &str) -> Store {
        Store::open(&self.home.path().join(name), "", StoreOptions::default()).unwrap()
    }

    pub fn take(&self, store: &Store, tree: &Path) -> Taken {
        store
            .snapshot(
                tree,
                &SnapshotRequest {
                    label: "kept".into(),
                    run: "r1".into(),
                    kind: "turn".into(),
                    ..SnapshotRequest::default()
                },
            )
            .unwrap()
    }
}

pub fn keys() -> Keys {
    Keys { id: ID.into(), secret: SECRET.into(), token: String::new() }
}

/// Bytes that do not compress, the same for the same seed.
pub fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    std::iter::repeat_with(next).flatten().take(length).collect()
}

pub const DAY: Duration = Duration::from_secs(25 * 3600);
