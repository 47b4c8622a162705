//! One process's stream: what is sent to it, and the checks on what comes back.

use super::{CALL, Guest, Process, ProcessEvent, ProcessInput};
use crate::SandboxError;
use bytes::Bytes;
use cordon_proto::guest as pb;
use pb::{exec_request::Message as Request, exec_response::Message as Answer};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};

/// The largest piece of output in one event, and of input in one message.
const PIECE: usize = 64 << 10;
/// The largest piece that a guest may send at once.
const PIECE_LIMIT: usize = 1 << 20;
/// How long a stream stays open for what is still to be sent after the end.
const LINGER: std::time::Duration = std::time::Duration::from_secs(5);
/// Events and inputs under way: with their size, what a slow reader costs.
const QUEUE: usize = 16;

/// A guest's error text is as hostile as the rest of what it says.
pub(super) fn words(status: &Status) -> String {
    let text: String = status.message().chars().filter(|c| !c.is_control()).take(300).collect();
    format!("{:?}: {text}", status.code())
}

impl Guest {
    pub(super) async fn open(&self, first: Request, offset: u64) -> Result<Process, SandboxError> {
        let (requests, outgoing) = mpsc::channel(QUEUE);
        let (input, inputs) = mpsc::channel(QUEUE);
        let (events, received) = mpsc::channel(QUEUE);
        // The queue is new and empty: there is room.
        let _ = requests.try_send(pb::ExecRequest { message: Some(first) });
        let mut client = self.client.clone();
        let mut answers = self.call("exec", CALL, client.exec(ReceiverStream::new(outgoing))).await?;
        let sending = tokio::spawn(send(inputs, requests));
        tokio::spawn(async move {
            if receive(&mut answers, events, Sequence::new(offset)).await {
                // The last acknowledgements follow the end; dropping the answers now
                // would cut them off.
                let _ = tokio::time::timeout(LINGER, sending).await;
            }
        });
        Ok(Process { events: received, input })
    }
}

async fn send(mut inputs: mpsc::Receiver<ProcessInput>, requests: mpsc::Sender<pb::ExecRequest>) {
    loop {
        let input = tokio::select! {
            input = inputs.recv() => input,
            () = requests.closed() => None,
        };
        let Some(input) = input else { return };
        let messages = match input {
            ProcessInput::Stdin(data) => pieces(data).map(Request::Stdin).collect(),
            ProcessInput::StdinEof => vec![Request::StdinEof(pb::exec_request::StdinEof {})],
            ProcessInput::Resize { rows, columns } => vec![Request::Resize(pb::WindowSize { rows, columns })],
            ProcessInput::Signal(signal) => vec![Request::Signal(signal)],
            ProcessInput::Ack(offset) => vec![Request::Ack(offset)],
        };
        for message in messages {
            if requests.send(pb::ExecRequest { message: Some(message) }).await.is_err() {
                return;
            }
        }
    }
}

/// Cuts without copying.
fn pieces(mut data: Bytes) -> impl Iterator<Item = Bytes> {
    std::iter::from_fn(move || (!data.is_empty()).then(|| data.split_to(PIECE.min(data.len()))))
}

/// Passes events on; says whether the process came to its end.
async fn receive(
    answers: &mut Streaming<pb::ExecResponse>,
    events: mpsc::Sender<ProcessEvent>,
    mut sequence: Sequence,
) -> bool {
    loop {
        let answer = tokio::select! {
            answer = answers.message() => answer,
            // Nobody looks any more: dropping the stream detaches.
            () = events.closed() => return false,
        };
        let checked = match answer {
            Ok(Some(answer)) => sequence.check(answer),
            Ok(None) => Err("the guest ended the stream before the process ended".to_owned()),
            Err(status) => Err(words(&status)),
        };
        let found = checked.unwrap_or_else(|why| vec![ProcessEvent::Lost(why)]);
        for event in found {
            let ended = matches!(event, ProcessEvent::Exited(_) | ProcessEvent::Failed { .. });
            let lost = matches!(event, ProcessEvent::Lost(_));
            if events.send(event).await.is_err() || lost {
                return false;
            }
            if ended {
                return true;
            }
        }
    }
}

/// Where in a process's life its stream is.
struct Sequence {
    started: bool,
    next: u64,
}

impl Sequence {
    fn new(offset: u64) -> Self {
        Self { started: false, next: offset }
    }

    fn check(&mut self, answer: pb::ExecResponse) -> Result<Vec<ProcessEvent>, String> {
        let message = answer.message.ok_or("the guest sent an empty message")?;
        let is_start = matches!(message, Answer::Started(_) | Answer::Failed(_));
        if self.started == is_start {
            return Err("the guest's messages are out of order".to_owned());
        }
        match message {
            Answer::Started(started) => {
                self.started = true;
                let (pid, already_running) = (started.pid, started.already_running);
                Ok(vec![ProcessEvent::Started { pid, already_running }])
            }
            Answer::Failed(failed) => {
                let step = match failed.step.as_str() {
                    known @ ("exec" | "chdir") => known.to_owned(),
                    _ => return Err("the guest failed at a step that does not exist".to_owned()),
                };
                Ok(vec![ProcessEvent::Failed { errno: failed.errno, step }])
            }
            Answer::Output(output) => self.output(output),
            Answer::Dropped(dropped) => {
                if dropped.from != self.next || dropped.to <= dropped.from {
                    return Err(format!("the guest dropped a range that is not at {}", self.next));
                }
                self.next = dropped.to;
                Ok(vec![ProcessEvent::Dropped { from: dropped.from, to: dropped.to }])
            }
            Answer::Exited(exited) => {
                let plausible = match (exited.code, exited.signal) {
                    (Some(code), None) => code <= 255,
                    (None, Some(signal)) => (1..=64).contains(&signal),
                    _ => false,
                };
                if !plausible || exited.end_offset != self.next {
                    return Err("the guest reported an impossible end".to_owned());
                }
                Ok(vec![ProcessEvent::Exited(exited)])
            }
        }
    }

