//! Who logs in at this moment.

use std::{collections::BTreeSet, time::Duration};
use tokio::{sync::watch, time::timeout};
use tokio_util::sync::CancellationToken;

/// A sandbox that is not gone by then is left to the next daemon, which removes it.
const ENDS_WITHIN: Duration = Duration::from_secs(20);

/// Whose, and the backend's `type`.
type Who = (u32, &'static str);

/// The persons who log in: one at a time for each owner and backend.
#[derive(Debug)]
pub(crate) struct Signing {
    all: watch::Sender<BTreeSet<Who>>,
    closing: CancellationToken,
}

impl Default for Signing {
    fn default() -> Self {
        Self { all: watch::Sender::new(BTreeSet::new()), closing: CancellationToken::new() }
    }
}

/// While this lives, nobody else logs in there.
#[derive(Debug)]
pub(super) struct Claim {
    all: watch::Sender<BTreeSet<Who>>,
    who: Who,
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.all.send_modify(|all| {
            all.remove(&self.who);
        });
    }
}

impl Signing {
    /// None where somebody logs in already, or the daemon ends.
    pub(super) fn claim(&self, owner: u32, backend: &'static str) -> Option<Claim> {
        let who = (owner, backend);
        let mut new = false;
        self.all.send_if_modified(|all| {
            new = !self.closing.is_cancelled() && all.insert(who);
            new
        });
        new.then(|| Claim { all: self.all.clone(), who })
    }

    /// Cancelled when the daemon ends.
    pub(super) fn closing(&self) -> &CancellationToken {
        &self.closing
    }

    /// Ends them all, and waits until nothing is left of them.
    pub(crate) async fn end(&self) {
        self.closing.cancel();
        let mut all = self.all.subscribe();
        // The sender lives as long as `self`.
        if timeout(ENDS_WITHIN, all.wait_for(BTreeSet::is_empty)).await.is_err() {
            tracing::warn!("a login was left unfinished");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn one_at_a_time_for_each_and_none_when_it_ends() {
        let signing = Signing::default();
        let first = signing.claim(1, "codex").unwrap();
        assert!(signing.claim(1, "codex").is_none());
        let others = [signing.claim(2, "codex").unwrap(), signing.claim(1, "claude_code").unwrap()];
        drop(first);
        let again = signing.claim(1, "codex").unwrap();
        let ends = signing.end();
        let leave = async {
            signing.closing().cancelled().await;
            assert!(signing.claim(3, "codex").is_none());
            drop(again);
            drop(others);
        };
        tokio::join!(ends, leave);
        assert!(signing.all.borrow().is_empty());
    }
}
