//! gVisor as the engine's runtime: whether it is there, and set up so that a guest can work.

use super::engine::{self, Engine};
use crate::{HostCheck, SandboxError};
use bollard::{Docker, models::Runtime};
use std::collections::HashMap;

/// As the engine knows it.
pub(super) const RUNTIME: &str = "runsc";

/// What goes with the path of the program in the engine's settings.
const SETTINGS: &str =
    r#""runtimes": {"runsc": {"path": "/usr/bin/runsc", "runtimeArgs": ["--host-uds=open"]}}"#;

/// Refuses when the engine has no gVisor that a guest can work in.
pub(super) async fn check(engine: &Engine) -> Result<(), SandboxError> {
    look(&engine.docker).await.map(drop)
}

/// For the doctor: not having it is no fault.
pub(super) async fn doctor(docker: &Docker) -> HostCheck {
    let (state, found, fix) = match look(docker).await {
        Ok(words) => ("ok", words, String::new()),
        Err(SandboxError::Unavailable { why, fix, .. }) => ("limited", why, fix),
        Err(error) => ("limited", error.to_string(), String::new()),
    };
    HostCheck { name: "docker runtime runsc".to_owned(), state, found, fix }
}

async fn look(docker: &Docker) -> Result<String, SandboxError> {
    let info = docker.info().await.map_err(engine::failed("ask for the engine's runtimes"))?;
    judge(&info.runtimes.unwrap_or_default())
}

fn judge(runtimes: &HashMap<String, Runtime>) -> Result<String, SandboxError> {
    let lacks = |why: String, fix: String| SandboxError::Unavailable {
        what: "command_line_docker_runtime: runsc".to_owned(),
        why,
        fix,
    };
    let Some(runtime) = runtimes.get(RUNTIME) else {
        return Err(lacks(
            "the engine has no runtime of this name".to_owned(),
            format!(
                "Install gVisor (Debian: `apt-get install runsc`), put {SETTINGS} into /etc/docker/daemon.json \
                 and reload the engine (`kill -HUP`); or leave the key out"
            ),
        ));
    };
    let arguments = runtime.runtime_args.clone().unwrap_or_default();
    if !arguments.iter().any(|argument| opens_sockets(argument)) {
        return Err(lacks(
            "the engine starts runsc without access to sockets of the host, over which the guest is reached"
                .to_owned(),
            format!("Put {SETTINGS} into /etc/docker/daemon.json and reload the engine (`kill -HUP`)"),
        ));
    }
    Ok(format!("with {}", arguments.join(" ")))
}

fn opens_sockets(argument: &str) -> bool {
    let argument = argument.trim_start_matches('-');
    matches!(argument, "host-uds=open" | "host-uds=all" | "fsgofer-host-uds" | "fsgofer-host-uds=true")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn runtimes(arguments: &[&str]) -> HashMap<String, Runtime> {
        let arguments = arguments.iter().map(|a| (*a).to_owned()).collect();
        let runtime = Runtime {
            path: Some("/usr/bin/runsc".into()),
            runtime_args: Some(arguments),
            ..Default::default()
        };
        HashMap::from([(RUNTIME.to_owned(), runtime)])
    }

    #[test]
    fn a_runtime_that_is_missing_or_set_up_otherwise_says_what_to_do() {
        for found in
            [HashMap::new(), runtimes(&[]), runtimes(&["--host-uds=none"]), runtimes(&["--host-uds=create"])]
        {
            let error = judge(&found).unwrap_err();
            assert!(error.is_refusal() && error.to_string().contains("daemon.json"), "{error}");
        }
    }

    #[test]
    fn sockets_are_opened_by_any_releases_option() {
        for one in ["--host-uds=open", "-host-uds=all", "--fsgofer-host-uds"] {
            assert!(judge(&runtimes(&["--platform=ptrace", one])).unwrap().contains(one));
        }
    }
}
