use crate::{
    args::Output,
    commands::listing::print,
    error::CliError,
    exit::Exit,
    json, neutral, progress,
    render::table::{self, age, bytes, short, telling},
    session::Session,
};
use cordon_proto::v1::{ListSnapshotsRequest, Snapshot};

const HEADING: [&str; 11] =
    ["ID", "RUN", "AGENT", "TURN", "KIND", "AGE", "FILES", "SIZE", "ADDED", "LABEL", "TREE"];

pub(super) async fn list(
    session: &Session,
    run: String,
    agent: String,
    output: Output,
) -> Result<Exit, CliError> {
    let request = ListSnapshotsRequest { run, agent };
    let mut client = session.snapshots();
    let found = progress::during("listing", client.list_snapshots(request)).await?.into_inner().snapshots;
    tell(&found, output);
    if found.is_empty() && output == Output::Table {
        eprintln!("cordon: there are no snapshots here yet; every run takes some");
    }
    Ok(Exit::Success)
}

pub(super) fn tell(found: &[Snapshot], output: Output) {
    let ids = telling(found.iter().map(|s| s.id.as_str()));
    let runs = telling(found.iter().map(|s| s.run.as_str()));
    let now = table::now();
    let rows: Vec<_> = found.iter().map(|s| row(s, ids, runs, now)).collect();
    print(output, &HEADING, &rows, &found.iter().map(json::snapshot).collect());
}

fn row(s: &Snapshot, ids: usize, runs: usize, now: i64) -> Vec<String> {
    vec![
        short(&s.id, ids),
        short(&s.run, runs),
        neutral::word(&s.agent),
        s.turn.map(|t| t.to_string()).unwrap_or_default(),
        neutral::word(&s.kind),
        age(s.time_unix_ms, now),
        s.files.to_string(),
        bytes(s.bytes),
        bytes(s.added_bytes),
        neutral::word(&s.label),
        neutral::path(&s.tree),
    ]
}

pub(super) async fn show(session: &Session, id: String, output: Output) -> Result<Exit, CliError> {
    let found = super::get(session, id).await?;
    match output {
        Output::Json => outln!("{}", json::encode(&json::snapshot(&found))),
        Output::Table => crate::out::write(format_args!("{}", facts(&found, table::now()))),
    }
    Ok(Exit::Success)
}

/// A line for each fact.
pub(super) fn facts(s: &Snapshot, now: i64) -> String {
    let mut out = String::new();
    let mut fact = |name: &str, value: String| {
        if !value.is_empty() {
            out += &format!("{name:10} {value}\n");
        }
    };
    fact("snapshot", neutral::word(&s.id));
    fact("tree", neutral::path(&s.tree));
    fact("kind", neutral::word(&s.kind));
    fact("run", neutral::word(&s.run));
    fact("agent", neutral::word(&s.agent));
    fact("turn", s.turn.map(|t| t.to_string()).unwrap_or_default());
    fact("taken", format!("{} ago", age(s.time_unix_ms, now)));
    fact("label", neutral::word(&s.label));
    for parent in &s.parents {
        fact("parent", neutral::word(parent));
    }
    let symlinks =
        if s.symlinks == 0 { String::new() } else { format!(", {}", table::count(s.symlinks, "link")) };
    let directories =
        if s.directories == 1 { "1 directory".to_owned() } else { format!("{} directories", s.directories) };
    fact("holds", format!("{}, {directories}{symlinks}, {}", table::count(s.files, "file"), bytes(s.bytes)));
    fact("added", format!("{}, {}", table::count(s.added_objects, "object"), bytes(s.added_bytes)));
    fact("kept in", neutral::word(&s.storage));
    for path in &s.skipped {
        fact("left out", format!("{} ({})", neutral::path(&path.path), neutral::word(&path.reason)));
    }
    let more = s.skipped_total.saturating_sub(s.skipped.len() as u64);
    fact("left out", if more > 0 { format!("and {more} more") } else { String::new() });
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use cordon_proto::v1::SkippedPath;

    #[test]
    fn a_snapshot_is_a_row_or_its_facts_and_nothing_of_it_is_raw() {
        let evil = "x\u{1b}[2J\ny";
        let snapshot = Snapshot {
            id: "3f9a1c0b22de4455".into(),
            run: "0199".into(),
            agent: evil.into(),
            turn: Some(2),
            tree: evil.as_bytes().to_vec().into(),
            kind: evil.into(),
            label: evil.into(),
            parents: vec![evil.into()],
            files: 1,
            directories: 1,
            symlinks: 2,
            bytes: 12_000,
            skipped_total: 3,
            skipped: vec![SkippedPath { path: evil.as_bytes().to_vec().into(), reason: evil.into() }],
            storage: evil.into(),
            ..Snapshot::default()
        };
        let shown = row(&snapshot, 12, 12, 65_000);
        let word = "x\\x1b[2J\\ny";
        assert_eq!(
            shown,
            ["3f9a1c0b22de", "0199", word, "2", word, "1 min", "1", "12 kB", "0 B", word, word]
        );
        assert_eq!(
            facts(&snapshot, 65_000),
            format!(
                "snapshot   3f9a1c0b22de4455\ntree       {word}\nkind       {word}\nrun        0199\nagent      {word}\n\
                 turn       2\ntaken      1 min ago\nlabel      {word}\nparent     {word}\n\
                 holds      1 file, 1 directory, 2 links, 12 kB\nadded      0 objects, 0 B\n\
                 kept in    {word}\nleft out   {word} ({word})\nleft out   and 2 more\n"
            )
        );
        let line = json::encode(&json::snapshot(&snapshot));
        assert!(!line.contains('\u{1b}') && line.lines().count() == 1, "{line}");
    }
}
