//! `cordon workspaces`.

use super::{
    again::{insist, new_key},
    listing::print,
};
use crate::{
    args::{Global, Output, Workspaces},
    error::CliError,
    exit::Exit,
    filter::{Filter, Printer},
    fold::fold,
    json, neutral, progress,
    render::table::{self, age, bytes, short, telling},
    screen::{Look, stdout_is_terminal},
    session::Session,
};
use cordon_proto::v1::{
    GetWorkspaceRequest, ListTreeRequest, ListWorkspacesRequest, ReadFileRequest, RemoveWorkspaceRequest,
    TreeNode, Workspace,
};
use std::{ffi::OsString, io, os::unix::ffi::OsStringExt as _};

/// Entries of a tree that are put in order before they are shown.
const SORTED: usize = 20_000;

pub(crate) async fn dispatch(global: &Global, command: Workspaces) -> Result<Exit, CliError> {
    let session = Session::open(global).await?;
    let output = global.output;
    let done = match command {
        Workspaces::Ls => list(&session, output).await,
        Workspaces::Show { name } => show(&session, named(name)?, output).await,
        Workspaces::Rm { name } => remove(&session, named(name)?).await,
        Workspaces::Cat { name, path } => cat(&session, named(name)?, path).await,
        Workspaces::Tree { name, path, depth } => tree(&session, named(name)?, path, depth, output).await,
    };
    match done {
        // Whoever reads has seen enough.
        Err(CliError::Output(e)) if e.kind() == io::ErrorKind::BrokenPipe => Ok(Exit::Success),
        other => other.map(|()| Exit::Success),
    }
}

/// The daemon does not know where this command stands: `.` and what begins with it becomes absolute.
fn named(name: String) -> Result<String, CliError> {
    if name != "." && name != ".." && !name.starts_with("./") && !name.starts_with("../") {
        return Ok(name);
    }
    let path = std::fs::canonicalize(&name)
        .map_err(|source| CliError::Read { path: name.clone().into(), source })?;
    path.into_os_string()
        .into_string()
        .map_err(|_| CliError::Input(format!("{name} is a path that is not UTF-8; name the run instead")))
}

async fn list(session: &Session, output: Output) -> Result<(), CliError> {
    let mut client = session.workspaces();
    let found = progress::during("listing", client.list_workspaces(ListWorkspacesRequest {})).await?;
    let found = found.into_inner().workspaces;
    let runs = telling(found.iter().map(|w| w.run.as_str()));
    let snapshots = telling(found.iter().map(|w| w.last_snapshot.as_str()));
    let now = table::now();
    let rows: Vec<_> = found.iter().map(|w| row(w, runs, snapshots, now)).collect();
    let heading = ["RUN", "AGENT", "MADE BY", "STATE", "USED", "FILES", "SIZE", "SNAPSHOT", "PATH"];
    print(output, &heading, &rows, &found.iter().map(json::workspace).collect());
    Ok(())
}

fn made_by(w: &Workspace) -> &'static str {
    if w.made { "cordon" } else { "you" }
}

fn state(w: &Workspace) -> &'static str {
    if w.in_use { "in use" } else { "free" }
}

fn row(w: &Workspace, runs: usize, snapshots: usize, now: i64) -> Vec<String> {
    vec![
        short(&w.run, runs),
        neutral::word(&w.agent),
        made_by(w).to_owned(),
        state(w).to_owned(),
        age(w.used_unix_ms, now),
        w.files.to_string(),
        bytes(w.bytes),
        short(&w.last_snapshot, snapshots),
        neutral::word(&w.path),
    ]
}

async fn show(session: &Session, name: String, output: Output) -> Result<(), CliError> {
    let mut client = session.workspaces();
    let found = progress::during("looking it up", client.get_workspace(GetWorkspaceRequest { name })).await?;
    let w = found.into_inner();
    if output == Output::Json {
        outln!("{}", json::encode(&json::workspace(&w)));
        return Ok(());
    }
    outln!("workspace  {}", neutral::word(&w.path));
    outln!("made by    {}", made_by(&w));
    outln!("state      {}, used {} ago", state(&w), age(w.used_unix_ms, table::now()));
    outln!("run        {}", neutral::word(&w.run));
    outln!("agent      {}", neutral::word(&w.agent));
    if !w.last_snapshot.is_empty() {
        outln!("snapshot   {}", neutral::word(&w.last_snapshot));
        outln!("holding    {}, {}", table::count(w.files, "file"), bytes(w.bytes));
    }
    Ok(())
}

async fn remove(session: &Session, name: String) -> Result<(), CliError> {
    let request = RemoveWorkspaceRequest { name, idempotency_key: new_key() };
    let send = || {
        let (mut client, request) = (session.workspaces(), request.clone());
        async move { client.remove_workspace(request).await }
    };
    progress::during("removing the workspace", insist(session, send)).await?;
    Ok(())
}

