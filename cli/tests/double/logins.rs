//! The service about logins. A program that is done when it has read a line.

use super::{Answers, Double, trees::EVIL};
use cordon_proto::v1::{
    login_request::Message as Asked, login_response::Message as Answer, logins_server::Logins, *,
};
use tokio_stream::{StreamExt as _, wrappers::ReceiverStream};
use tonic::{Request, Response, Status, Streaming};

fn own() -> Login {
    Login {
        backend: "codex".into(),
        source: "cordon".into(),
        path: format!("/state/{EVIL}"),
        ends: "never".into(),
        used: true,
        ..Login::default()
    }
}

fn persons() -> Login {
    Login {
        source: "person".into(),
        ends: "at".into(),
        ends_unix_ms: 1,
        problem: EVIL.into(),
        used: false,
        ..own()
    }
}

#[tonic::async_trait]
impl Logins for Double {
    type LoginStream = Answers<LoginResponse>;

    async fn login(
        &self,
        request: Request<Streaming<LoginRequest>>,
    ) -> Result<Response<Self::LoginStream>, Status> {
        let mut asked = request.into_inner();
        let Some(LoginRequest { message: Some(Asked::Open(open)) }) = asked.message().await? else {
            return Err(Status::invalid_argument("no open"));
        };
        let backend = open.backend.clone();
        self.state.lock().unwrap().asked_login.push(open);
        if backend != "codex" {
            return Err(Status::failed_precondition("there is no such login"));
        }
        let (answers, stream) = tokio::sync::mpsc::channel(4);
        tokio::spawn(async move {
            let say = |text: &str| {
                Ok(LoginResponse { message: Some(Answer::Output(text.as_bytes().to_vec().into())) })
            };
            let _ = answers.send(say("the code is 1234\r\n")).await;
            let mut line = Vec::new();
            while let Some(Ok(LoginRequest { message })) = asked.next().await {
                if let Some(Asked::Input(data)) = message {
                    line.extend_from_slice(&data);
                }
                if line.ends_with(b"\r") {
                    let last = match line.as_slice() {
                        b"yes\r" => Ok(LoginResponse { message: Some(Answer::Kept(own())) }),
                        _ => Err(Status::failed_precondition("its program exited with code 1")),
                    };
                    let _ = answers.send(last).await;
                    return;
                }
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(stream))))
    }

    async fn list_logins(
        &self,
        _request: Request<ListLoginsRequest>,
    ) -> Result<Response<ListLoginsResponse>, Status> {
        Ok(Response::new(ListLoginsResponse { logins: vec![own(), persons()] }))
    }

    async fn keep_key(&self, request: Request<KeepKeyRequest>) -> Result<Response<KeepKeyResponse>, Status> {
        let asked = request.into_inner();
        if asked.backend != "codex" {
            return Err(Status::failed_precondition("there is no such program"));
        }
        let kept = Login { backend: asked.backend.clone(), source: "key".into(), ..own() };
        self.state.lock().unwrap().kept_keys.push(asked);
        Ok(Response::new(KeepKeyResponse { kept: Some(kept) }))
    }

    async fn logout(&self, request: Request<LogoutRequest>) -> Result<Response<LogoutResponse>, Status> {
        let forgotten = request.into_inner().backend == "codex";
        Ok(Response::new(LogoutResponse { forgotten, remaining: vec![Login { used: true, ..persons() }] }))
    }
}
