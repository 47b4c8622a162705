//! The verdict of the tools that agents call, with no wall around them: only the table decides.

use crate::{
    operation::{Attempt, Verb},
    world::World,
};
use cordon_tools::{Answer, Table, Tools};
use serde_json::{Value, json};
use std::{fs, path::Path, process::Command};
use tokio_util::sync::CancellationToken;

/// The tools of a world.
#[must_use]
pub fn tools(world: &World) -> Tools {
    Tools::new(Table::new(world.policy.clone(), &world.rules[0].0).unwrap())
}

/// What the tools say of an attempt; none: no tool does such a thing, or can name the path.
pub async fn ask(tools: &Tools, attempt: &Attempt) -> Option<Answer> {
    let path = attempt.path.to_str()?;
    let to = match &attempt.to {
        Some(to) => Some(to.to_str()?),
        None => None,
    };
    let call = |name: &'static str, arguments: Value| async move {
        let Value::Object(arguments) = arguments else { unreachable!("written above as an object") };
        tools.call(name, arguments, CancellationToken::new()).await
    };
    match attempt.verb {
        Verb::Read => call("read_text_file", json!({ "path": path })).await,
        Verb::List => call("list_directory", json!({ "path": path })).await,
        Verb::Write => {
            // Only what may be read is known here; for the rest any content does.
            let content = fs::read_to_string(&attempt.path).unwrap_or_default();
            call("write_file", json!({ "path": path, "content": content })).await
        }
        Verb::Create => {
            let answer = call("write_file", json!({ "path": path, "content": "" })).await;
            let _ = fs::remove_file(&attempt.path);
            answer
        }
        Verb::Rename => {
            let answer = call("move_file", json!({ "source": path, "destination": to? })).await;
            if answer.as_ref().is_some_and(|a| !a.is_error) {
                fs::rename(attempt.real.1.as_ref()?, &attempt.real.0).unwrap();
            }
            answer
        }
        Verb::Delete => {
            let stash = tempfile::tempdir_in("/var/tmp").unwrap();
            let copy = stash.path().join("copy");
            copy_all(&attempt.real.0, &copy);
            let answer = call("delete_file", json!({ "path": path, "recursive": true })).await;
            if attempt.real.0.symlink_metadata().is_err() {
                copy_all(&copy, &attempt.real.0);
            }
            answer
        }
        Verb::Link | Verb::Execute => None,
    }
}

fn copy_all(from: &Path, to: &Path) {
    let status = Command::new("cp").args(["-a", "--"]).arg(from).arg(to).status().unwrap();
    assert!(status.success(), "cp {from:?} {to:?}");
}
