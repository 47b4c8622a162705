//! The guest's side of its protocol.

use crate::{
    confine::Confinement,
    exec, probe,
    process::{
        lock,
        reaper::{self, Foreign, is_first},
        record::{Process, State},
        table::{StartError, Table, is_over},
    },
    refusals::Refusals,
    settings::Settings,
};
use cordon_proto::guest as pb;
use pb::{exec_request::Message as First, guest_server::Guest};
use rustix::process::Signal;
use std::{pin::Pin, sync::Arc, time::Duration};
use tokio::sync::{Mutex, mpsc, watch};
use tokio_stream::{Stream, wrappers::ReceiverStream};
use tonic::{Request, Response, Status, Streaming};

/// How long the first message of a stream may take.
const OPENING: Duration = Duration::from_secs(10);
/// Messages under way to the daemon for one process.
const ANSWERS: usize = 4;

/// What every call works on.
pub(crate) struct Service {
    pub(crate) settings: Settings,
    pub(crate) confinement: Confinement,
    pub(crate) table: Arc<Table>,
    pub(crate) shutdown: watch::Sender<bool>,
    /// One probe at a time: it starts processes of its own.
    pub(crate) probing: Mutex<()>,
    /// What the filter refused.
    pub(crate) refusals: Arc<Refusals>,
}

/// A signal that may be sent.
pub(crate) fn signal(number: u32) -> Result<Signal, Status> {
    let number = i32::try_from(number).ok().filter(|number| (1..=64).contains(number));
    let signal = number.and_then(Signal::from_named_raw);
    signal.ok_or_else(|| Status::invalid_argument("not the number of a signal"))
}

impl Service {
    fn find(&self, id: &str) -> Result<Arc<Process>, Status> {
        self.table.get(id).ok_or_else(|| Status::not_found("no process of this id is known"))
    }
}

fn refused(error: &StartError) -> Status {
    match error {
        StartError::Plan(_) => Status::invalid_argument(error.to_string()),
        StartError::TooMany | StartError::System(_) => Status::resource_exhausted(error.to_string()),
    }
}

#[tonic::async_trait]
impl Guest for Service {
    async fn hello(&self, _: Request<pb::HelloRequest>) -> Result<Response<pb::HelloResponse>, Status> {
        Ok(Response::new(pb::HelloResponse {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            sandbox_id: self.settings.sandbox_id.clone(),
            landlock_abi: self.confinement.landlock_abi,
            landlock_enforced: self.confinement.landlock_enforced,
        }))
    }

    type ExecStream = Pin<Box<dyn Stream<Item = Result<pb::ExecResponse, Status>> + Send>>;

    async fn exec(
        &self,
        request: Request<Streaming<pb::ExecRequest>>,
    ) -> Result<Response<Self::ExecStream>, Status> {
        let mut inbound = request.into_inner();
        let first = tokio::time::timeout(OPENING, inbound.message()).await;
        let first = first.map_err(|_| Status::deadline_exceeded("no first message"))??;
        let (process, already_running, offset) = match first.and_then(|request| request.message) {
            Some(First::Start(start)) => {
                let (process, found) = self.table.start(&start).map_err(|error| refused(&error))?;
                (process, found, 0)
            }
            Some(First::Attach(attach)) => {
                let process = self.find(&attach.process_id)?;
                if attach.offset > lock(&process.inner).log.end() {
                    return Err(Status::out_of_range("the process has not printed that much"));
                }
                (process, true, attach.offset)
            }
            _ => return Err(Status::invalid_argument("a stream begins with start or attach")),
        };
        let (answers, outgoing) = mpsc::channel(ANSWERS);
        let listener = exec::Listener { table: Arc::clone(&self.table), process, offset, already_running };
        tokio::spawn(listener.run(inbound, answers));
        Ok(Response::new(Box::pin(ReceiverStream::new(outgoing))))
    }

