//! `cordon snapshots`.

mod bucket;
mod keep;
mod listing;
mod restore;
mod transfer;

use super::{diff, run};
use crate::{
    args::{Global, Snapshots},
    error::CliError,
    exit::Exit,
    progress,
    session::Session,
    signals::interruptible,
};
use cordon_proto::v1::{GetSnapshotRequest, Snapshot};

pub(crate) async fn dispatch(global: &Global, command: Snapshots) -> Result<Exit, CliError> {
    match command {
        // Watches a run: Ctrl-C stops that.
        Snapshots::Fork(args) => run::fork(global, args).await,
        other => interruptible(other_than_fork(global, other)).await,
    }
}

async fn other_than_fork(global: &Global, command: Snapshots) -> Result<Exit, CliError> {
    if let Snapshots::Export { file, force, .. } = &command {
        transfer::check_target(file, *force)?;
    }
    if let Snapshots::Import { file, .. } = &command {
        transfer::check_source(file)?;
    }
    let session = Session::open(global).await?;
    let output = global.output;
    match command {
        Snapshots::Ls { bucket: true, .. } => bucket::list(&session, output).await,
        Snapshots::Ls { run, agent, .. } => listing::list(&session, run, agent, output).await,
        Snapshots::Show { id } => listing::show(&session, id, output).await,
        Snapshots::Diff { old, new, style } => diff::of_snapshots(&session, old, new, style, output).await,
        Snapshots::Restore { id, yes } => restore::restore(&session, id, yes, output).await,
        Snapshots::Fork(args) => run::fork(global, args).await,
        Snapshots::Export { id, file, force } => transfer::export(&session, id, &file, force).await,
        Snapshots::Import { file, label } => transfer::import(&session, &file, label, output).await,
        Snapshots::Push { ids } => bucket::push(&session, ids, output).await,
        Snapshots::Fetch { id } => bucket::fetch(&session, id, output).await,
        Snapshots::Label { id, label } => keep::label(&session, id, label, output).await,
        Snapshots::Rm { ids } => keep::remove(&session, ids, output).await,
        Snapshots::Gc { keep_count, keep_days, keep_bytes, dry_run } => {
            let keep = keep::Keep { count: keep_count, days: keep_days, bytes: keep_bytes };
            keep::collect(&session, &keep, dry_run, output).await
        }
        Snapshots::Verify => keep::verify(&session, output).await,
    }
}

pub(crate) async fn get(session: &Session, id: String) -> Result<Snapshot, CliError> {
    let mut client = session.snapshots();
    let found = progress::during("looking it up", client.get_snapshot(GetSnapshotRequest { id })).await?;
    Ok(found.into_inner())
}
