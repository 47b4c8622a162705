//! `cordon login`, `cordon logins` and `cordon logout`.

use super::{again::new_key, listing::print};
use crate::{
    args::{Global, Login as Asked, Output, WallName},
    error::CliError,
    exit::Exit,
    json, neutral, progress,
    render::table,
    screen::stdout_is_terminal,
    session::Session,
    terminal::{Down, Left, Up, converse, window},
};
use cordon_proto::v1::{
    ListLoginsRequest, Login, LoginRequest, LoginResponse, LogoutRequest, TerminalSize,
    login_request::{Message, Open},
    login_response::Message as Answer,
};
use serde_json::{Value, json};
use std::{
    io::{self, IsTerminal as _},
    sync::{Arc, Mutex, PoisonError},
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;

/// Messages under way to and from the daemon.
const WAITING: usize = 16;

type Kept = Arc<Mutex<Option<Login>>>;

pub(crate) async fn login(global: &Global, asked: Asked) -> Result<Exit, CliError> {
    if !(io::stdin().is_terminal() && stdout_is_terminal()) {
        return Err(CliError::Input(
            "`cordon login` needs a terminal on standard input and output: the program asks there".to_owned(),
        ));
    }
    let session = Session::open(global).await?;
    let size = window();
    let open = Open {
        backend: asked.backend,
        wall: WallName::word(asked.wall),
        size: Some(TerminalSize { rows: size.rows, columns: size.columns }),
    };
    let (send, requests) = mpsc::channel(WAITING);
    // The queue is new and empty: there is room.
    let _ = send.try_send(LoginRequest { message: Some(Message::Open(open)) });
    eprintln!("cordon: making a sandbox for the program");
    let mut answers = session.logins().login(ReceiverStream::new(requests)).await?.into_inner();
    let kept = Kept::default();
    // Until there is something to show, the terminal stays the person's.
    let Some(Answer::Output(first)) = answers.message().await?.and_then(|a| a.message) else {
        return Err(CliError::Input("the daemon ended the login before it began".to_owned()));
    };
    let (up, typed) = mpsc::channel(WAITING);
    let (tell, down) = mpsc::channel(WAITING);
    let passing = tokio::spawn(pass_up(typed, send));
    let telling = tokio::spawn(pass_down(first.to_vec(), answers, kept.clone(), tell));
    let left = converse(asked.detach_keys, false, up, down).await;
    // The daemon gives up what its client has left.
    telling.abort();
    passing.abort();
    let left = left?;
    let kept = kept.lock().unwrap_or_else(PoisonError::into_inner).take();
    match (left, kept) {
        (Left::Ended, Some(login)) => {
            let backend = neutral::word(&login.backend);
            match login.used {
                true => eprintln!(
                    "cordon: logged in; agents with the backend {backend} use this login ({})",
                    end(&login)
                ),
                false => eprintln!(
                    "cordon: logged in; agents with the backend {backend} go on to use the API key that Cordon \
                     keeps, until `cordon logout {backend} --api-key`"
                ),
            }
            Ok(Exit::Success)
        }
        (Left::Ended, None) => {
            eprintln!("cordon: lost the daemon; nothing is kept unless `cordon logins` shows it");
            Ok(Exit::Daemon)
        }
        (Left::Detached | Left::Hangup, _) => {
            eprintln!("cordon: given up; nothing is kept");
            Ok(Exit::Cancelled)
        }
    }
}

async fn pass_up(mut typed: mpsc::Receiver<Up>, to: mpsc::Sender<LoginRequest>) {
    while let Some(up) = typed.recv().await {
        let message = match up {
            Up::Typed(data) => Message::Input(data.into()),
            Up::Resize { rows, columns } => Message::Resize(TerminalSize { rows, columns }),
            Up::Shown(total) => Message::Shown(total),
        };
        if to.send(LoginRequest { message: Some(message) }).await.is_err() {
            return;
        }
    }
}

async fn pass_down(
    first: Vec<u8>,
    mut answers: Streaming<LoginResponse>,
    kept: Kept,
    to: mpsc::Sender<Result<Down, CliError>>,
) {
    let mut down = Ok(Down::Output(first));
    loop {
        let last = !matches!(down, Ok(Down::Output(_)));
        if to.send(down).await.is_err() || last {
            return;
        }
        down = match answers.message().await {
            Ok(Some(LoginResponse { message: Some(Answer::Output(data)) })) => {
                Ok(Down::Output(data.to_vec()))
            }
            Ok(Some(LoginResponse { message: Some(Answer::Kept(login)) })) => {
                *kept.lock().unwrap_or_else(PoisonError::into_inner) = Some(login);
                Ok(Down::End)
            }
            Ok(Some(LoginResponse { message: None })) => Ok(Down::Output(Vec::new())),
            Ok(None) => Ok(Down::End),
            Err(status) => Err(status.into()),
        };
    }
}

pub(crate) async fn list(session: &Session, output: Output) -> Result<Exit, CliError> {
    let asked = session.logins().list_logins(ListLoginsRequest {}).await?;
    let logins = asked.into_inner().logins;
    let rows: Vec<_> = logins.iter().map(row).collect();
    let document = logins.iter().map(to_json).collect();
    print(output, &["BACKEND", "FROM", "USED", "ENDS", "FILE"], &rows, &document);
    for login in logins.iter().filter(|l| !l.problem.is_empty() && output == Output::Table) {
        eprintln!("cordon: {}: {}", neutral::word(&login.backend), neutral::word(&login.problem));
    }
    if logins.is_empty() && output == Output::Table {
        eprintln!(
            "cordon: there is none; `cordon login BACKEND` makes one (codex, claude_code, gemini_cli, copilot)"
        );
    }
    Ok(Exit::Success)
}

fn row(login: &Login) -> Vec<String> {
    let from = match login.source.as_str() {
        "cordon" => "cordon login",
        "key" => "API key",
        _ => "your own",
    };
    let used = if login.used { "yes" } else { "no" };
    vec![
        neutral::word(&login.backend),
        from.to_owned(),
        used.to_owned(),
        end(login),
        neutral::word(&login.path),
    ]
}

/// When it ends, for people.
fn end(login: &Login) -> String {
    if !login.problem.is_empty() {
        return "unusable".to_owned();
    }
    let now = table::now();
    let renewed = if login.renewable { ", is renewed" } else { "" };
    match login.ends.as_str() {
        "never" => "never".to_owned(),
        "at" if login.ends_unix_ms > now => {
            format!("in {}{renewed}", table::age(now, login.ends_unix_ms))
        }
        "at" if login.renewable => "ended, is renewed".to_owned(),
        "at" => format!("ended {} ago", table::age(login.ends_unix_ms, now)),
        _ => "it does not say".to_owned(),
    }
}

fn to_json(login: &Login) -> Value {
    json!({
        "backend": login.backend, "source": login.source, "path": login.path, "ends": login.ends,
        "ends_unix_ms": login.ends_unix_ms, "renewable": login.renewable, "used": login.used,
        "problem": login.problem,
    })
}

pub(crate) async fn logout(
    session: &Session,
    backend: String,
    key_only: bool,
    output: Output,
) -> Result<Exit, CliError> {
    let request = LogoutRequest { backend: backend.clone(), idempotency_key: new_key(), key_only };
    let mut client = session.logins();
    let answer = progress::during("forgetting the login", client.logout(request)).await?.into_inner();
    if output == Output::Json {
        let remaining: Value = answer.remaining.iter().map(to_json).collect();
        outln!("{}", json::encode(&json!({ "forgotten": answer.forgotten, "remaining": remaining })));
        return Ok(Exit::Success);
    }
    let backend = neutral::word(&backend);
    let what = if key_only { "key" } else { "login" };
    match answer.forgotten {
        true => outln!("forgot Cordon's own {what} of {backend}; its server still knows it"),
        false => outln!("Cordon had no {what} of its own of {backend}"),
    }
    for login in answer.remaining.iter().filter(|login| login.used) {
        let whose = if login.source == "person" { "your own stays" } else { "Cordon's own login stays" };
        outln!("{whose}, and agents use it: {}", neutral::word(&login.path));
    }
    Ok(Exit::Success)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_is_told_and_never_guessed() {
        let login = |ends: &str, at: i64, renewable| Login {
            ends: ends.into(),
            ends_unix_ms: at,
            renewable,
            ..Login::default()
        };
        let (past, far) = (table::now() - 7_200_500, table::now() + 7_230_000);
        assert_eq!(end(&login("never", 0, false)), "never");
        assert_eq!(end(&login("unknown", 0, false)), "it does not say");
        assert_eq!(end(&login("at", far, true)), "in 2 h, is renewed");
        assert_eq!(end(&login("at", past, true)), "ended, is renewed");
        assert_eq!(end(&login("at", past, false)), "ended 2 h ago");
        assert_eq!(end(&Login { problem: "x".into(), ..login("never", 0, false) }), "unusable");
    }
}
