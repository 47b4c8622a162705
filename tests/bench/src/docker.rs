use crate::{
    report::Report,
    spec::{IMAGE, create, first_byte, spawn_first_byte, spec},
};
use bollard::{
    Docker,
    container::LogOutput,
    exec::{CreateExecOptions, StartExecResults},
    models::{ContainerCreateBody, HostConfig, HostConfigLogConfig, Mount, MountType},
    query_parameters::{
        AttachContainerOptionsBuilder, CreateContainerOptions, RemoveContainerOptionsBuilder,
        StartContainerOptions,
    },
};
use cordon_sandbox::{DockerOptions, DockerWall, Wall as _};
use cordon_tests::harness::{bin, need_image};
use futures_util::StreamExt as _;
use std::{
    os::unix::fs::chown,
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

fn wall(state: &Path) -> DockerWall {
    DockerWall::connect(DockerOptions {
        state: state.to_path_buf(),
        guest: bin().join("cordon-guest"),
        docker_host: None,
        allow_host_network: false,
    })
}

fn tree(dir: &Path) -> std::path::PathBuf {
    let workspace = dir.join("ws");
    std::fs::create_dir(&workspace).unwrap();
    chown(&workspace, Some(65_534), Some(65_534)).unwrap();
    workspace
}

/// The same options through the Engine API alone: what a container costs without us.
fn body(workspace: &Path, argv: &[&str]) -> ContainerCreateBody {
    let mount = Mount {
        typ: Some(MountType::BIND),
        source: Some(workspace.display().to_string()),
        target: Some(workspace.display().to_string()),
        ..Mount::default()
    };
    let tmpfs = ["/tmp", "/home/agent"].map(|path| Mount {
        typ: Some(MountType::TMPFS),
        target: Some(path.to_owned()),
        ..Mount::default()
    });
    ContainerCreateBody {
        image: Some(IMAGE.to_owned()),
        cmd: Some(argv.iter().map(|a| (*a).to_owned()).collect()),
        user: Some("65534:65534".to_owned()),
        attach_stdout: Some(true),
        host_config: Some(HostConfig {
            network_mode: Some("none".to_owned()),
            readonly_rootfs: Some(true),
            cap_drop: Some(vec!["ALL".to_owned()]),
            security_opt: Some(vec!["no-new-privileges".to_owned()]),
            memory: Some(4 << 30),
            nano_cpus: Some(2_000_000_000),
            pids_limit: Some(1024),
            log_config: Some(HostConfigLogConfig { typ: Some("none".to_owned()), config: None }),
            mounts: Some(std::iter::once(mount).chain(tmpfs).collect()),
            ..HostConfig::default()
        }),
        ..ContainerCreateBody::default()
    }
}

async fn raw(docker: &Docker, workspace: &Path) -> Duration {
    let from = Instant::now();
    let made = docker
        .create_container(None::<CreateContainerOptions>, body(workspace, &["/bin/echo", "hi"]))
        .await
        .unwrap();
    let options = AttachContainerOptionsBuilder::new().stdout(true).stream(true).build();
    let mut attached = docker.attach_container(&made.id, Some(options)).await.unwrap();
    docker.start_container(&made.id, None::<StartContainerOptions>).await.unwrap();
    let first = attached.output.next().await;
    let took = from.elapsed();
    assert!(matches!(first, Some(Ok(LogOutput::StdOut { .. }))), "{first:?}");
    let force = RemoveContainerOptionsBuilder::new().force(true).build();
    docker.remove_container(&made.id, Some(force)).await.unwrap();
    took
}

/// A container from the request to the first output of `/bin/echo hi`.
pub(crate) async fn cold(report: &mut Report, rounds: usize) {
    const ROW: &str = "container, cold, request to first output";
    need_image(IMAGE);
    let dir = tempfile::tempdir().unwrap();
    let workspace = tree(dir.path());
    let wall = wall(dir.path());
    let docker = Docker::connect_with_local_defaults().unwrap();
    for round in 0..rounds {
        report.time(ROW, "Engine API alone, same options", raw(&docker, &workspace).await);
        let from = Instant::now();
        let made = create(&wall, &spec(&format!("benchcold{round}"), &workspace, Some(IMAGE))).await;
        let took = first_byte(&made, "p", &["/bin/echo", "hi"], from).await;
        report.time(ROW, "cordon, probe included", took);
        wall.destroy(&made.record).await.unwrap();
    }
}

async fn exec_api(docker: &Docker, container: &str) -> Duration {
    let from = Instant::now();
    let options = CreateExecOptions {
        cmd: Some(vec!["/bin/echo", "hi"]),
        attach_stdout: Some(true),
        ..CreateExecOptions::default()
    };
    let made = docker.create_exec(container, options).await.unwrap();
    let StartExecResults::Attached { mut output, .. } = docker.start_exec(&made.id, None).await.unwrap()
    else {
        panic!("the engine did not attach")
    };
    let first = output.next().await;
    let took = from.elapsed();
    assert!(first.is_some());
    while output.next().await.is_some() {}
    took
}

/// `/bin/echo hi` in a container that is already there.
pub(crate) async fn warm(report: &mut Report, rounds: usize) {
    const ROW: &str = "command in a warm sandbox, docker";
    let dir = tempfile::tempdir().unwrap();
    let workspace = tree(dir.path());
    let wall = wall(dir.path());
    let docker = Docker::connect_with_local_defaults().unwrap();
    let peer = docker
        .create_container(None::<CreateContainerOptions>, body(&workspace, &["/bin/sleep", "600"]))
        .await
        .unwrap();
    docker.start_container(&peer.id, None::<StartContainerOptions>).await.unwrap();
    let made = create(&wall, &spec("benchwarmdocker", &workspace, Some(IMAGE))).await;
    for round in 0..rounds {
        report.time(ROW, "bare spawn", spawn_first_byte(Command::new("/bin/echo").arg("hi")));
        report.time(ROW, "the engine's exec API", exec_api(&docker, &peer.id).await);
        let took = first_byte(&made, &format!("p{round}"), &["/bin/echo", "hi"], Instant::now()).await;
        report.time(ROW, "cordon", took);
    }
    wall.destroy(&made.record).await.unwrap();
    let force = RemoveContainerOptionsBuilder::new().force(true).build();
    docker.remove_container(&peer.id, Some(force)).await.unwrap();
}
