//! The calls that are being answered.

use rmcp::model::RequestId;
use std::{
    collections::HashSet,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tokio::sync::Notify;

/// More at a time are refused: a client that waits for none of its answers is no model.
const MOST: usize = 256;

#[derive(Clone, Debug, Default)]
pub(crate) struct Calls(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    ids: Mutex<HashSet<RequestId>>,
    done: Notify,
}

/// One call, for as long as it is worked on.
#[derive(Debug)]
pub(crate) struct Running {
    id: RequestId,
    calls: Calls,
}

/// Why a call does not begin.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Busy {
    /// One with this id has not ended.
    SameId,
    /// There are too many.
    Full,
}

impl Calls {
    fn ids(&self) -> MutexGuard<'_, HashSet<RequestId>> {
        self.0.ids.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn begin(&self, id: &RequestId) -> Result<Arc<Running>, Busy> {
        let mut ids = self.ids();
        if ids.contains(id) {
            return Err(Busy::SameId);
        }
        if ids.len() >= MOST {
            return Err(Busy::Full);
        }
        ids.insert(id.clone());
        Ok(Arc::new(Running { id: id.clone(), calls: self.clone() }))
    }

    /// Waits until nothing is worked on.
    pub(crate) async fn none(&self) {
        loop {
            let done = self.0.done.notified();
            if self.ids().is_empty() {
                return;
            }
            done.await;
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.calls.ids().remove(&self.id);
        self.calls.0.done.notify_waiters();
    }
}
