//! Snapshots as tar archives.

use crate::{
    args::Output,
    commands::again::new_key,
    error::CliError,
    exit::Exit,
    json, neutral, progress,
    render::table::{bytes, count},
    session::Session,
};
use cordon_proto::v1::{ExportRequest, ExportResponse, ImportRequest};
use rustix::fs::{AtFlags, CWD, OFlags, RenameFlags, linkat, renameat_with};
use std::{
    ffi::OsString,
    fs::{self, File},
    io::{self, IsTerminal as _, Read, Write},
    os::unix::{ffi::OsStrExt as _, fs::OpenOptionsExt as _},
    path::{Path, PathBuf},
};
use tokio::sync::{mpsc, oneshot};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;

/// Pieces of an archive that may wait for the daemon.
const WAITING: usize = 8;
const PIECE: usize = 256 << 10;

fn is_dash(path: &Path) -> bool {
    path.as_os_str() == "-"
}

fn shown(path: &Path) -> String {
    neutral::path(path.as_os_str().as_bytes())
}

/// What can be said before a daemon is asked.
pub(super) fn check_target(file: &Path, force: bool) -> Result<(), CliError> {
    if is_dash(file) {
        if io::stdout().is_terminal() {
            return Err(CliError::Input("an archive is not for a terminal; name a file for it".to_owned()));
        }
        return Ok(());
    }
    match fs::symlink_metadata(file) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(source) => Err(CliError::Read { path: file.to_owned(), source }),
        Ok(found) if !found.is_file() => {
            Err(CliError::Input(format!("{} exists and is no regular file", shown(file))))
        }
        Ok(_) if force => Ok(()),
        Ok(_) => Err(CliError::Input(format!("{} exists; --force replaces it", shown(file)))),
    }
}

pub(super) fn check_source(file: &Path) -> Result<(), CliError> {
    if is_dash(file) {
        if io::stdin().is_terminal() {
            return Err(CliError::Input("an archive cannot be typed; name a file".to_owned()));
        }
        return Ok(());
    }
    open_source(file).map(drop)
}

fn open_source(file: &Path) -> Result<File, CliError> {
    let failed = |source| CliError::Read { path: file.to_owned(), source };
    let opened = File::options().read(true).custom_flags(nix::libc::O_NONBLOCK).open(file).map_err(failed)?;
    if !opened.metadata().map_err(failed)?.is_file() {
        return Err(CliError::Input(format!("{} is not a regular file; `-` reads a pipe", shown(file))));
    }
    Ok(opened)
}

pub(super) async fn export(
    session: &Session,
    id: String,
    file: &Path,
    force: bool,
) -> Result<Exit, CliError> {
    let mut client = session.snapshots();
    let answers = progress::during("exporting", client.export(ExportRequest { id })).await?.into_inner();
    if is_dash(file) {
        return match write_all(answers, &mut io::stdout().lock()).await {
            Err(CliError::Output(e)) if e.kind() == io::ErrorKind::BrokenPipe => Ok(Exit::Success),
            other => other.map(|_| Exit::Success),
        };
    }
    let mut target = Target::beside(file)?;
    let written = write_all(answers, &mut target.file).await?;
    target.put(force)?;
    eprintln!("cordon: wrote {} ({})", shown(file), bytes(written));
    Ok(Exit::Success)
}

async fn write_all(mut answers: Streaming<ExportResponse>, out: &mut impl Write) -> Result<u64, CliError> {
    let mut written = 0;
    while let Some(piece) = progress::during("exporting", answers.message()).await? {
        out.write_all(&piece.data)?;
        written += piece.data.len() as u64;
    }
    out.flush()?;
    Ok(written)
}

/// A file that is nobody else's and gets its name when it is whole; otherwise it goes.
struct Target {
    file: File,
    temporary: PathBuf,
    path: PathBuf,
    named: bool,
}

impl Target {
    fn beside(path: &Path) -> Result<Self, CliError> {
        let failed = |source| CliError::Write { path: path.to_owned(), source };
        let mut name = OsString::from(".");
        name.push(path.file_name().ok_or_else(|| failed(io::ErrorKind::InvalidInput.into()))?);
        name.push(format!(".{}", uuid::Uuid::new_v4().simple()));
        let temporary = path.with_file_name(name);
        let flags = OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = File::options()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .custom_flags(i32::try_from(flags.bits()).unwrap_or(0))
            .open(&temporary)
            .map_err(failed)?;
        Ok(Self { file, temporary, path: path.to_owned(), named: false })
    }