    async fn signal(
        &self,
        request: Request<pb::SignalRequest>,
    ) -> Result<Response<pb::SignalResponse>, Status> {
        let request = request.into_inner();
        let signal = signal(request.signal)?;
        match (request.process_id.as_str(), request.stragglers) {
            ("", true) => self.table.signal_everyone(signal),
            ("", false) => return Err(Status::invalid_argument("process_id is empty")),
            (id, true) => {
                let process = self.find(id)?;
                self.table.signal_family(&process, signal);
            }
            (id, false) => self.find(id)?.signal(signal),
        }
        Ok(Response::new(pb::SignalResponse {}))
    }

    async fn list(&self, _: Request<pb::ListRequest>) -> Result<Response<pb::ListResponse>, Status> {
        let total = self.table.population().iter().filter(|stat| !stat.zombie).count();
        let describe = |process: Arc<Process>| {
            let inner = lock(&process.inner);
            let exited = match &inner.state {
                State::Exited(exited) => Some(*exited),
                _ => None,
            };
            pb::list_response::Process {
                process_id: process.id.clone(),
                pid: process.pid.unsigned_abs(),
                running: !is_over(&inner.state),
                exited,
                end_offset: inner.log.end(),
            }
        };
        let processes = self.table.all().into_iter().map(describe).collect();
        Ok(Response::new(pb::ListResponse { processes, total: u32::try_from(total).unwrap_or(u32::MAX) }))
    }

    async fn probe(&self, request: Request<pb::ProbeRequest>) -> Result<Response<pb::ProbeResponse>, Status> {
        let _alone = self.probing.lock().await;
        let foreign = Foreign::new(&self.table.foreign);
        let (request, confinement) = (request.into_inner(), self.confinement);
        let refusals = Arc::clone(&self.refusals);
        let answer = tokio::task::spawn_blocking(move || {
            // Until the very end of it, whether or not anyone waits for the answer.
            let _foreign = foreign;
            probe::run(&request, &confinement, &refusals)
        })
        .await;
        reaper::sweep(&self.table);
        match answer {
            Ok(Ok(found)) => Ok(Response::new(found)),
            Ok(Err(error)) => Err(Status::internal(error.to_string())),
            Err(error) => Err(Status::internal(format!("the probe failed: {error}"))),
        }
    }

    type RefusalsStream = Pin<Box<dyn Stream<Item = Result<pb::RefusedCall, Status>> + Send>>;

    async fn refusals(
        &self,
        _: Request<pb::RefusalsRequest>,
    ) -> Result<Response<Self::RefusalsStream>, Status> {
        let (answers, outgoing) = mpsc::channel(ANSWERS);
        let refusals = Arc::clone(&self.refusals);
        tokio::spawn(async move {
            loop {
                let (number, call) = tokio::select! {
                    next = refusals.next() => next,
                    () = answers.closed() => return,
                };
                if answers.send(Ok(call)).await.is_err() {
                    return;
                }
                refusals.told(number);
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(outgoing))))
    }

    async fn stats(&self, _: Request<pb::StatsRequest>) -> Result<Response<pb::StatsResponse>, Status> {
        let population = self.table.population();
        let ticks = rustix::param::clock_ticks_per_second().max(1);
        let page = rustix::param::page_size() as u64;
        let sum = |value: fn(&crate::process::tree::Stat) -> u64| {
            population.iter().map(value).fold(0, u64::saturating_add)
        };
        let mut cpu_ticks = sum(|stat| stat.cpu_ticks);
        if is_first() {
            // What ended was reaped by the guest, and is counted there.
            cpu_ticks = cpu_ticks.saturating_add(crate::process::tree::own_ticks());
        }
        Ok(Response::new(pb::StatsResponse {
            processes: population.iter().filter(|stat| !stat.zombie).count() as u64,
            memory_bytes: sum(|stat| stat.resident_pages).saturating_mul(page),
            cpu_us: cpu_ticks.saturating_mul(1_000_000) / ticks,
        }))
    }

    async fn shutdown(
        &self,
        _: Request<pb::ShutdownRequest>,
    ) -> Result<Response<pb::ShutdownResponse>, Status> {
        self.shutdown.send_replace(true);
        Ok(Response::new(pb::ShutdownResponse {}))
    }
}
