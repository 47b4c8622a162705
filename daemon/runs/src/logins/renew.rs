//! Lets a program renew its login in a sandbox that holds nothing but a copy of it.

use super::{LoginTrouble, User, blocking};
use crate::{
    plan::{RoomFor, room},
    shared::Shared,
};
use cordon_backends::{Attempt, Facts, Redactor, Renewal, Surroundings};
use cordon_logins::{Current, Locked, Renewing};
use cordon_proto::guest as pb;
use cordon_sandbox::{
    Sandbox, SandboxError, SandboxRecord,
    guest::{Guest, ProcessEvent, ProcessInput},
};
use serde::{Deserialize, Serialize};
use std::{
    os::unix::ffi::OsStrExt as _,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::{sync::mpsc, time::timeout};

/// A program that has not renewed its login by then does not do it.
const LIMIT: Duration = Duration::from_secs(60);
/// What it prints is read for its reasons only.
const MOST_PRINTED: usize = 32 << 10;
const MOST_TOLD: usize = 300;

/// What an heir has to know.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Heir {
    pub(super) home: PathBuf,
    pub(super) record: Option<SandboxRecord>,
}

pub(super) async fn renew(
    shared: &Arc<Shared>,
    user: &User,
    locked: &Arc<Locked>,
    current: &Current,
) -> Result<Current, LoginTrouble> {
    let kind = user.kept.kind;
    let inside = user.kept.inside();
    let failed = |why: String| LoginTrouble::ended(kind, why);
    let surroundings = Surroundings {
        wall: user.wall,
        program_path: &shared.host.program_path,
        directory: &inside,
        owner_home: &user.home,
        servers: &shared.logins.servers,
    };
    let renewal = kind.renewal(&surroundings).map_err(|e| failed(e.to_string()))?;
    let renewal = renewal.ok_or_else(|| failed("its program does not renew it".to_owned()))?;
    let identity = (user.identity.uid, user.identity.gid);
    let renewing = {
        let (locked, current) = (locked.clone(), current.clone());
        blocking(user, move || locked.begin(&current, identity)).await?
    };
    let made = RoomFor {
        owner: user.owner,
        what: "login",
        identity: user.identity,
        wall: user.wall,
        image: user.image.clone(),
        directory: &renewing.copy(),
        inside: &inside,
        limit: LIMIT * 2,
    };
    let spec = room(&shared.host, &renewal.room, &made).map_err(|e| failed(e.to_string()))?;
    let renewing = Arc::new(Mutex::new(renewing));
    let rooms = || shared.logins.rooms.lock().unwrap_or_else(PoisonError::into_inner);
    rooms().insert(spec.id.clone());
    let printed = in_room(shared, user, locked, &renewing, &spec, &renewal, current).await;
    rooms().remove(&spec.id);
    let printed = Redactor::new(&current.facts.secrets).text(&printed.unwrap_or_else(|e| e.to_string()));
    // Nobody writes there any more.
    let renewing = Arc::try_unwrap(renewing).map_err(|_| failed("Cordon failed at it".to_owned()))?;
    let renewing = renewing.into_inner().unwrap_or_else(PoisonError::into_inner);
    match take(shared, user, locked, renewing, current.facts.clone()).await? {
        Some(new) => Ok(new),
        None if (renewal.refused)(&printed) => Err(LoginTrouble::Refused {
            backend: kind.backend.name(),
            why: last_words(&printed),
            fix: kind.fix,
        }),
        None => Err(failed(last_words(&printed))),
    }
}

/// Takes over what the program made of the copy, and takes the copy away.
pub(super) async fn take(
    shared: &Arc<Shared>,
    user: &User,
    locked: &Arc<Locked>,
    renewing: Renewing,
    old: Facts,
) -> Result<Option<Current>, LoginTrouble> {
    let (shared, one, locked) = (shared.clone(), user.clone(), locked.clone());
    blocking(user, move || {
        let new = locked.result(&renewing, &old)?;
        if let Some(new) = &new {
            let mut told = |facts: &Facts| shared.logins.tell(one.key(), facts);
            // When this fails, what the program made stays where it is, for the next try.
            locked.renewed(new, &one.home, &mut told)?;
        }
        locked.done(renewing)?;
        Ok(new)
    })
    .await
}

async fn in_room(
    shared: &Arc<Shared>,
    user: &User,
    locked: &Arc<Locked>,
    renewing: &Arc<Mutex<Renewing>>,
    spec: &cordon_sandbox::SandboxSpec,
    renewal: &Renewal,
    current: &Current,
) -> Result<String, SandboxError> {
    let wall = shared.walls.wall(user.wall).await?;
    let remember = {
        let (renewing, home) = (renewing.clone(), user.home.clone());
        move |record: &SandboxRecord| {
            let heir = Heir { home: home.clone(), record: Some(record.clone()) };
            let heir = serde_json::to_value(heir).map_err(std::io::Error::other)?;
            let mut renewing = renewing.lock().unwrap_or_else(PoisonError::into_inner);
            renewing.remember(heir).map_err(std::io::Error::other)
        }
    };
    let (denials, _nobody) = mpsc::channel(16);
    let sandbox: Sandbox = wall.create(spec, &remember, denials).await?;
    let mut printed = String::new();
    let all = async {
        for (n, attempt) in renewal.attempts.iter().enumerate() {
            printed = run(&sandbox.guest, &format!("renew-{n}"), attempt, spec).await?;
            let renewing = renewing.lock().unwrap_or_else(PoisonError::into_inner);
            if matches!(locked.result(&renewing, &current.facts), Ok(Some(_))) {
                break;
            }
        }
        Ok(())
    };
    let ran = timeout(LIMIT, all).await;
    let record = sandbox.record.clone();
    drop(sandbox);
    if let Err(first) = wall.destroy(&record).await {
        tracing::warn!(sandbox = record.id, error = %first, "a sandbox did not end; trying again");
        wall.destroy(&record).await?;
    }
    match ran {
        Ok(ran) => ran.map(|()| printed),
        Err(_) => Ok(format!("its program did not end within {} s", LIMIT.as_secs())),
    }
}

