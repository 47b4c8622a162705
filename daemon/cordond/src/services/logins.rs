use super::{
    attach::size,
    caller::{Caller, wall},
};
use crate::status::{invalid, of_run};
use cordon_proto::v1::{
    self, LoginRequest, LoginResponse, login_request::Message, login_response::Message as Answer,
    logins_server,
};
use cordon_runs::{Runs, SignIn};
use cordon_terminal::{Hub, Role, Told, Viewer, Wish};
use std::sync::Arc;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming};

/// Pieces that wait for the connection; what waits for a slow terminal is bounded by what it
/// says it has shown.
const WAITING: usize = 4;
/// Pieces of what is typed that wait for a program that does not read.
const TYPED: usize = 64;

type Answers = mpsc::Sender<Result<LoginResponse, Status>>;

pub(crate) struct LoginsService {
    pub(crate) runs: Runs,
}

#[tonic::async_trait]
impl logins_server::Logins for LoginsService {
    type LoginStream = ReceiverStream<Result<LoginResponse, Status>>;

    async fn login(
        &self,
        request: Request<Streaming<LoginRequest>>,
    ) -> Result<Response<Self::LoginStream>, Status> {
        let caller = Caller::of(&request)?;
        let mut requests = request.into_inner();
        let first = requests.message().await?.and_then(|r| r.message);
        let Some(Message::Open(open)) = first else {
            return Err(invalid("no-open", "the first message must open the terminal"));
        };
        let asked = SignIn { backend: open.backend, wall: wall(&open.wall)?, owner: caller.owner().await? };
        let size = size(open.size);
        let (hub, _news) = Hub::new(size);
        let wish = Wish { role: Role::Write, size, raw: false, who: caller.uid };
        let viewer = hub.join(wish).map_err(|_| Status::internal("the terminal cannot be looked at"))?;
        let (answers, receiver) = mpsc::channel(WAITING);
        tokio::spawn(log_in(self.runs.clone(), asked, hub, Arc::new(viewer), requests, answers));
        Ok(Response::new(ReceiverStream::new(receiver)))
    }

    async fn list_logins(
        &self,
        request: Request<v1::ListLoginsRequest>,
    ) -> Result<Response<v1::ListLoginsResponse>, Status> {
        let owner = Caller::of(&request)?.owner().await?;
        let logins = self.runs.logins(&owner).await.map_err(|e| of_run(&e))?;
        Ok(Response::new(v1::ListLoginsResponse { logins }))
    }

    async fn keep_key(
        &self,
        request: Request<v1::KeepKeyRequest>,
    ) -> Result<Response<v1::KeepKeyResponse>, Status> {
        let owner = Caller::of(&request)?.owner().await?;
        // Kept twice is kept.
        let v1::KeepKeyRequest { backend, key, .. } = request.into_inner();
        let kept = self.runs.keep_key(&owner, &backend, key).await.map_err(|e| of_run(&e))?;
        Ok(Response::new(v1::KeepKeyResponse { kept: Some(kept) }))
    }

    async fn logout(
        &self,
        request: Request<v1::LogoutRequest>,
    ) -> Result<Response<v1::LogoutResponse>, Status> {
        let owner = Caller::of(&request)?.owner().await?;
        // Forgotten twice is forgotten: the key is of no use here.
        let v1::LogoutRequest { backend, key_only, .. } = request.into_inner();
        let forgotten = self.runs.logout(&owner, &backend, key_only).await;
        let (forgotten, remaining) = forgotten.map_err(|e| of_run(&e))?;
        Ok(Response::new(v1::LogoutResponse { forgotten, remaining }))
    }
}

async fn log_in(
    runs: Runs,
    asked: SignIn,
    hub: Arc<Hub>,
    viewer: Arc<Viewer>,
    requests: Streaming<LoginRequest>,
    answers: Answers,
) {
    let gone = CancellationToken::new();
    let (typed, typing) = mpsc::channel(TYPED);
    let reading = tokio::spawn(pass_input(requests, viewer.clone(), typed, gone.clone()));
    let writing = tokio::spawn(pass_typed(typing, viewer.clone()));
    // A client that hangs up ends the program; the sandbox is waited for all the same.
    let hung_up = tokio::spawn({
        let (answers, gone) = (answers.clone(), gone.clone());
        async move {
            answers.closed().await;
            gone.cancel();
        }
    });
    // The login ends the terminal, and everything printed comes before what is said of its end.
    let (made, ()) = tokio::join!(runs.login(asked, &hub, &gone), pass_output(&viewer, &answers));
    hung_up.abort();
    reading.abort();
    writing.abort();
    let last = made.map(|login| LoginResponse { message: Some(Answer::Kept(login)) });
    // A client that is gone is told nothing.
    let _ = answers.send(last.map_err(|e| of_run(&e))).await;
}

/// What is typed waits for the program; what the terminal says of itself does not. The end of
/// the client's stream is the end of the login.
async fn pass_input(
    mut requests: Streaming<LoginRequest>,
    viewer: Arc<Viewer>,
    typed: mpsc::Sender<bytes::Bytes>,
    gone: CancellationToken,
) {
    while let Ok(Some(request)) = requests.message().await {
        match request.message {
            Some(Message::Input(data)) => {
                if typed.send(data).await.is_err() {
                    break;
                }
            }
            Some(Message::Resize(asked)) => viewer.resize(size(Some(asked))).await,
            Some(Message::Shown(total)) => viewer.shown(total),
            Some(Message::Open(_)) | None => {}
        }
    }
    gone.cancel();
}

async fn pass_typed(mut typed: mpsc::Receiver<bytes::Bytes>, viewer: Arc<Viewer>) {
    while let Some(data) = typed.recv().await {
        viewer.type_in(data).await;
    }
}

/// Until the program ends or the client goes.
async fn pass_output(viewer: &Viewer, to: &Answers) {
    loop {
        let told = tokio::select! {
            told = viewer.next() => told,
            // A terminal that takes nothing any more is not waited for.
            () = to.closed() => return,
        };
        let Some(told) = told else { return };
        // It is the only viewer: it always writes.
        let Told::Output(data) = told else { continue };
        if to.send(Ok(LoginResponse { message: Some(Answer::Output(data)) })).await.is_err() {
            return;
        }
    }
}
