//! A server that is a process inside the sandbox, reached through its guest.

use crate::{
    ServerError,
    error::words,
    weigh::{MOST_VALUES, Weigher},
};
use cordon_proto::guest as pb;
use cordon_sandbox::guest::{Guest, Process, ProcessEvent, ProcessInput};
use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, ReadHalf, WriteHalf};
use tokio::sync::{mpsc, watch};

/// What may be on its way in each direction.
const PIPE: usize = 256 << 10;
const PIECE: usize = 64 << 10;
/// The last words of a server on its standard error that are kept.
const LAST_WORDS: usize = 2 << 10;
/// Messages that are taken of a server that reads nothing. Whatever it asks is answered, and
/// the answers wait; an honest one is at most in the middle of some results.
const MOST_UNHEARD: usize = 10_000;
/// How long the reason of an end is waited for, once the end is there.
const REASON_WITHIN: Duration = Duration::from_secs(2);

/// A process to be started, as often as needed.
#[derive(Clone, Debug)]
pub(crate) struct Start {
    pub(crate) guest: Guest,
    pub(crate) argv: Vec<Vec<u8>>,
    pub(crate) env: Vec<(String, Vec<u8>)>,
    pub(crate) cwd: Vec<u8>,
}

impl Start {
    /// Starts it; answers the other end of its standard input and output.
    pub(crate) async fn open(&self, ending: Ending) -> Result<DuplexStream, ServerError> {
        let process = self.guest.exec(self.request()).await;
        let mut process = process.map_err(|e| ServerError::Start(words(&e.to_string())))?;
        match process.events.recv().await {
            Some(ProcessEvent::Started { .. }) => {}
            Some(ProcessEvent::Failed { errno, step }) => {
                let errno = i32::try_from(errno).unwrap_or(0);
                let why = std::io::Error::from_raw_os_error(errno);
                return Err(ServerError::Start(format!("{step}: {why}")));
            }
            Some(ProcessEvent::Lost(why)) => return Err(ServerError::Start(words(&why))),
            _ => return Err(ServerError::Start("the guest did not answer".to_owned())),
        }
        let (ours, theirs) = tokio::io::duplex(PIPE);
        tokio::spawn(pump(process, ours, ending));
        Ok(theirs)
    }

    fn request(&self) -> pb::Start {
        let env = self
            .env
            .iter()
            .map(|(name, value)| pb::EnvVar { name: name.clone(), value: value.clone().into() });
        pb::Start {
            process_id: format!("m{}", uuid::Uuid::now_v7().simple()),
            argv: self.argv.iter().map(|a| a.clone().into()).collect(),
            env: env.collect(),
            cwd: self.cwd.clone().into(),
            pty: None,
            stdin: true,
            timeout_ms: 0,
            // Without the daemon nobody calls it any more.
            kill_on_detach: true,
        }
    }
}

/// Why a process ended, once it has.
#[derive(Clone, Debug)]
pub(crate) struct Ending {
    why: watch::Sender<Option<String>>,
    errors: Arc<Mutex<Vec<u8>>>,
}

impl Default for Ending {
    fn default() -> Self {
        Self { why: watch::Sender::new(None), errors: Arc::default() }
    }
}

impl Ending {
    /// The better reason, when the process ended and that is why it did not answer.
    pub(crate) async fn explain(&self, error: ServerError) -> ServerError {
        if !matches!(error, ServerError::Protocol(_)) {
            return error;
        }
        self.reason().await.map_or(error, ServerError::Ended)
    }

    /// What is known of the end; none when there was none.
    pub(crate) async fn reason(&self) -> Option<String> {
        let mut why = self.why.subscribe();
        let ended = tokio::time::timeout(REASON_WITHIN, why.wait_for(Option::is_some)).await;
        let why = ended.ok()?.ok()?.clone()?;
        let errors = self.errors.lock().unwrap_or_else(PoisonError::into_inner);
        let errors = words(&String::from_utf8_lossy(&errors));
        Some(if errors.is_empty() { why } else { format!("{why}; it said: {errors}") })
    }

