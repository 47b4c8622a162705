//! The shell: commands that are waited for, and commands in the background. A command may do
//! what the wall around this process lets it do; nothing here decides by what it says, but
//! the filters of the agent file, which are advice. What is decided here is that nothing of a
//! command outlives its end, and that all it prints is bounded.

mod background;
mod capture;
mod child;
mod denials;
mod execute;
mod filter;
mod jobs;
mod login;
mod registry;
mod report;
mod ring;
mod run;
mod shell;
mod tree;

use crate::{ToolError, registry::Tool};
use background::Jobs;
use login::Login;
use run::Cancel;
use std::time::Duration;
use tokio::sync::OnceCell;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// How long the end of everything may take.
const END: Duration = Duration::from_secs(10);

/// Commands that run, and the login environment.
#[derive(Debug, Default)]
pub(crate) struct Shells {
    login: OnceCell<Login>,
    running: TaskTracker,
    ending: CancellationToken,
    jobs: Jobs,
}

impl Shells {
    /// The environment of a login shell, read at the first use.
    async fn login(&self, cancel: &Cancel) -> Result<&Login, ToolError> {
        let read = self.login.get_or_init(async || {
            // What loses its parent comes here, and nowhere else.
            let _ = rustix::process::set_child_subreaper(Some(rustix::process::getpid()));
            let never = Cancel { call: CancellationToken::new(), server: self.ending.clone() };
            Login::read(&self.running, &never).await
        });
        let login = tokio::select! {
            login = read => login,
            () = cancel.cancelled() => {
                return Err(ToolError::Failed("cancelled before the command was started".to_owned()));
            }
        };
        if self.ending.is_cancelled() {
            return Err(ToolError::Failed("the server is ending: no command starts any more".to_owned()));
        }
        Ok(login)
    }

    fn cancel(&self, call: &CancellationToken) -> Cancel {
        Cancel { call: call.clone(), server: self.ending.clone() }
    }

    /// Ends every command and everything that commands left. None starts after that.
    pub(crate) async fn end(&self) {
        self.ending.cancel();
        self.running.close();
        let _ = tokio::time::timeout(END, self.running.wait()).await;
        // What nobody can be said to have started; but never what others here still run.
        if registry::lock().is_empty() {
            let _ = tokio::task::spawn_blocking(tree::end_strays).await;
        }
    }
}

impl Drop for Shells {
    fn drop(&mut self) {
        // The tasks of commands that run see it and end them.
        self.ending.cancel();
    }
}

pub(crate) fn tools() -> Vec<Tool> {
    let mut tools = vec![execute::tool()];
    tools.extend(jobs::tools());
    tools
}

#[cfg(test)]
mod tests;
