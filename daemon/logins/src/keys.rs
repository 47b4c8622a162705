//! API keys that persons have typed in, for the daemon alone.

use crate::{LoginError, Store, files::Directory};
use cordon_backends::{KEY_FILE, check_key, kept_key};
use std::path::PathBuf;

impl Store {
    /// Where the key of a backend is, or would be.
    #[must_use]
    pub fn key_file(&self, owner: u32, backend: &'static str) -> PathBuf {
        self.of(owner).join(backend).join(KEY_FILE)
    }

    /// The key of an owner for a backend. Blocks.
    ///
    /// # Errors
    /// When it is unusable.
    pub fn api_key(&self, owner: u32, backend: &'static str) -> Result<Option<String>, LoginError> {
        kept_key(&self.of(owner), backend)
            .map_err(|why| LoginError::unusable(self.key_file(owner, backend), why))
    }

    /// Keeps one, in place of the one before. Blocks.
    ///
    /// # Errors
    /// When it is none, or cannot be written.
    pub fn keep_key(&self, owner: u32, backend: &'static str, key: &str) -> Result<(), LoginError> {
        check_key(key).map_err(|why| LoginError::unusable(self.key_file(owner, backend), why))?;
        let credentials = Directory::open(&self.0)?.make_private("credentials")?;
        let place = credentials.make_private(&owner.to_string())?.make_private(backend)?;
        place.keep(KEY_FILE, key.as_bytes())
    }

    /// Forgets it; whether there was one. Blocks.
    ///
    /// # Errors
    /// When it cannot be removed.
    pub fn forget_key(&self, owner: u32, backend: &'static str) -> Result<bool, LoginError> {
        let Some(credentials) = Directory::open(&self.0)?.find("credentials")? else { return Ok(false) };
        let Some(place) = credentials.find(&owner.to_string())? else { return Ok(false) };
        let Some(place) = place.find(backend)? else { return Ok(false) };
        place.remove(KEY_FILE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn a_key_is_kept_for_the_daemon_alone_and_forgotten() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::new(&dir.path().canonicalize().unwrap());
        assert!(!store.forget_key(7, "openai").unwrap());
        assert_eq!(store.api_key(7, "openai").unwrap(), None);
        store.keep_key(7, "openai", "sk-one").unwrap();
        store.keep_key(7, "openai", "sk-two").unwrap();
        assert_eq!(store.api_key(7, "openai").unwrap().as_deref(), Some("sk-two"));
        assert_eq!((store.api_key(8, "openai").unwrap(), store.api_key(7, "codex").unwrap()), (None, None));
        let file = store.key_file(7, "openai");
        let mode = |path: &std::path::Path| path.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&file), mode(file.parent().unwrap())), (0o600, 0o700));
        assert_eq!(file.parent().unwrap().read_dir().unwrap().count(), 1, "nothing is left beside it");
        for bad in ["", "a\nb", "\u{1b}"] {
            let error = store.keep_key(7, "openai", bad).unwrap_err();
            assert!(matches!(error, LoginError::Unusable { .. }), "{error}");
        }
        assert_eq!(store.api_key(7, "openai").unwrap().as_deref(), Some("sk-two"));
        assert!(store.forget_key(7, "openai").unwrap());
        assert!(!store.forget_key(7, "openai").unwrap());
    }
}
