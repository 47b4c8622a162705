use super::WALL;
use crate::SandboxError;
use bollard::{Docker, errors::Error};
use std::time::Duration;

/// The oldest API that has everything that is asked for.
const OLDEST_API: (u32, u32) = (1, 41);
const DEFAULT_SOCKET: &str = "/var/run/docker.sock";
const CALL_TIMEOUT: Duration = Duration::from_secs(120);

/// An engine that was looked at once and found fit.
#[derive(Clone, Debug)]
pub(super) struct Engine {
    pub(super) docker: Docker,
    pub(super) machine: Machine,
}

/// The engine's machine.
#[derive(Clone, Debug)]
pub(super) struct Machine {
    /// Processors.
    pub(super) cpus: f64,
    /// What the engine cannot limit there.
    pub(super) unlimited: Vec<String>,
}

/// Where the engine's socket is.
pub(super) fn socket(docker_host: Option<&str>) -> Result<String, SandboxError> {
    let Some(host) = docker_host.filter(|h| !h.is_empty()) else { return Ok(DEFAULT_SOCKET.to_owned()) };
    match host.strip_prefix("unix://") {
        Some(path) if path.starts_with('/') => Ok(path.to_owned()),
        _ => Err(SandboxError::Unavailable {
            what: "Docker Engine".to_owned(),
            why: format!(
                "DOCKER_HOST is {:?}, and the guest is reached through a shared directory",
                redact(host)
            ),
            fix: "Run cordond on the engine's machine and set DOCKER_HOST to unix:///PATH, or unset it"
                .to_owned(),
        }),
    }
}

// A host may carry a user and a password.
fn redact(host: &str) -> &str {
    host.rsplit_once('@').map_or(host, |(_, after)| after)
}

/// A client; nothing is sent yet.
pub(super) fn client(docker_host: Option<&str>, timeout: Duration) -> Result<Docker, SandboxError> {
    let socket = socket(docker_host)?;
    Docker::connect_with_unix(&socket, timeout.as_secs(), bollard::API_DEFAULT_VERSION)
        .map_err(|e| unreachable(&socket, &e))
}

fn unreachable(socket: &str, error: &Error) -> SandboxError {
    SandboxError::Unavailable {
        what: "Docker Engine".to_owned(),
        why: format!("{socket}: {}", describe(error)),
        fix: "Start it (systemctl start docker), give cordond access to its socket, or use the local wall"
            .to_owned(),
    }
}

impl Engine {
    /// Connects and looks whether the engine can do what a wall needs.
    pub(super) async fn connect(docker_host: Option<&str>) -> Result<Self, SandboxError> {
        let socket = socket(docker_host)?;
        let docker = client(docker_host, CALL_TIMEOUT)?;
        let (version, info) =
            tokio::try_join!(docker.version(), docker.info()).map_err(|e| unreachable(&socket, &e))?;
        let api = version.api_version.unwrap_or_default();
        if parse_api(&api).is_none_or(|v| v < OLDEST_API) {
            return Err(SandboxError::Unavailable {
                what: "Docker Engine".to_owned(),
                why: format!("it speaks API {api:?}, which is older than 1.41"),
                fix: "Install Docker Engine 20.10 or later".to_owned(),
            });
        }
        let options = info.security_options.unwrap_or_default();
        for (name, why) in [
            ("userns", "it remaps user ids, so that the workspace's owner is somebody else inside"),
            ("rootless", "it runs without root, so that the workspace's owner is somebody else inside"),
        ] {
            if has_option(&options, name) {
                return Err(SandboxError::Unavailable {
                    what: "Docker Engine".to_owned(),
                    why: why.to_owned(),
                    fix: "Use an engine without user id remapping, or the local wall".to_owned(),
                });
            }
        }
        if !has_option(&options, "seccomp") {
            return Err(SandboxError::Unavailable {
                what: "Docker Engine".to_owned(),
                why: "it has no seccomp, so that system calls cannot be filtered".to_owned(),
                fix: "Use a kernel and an engine with seccomp, or the local wall".to_owned(),
            });
        }
        let unlimited = [
            (info.memory_limit, "memory"),
            (info.swap_limit, "swap"),
            (info.cpu_cfs_quota, "processor time"),
            (info.pids_limit, "the number of processes"),
        ]
        .into_iter()
        .filter(|(can, _)| *can == Some(false))
        .map(|(_, what)| format!("the engine cannot limit {what} on this kernel"))
        .collect();
        #[allow(clippy::cast_precision_loss)] // No machine has 2^52 processors.
        let cpus = info.ncpu.filter(|n| *n > 0).unwrap_or(1) as f64;
        Ok(Self { docker, machine: Machine { cpus, unlimited } })
    }
}

