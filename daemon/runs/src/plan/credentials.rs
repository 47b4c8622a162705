//! What of the person's own an agent gets: `command_line_docker_credentials`, in both walls.
//!
//! Logins and settings of well-known programs are mounted file by file: a directory would show
//! what comes into it later, a control socket for instance, which a read-only mount does not close.

use super::{HOME, PlanError, Purpose, contexts::View, workspace};
use cordon_backends::{Login, Needs};
use cordon_config::{AdditionalMount, BackendKind, CredentialMount};
use cordon_policy::{Access, Origin, Source};
use cordon_sandbox::{Identity, PathKind};
use std::{
    fs::Metadata,
    io,
    os::unix::fs::{FileTypeExt as _, MetadataExt as _},
    path::{Path, PathBuf},
};

/// Files of one well-known directory, and how deep they may lie.
const MOST_FILES: usize = 256;
const DEEPEST: usize = 4;
/// Entries of a directory that is mounted whole, which are looked at for sockets.
const MOST_ENTRIES: usize = 50_000;

/// The files of each, below the owner's home and below the private one.
fn names(mount: CredentialMount) -> &'static [&'static str] {
    match mount {
        CredentialMount::SshKeys => &[".ssh"],
        CredentialMount::GitConfig => &[".gitconfig"],
        CredentialMount::GhConfig => &[".config/gh"],
        CredentialMount::NpmConfig => &[".npmrc"],
        CredentialMount::PypiConfig => &[".pypirc"],
        // Of the programs' own directories the login alone: the rest is history, and settings of
        // which some start programs.
        CredentialMount::ClaudeConfig => &[".claude/.credentials.json"],
        CredentialMount::CodexConfig => &[".codex/auth.json"],
        CredentialMount::GeminiConfig => &[".gemini/oauth_creds.json", ".gemini/google_accounts.json"],
    }
}

/// Whose login it is.
fn owner(mount: CredentialMount) -> Option<BackendKind> {
    match mount {
        CredentialMount::ClaudeConfig => Some(BackendKind::ClaudeCode),
        CredentialMount::CodexConfig => Some(BackendKind::Codex),
        CredentialMount::GeminiConfig => Some(BackendKind::GeminiCli),
        _ => None,
    }
}

impl View<'_> {
    /// Everything under `command_line_docker_credentials`. After the trees and the backend's own.
    pub(super) fn add_credentials(&mut self, needs: &Needs, identity: Identity) -> Result<(), PlanError> {
        let given = &self.request.agent.credentials;
        for mount in &given.mounts {
            // The backend's own login is there already, in the way its program needs.
            let own = owner(*mount) == Some(self.request.agent.backend)
                && (!needs.logins.is_empty() || needs.kept.is_some());
            if !own {
                self.well_known(*mount, identity)?;
            }
        }
        for mount in &given.additional {
            self.additional(mount, needs, identity).map_err(|e| e.at(&mount.place))?;
        }
        if given.whole_environment {
            self.warn(format!(
                "{} variables of your environment are in the sandbox (pass_all_env)",
                given.variables.len()
            ));
        }
        Ok(())
    }

    fn well_known(&mut self, mount: CredentialMount, identity: Identity) -> Result<(), PlanError> {
        let home = self.request.owner.home.clone();
        let mut found = Vec::new();
        for name in names(mount) {
            let path = home.join(name);
            match path.symlink_metadata() {
                Ok(_) => files(&home, Path::new(name), 0, &mut found)?,
                Err(e) if e.kind() == io::ErrorKind::NotFound => {}
                Err(e) => return Err(PlanError::io("look at", &path)(e)),
            }
        }
        if found.is_empty() {
            let what = names(mount).iter().map(|n| format!("~/{n}")).collect::<Vec<_>>().join(", ");
            self.warn(format!("{}: there is no {what}, and the agent gets none", mount.name()));
        }
        for relative in found {
            let host = home.join(&relative);
            let meta = host.symlink_metadata().map_err(PlanError::io("look at", &host))?;
            self.readable(mount.name(), &host, &meta, identity)?;
            self.place_credential(
                &host,
                &Path::new(HOME).join(&relative),
                PathKind::File,
                Access::Read,
                None,
            );
        }
        Ok(())
    }

    fn additional(
        &mut self,
        mount: &AdditionalMount,
        needs: &Needs,
        identity: Identity,
    ) -> Result<(), PlanError> {
        const WHAT: &str = "additional_mounts";
        let bad = |path: &Path, why: &str, fix: &str| PlanError::path(WHAT, path, why, fix);
        let host = workspace::real_path(WHAT, &mount.host)?;
        if let Some(why) = workspace::reserved(self.host, &host) {
            return Err(bad(&mount.host, &why, "Name another path"));
        }
        let meta = host.symlink_metadata().map_err(PlanError::io("look at", &host))?;
        let kind = match (meta.is_file(), meta.is_dir()) {
            (true, _) => PathKind::File,
            (_, true) => PathKind::Directory,
            _ => return Err(bad(&host, "it is neither a file nor a directory", "Name one of them")),
        };
        if kind == PathKind::Directory
            && let Some(why) = socket_in(&host)
        {
            return Err(bad(&host, &why, "Name the files that the agent needs"));
        }
        self.readable(WHAT, &host, &meta, identity)?;
        if mount.write && !may(&meta, identity, 0o2) && self.request.purpose != Purpose::Look {
            let why = format!("the agent runs as uid {}, which may not write there", identity.uid);
            return Err(bad(&host, &why, "Give it to that user, or leave `mode: rw` out"));
        }
        self.free(&mount.inside, needs)?;
        let access = if mount.write { Access::Write } else { Access::Read };
        if mount.write {
            self.warn(format!("{} is changed directly: nothing there is staged", host.display()));
        }
        self.place_credential(&host, &mount.inside, kind, access, Some(&mount.place));
        Ok(())
    }

    /// Whether nothing else stands, or has to stand, at a place inside.
    fn free(&self, inside: &Path, needs: &Needs) -> Result<(), PlanError> {
        let bad = |why: String| PlanError::path("bind", inside, why, "Choose another place inside");
        if let Some(why) = workspace::reserved(self.host, inside) {
            return Err(bad(why));
        }
        if let Some(root) = self.root_of(inside) {
            return Err(bad(format!("it lies in {}, which is mounted by itself", root.display())));
        }
        let taken = self.roots.iter().map(|root| root.path.clone());
        let seeds = needs.seeds.iter().map(|seed| Path::new(HOME).join(&seed.path));
        let logins = needs.logins.iter().map(|login: &Login| login.inside.clone());
        let kept = needs.kept.iter().map(|kept| Path::new(HOME).join(kept.kind.personal));
        match taken
            .chain(seeds)
            .chain(logins)
            .chain(kept)
            .find(|path| path.starts_with(inside) || inside.starts_with(path))
        {
            Some(path) => Err(bad(format!("{} has its place there", path.display()))),
            None => Ok(()),
        }
    }

    pub(super) fn readable(
        &self,
        what: &'static str,
        path: &Path,
        meta: &Metadata,
        identity: Identity,
    ) -> Result<(), PlanError> {
        if may(meta, identity, 0o4) || self.request.purpose == Purpose::Look {
            return Ok(());
        }
        Err(PlanError::path(
            what,
            path,
            format!("the agent runs as uid {}, which may not read it", identity.uid),
            "Start the run as the user who owns it, or take it out",
        ))
    }

    fn place_credential(
        &mut self,
        host: &Path,
        inside: &Path,
        kind: PathKind,
        access: Access,
        place: Option<&cordon_policy::Place>,
    ) {
        let place = place.unwrap_or(&self.request.agent.place).clone();
        self.mounted(inside, host, kind);
        self.rule(inside, access, Origin { source: Source::Credential, place: Some(place) });
    }
}

