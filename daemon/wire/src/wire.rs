//! The transport under the protocol: bounded, strict, and never silent about what it refuses.

use crate::{
    calls::{Busy, Calls},
    lines::{LIMIT, Line, Lines},
    message::{self, Refusal},
    output::Output,
};
use rmcp::{
    RoleServer,
    model::{ClientJsonRpcMessage, ClientRequest, ErrorCode, GetMeta as _, RequestId, ServerJsonRpcMessage},
    service::{RxJsonRpcMessage, TxJsonRpcMessage},
    transport::Transport,
};
use std::{future::Future, io, sync::Arc, time::Duration};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::Instant,
};
use tokio_util::sync::CancellationToken;

/// What a call that runs when the stream ends may still take, and the client to read its answer.
const GRACE: Duration = Duration::from_secs(1);

/// The transport of one session.
#[derive(Debug)]
pub struct Wire<R, W> {
    lines: Lines<R>,
    output: Arc<Output<W>>,
    calls: Calls,
    /// A session has begun; before that the protocol knows requests only.
    opened: bool,
    /// The stream has ended; what runs may run until then.
    until: Option<Instant>,
    ended: CancellationToken,
}

/// Why a stream broke, to be looked at when it has.
#[derive(Debug)]
pub struct Failure<W>(Arc<Output<W>>);

impl<W: AsyncWrite + Unpin> Failure<W> {
    /// The first error of the output.
    pub fn take(&self) -> Option<io::Error> {
        self.0.failure()
    }
}

impl<R, W> Wire<R, W>
where
    R: AsyncRead + Send + Unpin + 'static,
    W: AsyncWrite + Send + Unpin + 'static,
{
    /// `ended` is cancelled when nobody waits for answers any more.
    pub fn new(input: R, output: W, ended: CancellationToken) -> Self {
        Self {
            lines: Lines::new(input, LIMIT),
            output: Arc::new(Output::new(output)),
            calls: Calls::default(),
            opened: false,
            until: None,
            ended,
        }
    }

    /// What to ask later whether the stream broke.
    pub fn failure(&self) -> Failure<W> {
        Failure(self.output.clone())
    }

    fn refuse(&self, refusal: Refusal) {
        let answer = ServerJsonRpcMessage::error(refusal.error, refusal.id);
        if self.output.push(&answer).is_ok() {
            let output = self.output.clone();
            // Reading may be interrupted at any moment, writing may not.
            tokio::spawn(async move { output.flush().await });
        }
    }

    /// A line as a message that the session may see.
    fn take(&mut self, line: &[u8]) -> Result<Option<ClientJsonRpcMessage>, Refusal> {
        if line.trim_ascii().is_empty() {
            return Ok(None);
        }
        let Some(mut message) = message::read(line)? else { return Ok(None) };
        match &mut message {
            ClientJsonRpcMessage::Request(asked) => {
                if !self.opened {
                    self.opened = opens(&mut asked.request, &asked.id)?;
                }
                if let ClientRequest::CallToolRequest(call) = &mut asked.request {
                    let running = self.calls.begin(&asked.id).map_err(|busy| refused(&busy, &asked.id))?;
                    call.extensions.insert(running);
                }
                Ok(Some(message))
            }
            _ => Ok(self.opened.then_some(message)),
        }
    }

    async fn finish(&mut self) {
        let until = *self.until.get_or_insert_with(|| Instant::now() + GRACE);
        let _ = tokio::time::timeout_at(until, self.calls.none()).await;
        self.ended.cancel();
    }
}

/// Whether a first request opens a session. Any other is told how to.
fn opens(request: &mut ClientRequest, id: &RequestId) -> Result<bool, Refusal> {
    match request {
        ClientRequest::InitializeRequest(_) => Ok(true),
        ClientRequest::PingRequest(_) | ClientRequest::DiscoverRequest(_) => Ok(false),
        // From 2026 on every request may carry all that a handshake would have said.
        other if other.get_meta().protocol_version().is_some() => Ok(true),
        _ => Err(Refusal::new(
            Some(id.clone()),
            ErrorCode::INVALID_REQUEST,
            "the session has not begun; send initialize first",
        )),
    }
}

fn refused(busy: &Busy, id: &RequestId) -> Refusal {
    match busy {
        // With the id the answer would be taken for the other call's.
        Busy::SameId => Refusal::new(
            None,
            ErrorCode::INVALID_REQUEST,
            "a call with this id is still being answered; use each id once",
        ),
        Busy::Full => Refusal::new(
            Some(id.clone()),
            ErrorCode::INTERNAL_ERROR,
            "256 calls are being answered already; wait for some of them",
        ),
    }
}

impl<R, W> Transport<RoleServer> for Wire<R, W>
where
    R: AsyncRead + Send + Unpin + 'static,
    W: AsyncWrite + Send + Unpin + 'static,
{
    type Error = io::Error;

    fn send(
        &mut self,
        message: TxJsonRpcMessage<RoleServer>,
    ) -> impl Future<Output = io::Result<()>> + Send + 'static {
        // In the queue at once: what is not read counts, whether or not somebody waits for it.
        let pushed = self.output.push(&message);
        let output = self.output.clone();
        async move {
            pushed?;
            output.flush().await
        }
    }

    async fn receive(&mut self) -> Option<RxJsonRpcMessage<RoleServer>> {
        let output = self.output.clone();
        while self.until.is_none() {
            let line = tokio::select! {
                biased;
                () = output.broken().cancelled() => {
                    self.ended.cancel();
                    return None;
                }
                line = async {
                    output.room().await;
                    self.lines.next().await
                } => line,
            };
            let taken = match line {
                Ok(Some(Line::Whole(line))) => self.take(&line),
                Ok(Some(Line::Long)) => Err(Refusal::new(
                    None,
                    ErrorCode::INVALID_REQUEST,
                    "a message was longer than 64 MB and was skipped",
                )),
                Ok(Some(Line::Cut)) => Err(Refusal::new(
                    None,
                    ErrorCode::PARSE_ERROR,
                    "the stream ended within a line, which was not acted on",
                )),
                Ok(None) | Err(_) => break,
            };
            match taken {
                Ok(Some(message)) => return Some(message),
                Ok(None) => {}
                Err(refusal) => self.refuse(refusal),
            }
        }
        self.finish().await;
        None
    }

    async fn close(&mut self) -> io::Result<()> {
        tokio::time::timeout(GRACE, self.output.flush()).await.unwrap_or(Ok(()))
    }
}
