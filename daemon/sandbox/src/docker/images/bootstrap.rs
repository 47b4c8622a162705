//! debian:bookworm-slim where no registry answers: debootstrap makes the tree on
//! this host and the engine imports it.

use super::build::{BuildEvent, DEBIAN, Events, Lines, fault};
use crate::{SandboxError, docker::engine};
use bollard::{Docker, body_try_stream, query_parameters::CreateImageOptions};
use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use std::{path::Path, process::Stdio};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _},
    process::{Child, Command},
};

const DEBOOTSTRAP: &str = "/usr/sbin/debootstrap";
const TAR: &str = "/usr/bin/tar";
const PATH: &str = "/usr/sbin:/usr/bin:/sbin:/bin";
/// A place with room, on a disk: the tree takes some 300 MB.
const ROOM: &str = "/var/tmp";

pub(super) async fn bootstrap(docker: &Docker, events: &Events) -> Result<(), SandboxError> {
    if !rustix::process::geteuid().is_root() {
        return Err(missing("making it takes root", "Run cordond as root for this, or load the image"));
    }
    for program in [DEBOOTSTRAP, TAR] {
        if !Path::new(program).is_file() {
            let fix = format!("Install {}", program.rsplit('/').next().unwrap_or(program));
            return Err(missing(&format!("{program} is not there"), &fix));
        }
    }
    let room = tempfile::Builder::new()
        .prefix("cordon-bootstrap-")
        .tempdir_in(ROOM)
        .map_err(SandboxError::io("make a directory in", ROOM))?;
    let tree = room.path().join("tree");
    make_tree(&tree, events).await?;
    import(docker, &tree).await?;
    let _ = events.send(Ok(BuildEvent::Line { image: "base", line: format!("imported {DEBIAN}") })).await;
    // Removing some ten thousand files would hold the others up.
    let _ = tokio::task::spawn_blocking(move || room.close()).await;
    Ok(())
}

fn missing(why: &str, fix: &str) -> SandboxError {
    SandboxError::Unavailable {
        what: format!("{DEBIAN} by debootstrap"),
        why: why.to_owned(),
        fix: fix.to_owned(),
    }
}

fn command(program: &str) -> Command {
    let mut command = Command::new(program);
    command.env_clear().env("PATH", PATH).env("LC_ALL", "C").stdin(Stdio::null()).kill_on_drop(true);
    for name in ["http_proxy", "https_proxy", "no_proxy"] {
        if let Some(value) = std::env::var_os(name) {
            command.env(name, value);
        }
    }
    command
}

async fn make_tree(tree: &Path, events: &Events) -> Result<(), SandboxError> {
    let mut child = command(DEBOOTSTRAP)
        .args(["--variant=minbase", "bookworm"])
        .arg(tree)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(SandboxError::io("run", DEBOOTSTRAP))?;
    let mut last = String::new();
    if let Some(mut output) = child.stdout.take() {
        let (mut lines, mut buffer) = (Lines::default(), vec![0; 8192]);
        while let Ok(read @ 1..) = output.read(&mut buffer).await {
            for line in lines.take(&String::from_utf8_lossy(&buffer[..read])) {
                last.clone_from(&line);
                let _ = events.send(Ok(BuildEvent::Line { image: "base", line })).await;
            }
        }
    }
    let status = child.wait().await.map_err(SandboxError::io("wait for", DEBOOTSTRAP))?;
    if status.success() {
        return Ok(());
    }
    Err(fault(DEBIAN, format!("debootstrap ended with {status}: {last}")))
}

async fn import(docker: &Docker, tree: &Path) -> Result<(), SandboxError> {
    let mut child = command(TAR)
        .arg("--create")
        .arg("--numeric-owner")
        .arg("--directory")
        .arg(tree)
        .arg(".")
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(SandboxError::io("run", TAR))?;
    let Some(output) = child.stdout.take() else { return Err(fault(DEBIAN, "tar has no output".to_owned())) };
    let options = CreateImageOptions {
        from_src: Some("-".to_owned()),
        repo: Some("debian".to_owned()),
        tag: Some("bookworm-slim".to_owned()),
        changes: vec!["CMD [\"/bin/bash\"]".to_owned()],
        ..CreateImageOptions::default()
    };
    let body = body_try_stream(chunks(output, child));
    let mut answer = docker.create_image(Some(options), Some(body), None);
    while let Some(part) = answer.next().await {
        part.map_err(engine::failed(format!("import {DEBIAN}")))?;
    }
    Ok(())
}

/// The archive, ending in an error unless tar itself ended well: the engine must
/// not take half a tree for a whole one.
fn chunks(
    output: impl AsyncRead + Unpin + Send + 'static,
    child: Child,
) -> impl futures_util::Stream<Item = std::io::Result<Bytes>> + Send + 'static {
    stream::unfold(Some((output, child)), |state| async move {
        let (mut output, mut child) = state?;
        let mut buffer = vec![0; 64 << 10];
        match output.read(&mut buffer).await {
            Ok(0) => match child.wait().await {
                Ok(status) if status.success() => None,
                Ok(status) => Some((Err(std::io::Error::other(format!("tar: {status}"))), None)),
                Err(error) => Some((Err(error), None)),
            },
            Ok(read) => {
                buffer.truncate(read);
                Some((Ok(Bytes::from(buffer)), Some((output, child))))
            }
            Err(error) => Some((Err(error), None)),
        }
    })
}
