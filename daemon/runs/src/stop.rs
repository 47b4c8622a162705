//! The end of runs, and of the daemon around them.

use crate::{entry::Entry, runs::Runs};
use std::{sync::atomic::Ordering, time::Duration};

/// How long a stop waits for the run to end before it answers.
const STOP_WAITS: Duration = Duration::from_secs(60);

impl Runs {
    /// Takes no more runs. With `stop` it ends those there are and waits; without, it
    /// lets go of them: their sandboxes go on, and the next daemon finds them.
    pub async fn shutdown(&self, stop: bool) {
        self.0.accepting.store(false, Ordering::Release);
        // A person who logs in is lost with this daemon, whatever becomes of the runs.
        self.0.shared.logins.signing.end().await;
        // What a server answers to a renewal is written down by whoever asked, or lost.
        self.0.shared.logins.settle().await;
        let entries = self.0.shared.all();
        if stop {
            let stopping = entries.iter().filter(|e| !e.is_ended()).cloned();
            let all: tokio::task::JoinSet<()> =
                stopping.map(|e| async move { stop_and_wait(&e).await }).collect();
            all.join_all().await;
            return;
        }
        // Their clients are lost with this daemon: nothing is left to be found.
        let (tools, entries): (Vec<_>, Vec<_>) = entries.into_iter().partition(|e| e.with(|r| r.tools));
        let ending = tools.into_iter().filter(|e| !e.is_ended());
        let ending: tokio::task::JoinSet<()> =
            ending.map(|e| async move { stop_and_wait(&e).await }).collect();
        ending.join_all().await;
        for entry in entries {
            let task = entry.live().as_mut().and_then(|live| live.task.take());
            let Some(task) = task else { continue };
            task.abort();
            // An append that is under way is finished by its own thread.
            let _ = task.await;
            let journal = entry.live().as_ref().map(|live| live.journal.clone());
            if let Some(journal) = journal {
                let synced = tokio::task::spawn_blocking(move || journal.sync()).await;
                if let Ok(Err(error)) = synced {
                    tracing::error!(run = entry.id, %error, "the journal is not on the disk");
                }
            }
        }
    }
}

pub(crate) async fn stop_and_wait(entry: &Entry) {
    let watch = entry.live().as_ref().map(|live| {
        live.stop.cancel();
        live.journal.watch()
    });
    if let Some(mut watch) = watch {
        // Too long, or the run was let go: the caller sees the state it is in.
        let _ = tokio::time::timeout(STOP_WAITS, watch.wait_for(|c| c.closed)).await;
    }
}
