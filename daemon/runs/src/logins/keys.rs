//! API keys that owners have given, for agents that are given none otherwise.

use super::{SignInError, list, sign_in::kind_of};
use crate::{error::RunError, plan::Owner, runs::Runs};
use cordon_backends::check_key;
use cordon_proto::v1;

/// The backend that is meant, by the name of its agents' `type`.
fn backend_of(name: &str) -> Result<&'static str, SignInError> {
    Ok(kind_of(name)?.backend.name())
}

impl Runs {
    /// Keeps a key for a backend, in place of the one before.
    ///
    /// # Errors
    /// When there is no such backend, the text is no key, or it cannot be written.
    pub async fn keep_key(&self, owner: &Owner, backend: &str, key: String) -> Result<v1::Login, RunError> {
        let backend = backend_of(backend)?;
        check_key(&key).map_err(|why| SignInError::NoKey { backend, why })?;
        let (store, uid) = (self.0.shared.logins.store.clone(), owner.uid);
        let keep = move || {
            store.keep_key(uid, backend, &key)?;
            Ok(list::key(backend, &store.key_file(uid, backend)))
        };
        let kept = tokio::task::spawn_blocking(keep).await;
        let kept = kept.map_err(|_| RunError::Internal("keep the key"))?;
        tracing::info!(backend, owner = uid, "a key is kept");
        kept.map_err(|e: cordon_logins::LoginError| {
            SignInError::Unwritten { backend, why: e.to_string() }.into()
        })
    }
}
