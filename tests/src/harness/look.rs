use std::{
    fs,
    process::Command,
    time::{Duration, Instant},
};

/// Looks again until something is so; false when it is not within `limit`. For things of
/// the outside world that announce no event.
pub fn wait_until(limit: Duration, mut so: impl FnMut() -> bool) -> bool {
    let end = Instant::now() + limit;
    loop {
        if so() {
            return true;
        }
        if Instant::now() > end {
            return false;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Processes of this machine, in any namespace, whose arguments hold this text.
#[must_use]
pub fn processes_mentioning(text: &str) -> Vec<String> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    let own = std::process::id().to_string();
    entries
        .flatten()
        .filter(|e| e.file_name().to_string_lossy().bytes().all(|b| b.is_ascii_digit()))
        .filter(|e| e.file_name().to_string_lossy() != own)
        .filter_map(|e| fs::read(e.path().join("cmdline")).ok())
        .map(|bytes| String::from_utf8_lossy(&bytes).replace('\0', " "))
        .filter(|line| line.contains(text))
        .collect()
}

fn listed(arguments: &[&str]) -> Vec<String> {
    let out = Command::new("docker").args(arguments).output().expect("start docker");
    assert!(out.status.success(), "docker {arguments:?} failed");
    String::from_utf8_lossy(&out.stdout).lines().map(str::to_owned).collect()
}

/// Containers, running or not, that belong to a run.
///
/// # Panics
/// When the engine does not answer.
#[must_use]
pub fn containers_of(run: &str) -> Vec<String> {
    listed(&["ps", "-aq", "--filter", &format!("label=cordon.run={run}")])
}

/// Networks of the engine that belong to a run.
///
/// # Panics
/// When the engine does not answer.
#[must_use]
pub fn networks_of(run: &str) -> Vec<String> {
    listed(&["network", "ls", "-q", "--filter", &format!("label=cordon.run={run}")])
}
