//! Follows a run's journal, over broken connections and restarted daemons.

use crate::{error::CliError, session::Session};
use cordon_proto::v1::{Event, WatchRunRequest, event::Kind};
use std::time::{Duration, Instant};
use tokio::sync::mpsc;
use tonic::{Code, Status, Streaming};

/// How long a daemon may be away.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long whoever looks after the daemon may take before this client starts one.
const GRACE: Duration = Duration::from_secs(3);

/// How many events may wait for whoever shows them; beyond that the daemon is not read.
const WAITING: usize = 256;

/// What a watch has to tell.
#[derive(Debug)]
pub(crate) enum Told {
    Event(Box<Event>),
    /// Something about the connection.
    Notice(String),
    Failed(CliError),
}

/// Every event once and in order; the channel closes after the last one.
pub(crate) fn watch(session: &Session, id: &str, from: u64, follow: bool) -> mpsc::Receiver<Told> {
    let (tell, told) = mpsc::channel(WAITING);
    let mut watch = Watch {
        session: session.clone(),
        id: id.to_owned(),
        next: from,
        follow,
        stream: None,
        ended: false,
        away: None,
        tell: tell.clone(),
    };
    // A task of its own, so that nothing that the viewer does interrupts a reconnection.
    tokio::spawn(async move {
        loop {
            let told = match watch.next().await {
                Ok(Some(event)) => Told::Event(Box::new(event)),
                Ok(None) => return,
                Err(e) => Told::Failed(e),
            };
            if tell.send(told).await.is_err() {
                return;
            }
        }
    });
    told
}

struct Watch {
    session: Session,
    id: String,
    next: u64,
    follow: bool,
    stream: Option<Streaming<Event>>,
    ended: bool,
    away: Option<Instant>,
    tell: mpsc::Sender<Told>,
}

impl Watch {
    /// The next event; none after the last one.
    async fn next(&mut self) -> Result<Option<Event>, CliError> {
        loop {
            if self.ended {
                return Ok(None);
            }
            let Some(stream) = &mut self.stream else {
                self.open().await?;
                continue;
            };
            match stream.message().await {
                Ok(Some(event)) if event.seq < self.next => {}
                Ok(Some(event)) => {
                    self.away = None;
                    self.next = event.seq.saturating_add(1);
                    self.ended = matches!(event.kind, Some(Kind::RunEnded(_)));
                    return Ok(Some(event));
                }
                Ok(None) if !self.follow => self.ended = true,
                Ok(None) => self.lost("the stream ended before the run did".to_owned()).await?,
                Err(status) => self.broken(status).await?,
            }
        }
    }

    async fn open(&mut self) -> Result<(), CliError> {
        if let Some(since) = self.away {
            tokio::time::sleep(Duration::from_millis(200)).await;
            let ready = if since.elapsed() < GRACE {
                self.session.ensure(false).await
            } else {
                self.session.again().await
            };
            if let Err(e) = ready {
                return self.lost(e.to_string()).await;
            }
        }
        let request = WatchRunRequest { id: self.id.clone(), from_seq: self.next, follow: self.follow };
        match self.session.runs().watch_run(request).await {
            Ok(stream) => {
                self.stream = Some(stream.into_inner());
                Ok(())
            }
            Err(status) => self.broken(status).await,
        }
    }

    /// A status that a new connection may mend is waited out; any other ends the watch.
    async fn broken(&mut self, status: Status) -> Result<(), CliError> {
        match status.code() {
            Code::Unavailable | Code::Unknown | Code::Cancelled | Code::Aborted => {
                self.lost(status.message().to_owned()).await
            }
            // What HTTP/2 calls an internal error: the connection went away in the middle of a frame.
            Code::Internal if status.message().contains("h2 protocol error") => {
                self.lost(status.message().to_owned()).await
            }
            _ => {
                self.ended = true;
                Err(status.into())
            }
        }
    }

    async fn lost(&mut self, why: String) -> Result<(), CliError> {
        self.stream = None;
        let since = match self.away {
            Some(since) => since,
            None => {
                let notice = format!("the connection to the daemon broke ({why}); trying again");
                let _ = self.tell.send(Told::Notice(notice)).await;
                *self.away.insert(Instant::now())
            }
        };
        if since.elapsed() > PATIENCE {
            self.ended = true;
            return Err(CliError::Lost { run: self.id.clone(), why });
        }
        Ok(())
    }
}
