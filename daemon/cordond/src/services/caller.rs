use crate::{places::home_of, status::invalid};
use cordon_proto::v1;
use cordon_runs::{InspectRequest, plan::Owner};
use cordon_sandbox::WallKind;
use nix::unistd::Uid;
use std::path::PathBuf;
use tonic::{Code, Request, Status, transport::server::UdsConnectInfo};

/// Who is at the other end of the socket.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Caller {
    pub(crate) uid: u32,
    gid: u32,
}

impl Caller {
    /// The kernel's word, or nobody's.
    pub(crate) fn of<T>(request: &Request<T>) -> Result<Self, Status> {
        let peer = request.extensions().get::<UdsConnectInfo>().and_then(|info| info.peer_cred);
        let refuse = || {
            let why = "the connection has no peer credentials";
            crate::status::status(Code::Unauthenticated, "no-credentials", why, "")
        };
        peer.map(|p| Self { uid: p.uid(), gid: p.gid() }).ok_or_else(refuse)
    }

    /// Whose trees, snapshots and workspaces are the caller's: as with a new run, and nobody
    /// else's.
    pub(crate) fn owns(self) -> u32 {
        let own = Uid::effective();
        if own.is_root() { self.uid } else { own.as_raw() }
    }

    /// Whose a new run is. A daemon of an ordinary user works as that user only, for
    /// root too.
    pub(crate) async fn owner(self) -> Result<Owner, Status> {
        let own = Uid::effective();
        let (uid, gid) = match own.is_root() {
            true => (self.uid, self.gid),
            false => (own.as_raw(), nix::unistd::Gid::effective().as_raw()),
        };
        // Looks into files of the system.
        let home = tokio::task::spawn_blocking(move || home_of(Uid::from_raw(uid), None)).await;
        let home = home.ok().flatten().ok_or_else(|| {
            let why = format!("user {uid} has no home directory");
            crate::status::status(Code::FailedPrecondition, "no-home", &why, "set HOME for the daemon")
        })?;
        Ok(Owner { uid, gid, home })
    }
}

/// "", "docker" or "local".
pub(crate) fn wall(word: &str) -> Result<Option<WallKind>, Status> {
    match word {
        "" => Ok(None),
        "docker" => Ok(Some(WallKind::Docker)),
        "local" => Ok(Some(WallKind::Local)),
        other => Err(invalid("unknown-wall", &format!("there is no wall {other:?}: it is docker or local"))),
    }
}

/// The agent file of a request.
pub(crate) fn agent_file(file: Option<v1::AgentFile>) -> Result<v1::AgentFile, Status> {
    let file = file.ok_or_else(|| invalid("no-agent-file", "the request has no agent file"))?;
    if !file.directory.starts_with('/') {
        return Err(invalid("relative-directory", "the agent file's directory must be absolute"));
    }
    Ok(file)
}

/// A file to look at, for this caller.
pub(crate) async fn inspect(
    caller: Caller,
    file: Option<v1::AgentFile>,
    agent: String,
    word: &str,
) -> Result<InspectRequest, Status> {
    let file = agent_file(file)?;
    Ok(InspectRequest {
        name: file.name,
        content: file.content.to_vec(),
        directory: PathBuf::from(file.directory),
        variables: file.variables.into_iter().collect(),
        agent,
        wall: wall(word)?,
        owner: caller.owner().await?,
    })
}