    fn complain(&self, data: &[u8]) {
        let mut errors = self.errors.lock().unwrap_or_else(PoisonError::into_inner);
        errors.extend_from_slice(data);
        let surplus = errors.len().saturating_sub(LAST_WORDS);
        errors.drain(..surplus);
    }
}

/// Carries bytes both ways until the process or whoever reads it ends.
async fn pump(process: Process, pipe: DuplexStream, ending: Ending) {
    let Process { events, input } = process;
    let (read, write) = tokio::io::split(pipe);
    let stuck = Arc::new(AtomicBool::new(false));
    let feeding = tokio::spawn(feed(read, input.clone(), Arc::clone(&stuck)));
    let why = drain(events, input, write, &ending, &stuck).await;
    // Ends the feeder's side of the pipe, too: the server is gone.
    feeding.abort();
    ending.why.send_replace(Some(why));
}

/// `stuck`: something waits for the server to read.
async fn feed(mut from: ReadHalf<DuplexStream>, to: mpsc::Sender<ProcessInput>, stuck: Arc<AtomicBool>) {
    let mut piece = vec![0; PIECE];
    loop {
        match from.read(&mut piece).await {
            Ok(0) | Err(_) => {
                let _ = to.send(ProcessInput::StdinEof).await;
                return;
            }
            Ok(length) => {
                let data = piece.get(..length).unwrap_or_default().to_vec().into();
                stuck.store(true, Ordering::Relaxed);
                if to.send(ProcessInput::Stdin(data)).await.is_err() {
                    return;
                }
                stuck.store(false, Ordering::Relaxed);
            }
        }
    }
}

/// Passes output on and lets the guest forget it; answers how it ended.
async fn drain(
    mut events: mpsc::Receiver<ProcessEvent>,
    input: mpsc::Sender<ProcessInput>,
    mut to: WriteHalf<DuplexStream>,
    ending: &Ending,
    stuck: &AtomicBool,
) -> String {
    let mut weigher = Weigher::default();
    let mut unheard = 0;
    while let Some(event) = events.recv().await {
        match event {
            ProcessEvent::Started { .. } => {}
            ProcessEvent::Output { stream, offset, data } => {
                if stream == pb::Stream::Stderr {
                    ending.complain(&data);
                } else if weigher.add(&data).is_err() {
                    return format!("it sent a message with more than {MOST_VALUES} values");
                } else if is_deaf(stuck, &mut unheard, &data) {
                    return format!("it sent {MOST_UNHEARD} messages and read none");
                } else if to.write_all(&data).await.is_err() {
                    // Nobody listens any more; dropping the events ends the process.
                    return "it was let go".to_owned();
                }
                let passed = offset.saturating_add(data.len() as u64);
                if input.send(ProcessInput::Ack(passed)).await.is_err() {
                    return "the guest is gone".to_owned();
                }
            }
            // A part of some message: there is no way to go on.
            ProcessEvent::Dropped { .. } => return "the guest dropped some of its output".to_owned(),
            ProcessEvent::Exited(exited) => {
                return match (exited.code, exited.signal) {
                    (Some(code), _) => format!("exit code {code}"),
                    (None, Some(signal)) => format!("signal {signal}"),
                    (None, None) => "for no reason that is known".to_owned(),
                };
            }
            ProcessEvent::Failed { step, .. } => return step,
            ProcessEvent::Lost(why) => return words(&why),
        }
    }
    "the guest's stream ended".to_owned()
}

/// Whether it talks on and on while something waits for it.
fn is_deaf(stuck: &AtomicBool, unheard: &mut usize, data: &[u8]) -> bool {
    if stuck.load(Ordering::Relaxed) {
        *unheard += data.iter().filter(|byte| **byte == b'\n').count();
    } else {
        *unheard = 0;
    }
    *unheard > MOST_UNHEARD
}

#[cfg(test)]
mod tests {
    use super::*;

    fn output(stream: pb::Stream, offset: u64, data: &[u8]) -> ProcessEvent {
        ProcessEvent::Output { stream, offset, data: data.to_vec().into() }
    }

    fn exited(code: u32) -> ProcessEvent {
        ProcessEvent::Exited(pb::Exited { code: Some(code), ..Default::default() })
    }

