//! A model provider that plays a script, on a loopback port: OpenAI's Responses and chat
//! completions, Anthropic's Messages and Gemini's generateContent, pictures and speech, close enough for the
//! real programs and the official clients, and broken on request.

mod body;
mod call;
mod code_mode;
mod completions;
mod conversation;
mod failure;
mod generate;
mod making;
mod messages;
mod record;
mod responses;
mod script;
mod server;
mod thoughts;

pub use call::Call;
pub use failure::Failure;
pub use making::{MP3, Making, PNG, SAMPLES};
pub use record::Recorded;
pub use script::{Script, Shape, Stop, Turn, Usage, When};

use record::Recorder;
use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    sync::Arc,
};
use tokio::{net::TcpListener, task::JoinHandle};

/// A running provider; dropping it ends it and every connection.
#[derive(Debug)]
pub struct Provider {
    /// Where it listens.
    pub addr: SocketAddr,
    recorder: Arc<Recorder>,
    task: JoinHandle<()>,
}

impl Provider {
    /// Starts on a free loopback port.
    ///
    /// # Errors
    /// When no port can be had.
    pub async fn start(script: Script) -> io::Result<Self> {
        Self::listen(script, (Ipv4Addr::LOCALHOST, 0).into(), None).await
    }

    /// Starts on a given address, and appends every request to a file as well, one
    /// JSON value a line.
    ///
    /// # Errors
    /// When the address or the file cannot be had.
    pub async fn listen(script: Script, addr: SocketAddr, record: Option<PathBuf>) -> io::Result<Self> {
        let listener = TcpListener::bind(addr).await?;
        let addr = listener.local_addr()?;
        let recorder = Arc::new(Recorder::new(record)?);
        let task = tokio::spawn(server::run(listener, Arc::new(server::Play::new(script)), recorder.clone()));
        Ok(Self { addr, recorder, task })
    }

    /// `http://127.0.0.1:PORT`: Claude Code's `ANTHROPIC_BASE_URL`.
    #[must_use]
    pub fn base_url(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// Every request so far, oldest first.
    #[must_use]
    pub fn requests(&self) -> Vec<Recorded> {
        self.recorder.all()
    }

    /// The credentials seen so far, each once.
    #[must_use]
    pub fn keys(&self) -> Vec<String> {
        let mut keys: Vec<String> = self.recorder.all().into_iter().filter_map(|r| r.key).collect();
        keys.sort();
        keys.dedup();
        keys
    }

    /// Waits until a request arrives that fits; those that came before count too.
    pub async fn wait_for(&self, fits: impl FnMut(&Recorded) -> bool) -> Recorded {
        self.recorder.wait_for(fits).await
    }
}

impl Drop for Provider {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// A shell command that prints a file.
fn shell_read(path: &str) -> String {
    format!("cat {}", quoted(path))
}

/// A shell command that replaces a line.
fn shell_edit(path: &str, old: &str, new: &str) -> String {
    let program = "BEGIN { $o = shift; $n = shift } s/^\\Q$o\\E$/$n/";
    format!("perl -pi -e {} {} {} {}", quoted(program), quoted(old), quoted(new), quoted(path))
}

/// A shell command that writes exactly this content.
fn shell_write(path: &str, content: &str) -> String {
    format!("printf '%s' {} > {}", quoted(content), quoted(path))
}

/// A patch that makes this file. Its lines always end: what does not end in one cannot be said so.
fn patch(path: &str, content: &str) -> Option<String> {
    let body: String = content.lines().map(|l| format!("+{l}\n")).collect();
    content.ends_with('\n').then(|| format!("*** Begin Patch\n*** Add File: {path}\n{body}*** End Patch\n"))
}

/// A patch that replaces a line.
fn edit_patch(path: &str, old: &str, new: &str) -> String {
    format!("*** Begin Patch\n*** Update File: {path}\n@@\n-{old}\n+{new}\n*** End Patch\n")
}

/// The name by which a client offers a server's tool; where it does not, one that it will refuse.
fn offered_mcp<'a>(mut offered: impl Iterator<Item = &'a str>, server: &str, tool: &str) -> String {
    let found = offered.find(|name| Call::is_mcp(name, server, tool));
    found.map_or_else(|| format!("mcp__{server}__{tool}"), str::to_owned)
}
