//! Which logins an owner has, and forgetting Cordon's own.

use super::{SignInError, keys::backend_of};
use crate::{error::RunError, plan::Owner, runs::Runs, shared::Shared};
use cordon_backends::{Ends, Facts, LOGIN_KINDS, LoginKind, LoginSource};
use cordon_logins::LoginError;
use cordon_proto::v1;
use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::UNIX_EPOCH,
};

impl Runs {
    /// The logins that this owner's agents may get: Cordon's own, and the person's.
    ///
    /// # Errors
    /// When nobody can look.
    pub async fn logins(&self, owner: &Owner) -> Result<Vec<v1::Login>, RunError> {
        let (shared, owner) = (self.0.shared.clone(), owner.clone());
        let look = move || {
            let programs = LOGIN_KINDS.into_iter().flat_map(|kind| all_of(&shared, &owner, kind));
            programs.chain(shared.logins.api_keys(owner.uid)).collect()
        };
        tokio::task::spawn_blocking(look).await.map_err(|_| RunError::Internal("look at the logins"))
    }

    /// Forgets what Cordon has of its own of a backend, the login and the key, or the key alone;
    /// whether there was any, and what remains.
    ///
    /// # Errors
    /// When there is no such login, or it cannot be removed.
    pub async fn logout(
        &self,
        owner: &Owner,
        backend: &str,
        key_only: bool,
    ) -> Result<(bool, Vec<v1::Login>), RunError> {
        let backend = backend_of(backend)?;
        let logins = &self.0.shared.logins;
        let unwritten = move |e: LoginError| SignInError::Unwritten { backend, why: e.to_string() };
        let Some(kind) = LOGIN_KINDS.into_iter().find(|kind| kind.backend.name() == backend) else {
            // A model API has nothing but a key.
            let (store, uid) = (logins.store.clone(), owner.uid);
            let forgotten = tokio::task::spawn_blocking(move || store.forget_key(uid, backend)).await;
            let forgotten = forgotten.map_err(|_| RunError::Internal("forget the key"))?;
            return Ok((forgotten.map_err(unwritten)?, Vec::new()));
        };
        // Whoever renews one at this moment is waited for.
        let own = logins.gate((owner.uid, backend, LoginSource::Own));
        let _own = own.lock().await;
        let person = logins.gate((owner.uid, backend, LoginSource::Person));
        let _person = person.lock().await;
        let (shared, owner) = (self.0.shared.clone(), owner.clone());
        let forget = move || {
            let had_key = shared.logins.store.forget_key(owner.uid, backend)?;
            if key_only {
                return Ok((had_key, all_of(&shared, &owner, kind)));
            }
            let locked = shared.logins.store.place(owner.uid, kind).lock()?;
            let mut told =
                |facts: &Facts| shared.logins.tell((owner.uid, backend, LoginSource::Person), facts);
            // A renewed one that the person's file has not got yet is not lost with the copy.
            let _ = locked.current(LoginSource::Person, &owner.home, &mut told);
            let had = locked.forget()?;
            Ok((had || had_key, all_of(&shared, &owner, kind)))
        };
        let forgotten = tokio::task::spawn_blocking(forget).await;
        let forgotten = forgotten.map_err(|_| RunError::Internal("forget the login"))?;
        Ok(forgotten.map_err(unwritten)?)
    }
}

/// The first is the one that agents get. Blocks.
fn all_of(shared: &Arc<Shared>, owner: &Owner, kind: &'static LoginKind) -> Vec<v1::Login> {
    let place = shared.logins.store.place(owner.uid, kind);
    let mut all: Vec<v1::Login> = Vec::new();
    all.extend(shared.logins.key_listed(owner.uid, kind.backend.name()));
    for source in LoginSource::ALL {
        let mut login = match place.look(source, &owner.home) {
            Ok(None) => continue,
            Ok(Some((path, facts))) => told(kind, source, &path, &facts),
            Err(error) => v1::Login { problem: error.to_string(), ..blank(kind, source, &at(&error)) },
        };
        login.used = all.is_empty();
        all.push(login);
    }
    all
}

fn at(error: &LoginError) -> PathBuf {
    match error {
        LoginError::None(path) | LoginError::Unusable { path, .. } | LoginError::Io { path, .. } => {
            path.clone()
        }
    }
}

/// A key that is kept, without the key.
pub(super) fn key(backend: &str, file: &Path) -> v1::Login {
    v1::Login {
        backend: backend.to_owned(),
        source: "key".to_owned(),
        path: file.to_string_lossy().into_owned(),
        ends: "never".to_owned(),
        used: true,
        ..v1::Login::default()
    }
}

/// A login, without what is in it.
pub(super) fn told(kind: &LoginKind, source: LoginSource, path: &Path, facts: &Facts) -> v1::Login {
    let (ends, at) = match facts.ends {
        Ends::Never => ("never", None),
        Ends::At(at) => ("at", at.duration_since(UNIX_EPOCH).ok()),
        Ends::Unknown => ("unknown", None),
    };
    v1::Login {
        ends: ends.to_owned(),
        ends_unix_ms: at.map_or(0, |at| i64::try_from(at.as_millis()).unwrap_or(i64::MAX)),
        renewable: facts.renewable,
        ..blank(kind, source, path)
    }
}

fn blank(kind: &LoginKind, source: LoginSource, path: &Path) -> v1::Login {
    let source = match source {
        LoginSource::Own => "cordon",
        LoginSource::Person => "person",
    };
    v1::Login {
        backend: kind.backend.name().to_owned(),
        source: source.to_owned(),
        path: path.to_string_lossy().into_owned(),
        ends: "unknown".to_owned(),
        ..v1::Login::default()
    }
}
