//! Lets a person log in with a program: on the person's terminal, in a sandbox that holds
//! nothing but an empty directory for what the program makes.

use super::{SignInError, list};
use crate::{
    error::RunError,
    plan::{Owner, RoomFor, UNPRIVILEGED, room},
    runs::Runs,
    shared::Shared,
};
use cordon_backends::{Kept, LOGIN_KINDS, LoginKind, LoginSource, SigningIn, Surroundings};
use cordon_logins::{LoginError, Making};
use cordon_proto::{guest as pb, v1};
use cordon_sandbox::{Identity, SandboxError, SandboxRecord, SandboxSpec, WallKind};
use cordon_terminal::{Ended, Hub, carry};
use std::{
    os::unix::ffi::OsStrExt as _,
    sync::{Arc, PoisonError},
    time::Duration,
};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// Codes that the programs show do not hold longer.
const LIMIT: Duration = Duration::from_secs(20 * 60);
/// How often it is looked whether a program that goes on has made a login.
const LOOKS: Duration = Duration::from_millis(400);
/// What is known of the terminal, whatever the program: a screen of its own.
const TERMINAL: [(&str, &str); 2] = [("TERM", "xterm-256color"), ("LANG", "C.UTF-8")];

/// Who wants to log in, and with what.
#[derive(Clone, Debug)]
pub struct SignIn {
    /// As the person wrote it.
    pub backend: String,
    /// Where the program is; none: on this machine.
    pub wall: Option<WallKind>,
    /// Who.
    pub owner: Owner,
}

/// The kind of login that is meant.
pub(super) fn kind_of(backend: &str) -> Result<&'static LoginKind, SignInError> {
    let name = backend.replace('-', "_");
    if let Some(kind) = LOGIN_KINDS.into_iter().find(|kind| kind.backend.name() == name) {
        return Ok(kind);
    }
    let fix = "it is one of codex, claude_code, gemini_cli, copilot; with --api-key also a model API, openai \
               for instance (`cordon backends`)";
    Err(SignInError::NotHere { backend: backend.to_owned(), why: "there is no such program", fix })
}

impl Runs {
    /// Runs the program's own login on this terminal, and keeps what it made, until `gone` is
    /// cancelled or the daemon ends. Whatever happens, the sandbox is gone when this returns,
    /// and the terminal has ended.
    ///
    /// # Errors
    /// When the program cannot be started, does not end well, or leaves no login. Nothing is
    /// kept then.
    pub async fn login(
        &self,
        asked: SignIn,
        hub: &Hub,
        gone: &CancellationToken,
    ) -> Result<v1::Login, RunError> {
        self.ready().await;
        let made = sign_in(&self.0.shared, asked, hub, gone).await;
        hub.end(None);
        made
    }
}

async fn sign_in(
    shared: &Arc<Shared>,
    asked: SignIn,
    hub: &Hub,
    gone: &CancellationToken,
) -> Result<v1::Login, RunError> {
    let kind = kind_of(&asked.backend)?;
    let backend = kind.backend.name();
    let owner = &asked.owner;
    let signing = &shared.logins.signing;
    let Some(_claim) = signing.claim(owner.uid, backend) else {
        let ends = signing.closing().is_cancelled();
        return Err(if ends { RunError::ShuttingDown } else { SignInError::Busy { backend }.into() });
    };
    let inside = Kept { kind, source: LoginSource::Own }.inside();
    let wall = asked.wall.unwrap_or(WallKind::Local);
    let surroundings = Surroundings {
        wall,
        program_path: &shared.host.program_path,
        directory: &inside,
        owner_home: &owner.home,
        servers: &shared.logins.servers,
    };
    let not_begun = |why: String| SignInError::NotBegun { backend, why };
    let plan = kind.signing_in(&surroundings).map_err(|e| not_begun(e.to_string()))?;
    let identity = if owner.uid == 0 { UNPRIVILEGED } else { Identity { uid: owner.uid, gid: owner.gid } };
    let place = shared.logins.store.place(owner.uid, kind);
    let begin = {
        let place = place.clone();
        move || place.lock()?.make((identity.uid, identity.gid))
    };
    let making = Arc::new(blocking(backend, begin).await?);
    let made = RoomFor {
        owner: owner.uid,
        what: "login",
        identity,
        wall,
        image: None,
        directory: making.directory(),
        inside: &inside,
        limit: LIMIT,
    };
    let ended = match room(&shared.host, &plan.room, &made) {
        Ok(spec) => {
            let terminal = Terminal { plan: &plan, kind, making: &making, hub, gone };
            in_room(shared, wall, &spec, &terminal).await
        }
        Err(error) => Err(not_begun(error.to_string()).into()),
    };
    // Nobody writes there any more: the sandbox is gone.
    let well = ended.and_then(|ended| ended_well(backend, ended).map_err(RunError::from));
    let left = making.clone();
    let kept = match blocking(backend, move || Ok(well.map(|()| left.result()))).await? {
        Ok(Ok(Some(content))) => keep(shared, owner, kind, content).await,
        Ok(Ok(None)) => Err(not_made(backend, "its program ended well and left no login")),
        Ok(Err(error)) => Err(not_made(backend, &error.to_string())),
        Err(error) => Err(error),
    };
    if let Err(error) = blocking(backend, move || making.done()).await {
        tracing::warn!(backend, owner = owner.uid, %error, "what a login left is not removed");
    }
    if kept.is_ok() {
        tracing::info!(backend, owner = owner.uid, "a person has logged in");
    }
    kept
}

