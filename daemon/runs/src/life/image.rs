//! What a sandbox stands on, where that has to be made first.

use super::{
    agent::{Agent, Trouble},
    log::Log,
};
use crate::journal::{Durability, JournalError};
use cordon_proto::v1::{ProgressEvent, event::Kind};
use cordon_sandbox::Wall;
use tokio::sync::mpsc;

/// Lines that wait to be written down.
const WAITING: usize = 64;

impl Agent {
    /// Has the wall make what is missing, and tells how it goes.
    pub(super) async fn provide(&self, wall: &dyn Wall) -> Result<(), Trouble> {
        let (said, heard) = mpsc::channel(WAITING);
        let made = wall.prepare(&self.planned.sandbox, said);
        let (made, told) = tokio::join!(made, tell(&self.log, heard));
        told?;
        made.map_err(Trouble::from)
    }
}

async fn tell(log: &Log, mut heard: mpsc::Receiver<String>) -> Result<(), JournalError> {
    let mut result = Ok(());
    // To the end, also when nothing can be written down any more: whoever speaks waits.
    while let Some(what) = heard.recv().await {
        if result.is_ok() {
            let event = Kind::Progress(ProgressEvent { what, ..ProgressEvent::default() });
            result = log.tell(vec![event], Durability::Soon).await;
        }
    }
    result
}
