use super::{Agent, Life, process::after};
use crate::{entry::Live, record::now_ms};
use std::{collections::BTreeMap, sync::Arc, time::Duration};
use tokio_util::sync::CancellationToken;

/// Starts the task of a life and makes it known to its entry.
pub(crate) fn launch(life: Life, agents: Vec<Agent>, stop: CancellationToken) {
    let (entry, journal) = (life.entry.clone(), life.journal.clone());
    let terminal = agents.iter().find_map(|a| a.terminal.as_ref()).map(|t| t.hub.clone());
    // Under the lock, so that even the shortest life finds itself here when it ends.
    let mut live = entry.live();
    *live = Some(Live { journal, stop, guests: BTreeMap::new(), terminal, task: None });
    let agents = agents.into_iter().map(Arc::new).collect();
    let task = tokio::spawn(Arc::new(life).live(agents));
    if let Some(live) = &mut *live {
        live.task = Some(task);
    }
}

/// When a run that started then has to end.
pub(crate) fn deadline(started_ms: i64, limit: Duration) -> tokio::time::Instant {
    let gone = Duration::from_millis(u64::try_from(now_ms() - started_ms).unwrap_or(0));
    after(limit.saturating_sub(gone))
}