    fn output(&mut self, output: pb::exec_response::Output) -> Result<Vec<ProcessEvent>, String> {
        let stream = match output.stream() {
            pb::Stream::Unspecified => return Err("the guest named no known stream".to_owned()),
            stream => stream,
        };
        if output.offset != self.next || output.data.is_empty() || output.data.len() > PIECE_LIMIT {
            return Err(format!(
                "the guest sent {} bytes for offset {} when {} was next",
                output.data.len(),
                output.offset,
                self.next
            ));
        }
        let mut found = Vec::with_capacity(output.data.len().div_ceil(PIECE));
        for data in pieces(output.data) {
            let offset = self.next;
            let end = offset.checked_add(data.len() as u64);
            self.next = end.ok_or("the guest's offsets exceed 64 bits")?;
            found.push(ProcessEvent::Output { stream, offset, data });
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn answer(message: Answer) -> pb::ExecResponse {
        pb::ExecResponse { message: Some(message) }
    }

    fn output(offset: u64, length: usize) -> pb::ExecResponse {
        answer(Answer::Output(pb::exec_response::Output {
            stream: pb::Stream::Stdout.into(),
            offset,
            data: vec![7; length].into(),
        }))
    }

    fn running(offset: u64) -> Sequence {
        let mut sequence = Sequence::new(offset);
        sequence.check(answer(Answer::Started(pb::exec_response::Started::default()))).unwrap();
        sequence
    }

    fn exited(end_offset: u64, code: Option<u32>, signal: Option<u32>) -> pb::ExecResponse {
        answer(Answer::Exited(pb::Exited { code, signal, end_offset, ..Default::default() }))
    }

    #[test]
    fn output_is_cut_into_contiguous_pieces() {
        let mut sequence = running(5);
        let found = sequence.check(output(5, PIECE + 1)).unwrap();
        let places: Vec<_> = found
            .iter()
            .map(|event| match event {
                ProcessEvent::Output { offset, data, .. } => (*offset, data.len()),
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(places, [(5, PIECE), (5 + PIECE as u64, 1)]);
        sequence.check(exited(6 + PIECE as u64, Some(0), None)).unwrap();
    }

    #[test]
    fn nonsense_is_refused() {
        assert!(Sequence::new(0).check(output(0, 1)).is_err(), "output before the start");
        assert!(running(0).check(output(1, 1)).is_err(), "a gap");
        assert!(running(2).check(output(1, 4)).is_err(), "an overlap");
        assert!(running(0).check(output(0, 0)).is_err(), "nothing");
        assert!(running(0).check(output(0, PIECE_LIMIT + 1)).is_err(), "too much");
        assert!(running(u64::MAX).check(output(u64::MAX, 1)).is_err(), "overflow");
        assert!(running(0).check(pb::ExecResponse { message: None }).is_err(), "empty");
        assert!(running(0).check(exited(1, Some(0), None)).is_err(), "missing output");
        assert!(running(0).check(exited(0, Some(256), None)).is_err(), "impossible code");
        assert!(running(0).check(exited(0, Some(0), Some(9))).is_err(), "both");
        assert!(running(0).check(exited(0, None, None)).is_err(), "neither");
        let dropped = |from, to| answer(Answer::Dropped(pb::exec_response::Dropped { from, to }));
        assert!(running(4).check(dropped(3, 9)).is_err());
        assert!(running(4).check(dropped(4, 4)).is_err());
        assert!(running(4).check(dropped(4, 9)).is_ok());
        let twice = answer(Answer::Started(pb::exec_response::Started::default()));
        assert!(running(0).check(twice).is_err(), "started twice");
    }

    #[test]
    fn the_guests_words_carry_no_control_characters() {
        let status = Status::unknown(format!("\u{1b}[31mred\n{}", "x".repeat(5000)));
        let text = words(&status);
        assert!(text.len() < 400 && !text.contains('\u{1b}') && !text.contains('\n'));
    }

    proptest! {
        #[test]
        fn whatever_passes_is_contiguous(steps in prop::collection::vec((0u64..40, 0usize..40), 0..40)) {
            let mut sequence = running(0);
            let mut next = 0;
            for (offset, length) in steps {
                if let Ok(found) = sequence.check(output(offset, length)) {
                    for event in found {
                        let ProcessEvent::Output { offset, data, .. } = event else { panic!() };
                        prop_assert_eq!(offset, next);
                        next += data.len() as u64;
                    }
                }
            }
        }
    }
}