/// A person at a program.
struct Terminal<'a> {
    plan: &'a SigningIn,
    kind: &'static LoginKind,
    making: &'a Arc<Making>,
    hub: &'a Hub,
    gone: &'a CancellationToken,
}

impl Terminal<'_> {
    /// Comes when a program that does not end by itself has made a login, and left it as it is for
    /// a moment: it may still be at it.
    async fn has_login(&self) {
        if self.plan.ends_itself {
            return std::future::pending().await;
        }
        let mut before = None;
        loop {
            tokio::time::sleep(LOOKS).await;
            let (making, kind) = (self.making.clone(), self.kind);
            let look = move || making.result().ok()?.filter(|made| matches!(kind.look(made), Ok(Some(_))));
            let made = tokio::task::spawn_blocking(look).await.ok().flatten();
            if made.is_some() && made == before {
                return;
            }
            before = made;
        }
    }
}

/// None: it was given up before it ended.
async fn in_room(
    shared: &Arc<Shared>,
    kind: WallKind,
    spec: &SandboxSpec,
    terminal: &Terminal<'_>,
) -> Result<Option<Ended>, RunError> {
    let wall = shared.walls.wall(kind).await?;
    let rooms = || shared.logins.rooms.lock().unwrap_or_else(PoisonError::into_inner);
    rooms().insert(spec.id.clone());
    // The next daemon removes what it does not know: there is nothing to remember.
    let remember = |_: &SandboxRecord| Ok(());
    let (denials, _nobody) = mpsc::channel(16);
    let made = wall.create(spec, &remember, denials).await;
    let ended = match made {
        Ok(sandbox) => {
            let ended = on_terminal(shared, &sandbox.guest, spec, terminal).await;
            let record = sandbox.record.clone();
            drop(sandbox);
            let mut destroyed = wall.destroy(&record).await;
            if let Err(first) = &destroyed {
                tracing::warn!(sandbox = record.id, error = %first, "a sandbox did not end; trying again");
                destroyed = wall.destroy(&record).await;
            }
            // What a program may still write is not read.
            destroyed.and(ended)
        }
        Err(error) => Err(error),
    };
    rooms().remove(&spec.id);
    Ok(ended?)
}

async fn on_terminal(
    shared: &Arc<Shared>,
    guest: &cordon_sandbox::guest::Guest,
    spec: &SandboxSpec,
    terminal: &Terminal<'_>,
) -> Result<Option<Ended>, SandboxError> {
    let Terminal { plan, hub, gone, .. } = *terminal;
    // Painted with the program's first screen: the terminal is its own from then on.
    hub.feed(format!("{}\r\n\r\n", plan.note).as_bytes());
    let size = hub.size();
    let start = pb::Start {
        process_id: "login".to_owned(),
        argv: plan.argv.iter().map(|a| a.clone().into()).collect(),
        env: TERMINAL
            .map(|(name, value)| pb::EnvVar {
                name: name.to_owned(),
                value: value.as_bytes().to_vec().into(),
            })
            .to_vec(),
        cwd: spec.home.as_os_str().as_bytes().to_vec().into(),
        pty: Some(pb::WindowSize { rows: size.rows.into(), columns: size.columns.into() }),
        stdin: true,
        timeout_ms: u64::try_from(LIMIT.as_millis()).unwrap_or(u64::MAX),
        kill_on_detach: true,
    };
    let process = tokio::select! {
        process = guest.exec(start) => process?,
        () = gone.cancelled() => return Ok(None),
        () = shared.logins.signing.closing().cancelled() => return Ok(None),
    };
    Ok(tokio::select! {
        ended = carry(hub, process) => Some(ended),
        () = terminal.has_login() => Some(Ended::Exited(0)),
        () = gone.cancelled() => None,
        () = shared.logins.signing.closing().cancelled() => None,
        () = tokio::time::sleep(LIMIT) => Some(Ended::Lost(format!("it took longer than {} s", LIMIT.as_secs()))),
    })
}