/// Whether the mode of a file gives an identity a right (4: read, 2: write).
fn may(meta: &Metadata, identity: Identity, right: u32) -> bool {
    let shift = match (meta.uid() == identity.uid, meta.gid() == identity.gid) {
        (true, _) => 6,
        (false, true) => 3,
        (false, false) => 0,
    };
    meta.mode() >> shift & right == right
}

/// The regular files at and below a name in the owner's home. Links are never followed: they may
/// lead anywhere, and an agent that could once write there may have made them.
fn files(home: &Path, relative: &Path, depth: usize, out: &mut Vec<PathBuf>) -> Result<(), PlanError> {
    const WHAT: &str = "command_line_docker_credentials.mount";
    let path = home.join(relative);
    let meta = path.symlink_metadata().map_err(PlanError::io("look at", &path))?;
    if meta.is_file() {
        if out.len() == MOST_FILES {
            let why = format!("there are more than {MOST_FILES} files");
            return Err(PlanError::path(WHAT, path, why, "Name those that are needed as additional_mounts"));
        }
        out.push(relative.to_path_buf());
        return Ok(());
    }
    if meta.is_symlink() && depth == 0 {
        let why = "it is a symbolic link, which may lead anywhere";
        let fix = "Name the real file under additional_mounts";
        return Err(PlanError::path(WHAT, path, why, fix));
    }
    if !meta.is_dir() || depth == DEEPEST {
        return Ok(());
    }
    let entries = std::fs::read_dir(&path).map_err(PlanError::io("read", &path))?;
    for entry in entries {
        let entry = entry.map_err(PlanError::io("read", &path))?;
        files(home, &relative.join(entry.file_name()), depth + 1, out)?;
    }
    out.sort();
    Ok(())
}

/// Why a directory is not to be mounted whole: a socket somewhere in it, or more than is looked at.
/// What cannot be read the agent, who has no more rights, cannot reach either.
fn socket_in(directory: &Path) -> Option<String> {
    let (mut waiting, mut seen) = (vec![directory.to_path_buf()], 0);
    while let Some(directory) = waiting.pop() {
        for entry in std::fs::read_dir(&directory).into_iter().flatten().flatten() {
            seen += 1;
            match entry.file_type() {
                Ok(kind) if kind.is_socket() => {
                    let socket = entry.path();
                    return Some(format!(
                        "{} is a socket, which no read-only mount closes",
                        socket.display()
                    ));
                }
                Ok(kind) if kind.is_dir() => waiting.push(entry.path()),
                _ => {}
            }
            if seen > MOST_ENTRIES {
                return Some(format!(
                    "it has more than {MOST_ENTRIES} entries, of which one could be a socket"
                ));
            }
        }
    }
    None
}
