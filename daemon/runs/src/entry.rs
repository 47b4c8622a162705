use crate::{
    error::RunError,
    journal::{Journal, JournalReader},
    record::{AgentRecord, RunRecord, State},
    store::{RunDirectory, StoreError},
};
use cordon_proto::v1;
use cordon_sandbox::guest::Guest;
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tokio_util::sync::CancellationToken;

/// One run in memory. Of an ended one only the record is kept.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) id: String,
    pub(crate) directory: RunDirectory,
    record: Mutex<RunRecord>,
    live: Mutex<Option<Live>>,
}

/// What there is only while a run lives.
#[derive(Debug)]
pub(crate) struct Live {
    pub(crate) journal: Arc<Journal>,
    pub(crate) stop: CancellationToken,
    pub(crate) guests: BTreeMap<String, Guest>,
    /// Where the agent's program has one.
    pub(crate) terminal: Option<Arc<cordon_terminal::Hub>>,
    pub(crate) task: Option<tokio::task::JoinHandle<()>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Records are replaced field by field with plain values: none is left half right.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Entry {
    pub(crate) fn new(directory: RunDirectory, record: RunRecord) -> Self {
        Self { id: record.id.clone(), directory, record: Mutex::new(record), live: Mutex::new(None) }
    }

    pub(crate) fn record(&self) -> RunRecord {
        lock(&self.record).clone()
    }

    pub(crate) fn with<T>(&self, look: impl FnOnce(&RunRecord) -> T) -> T {
        look(&lock(&self.record))
    }

    /// Changes the record and keeps it. Blocks. Memory has the change even when the
    /// disk refuses it: the journal decides after a restart.
    pub(crate) fn update<T>(
        &self,
        durable: bool,
        change: impl FnOnce(&mut RunRecord) -> T,
    ) -> Result<T, StoreError> {
        // Under the lock, so that an older record never replaces a newer one.
        let mut record = lock(&self.record);
        let answer = change(&mut record);
        self.directory.save(&record, durable)?;
        Ok(answer)
    }

    pub(crate) fn update_agent(
        &self,
        index: usize,
        change: impl FnOnce(&mut AgentRecord),
    ) -> Result<(), StoreError> {
        self.update(false, |r| {
            if let Some(agent) = r.agents.get_mut(index) {
                change(agent);
            }
        })
    }

    pub(crate) fn live(&self) -> MutexGuard<'_, Option<Live>> {
        lock(&self.live)
    }

    pub(crate) fn is_ended(&self) -> bool {
        self.with(|r| r.state == State::Ended)
    }

    pub(crate) fn to_proto(&self) -> v1::Run {
        let mut run = self.with(RunRecord::to_proto);
        if let Some(live) = &*self.live() {
            run.journal_events = live.journal.committed().next_seq;
        }
        run
    }

    pub(crate) fn reader(&self, from_seq: u64) -> Result<JournalReader, RunError> {
        if let Some(live) = &*self.live() {
            return Ok(live.journal.reader(from_seq));
        }
        Ok(JournalReader::open(&self.directory.journal(), from_seq)?)
    }
}
