//! What the Docker wall needs of this host, looked at one by one.

use super::{engine, firewall, gvisor, images};
use crate::HostCheck;
use bollard::Docker;
use std::path::Path;

const BUILD_GUEST: &str = "Build it with `make build` and put it beside cordond";

pub(super) async fn doctor(docker_host: Option<&str>, guest: &Path) -> Vec<HostCheck> {
    let mut checks = Vec::new();
    let docker =
        match engine::Engine::connect(docker_host).await {
            Ok(found) => {
                checks.extend(found.machine.unlimited.iter().map(|what| {
                    limited("docker limits", what, "Enable the cgroup controller in the kernel")
                }));
                Some(found.docker)
            }
            Err(error) => {
                checks.push(missing("docker engine", &error.to_string(), ""));
                None
            }
        };
    checks.push(guest_file(guest));
    checks.push(mounts(docker_host).await);
    match firewall::usable().await {
        Ok(()) => checks.push(ok("docker firewall", "iptables answers, and DOCKER-USER is there")),
        Err(why) => checks.push(limited(
            "docker firewall",
            &why,
            "For network_mode bridge run cordond as root with iptables; without it use none with egress",
        )),
    }
    if let Some(docker) = docker {
        checks.extend(engine_checks(&docker).await);
        checks.push(gvisor::doctor(&docker).await);
        match images::list(docker_host).await {
            Ok(all) => checks.extend(all.iter().map(image)),
            Err(error) => checks.push(missing("docker images", &error.to_string(), "")),
        }
    }
    checks
}

/// Whether a fork that is mounted is one for the engine too.
async fn mounts(docker_host: Option<&str>) -> HostCheck {
    let socket = match engine::socket(docker_host) {
        Ok(socket) => socket,
        Err(error) => return missing("docker forks", &error.to_string(), ""),
    };
    let shared =
        tokio::task::spawn_blocking(move || cordon_forks::listener_shares_mounts(Path::new(&socket))).await;
    let copied = |why: &str| {
        limited(
            "docker forks",
            &format!("writable context paths are copied for containers: {why}"),
            "Run cordond as root beside the engine, in the same mount namespace",
        )
    };
    match shared {
        Ok(Ok(true)) => ok("docker forks", "the engine sees what cordond mounts"),
        Ok(Ok(false)) => copied("the engine has mounts of its own"),
        Ok(Err(error)) => copied(&format!("who listens on the engine's socket is not known ({error})")),
        Err(_) => copied("the look at it ended early"),
    }
}

async fn engine_checks(docker: &Docker) -> Vec<HostCheck> {
    let (Ok(version), Ok(info)) = tokio::join!(docker.version(), docker.info()) else {
        return vec![missing("docker engine", "it stopped answering", "Look at its log")];
    };
    let word = |text: Option<String>| text.unwrap_or_else(|| "unknown".to_owned());
    let mut checks =
        vec![ok("docker engine", &format!("{}, API {}", word(version.version), word(version.api_version)))];
    checks.push(ok("docker storage", &word(info.driver)));
    let cgroup = info.cgroup_version.map_or_else(|| "unknown".to_owned(), |v| v.to_string());
    checks.push(ok("docker cgroup", &format!("version {cgroup}")));
    let options = info.security_options.unwrap_or_default();
    checks.push(if options.iter().any(|o| o.contains("seccomp") && o.contains("unconfined")) {
        missing(
            "docker seccomp",
            "the engine's default profile is unconfined",
            "Take --seccomp-profile out of the engine's settings",
        )
    } else {
        ok("docker seccomp", "the default profile")
    });
    let runc =
        version.components.unwrap_or_default().into_iter().find(|c| c.name == "runc").map(|c| c.version);
    checks.push(match runc {
        Some(found) if runc_is_fixed(&found) => ok("runc", &found),
        Some(found) => limited(
            "runc",
            &format!("{found}, older than the fixes of CVE-2025-31133, -52565 and -52881"),
            "Update to 1.2.8, 1.3.3 or 1.4.0 or later, or see that your distribution has put the fixes in",
        ),
        None => limited("runc", "the engine does not tell its version", "Look at `runc --version`"),
    });
    checks
}

/// Whether a release has the fixes of November 2025.
fn runc_is_fixed(version: &str) -> bool {
    let (release, suffix) = match version.find(['-', '+', '~']) {
        Some(at) => (&version[..at], &version[at..]),
        None => (version, ""),
    };
    let numbers: Vec<u32> = release.split('.').map_while(|n| n.parse().ok()).collect();
    match numbers[..] {
        [1, 2, patch] => patch >= 8,
        [1, 3, patch] => patch >= 3,
        [1, 4, 0] => {
            !suffix.starts_with("-rc")
                || matches!(suffix.strip_prefix("-rc.").map(str::parse::<u32>), Some(Ok(3..)))
        }
        [1, minor, _] => minor >= 4,
        [major, ..] => major > 1,
        [] => false,
    }
}

fn guest_file(guest: &Path) -> HostCheck {
    match std::fs::File::open(guest).and_then(|file| file.metadata()) {
        Ok(found) if found.is_file() && found.len() > 0 => ok("docker guest", &guest.display().to_string()),
        Ok(_) => missing("docker guest", &format!("{} is no program", guest.display()), BUILD_GUEST),
        Err(error) => missing("docker guest", &format!("{}: {error}", guest.display()), BUILD_GUEST),
    }
}

fn image(state: &images::ImageState) -> HostCheck {
    match &state.id {
        Some(_) => ok(&format!("image {}", state.short), &format!("{} MB", state.size_bytes / 1_000_000)),
        None => limited(
            &format!("image {}", state.short),
            &format!("{} is not there", state.name),
            &format!("`cordon images build {}` when an agent needs it", state.short),
        ),
    }
}

fn check(name: &str, state: &'static str, found: &str, fix: &str) -> HostCheck {
    HostCheck { name: name.to_owned(), state, found: found.to_owned(), fix: fix.to_owned() }
}

fn ok(name: &str, found: &str) -> HostCheck {
    check(name, "ok", found, "")
}

fn limited(name: &str, found: &str, fix: &str) -> HostCheck {
    check(name, "limited", found, fix)
}

fn missing(name: &str, found: &str, fix: &str) -> HostCheck {
    check(name, "missing", found, fix)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runc_releases_are_told_apart() {
        for old in ["1.1.5+ds1", "1.1.15", "1.2.7", "1.3.2", "1.4.0-rc.2", "", "x"] {
            assert!(!runc_is_fixed(old), "{old}");
        }
        for new in ["1.2.8", "1.3.3+ds1", "1.4.0-rc.3", "1.4.0", "1.4.1", "1.5.0", "2.0.0"] {
            assert!(runc_is_fixed(new), "{new}");
        }
    }

    #[test]
    fn a_guest_that_is_not_there_is_said() {
        let file = tempfile::NamedTempFile::new().unwrap();
        assert_eq!(guest_file(file.path()).state, "missing");
        std::fs::write(file.path(), "x").unwrap();
        assert_eq!(guest_file(file.path()).state, "ok");
        assert_eq!(guest_file(Path::new("/nowhere")).state, "missing");
    }
}
