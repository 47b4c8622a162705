//! Between a process in a sandbox and its terminal.

use crate::hub::{End, Hub, Input};
use cordon_sandbox::guest::{Process, ProcessEvent, ProcessInput};
use tokio::sync::mpsc;

/// How a process ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    /// By itself, or by a signal: as a shell counts.
    Exited(u32),
    /// It could not be started.
    Failed {
        /// errno.
        errno: u32,
        /// "exec" or "chdir".
        step: String,
    },
    /// The guest is gone.
    Lost(String),
}

/// Shows a process, started with a pseudo-terminal of the hub's size, until it ends. For a
/// terminal that need not outlive the daemon; dropping this leaves the process alone.
pub async fn carry(hub: &Hub, process: Process) -> Ended {
    let Process { mut events, input } = process;
    let typing = pass_input(hub, input.clone());
    tokio::pin!(typing);
    let mut types = true;
    hub.begin();
    let ended = loop {
        let event = tokio::select! {
            event = events.recv() => event,
            () = &mut typing, if types => {
                types = false;
                continue;
            }
        };
        match event {
            Some(ProcessEvent::Started { .. }) => {}
            Some(ProcessEvent::Output { offset, data, .. }) => {
                hub.feed(&data);
                // One that is lost is made up by the next.
                let _ = input.try_send(ProcessInput::Ack(offset.saturating_add(data.len() as u64)));
            }
            Some(ProcessEvent::Dropped { .. }) => hub.repaint(),
            Some(ProcessEvent::Exited(exited)) => {
                let signal = exited.signal.map(|signal| signal.saturating_add(128));
                break Ended::Exited(exited.code.or(signal).unwrap_or(1));
            }
            Some(ProcessEvent::Failed { errno, step }) => break Ended::Failed { errno, step },
            Some(ProcessEvent::Lost(why)) => break Ended::Lost(why),
            None => break Ended::Lost("its stream ended".to_owned()),
        }
    };
    hub.end(match &ended {
        Ended::Exited(code) => Some(End { code: *code, failure: String::new() }),
        Ended::Failed { step, .. } => Some(End { code: 127, failure: step.clone() }),
        Ended::Lost(_) => None,
    });
    ended
}

/// Gives the process what is for it, until nobody takes it any more.
pub async fn pass_input(hub: &Hub, to: mpsc::Sender<ProcessInput>) {
    loop {
        let input = tokio::select! {
            input = hub.input() => input,
            () = to.closed() => return,
        };
        let input = match input {
            Some(Input::Data(data)) => ProcessInput::Stdin(data),
            Some(Input::Resize(size)) => {
                ProcessInput::Resize { rows: size.rows.into(), columns: size.columns.into() }
            }
            None => return,
        };
        if to.send(input).await.is_err() {
            return;
        }
    }
}