    #[tokio::test]
    async fn bytes_go_both_ways_and_are_forgotten_when_passed() {
        let (tell, events) = mpsc::channel(8);
        let (input, mut inputs) = mpsc::channel(8);
        let (ours, mut theirs) = tokio::io::duplex(64);
        let ending = Ending::default();
        let pumping = tokio::spawn(pump(Process { events, input }, ours, ending.clone()));
        tell.send(output(pb::Stream::Stdout, 0, b"hello\n")).await.unwrap();
        let mut line = [0; 6];
        theirs.read_exact(&mut line).await.unwrap();
        assert_eq!(&line, b"hello\n");
        assert!(matches!(inputs.recv().await, Some(ProcessInput::Ack(6))));
        theirs.write_all(b"again").await.unwrap();
        assert!(matches!(inputs.recv().await, Some(ProcessInput::Stdin(data)) if &*data == b"again"));
        tell.send(output(pb::Stream::Stderr, 6, b"oh \x1b[2J no")).await.unwrap();
        assert!(matches!(inputs.recv().await, Some(ProcessInput::Ack(16))));
        tell.send(exited(3)).await.unwrap();
        pumping.await.unwrap();
        assert_eq!(theirs.read(&mut line).await.unwrap(), 0, "the end is the end");
        let why = ending.reason().await.unwrap();
        assert_eq!(why, "exit code 3; it said: oh \\u{1b}[2J no");
    }

    #[tokio::test]
    async fn nobody_who_listens_ends_it() {
        let (tell, events) = mpsc::channel(8);
        let (input, _inputs) = mpsc::channel(8);
        let (ours, theirs) = tokio::io::duplex(64);
        let pumping = tokio::spawn(pump(Process { events, input }, ours, Ending::default()));
        drop(theirs);
        tell.send(output(pb::Stream::Stdout, 0, b"x")).await.unwrap();
        pumping.await.unwrap();
        assert!(tell.is_closed(), "the guest is told by that");
    }

    async fn ended_by(data: Vec<u8>, inputs: usize) -> String {
        let (tell, events) = mpsc::channel(8);
        let (input, mut said) = mpsc::channel(inputs);
        let (ours, theirs) = tokio::io::duplex(64 << 10);
        let (mut hears, mut asks) = tokio::io::split(theirs);
        let ending = Ending::default();
        let pumping = tokio::spawn(pump(Process { events, input }, ours, ending.clone()));
        let hearing = tokio::spawn(async move { hears.read_to_end(&mut Vec::new()).await });
        let asking = tokio::spawn(async move { while asks.write_all(&[b'x'; 4096]).await.is_ok() {} });
        // A guest that takes acknowledgements while the process itself reads nothing.
        let taking = tokio::spawn(async move {
            let mut taken = 0;
            while let Some(input) = said.recv().await {
                taken += 1;
                if matches!(input, ProcessInput::Stdin(_)) && taken > 4 {
                    tokio::time::sleep(Duration::from_secs(1)).await;
                }
            }
        });
        for piece in data.chunks(4096) {
            if tell.send(output(pb::Stream::Stdout, 0, piece)).await.is_err() {
                break;
            }
        }
        drop(tell);
        pumping.await.unwrap();
        for task in [asking.abort_handle(), taking.abort_handle()] {
            task.abort();
        }
        hearing.await.unwrap().unwrap();
        ending.reason().await.unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn a_message_that_is_far_larger_than_its_bytes_ends_it() {
        let why = ended_by("[],".repeat(MOST_VALUES).into_bytes(), 8).await;
        assert_eq!(why, format!("it sent a message with more than {MOST_VALUES} values"));
    }

    #[tokio::test(start_paused = true)]
    async fn who_talks_and_never_listens_is_ended() {
        let ping = "{}\n".repeat(3 * MOST_UNHEARD);
        assert_eq!(ended_by(ping.into_bytes(), 1).await, "it sent 10000 messages and read none");
    }

    #[tokio::test]
    async fn last_words_are_few() {
        let ending = Ending::default();
        ending.complain(&vec![b'x'; 10 * LAST_WORDS]);
        ending.why.send_replace(Some("over".to_owned()));
        assert!(ending.reason().await.unwrap().len() < LAST_WORDS);
    }
}