async fn cat(session: &Session, name: String, path: OsString) -> Result<(), CliError> {
    let request = ReadFileRequest { name, path: path.into_vec().into() };
    let mut client = session.workspaces();
    let mut pieces = progress::during("reading", client.read_file(request)).await?.into_inner();
    let mut out = Printer::new(io::stdout(), stdout_is_terminal().then(Filter::text));
    while let Some(piece) = progress::during("reading", pieces.message()).await? {
        out.print(&piece.data)?;
    }
    Ok(out.finish()?)
}

async fn tree(
    session: &Session,
    name: String,
    path: OsString,
    depth: Option<u32>,
    output: Output,
) -> Result<(), CliError> {
    let request = ListTreeRequest { name, path: path.into_vec().into(), depth: depth.unwrap_or(0) };
    let mut client = session.workspaces();
    let mut nodes = progress::during("listing", client.list_tree(request)).await?.into_inner();
    let mut lister = Lister::new(io::BufWriter::new(io::stdout()), output);
    let mut waiting = Some(Vec::new());
    while let Some(node) = progress::during("listing", nodes.message()).await? {
        match &mut waiting {
            Some(first) if first.len() < SORTED => first.push(node),
            Some(_) => {
                // Too many to be put in order: from here on as they come.
                lister.all(waiting.take().unwrap_or_default())?;
                lister.one(&node)?;
            }
            None => lister.one(&node)?,
        }
    }
    let mut nodes = waiting.unwrap_or_default();
    nodes.sort_by(|a, b| a.path.split(|b| *b == b'/').cmp(b.path.split(|b| *b == b'/')));
    lister.all(nodes)?;
    Ok(lister.end()?)
}

struct Lister<W> {
    out: W,
    output: Output,
    look: Look,
    first: bool,
}

impl<W: io::Write> Lister<W> {
    fn new(out: W, output: Output) -> Self {
        Self { out, output, look: Look::of(&io::stdout()), first: true }
    }

    fn all(&mut self, nodes: Vec<TreeNode>) -> io::Result<()> {
        nodes.iter().try_for_each(|node| self.one(node))
    }

    fn one(&mut self, node: &TreeNode) -> io::Result<()> {
        if self.output == Output::Table {
            return self.out.write_all(fold(&line(node), self.look.columns).as_bytes());
        }
        // One document, and yet it need not wait for its end.
        let before = if std::mem::take(&mut self.first) { "[" } else { "," };
        write!(self.out, "{before}\n{}", json::encode(&json::tree_node(node)))
    }

    fn end(mut self) -> io::Result<()> {
        if self.output == Output::Json {
            self.out.write_all(if self.first { b"[]\n" } else { b"\n]\n" })?;
        }
        self.out.flush()
    }
}

/// One entry, with its whole path: what it is in is seen however long the listing is.
fn line(n: &TreeNode) -> String {
    let path = neutral::path(&n.path);
    let (kind, end, size) = match n.kind.as_str() {
        "directory" => ('d', "/".to_owned(), String::new()),
        "symlink" => ('l', format!(" -> {}", neutral::path(&n.target)), String::new()),
        _ => ('-', String::new(), bytes(n.size)),
    };
    let mut mode = String::from(kind);
    for bit in (0..9).rev() {
        let letter = ['x', 'w', 'r'][bit % 3];
        mode.push(if n.mode >> bit & 1 == 1 { letter } else { '-' });
    }
    format!("{mode} {size:>7}  {path}{end}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_plainly_a_path_here_becomes_absolute() {
        for name in ["0199", "0199/a", "/w", "...", ".x"] {
            assert_eq!(named(name.to_owned()).unwrap(), name);
        }
        let here = std::env::current_dir().unwrap().canonicalize().unwrap();
        assert_eq!(named(".".to_owned()).unwrap(), here.to_str().unwrap());
        assert!(matches!(named("./none".to_owned()), Err(CliError::Read { .. })));
    }

    #[test]
    fn an_entry_is_one_line_and_nothing_of_it_is_raw() {
        let node = |path: &[u8], kind: &str, mode| TreeNode {
            path: path.to_vec().into(),
            kind: kind.into(),
            mode,
            size: 1234,
            target: b"\x1b[2J".to_vec().into(),
            ..TreeNode::default()
        };
        assert_eq!(line(&node(b"src", "directory", 0o755)), "drwxr-xr-x          src/\n");
        assert_eq!(line(&node(b"src/a\nb", "file", 0o640)), "-rw-r-----  1.2 kB  src/a\\nb\n");
        assert_eq!(line(&node(b"l", "symlink", 0o777)), "lrwxrwxrwx          l -> \\x1b[2J\n");
    }
}