/// Runs one attempt to its end; what it printed.
async fn run(
    guest: &Guest,
    id: &str,
    attempt: &Attempt,
    spec: &cordon_sandbox::SandboxSpec,
) -> Result<String, SandboxError> {
    let start = pb::Start {
        process_id: id.to_owned(),
        argv: attempt.argv.iter().map(|a| a.clone().into()).collect(),
        cwd: spec.home.as_os_str().as_bytes().to_vec().into(),
        stdin: attempt.until.is_some() || !attempt.stdin.is_empty(),
        timeout_ms: u64::try_from(LIMIT.as_millis()).unwrap_or(u64::MAX),
        kill_on_detach: false,
        ..pb::Start::default()
    };
    let mut process = guest.exec(start).await?;
    // A program that does not want it closes its input: that is its right.
    let _ = process.input.send(ProcessInput::Stdin(attempt.stdin.clone().into())).await;
    if attempt.until.is_none() {
        let _ = process.input.send(ProcessInput::StdinEof).await;
    }
    let (mut printed, mut answers, mut asked) = (Vec::new(), Vec::new(), attempt.until);
    while let Some(event) = process.events.recv().await {
        match event {
            ProcessEvent::Output { stream, offset, data } => {
                let _ = process.input.try_send(ProcessInput::Ack(offset + data.len() as u64));
                keep(&mut printed, &data);
                if stream == pb::Stream::Stdout && asked.is_some_and(|id| answered(&mut answers, &data, id)) {
                    asked = None;
                    let _ = process.input.send(ProcessInput::StdinEof).await;
                }
            }
            ProcessEvent::Failed { errno, step } => {
                return Ok(format!("its program cannot be started: {step}, error {errno}"));
            }
            ProcessEvent::Exited(_) | ProcessEvent::Lost(_) => break,
            ProcessEvent::Started { .. } | ProcessEvent::Dropped { .. } => {}
        }
    }
    Ok(String::from_utf8_lossy(&printed).into_owned())
}

/// The last of what was printed.
fn keep(printed: &mut Vec<u8>, data: &[u8]) {
    printed.extend_from_slice(data);
    let over = printed.len().saturating_sub(MOST_PRINTED);
    printed.drain(..over);
}

/// Whether a line of what came so far is the answer of this number.
fn answered(lines: &mut Vec<u8>, data: &[u8], id: u64) -> bool {
    keep(lines, data);
    while let Some(end) = lines.iter().position(|b| *b == b'\n') {
        let line: Vec<u8> = lines.drain(..=end).collect();
        let value: Option<serde_json::Value> = serde_json::from_slice(&line).ok();
        if value.is_some_and(|v| v["id"] == id) {
            return true;
        }
    }
    false
}

/// The last line that is no answer, without control characters, and cut.
fn last_words(printed: &str) -> String {
    let mut lines = printed.lines().rev().map(plain).filter(|l| !l.is_empty() && !l.starts_with('{'));
    let last = lines.next().unwrap_or_else(|| "its program did not say why".to_owned());
    let end = last.char_indices().map(|(at, _)| at).nth(MOST_TOLD).unwrap_or(last.len());
    last[..end].trim_end_matches('.').to_owned()
}

/// Without colours.
fn plain(line: &str) -> String {
    let mut out = String::new();
    let mut rest = line.chars();
    while let Some(c) = rest.next() {
        match c {
            '\u{1b}' => {
                let _sequence = rest.by_ref().find(|c| c.is_ascii_alphabetic());
            }
            c if c.is_control() => {}
            c => out.push(c),
        }
    }
    out.trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_answer_is_found_however_it_is_cut() {
        let text = b"{\"method\":\"x\"}\nnoise\n{\"id\":1}\n{\"id\":2,\"result\":{}}\n";
        for cut in 0..text.len() {
            let mut lines = Vec::new();
            let (first, second) = text.split_at(cut);
            assert!(!answered(&mut lines, first, 2) && answered(&mut lines, second, 2), "{cut}");
        }
    }

    #[test]
    fn the_last_words_are_one_plain_line() {
        let printed = "{\"id\":2}\n\u{1b}[31mERROR\u{1b}[0m refused.\n{\"id\":3}\n";
        assert_eq!(last_words(printed), "ERROR refused");
        assert_eq!(last_words(""), "its program did not say why");
    }

    proptest! {
        #[test]
        fn whatever_is_printed_becomes_short_words(printed in "\\PC{0,900}", id in any::<u64>()) {
            prop_assert!(last_words(&printed).chars().count() <= MOST_TOLD);
            let _ = answered(&mut Vec::new(), printed.as_bytes(), id);
        }
    }
}
