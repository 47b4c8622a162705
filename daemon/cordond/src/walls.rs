use crate::places::Places;
use cordon_runs::Walls;
use cordon_sandbox::{LocalOptions, LocalWall, SandboxError, Wall, WallKind};
use std::sync::Arc;

/// The walls of this machine. Nothing is asked of an engine before somebody needs it.
pub(crate) struct HostWalls {
    #[cfg(feature = "docker")]
    docker_host: Option<String>,
    local: Arc<LocalWall>,
    #[cfg(feature = "docker")]
    docker: Arc<cordon_sandbox::DockerWall>,
}

impl HostWalls {
    #[cfg_attr(not(feature = "docker"), expect(unused_variables, reason = "the docker wall's own"))]
    pub(crate) fn new(places: &Places, docker_host: Option<String>, allow_host_network: bool) -> Self {
        let (state, guest) = (places.state.clone(), places.guest.clone());
        Self {
            #[cfg(feature = "docker")]
            docker_host: docker_host.clone(),
            #[cfg(feature = "docker")]
            docker: Arc::new(cordon_sandbox::DockerWall::connect(cordon_sandbox::DockerOptions {
                state: state.clone(),
                guest: guest.clone(),
                docker_host,
                allow_host_network,
            })),
            local: Arc::new(LocalWall::new(LocalOptions { state, guest })),
        }
    }

    /// Every wall that this build has.
    pub(crate) fn all(&self) -> Vec<Arc<dyn Wall>> {
        vec![
            self.local.clone(),
            #[cfg(feature = "docker")]
            self.docker.clone(),
        ]
    }
}

#[tonic::async_trait]
impl Walls for HostWalls {
    async fn wall(&self, kind: WallKind) -> Result<Arc<dyn Wall>, SandboxError> {
        match kind {
            WallKind::Local => Ok(self.local.clone()),
            #[cfg(feature = "docker")]
            WallKind::Docker => Ok(self.docker.clone()),
            #[cfg(not(feature = "docker"))]
            WallKind::Docker => Err(SandboxError::Unavailable {
                what: "the docker wall".to_owned(),
                why: "this cordond was built without it".to_owned(),
                fix: "Use the local wall, or a cordond with the feature `docker`".to_owned(),
            }),
        }
    }

    async fn shares_mounts(&self, kind: WallKind) -> bool {
        match kind {
            WallKind::Local => true,
            #[cfg(feature = "docker")]
            WallKind::Docker => {
                let host = self.docker_host.clone();
                tokio::task::spawn_blocking(move || engine_shares_mounts(host.as_deref()))
                    .await
                    .unwrap_or(false)
            }
            #[cfg(not(feature = "docker"))]
            WallKind::Docker => false,
        }
    }
}

/// Whether the engine lives among this process's mounts: on this machine, and not in a container
/// of its own. Blocks.
#[cfg(feature = "docker")]
fn engine_shares_mounts(host: Option<&str>) -> bool {
    let Some(socket) = host.unwrap_or("unix:///var/run/docker.sock").strip_prefix("unix://") else {
        return false;
    };
    let Ok(stream) = std::os::unix::net::UnixStream::connect(socket) else { return false };
    // Of whoever listens there, as the kernel tells.
    let Ok(peer) = nix::sys::socket::getsockopt(&stream, nix::sys::socket::sockopt::PeerCredentials) else {
        return false;
    };
    u32::try_from(peer.pid()).is_ok_and(|pid| cordon_forks::same_mounts(pid).unwrap_or(false))
}
