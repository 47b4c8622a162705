//! What the daemon's own tools beside the sandbox's have in common: each call is told of, before and
//! after, and what the sandbox refuses is told as it refused it.

use crate::{Came, ToolFailed};
use cordon_mcp::{CallResult, Observer, ObserverFailed};
use serde_json::{Map, Value};
use std::sync::Arc;

/// What was not done, with what the sandbox's tools say to it: a denial is one for the journal
/// as well.
pub(crate) struct Refused {
    pub(crate) came: Came,
    pub(crate) result: CallResult,
}

impl Refused {
    pub(crate) fn new(why: String) -> Self {
        Self { came: Came::text(why.clone(), true), result: CallResult::of_text(why, true) }
    }
}

/// Does it, and tells of it.
pub(crate) async fn observed(
    observer: &Arc<dyn Observer>,
    id: String,
    name: &str,
    arguments: &Map<String, Value>,
    work: impl Future<Output = Result<Came, Refused>> + Send,
) -> Result<Came, ToolFailed> {
    let broken = |error: ObserverFailed| ToolFailed::Broken(error.to_string());
    observer.called(&id, name, arguments).await.map_err(broken)?;
    let mut gone = Gone { observer: Some(observer.clone()), id: id.clone(), name: name.to_owned() };
    let done = work.await;
    gone.observer = None;
    let (came, result) = match done {
        Ok(came) => {
            let result = CallResult::of_text(came.words(), came.failed);
            (came, result)
        }
        Err(Refused { came, result }) => (came, result),
    };
    observer.answered(&id, name, Some(&result)).await.map_err(broken)?;
    Ok(came)
}

/// Tells of a call that is dropped in the middle.
struct Gone {
    observer: Option<Arc<dyn Observer>>,
    id: String,
    name: String,
}

impl Drop for Gone {
    fn drop(&mut self) {
        let (Some(observer), Ok(runtime)) = (self.observer.take(), tokio::runtime::Handle::try_current())
        else {
            return;
        };
        let (id, name) = (std::mem::take(&mut self.id), std::mem::take(&mut self.name));
        runtime.spawn(async move {
            // The next call finds out that nothing can be recorded.
            let _ = observer.answered(&id, &name, None).await;
        });
    }
}
