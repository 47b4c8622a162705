//! `cordon diff` and `cordon snapshots diff`: the daemon compares and writes, this shows.

use crate::{
    args::{Colour, Diff, DiffStyle, Output},
    error::CliError,
    exit::Exit,
    filter::Filter,
    fold::Fold,
    progress,
    screen::Look,
    session::Session,
};
use cordon_proto::v1::{DiffFormat, DiffRequest, DiffResponse, DiffRunRequest, TreePlan};
use std::{
    ffi::OsString,
    io::{self, Write as _},
    os::unix::ffi::OsStringExt as _,
};
use tonic::Streaming;

pub(crate) async fn of_run(session: &Session, args: Diff, output: Output) -> Result<Exit, CliError> {
    let style = Style::of(&args.style, output);
    let request = DiffRunRequest {
        run: args.run,
        agent: args.agent,
        format: style.format.into(),
        colour: style.colour,
        paths: bytes(args.style.paths),
    };
    let mut client = session.changes();
    let answers = progress::during("comparing", client.diff_run(request)).await?.into_inner();
    show(answers, style).await
}

pub(crate) async fn of_snapshots(
    session: &Session,
    old: String,
    new: String,
    style: DiffStyle,
    output: Output,
) -> Result<Exit, CliError> {
    let shown = Style::of(&style, output);
    let request = DiffRequest {
        old,
        new,
        format: shown.format.into(),
        colour: shown.colour,
        paths: bytes(style.paths),
    };
    let mut client = session.snapshots();
    let answers = progress::during("comparing", client.diff(request)).await?.into_inner();
    show(answers, shown).await
}

pub(crate) fn bytes<T: From<Vec<u8>>>(paths: Vec<OsString>) -> Vec<T> {
    paths.into_iter().map(|p| p.into_vec().into()).collect()
}

/// How differences are asked for and shown.
#[derive(Clone, Copy)]
pub(crate) struct Style {
    format: DiffFormat,
    colour: bool,
    look: Look,
}

impl Style {
    fn of(style: &DiffStyle, output: Output) -> Self {
        let look = Look::of(&io::stdout());
        let format = match output {
            Output::Json => DiffFormat::Json,
            Output::Table if style.stat => DiffFormat::Stat,
            Output::Table if style.name_only => DiffFormat::NameOnly,
            Output::Table => DiffFormat::Unified,
        };
        let colour = match style.color {
            Colour::Auto => look.colour,
            Colour::Always => true,
            Colour::Never => false,
        };
        Self { format, colour: colour && format != DiffFormat::Json, look }
    }

    /// How much changed, before a question.
    pub(crate) fn stat() -> Self {
        let look = Look::of(&io::stdout());
        Self { format: DiffFormat::Stat, colour: look.colour, look }
    }

    pub(crate) fn of_run(self, run: &str, agent: &str, trees: &[TreePlan]) -> DiffRunRequest {
        DiffRunRequest {
            run: run.to_owned(),
            agent: agent.to_owned(),
            format: self.format.into(),
            colour: self.colour,
            paths: trees.iter().map(|t| t.tree.clone()).collect(),
        }
    }

    pub(crate) fn of_snapshot(self, old: &str) -> DiffRequest {
        DiffRequest {
            old: old.to_owned(),
            new: String::new(),
            format: self.format.into(),
            colour: self.colour,
            paths: Vec::new(),
        }
    }
}

/// Whatever the daemon says of an agent's files: only its colours and its lines get through.
pub(crate) async fn show(mut answers: Streaming<DiffResponse>, style: Style) -> Result<Exit, CliError> {
    let json = style.format == DiffFormat::Json;
    let mut filter = match (json, style.colour) {
        (true, _) => Filter::json(),
        (false, true) => Filter::coloured(),
        (false, false) => Filter::text(),
    };
    let mut fold = Fold::new(style.look.columns.filter(|_| !json));
    let mut out = io::BufWriter::new(io::stdout());
    let mut write = |text: &str| match out.write_all(fold.push(text).as_bytes()).and_then(|()| out.flush()) {
        // Whoever reads has seen enough.
        Err(e) if e.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        other => other.map(|()| true),
    };
    let (mut empty, mut ended) = (true, true);
    while let Some(answer) = progress::during("comparing", answers.message()).await? {
        let text = filter.push(&answer.text);
        if let Some(last) = text.bytes().last() {
            (empty, ended) = (false, last == b'\n');
        }
        if !write(&text)? {
            return Ok(Exit::Success);
        }
    }
    let rest = filter.finish();
    let rest = if ended && rest.is_empty() { rest } else { rest + "\n" };
    if empty && rest.is_empty() {
        eprintln!("cordon: there is no difference");
        return Ok(Exit::Success);
    }
    write(&rest)?;
    Ok(Exit::Success)
}
