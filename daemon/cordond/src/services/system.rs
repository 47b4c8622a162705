use super::{
    caller::{Caller, inspect},
    probe,
};
use crate::{status::of_run, walls::HostWalls};
use cordon_proto::v1::{self, system_server};
use cordon_runs::Runs;
use cordon_sandbox::HostCheck;
use std::{os::unix::fs::PermissionsExt as _, path::PathBuf, process::Stdio, sync::Arc, time::Duration};
use tokio::sync::{OnceCell, mpsc};
use tonic::{Request, Response, Status};

/// Below this the disk is said to be short.
const LITTLE_SPACE: u64 = 1 << 30;
const GUEST_ANSWERS: Duration = Duration::from_secs(5);

/// What the daemon says of itself.
#[derive(Clone, Debug)]
pub(crate) struct About {
    pub(crate) state: PathBuf,
    pub(crate) socket: PathBuf,
    pub(crate) guest: PathBuf,
}

pub(crate) struct SystemService {
    pub(crate) runs: Runs,
    pub(crate) walls: Arc<HostWalls>,
    pub(crate) about: About,
    /// Whether running agents are to be ended.
    pub(crate) shutdown: mpsc::Sender<bool>,
    pub(crate) guest_version: OnceCell<String>,
}

#[tonic::async_trait]
impl system_server::System for SystemService {
    async fn version(
        &self,
        _request: Request<v1::VersionRequest>,
    ) -> Result<Response<v1::VersionResponse>, Status> {
        Ok(Response::new(v1::VersionResponse {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            guest_version: self.guest_version().await,
            pid: std::process::id(),
            state_directory: self.about.state.to_string_lossy().into_owned(),
            socket: self.about.socket.to_string_lossy().into_owned(),
        }))
    }

    async fn doctor(
        &self,
        request: Request<v1::DoctorRequest>,
    ) -> Result<Response<v1::DoctorResponse>, Status> {
        Caller::of(&request)?;
        let mut checks = vec![self.guest().await, self.space()];
        for wall in self.walls.all() {
            checks.extend(wall.doctor().await);
        }
        let check = |c: HostCheck| v1::DoctorCheck {
            name: c.name,
            state: c.state.to_owned(),
            found: c.found,
            fix: c.fix,
        };
        Ok(Response::new(v1::DoctorResponse { checks: checks.into_iter().map(check).collect() }))
    }

    async fn doctor_inside(
        &self,
        request: Request<v1::DoctorInsideRequest>,
    ) -> Result<Response<v1::DoctorInsideResponse>, Status> {
        let caller = Caller::of(&request)?;
        let v1::DoctorInsideRequest { agent_file, agent, wall } = request.into_inner();
        let request = inspect(caller, agent_file, agent, &wall).await?;
        // A client that hangs up must not leave a sandbox.
        let runs = self.runs.clone();
        let inspected = tokio::spawn(async move { runs.inspect(request).await }).await;
        let inspected = inspected.map_err(|_| Status::internal("the sandbox could not be looked at"))?;
        let inspected = inspected.map_err(|e| of_run(&e))?;
        Ok(Response::new(v1::DoctorInsideResponse {
            agent: inspected.agent,
            wall: inspected.wall.to_string(),
            findings: inspected.findings,
            probe_json: inspected.probe.map(|p| probe::to_json(&p).to_string()).unwrap_or_default(),
        }))
    }

    async fn shutdown(
        &self,
        request: Request<v1::ShutdownRequest>,
    ) -> Result<Response<v1::ShutdownResponse>, Status> {
        let caller = Caller::of(&request)?;
        tracing::info!(uid = caller.uid, "asked to shut down");
        // Full: it is under way already.
        let _ = self.shutdown.try_send(request.into_inner().stop_runs);
        Ok(Response::new(v1::ShutdownResponse {}))
    }
}

impl SystemService {
    async fn guest_version(&self) -> String {
        let asked = || async {
            let mut command = tokio::process::Command::new(&self.about.guest);
            command.arg("--version").env_clear().stdin(Stdio::null()).kill_on_drop(true);
            match tokio::time::timeout(GUEST_ANSWERS, command.output()).await {
                Ok(Ok(out)) if out.status.success() => {
                    let line = String::from_utf8_lossy(&out.stdout).trim().to_owned();
                    line.strip_prefix("cordon-guest ").map_or(line.clone(), str::to_owned)
                }
                _ => String::new(),
            }
        };
        self.guest_version.get_or_init(asked).await.clone()
    }

    async fn guest(&self) -> HostCheck {
        let path = &self.about.guest;
        let executable =
            std::fs::metadata(path).is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o111 != 0);
        let version = if executable { self.guest_version().await } else { String::new() };
        let own = env!("CARGO_PKG_VERSION");
        let (state, found, fix) = match version.as_str() {
            _ if !executable => (
                "missing",
                format!("{} is no program", path.display()),
                "put cordon-guest beside cordond, or give --guest",
            ),
            "" => (
                "missing",
                format!("{} does not run", path.display()),
                "use the cordon-guest that came with this cordond",
            ),
            v if v == own => ("ok", format!("{} {v}", path.display()), ""),
            v => (
                "limited",
                format!("{} {v}; cordond is {own}", path.display()),
                "use the cordon-guest that came with this cordond",
            ),
        };
        HostCheck { name: "guest".to_owned(), state, found, fix: fix.to_owned() }
    }

    fn space(&self) -> HostCheck {
        let name = "state directory".to_owned();
        let shown = self.about.state.display();
        match nix::sys::statvfs::statvfs(&self.about.state) {
            Ok(stat) => {
                let free = stat.blocks_available().saturating_mul(stat.fragment_size());
                let found = format!("{shown}, {} MiB free", free >> 20);
                let (state, fix) = if free < LITTLE_SPACE {
                    ("limited", "free some space: a run is ended when its journal cannot be written")
                } else {
                    ("ok", "")
                };
                HostCheck { name, state, found, fix: fix.to_owned() }
            }
            Err(error) => HostCheck {
                name,
                state: "missing",
                found: format!("{shown}: {error}"),
                fix: "choose another --state-dir".to_owned(),
            },
        }
    }
}