    fn put(mut self, force: bool) -> Result<(), CliError> {
        let failed = |source: io::Error| {
            if source.kind() == io::ErrorKind::AlreadyExists {
                return CliError::Input(format!("{} exists; --force replaces it", shown(&self.path)));
            }
            CliError::Write { path: self.path.clone(), source }
        };
        self.file.sync_all().map_err(failed)?;
        if force {
            fs::rename(&self.temporary, &self.path).map_err(failed)?;
        } else {
            match renameat_with(CWD, &self.temporary, CWD, &self.path, RenameFlags::NOREPLACE) {
                // Not every filesystem can do that; a second name, which never replaces one, is the same.
                Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOSYS) => {
                    linkat(CWD, &self.temporary, CWD, &self.path, AtFlags::empty())
                        .map_err(|e| failed(e.into()))?;
                    return Ok(());
                }
                other => other.map_err(|e| failed(e.into()))?,
            }
        }
        self.named = true;
        Ok(())
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        if !self.named {
            let _ = fs::remove_file(&self.temporary);
        }
    }
}

pub(super) async fn import(
    session: &Session,
    file: &Path,
    label: String,
    output: Output,
) -> Result<Exit, CliError> {
    let source: Box<dyn Read + Send> =
        if is_dash(file) { Box::new(io::stdin()) } else { Box::new(open_source(file)?) };
    let (send, requests) = mpsc::channel(WAITING);
    let first = ImportRequest { label, idempotency_key: new_key(), ..ImportRequest::default() };
    let (tell, failed) = oneshot::channel();
    // A blocking read cannot be cancelled: the thread ends with the process.
    std::thread::spawn(move || {
        if let Err(e) = pass(source, first, &send) {
            // With the way to the daemon, so that it is not taken for the archive's end.
            let _ = tell.send((e, send));
        }
    });
    let mut client = session.snapshots();
    let call = client.import(ReceiverStream::new(requests));
    let snapshot = tokio::select! {
        biased;
        Ok((source, _open)) = failed => return Err(CliError::Read { path: file.to_owned(), source }),
        answer = progress::during("importing", call) => answer?.into_inner(),
    };
    match output {
        Output::Json => outln!("{}", json::encode(&json::snapshot(&snapshot))),
        Output::Table => {
            outln!("{}", neutral::word(&snapshot.id));
            eprintln!("cordon: imported {}, {}", count(snapshot.files, "file"), bytes(snapshot.bytes));
        }
    }
    Ok(Exit::Success)
}

fn pass(
    mut source: Box<dyn Read + Send>,
    first: ImportRequest,
    send: &mpsc::Sender<ImportRequest>,
) -> io::Result<()> {
    let mut message = first;
    let mut piece = vec![0; PIECE];
    loop {
        let read = match source.read(&mut piece) {
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            other => other?,
        };
        message.data = piece[..read].to_vec().into();
        // A closed channel means that the call is over; its answer tells why.
        if send.blocking_send(std::mem::take(&mut message)).is_err() || read == 0 {
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_gets_its_name_when_it_is_whole_and_replaces_nothing() {
        use std::os::unix::fs::PermissionsExt as _;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("tree.tar");
        let names = || fs::read_dir(dir.path()).unwrap().count();
        let begin = |text: &str| {
            let mut target = Target::beside(&path).unwrap();
            target.file.write_all(text.as_bytes()).unwrap();
            target
        };
        drop(begin("half"));
        assert_eq!(names(), 0);
        begin("one").put(false).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o600);
        assert!(matches!(begin("two").put(false), Err(CliError::Input(_))));
        assert_eq!((names(), fs::read_to_string(&path).unwrap().as_str()), (1, "one"));
        begin("three").put(true).unwrap();
        assert_eq!((names(), fs::read_to_string(&path).unwrap().as_str()), (1, "three"));

        assert!(check_target(&path, false).unwrap_err().to_string().contains("--force"));
        check_target(&path, true).unwrap();
        std::os::unix::fs::symlink("tree.tar", dir.path().join("link")).unwrap();
        assert!(check_target(&dir.path().join("link"), true).is_err());
        assert!(check_target(dir.path(), true).is_err());
        assert!(check_source(dir.path()).is_err());
        check_source(&path).unwrap();
    }
}
