//! API keys that owners have given, for agents that are given none otherwise.

use super::{Logins, SignInError, list, sign_in::kind_of};
use crate::{error::RunError, plan::Owner, runs::Runs};
use cordon_backends::check_key;
use cordon_proto::v1;
use cordon_providers::{PROVIDERS, Provider, provider};

/// The backend that is meant, by the name of its agents' `type`.
pub(super) fn backend_of(name: &str) -> Result<&'static str, SignInError> {
    match provider(name).filter(|provider| takes_key(provider)) {
        Some(provider) => Ok(provider.name),
        None => Ok(kind_of(name)?.backend.name()),
    }
}

/// Whether there is a host that the key of a model API is shown to.
fn takes_key(provider: &Provider) -> bool {
    !provider.hosts.is_empty()
}

impl Logins {
    /// The keys of model APIs that an owner has given, as they are listed. Blocks.
    pub(super) fn api_keys(&self, owner: u32) -> impl Iterator<Item = v1::Login> {
        PROVIDERS.iter().filter(|p| takes_key(p)).filter_map(move |p| self.key_listed(owner, p.name))
    }

    /// The key of one backend, as it is listed; none where there is none. Blocks.
    pub(super) fn key_listed(&self, owner: u32, backend: &'static str) -> Option<v1::Login> {
        let listed = list::key(backend, &self.store.key_file(owner, backend));
        match self.store.api_key(owner, backend) {
            Ok(key) => key.map(|_| listed),
            Err(error) => Some(v1::Login { problem: error.to_string(), ..listed }),
        }
    }
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