fn ended_well(backend: &'static str, ended: Option<Ended>) -> Result<(), SignInError> {
    let why = match ended {
        Some(Ended::Exited(0)) => return Ok(()),
        None => return Err(SignInError::GivenUp { backend }),
        Some(Ended::Exited(code)) => format!("its program exited with code {code}"),
        Some(Ended::Failed { errno, step }) => {
            let error = std::io::Error::from_raw_os_error(i32::try_from(errno).unwrap_or(0));
            format!("its program could not be started ({step}): {error}")
        }
        Some(Ended::Lost(why)) => why,
    };
    Err(SignInError::NotMade { backend, why })
}

fn not_made(backend: &'static str, why: &str) -> RunError {
    SignInError::NotMade { backend, why: why.to_owned() }.into()
}

/// Checks what the program made, and keeps it.
async fn keep(
    shared: &Arc<Shared>,
    owner: &Owner,
    kind: &'static LoginKind,
    content: Vec<u8>,
) -> Result<v1::Login, RunError> {
    let backend = kind.backend.name();
    let no_login = |why: &str| not_made(backend, &format!("what it left is no login: {why}"));
    let facts = kind.look(&content).map_err(|why| no_login(&why))?;
    let facts = facts.ok_or_else(|| no_login("there is none in the file"))?;
    let key = (owner.uid, backend, LoginSource::Own);
    // Whoever renews the one before is waited for; it is over with that one then.
    let gate = shared.logins.gate(key);
    let _alone = gate.lock().await;
    let place = shared.logins.store.place(owner.uid, kind);
    let path = place.view(LoginSource::Own).join(kind.file);
    let (telling, told) = (shared.clone(), facts.clone());
    let keep = move || {
        let locked = place.lock()?;
        // Before anybody can see it.
        telling.logins.tell(key, &told)?;
        locked.keep_own(content)
    };
    blocking(backend, keep).await?;
    let login = list::told(kind, LoginSource::Own, &path, &facts);
    // A key that is kept comes first, usable or not.
    let store = shared.logins.store.clone();
    let uid = owner.uid;
    let key = blocking(backend, move || Ok(store.api_key(uid, backend))).await?;
    Ok(v1::Login { used: matches!(key, Ok(None)), ..login })
}

async fn blocking<T: Send + 'static>(
    backend: &'static str,
    work: impl FnOnce() -> Result<T, LoginError> + Send + 'static,
) -> Result<T, RunError> {
    let done = tokio::task::spawn_blocking(work).await;
    let done = done.map_err(|_| RunError::Internal("work on the login"))?;
    done.map_err(|e| SignInError::Unwritten { backend, why: e.to_string() }.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_backend_is_known_by_its_name_and_others_say_what_to_do() {
        for name in ["codex", "claude_code", "claude-code", "gemini_cli", "gemini-cli", "copilot"] {
            assert_eq!(kind_of(name).unwrap().backend.name(), name.replace('-', "_"));
        }
        for name in ["nobody", "claude", "command", ""] {
            let error = kind_of(name).unwrap_err();
            assert!(error.help().contains("claude_code") && error.to_string().contains(name), "{error}");
        }
    }

    #[test]
    fn only_a_good_end_is_one() {
        assert_eq!(ended_well("codex", Some(Ended::Exited(0))), Ok(()));
        assert_eq!(ended_well("codex", None), Err(SignInError::GivenUp { backend: "codex" }));
        for bad in
            [Ended::Exited(130), Ended::Failed { errno: 2, step: "exec".into() }, Ended::Lost("gone".into())]
        {
            assert!(matches!(ended_well("codex", Some(bad)), Err(SignInError::NotMade { .. })));
        }
    }
}