pub(super) fn has_option(options: &[String], name: &str) -> bool {
    options.iter().any(|o| o.split(',').any(|part| part == format!("name={name}") || part == name))
}

pub(super) fn parse_api(text: &str) -> Option<(u32, u32)> {
    let (major, minor) = text.split_once('.')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

/// The status code of the engine's answer, when it answered.
pub(super) fn status(error: &Error) -> Option<u16> {
    match error {
        Error::DockerResponseServerError { status_code, .. } => Some(*status_code),
        _ => None,
    }
}

/// The engine's words, without the client's.
pub(super) fn describe(error: &Error) -> String {
    let text = match error {
        Error::DockerResponseServerError { message, .. } => message.clone(),
        other => {
            let mut text = other.to_string();
            let mut source = std::error::Error::source(other);
            while let Some(inner) = source {
                let inner_text = inner.to_string();
                if !text.contains(&inner_text) {
                    text = format!("{text}: {inner_text}");
                }
                source = inner.source();
            }
            text
        }
    };
    // The message may quote what an image or an agent wrote.
    let mut text: String = text.trim().chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    if text.len() > 1000 {
        text.truncate(text.floor_char_boundary(1000));
        text.push('…');
    }
    text
}

/// An error of the engine while doing `step`.
pub(super) fn failed(step: impl Into<String>) -> impl FnOnce(Error) -> SandboxError {
    let step = step.into();
    move |error| SandboxError::Engine { step, why: describe(&error) }
}

/// A refusal of this wall.
pub(super) fn refuse(
    rule: impl Into<String>,
    why: impl Into<String>,
    fix: impl Into<String>,
) -> SandboxError {
    SandboxError::Unenforceable { rule: rule.into(), wall: WALL, why: why.into(), fix: fix.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_local_socket_is_taken() {
        assert_eq!(socket(None).unwrap(), DEFAULT_SOCKET);
        assert_eq!(socket(Some("unix:///x/y.sock")).unwrap(), "/x/y.sock");
        for host in ["tcp://10.0.0.1:2375", "ssh://me:word@host", "unix://relative", "/plain"] {
            let error = socket(Some(host)).unwrap_err();
            assert!(error.is_refusal() && !error.to_string().contains("word"), "{error}");
        }
    }

    #[test]
    fn an_api_version_is_compared_by_number() {
        assert!(parse_api("1.9").unwrap() < OLDEST_API);
        assert!(parse_api("1.100").unwrap() > OLDEST_API);
        assert_eq!(parse_api("x"), None);
    }

    #[test]
    fn security_options_are_matched_whole() {
        let options = ["name=seccomp,profile=default".to_owned(), "name=usernsx".to_owned()];
        assert!(has_option(&options, "seccomp"));
        assert!(!has_option(&options, "userns"));
    }

    #[test]
    fn the_engines_words_are_bounded_and_printable() {
        let message = format!("a\u{1b}]52;c\u{7}\n{}", "ä".repeat(2000));
        let text = describe(&Error::DockerResponseServerError { status_code: 500, message });
        assert!(text.len() < 1010 && !text.chars().any(char::is_control));
    }
}
