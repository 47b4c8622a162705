//! One stream of one process: its output to the daemon, the daemon's input to it.

use crate::{
    process::{
        lock,
        record::{Process, State},
        stdin::Input,
        table::{Table, window},
    },
    service::signal,
};
use cordon_proto::guest as pb;
use pb::{exec_request::Message as Request, exec_response::Message as Answer};
use rustix::{process::Signal, termios::tcsetwinsize};
use std::{io, sync::Arc, time::Duration};
use tokio::sync::{mpsc, watch};
use tonic::{Status, Streaming};

const PIECE: usize = 64 << 10;
/// How long a stream stays for its last acknowledgement once all was said.
const LINGER: Duration = Duration::from_secs(10);

type Answers = mpsc::Sender<Result<pb::ExecResponse, Status>>;

/// Who listens to a process through one stream.
pub(crate) struct Listener {
    pub(crate) table: Arc<Table>,
    pub(crate) process: Arc<Process>,
    pub(crate) offset: u64,
    pub(crate) already_running: bool,
}

enum Next {
    Wait,
    Say(Answer),
    Last(Answer),
}

impl Listener {
    pub(crate) async fn run(mut self, mut inbound: Streaming<pb::ExecRequest>, answers: Answers) {
        let mut attachment = self.process.attach();
        let (process, table) = (Arc::clone(&self.process), Arc::clone(&self.table));
        let receiving = receive(&process, &mut inbound);
        tokio::pin!(receiving);
        let telling = async {
            // An error means that nobody listens any more.
            let _ = self.tell(&answers).await;
        };
        tokio::pin!(telling);
        let mut half_closed = false;
        loop {
            tokio::select! {
                () = &mut telling => break,
                () = &mut receiving, if !half_closed => half_closed = true,
                () = answers.closed() => break,
                _ = &mut attachment.replaced => {
                    let _ = answers.try_send(Err(Status::aborted("another stream took over")));
                    return;
                }
            }
        }
        let over = matches!(lock(&process.inner).state, State::Exited(_) | State::Failed(_));
        if over && !half_closed {
            tokio::select! {
                () = &mut receiving => {}
                () = answers.closed() => {}
                () = tokio::time::sleep(LINGER) => {}
            }
        }
        if process.kill_on_detach && process.is_current(attachment.number) {
            if !over {
                table.signal_family(&process, Signal::KILL);
            }
            table.remove(&process);
        }
    }

    async fn tell(&mut self, answers: &Answers) -> Result<(), mpsc::error::SendError<()>> {
        let mut news = self.process.news.subscribe();
        let mut started = false;
        loop {
            news.borrow_and_update();
            let next = self.next(&mut started).unwrap_or_else(|error| {
                // The log's own file cannot be read: what was in it is lost.
                let to = lock(&self.process.inner).log.end();
                let from = std::mem::replace(&mut self.offset, to);
                let _ = error;
                Next::Say(Answer::Dropped(pb::exec_response::Dropped { from, to }))
            });
            let (answer, last) = match next {
                Next::Wait => {
                    if wait(&mut news, answers).await {
                        continue;
                    } else {
                        return Ok(());
                    }
                }
                Next::Say(answer) => (answer, false),
                Next::Last(answer) => (answer, true),
            };
            let response = pb::ExecResponse { message: Some(answer) };
            answers.send(Ok(response)).await.map_err(|_| mpsc::error::SendError(()))?;
            if last {
                return Ok(());
            }
        }
    }

    fn next(&mut self, started: &mut bool) -> io::Result<Next> {
        let inner = lock(&self.process.inner);
        match &inner.state {
            State::Starting => return Ok(Next::Wait),
            State::Failed(failed) => return Ok(Next::Last(Answer::Failed(failed.clone()))),
            State::Running | State::Exited(_) => {}
        }
        if !std::mem::replace(started, true) {
            return Ok(Next::Say(Answer::Started(pb::exec_response::Started {
                pid: self.process.pid.unsigned_abs(),
                already_running: self.already_running,
            })));
        }
        let base = inner.log.base();
        if self.offset < base {
            let from = std::mem::replace(&mut self.offset, base);
            return Ok(Next::Say(Answer::Dropped(pb::exec_response::Dropped { from, to: base })));
        }
        if let Some((stream, data)) = inner.log.read(self.offset, PIECE)? {
            let offset = self.offset;
            self.offset += data.len() as u64;
            let output = pb::exec_response::Output { stream: stream.into(), offset, data };
            return Ok(Next::Say(Answer::Output(output)));
        }
        Ok(match &inner.state {
            State::Exited(exited) => Next::Last(Answer::Exited(*exited)),
            _ => Next::Wait,
        })
    }
}

/// Whether there is news; false when nobody listens any more.
async fn wait(news: &mut watch::Receiver<()>, answers: &Answers) -> bool {
    tokio::select! {
        changed = news.changed() => changed.is_ok(),
        () = answers.closed() => false,
    }
}

/// Acts on what the daemon sends, until it has no more to send.
async fn receive(process: &Process, inbound: &mut Streaming<pb::ExecRequest>) {
    while let Ok(Some(request)) = inbound.message().await {
        match request.message {
            Some(Request::Stdin(data)) => feed(process, Input::Data(data)).await,
            Some(Request::StdinEof(_)) => feed(process, Input::Eof).await,
            Some(Request::Resize(size)) => {
                let terminal = lock(&process.inner).terminal.clone();
                if let Some(terminal) = terminal {
                    // Fails only when the terminal is gone, and its process with it.
                    let _ = tcsetwinsize(&*terminal, window(&size));
                }
            }
            Some(Request::Signal(number)) => {
                if let Ok(signal) = signal(number) {
                    process.signal(signal);
                }
            }
            Some(Request::Ack(offset)) => process.acknowledge(offset),
            Some(Request::Start(_) | Request::Attach(_)) | None => return,
        }
    }
}

async fn feed(process: &Process, input: Input) {
    if let Some(stdin) = &process.stdin {
        // Fails when the process has ended.
        let _ = stdin.send(input).await;
    }
}
