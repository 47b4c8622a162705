//! The command line of what concerns trees: differences, applying, snapshots, workspaces.

use super::Watching;
use clap::{Args, Subcommand, ValueEnum, ValueHint, builder::NonEmptyStringValueParser};
use std::{ffi::OsString, path::PathBuf};

const DIFF_EXAMPLES: &str = "\
Examples:
  cordon diff 0199                    everything that the agents of the run changed
  cordon diff 0199 --stat             how much, path by path
  cordon diff 0199 builder -- src     one agent's changes below src
  cordon diff 0199 > changes.patch    without colours";

const APPLY_EXAMPLES: &str = "\
Examples:
  cordon apply 0199                               show the plan, ask, apply
  cordon apply 0199 --dry-run                     only show the plan
  cordon apply 0199 --yes --leave-out             what is only data, without a question
  cordon apply 0199 --yes --allow runs-later      a changed build script too
  cordon apply 0199 --on-drift merge              merge lines where you went on meanwhile

Exit codes:
  0    applied, or there is nothing to do
  1    refused: a class was not allowed, or your tree has changed in the same places
  2    bad input
  130  you said no";

const RESTORE_EXAMPLES: &str = "\
Examples:
  cordon snapshots diff 3f9a1c0b22de      what changed since
  cordon snapshots restore 3f9a1c0b22de   undo that; what is there now becomes a snapshot first";

const FORK_EXAMPLES: &str = "\
Examples:
  cordon snapshots fork 3f9a1c0b22de agent.yaml \"try it with a hash map\"
  cordon snapshots fork 3f9a1c0b22de team.yaml -a builder -d - < task.md";

const TRANSFER_EXAMPLES: &str = "\
Examples:
  cordon snapshots export 3f9a1c0b22de tree.tar
  cordon snapshots export 3f9a1c0b22de - | tar -tv
  cordon snapshots import tree.tar --label \"from the old machine\"";

const BUCKET_EXAMPLES: &str = "\
Examples:
  cordon snapshots push 3f9a1c0b22de    the bucket is `cordond --snapshot-bucket`
  cordon snapshots ls --bucket          on another machine with the same bucket
  cordon snapshots fetch 3f9a1c0b22de   prints the id that it has here";

const GC_EXAMPLES: &str = "\
Examples:
  cordon snapshots gc --dry-run --keep-count 20     say what would go
  cordon snapshots gc --keep-days 30 --keep-bytes 20GB";

/// When something is coloured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Colour {
    /// On a terminal, unless NO_COLOR is set.
    Auto,
    /// Into pipes and files too.
    Always,
    /// Not at all.
    Never,
}

/// How differences are shown.
#[derive(Debug, Args)]
pub(crate) struct DiffStyle {
    /// A line for each path, with how much changed in it
    #[arg(long)]
    pub(crate) stat: bool,
    /// Only the paths, with a letter for what happened
    #[arg(long, conflicts_with = "stat")]
    pub(crate) name_only: bool,
    /// When to use colours
    #[arg(long, alias = "colour", value_enum, value_name = "WHEN", default_value_t = Colour::Auto)]
    pub(crate) color: Colour,
    /// Only these paths, relative to the tree, and what is below them
    #[arg(last = true, value_name = "PATH", value_hint = ValueHint::AnyPath)]
    pub(crate) paths: Vec<OsString>,
}

#[derive(Debug, Args)]
#[command(after_help = DIFF_EXAMPLES)]
pub(crate) struct Diff {
    /// Id of the run, or an unambiguous beginning of it
    #[arg(value_parser = NonEmptyStringValueParser::new())]
    pub(crate) run: String,
    /// Only this agent
    #[arg(default_value = "", hide_default_value = true)]
    pub(crate) agent: String,
    #[command(flatten)]
    pub(crate) style: DiffStyle,
}

/// What a change can do beyond being data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ClassName {
    /// Hooks, build scripts, CI, tasks: programs of yours run them later.
    RunsLater,
    /// Instructions, settings and tools of coding agents.
    SteersAgents,
    /// Remotes, registries, lock sources: where code and packages come from.
    MovesIdentity,
}

impl ClassName {
    /// The word of the protocol.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::RunsLater => "runs-later",
            Self::SteersAgents => "steers-agents",
            Self::MovesIdentity => "moves-identity",
        }
    }
}

/// What to do where your tree is not any more what the agent started from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Drift {
    /// Apply nothing.
    Fail,
    /// Leave those changes out.
    Skip,
    /// Merge, and keep your lines where both changed the same.
    Ours,
    /// Merge line by line; where both changed the same lines, apply nothing.
    Merge,
}

#[derive(Debug, Args)]
#[command(after_help = APPLY_EXAMPLES)]
pub(crate) struct Apply {
    /// Id of the run, or an unambiguous beginning of it
    #[arg(value_parser = NonEmptyStringValueParser::new())]
    pub(crate) run: String,
    /// Which agent's changes, when several have some
    #[arg(default_value = "", hide_default_value = true)]
    pub(crate) agent: String,
    /// Only these paths and what is below them: absolute, or relative to the one tree
    #[arg(long, num_args = 1.., value_name = "PATH", value_hint = ValueHint::AnyPath)]
    pub(crate) paths: Vec<OsString>,
    /// Do not ask about what is only data
    #[arg(short, long)]
    pub(crate) yes: bool,
    /// Allow changes of these classes too; may be given several times
    #[arg(long, value_enum, value_delimiter = ',', value_name = "CLASS")]
    pub(crate) allow: Vec<ClassName>,
    /// What to do where your tree is not any more what the agent started from [default: as the
    /// agent file says, else fail]
    #[arg(long, value_enum, value_name = "WHAT")]
    pub(crate) on_drift: Option<Drift>,
    /// Leave out what may not be applied, instead of applying nothing
    #[arg(long)]
    pub(crate) leave_out: bool,
    /// Only show the plan
    #[arg(long)]
    pub(crate) dry_run: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Snapshots {
    /// List them, newest first
    Ls {
        /// Only of this run
        #[arg(default_value = "", hide_default_value = true)]
        run: String,
        /// Only of this agent
        #[arg(default_value = "", hide_default_value = true)]
        agent: String,
        /// Those in the daemon's bucket instead
        #[arg(long, conflicts_with_all = ["run", "agent"])]
        bucket: bool,
    },
    /// Show what is known of one
    Show {
        /// Its id, or an unambiguous beginning of it
        #[arg(value_parser = NonEmptyStringValueParser::new())]
        id: String,
    },
    /// Compare one with another, or with its tree as it is now
    Diff {
        /// Id of the older one, or an unambiguous beginning of it
        #[arg(value_parser = NonEmptyStringValueParser::new())]
        old: String,
        /// Id of the newer one [default: the tree as it is now]
        #[arg(default_value = "", hide_default_value = true)]
        new: String,
        #[command(flatten)]
        style: DiffStyle,
    },
    /// Make a workspace what it was; what it is now is kept as a snapshot first
    #[command(after_help = RESTORE_EXAMPLES)]
    Restore {
        /// Its id, or an unambiguous beginning of it
        #[arg(value_parser = NonEmptyStringValueParser::new())]
        id: String,
        /// Do not ask
        #[arg(short, long)]
        yes: bool,
    },
    /// Start a new run whose agent begins with what a snapshot holds
    #[command(after_help = FORK_EXAMPLES)]
    Fork(Fork),
    /// Write one as a tar archive
    #[command(after_help = TRANSFER_EXAMPLES)]
    Export {
        /// Its id, or an unambiguous beginning of it
        #[arg(value_parser = NonEmptyStringValueParser::new())]
        id: String,
        /// Where to; `-` is standard output
        #[arg(default_value = "-", hide_default_value = true, value_hint = ValueHint::FilePath)]
        file: PathBuf,
        /// Replace the file when it exists
        #[arg(short, long)]
        force: bool,
    },
    /// Make one of a tar archive
    #[command(after_help = TRANSFER_EXAMPLES)]
    Import {
        /// The archive; `-` is standard input
        #[arg(value_hint = ValueHint::FilePath)]
        file: PathBuf,
        /// A label for it
        #[arg(long, default_value = "", hide_default_value = true)]
        label: String,
    },
    /// Put some into the daemon's bucket, where only you find them
    #[command(after_help = BUCKET_EXAMPLES)]
    Push {
        /// Their ids, or unambiguous beginnings of them
        #[arg(required = true, value_name = "ID", value_parser = NonEmptyStringValueParser::new())]
        ids: Vec<String>,
    },
    /// Bring one from the daemon's bucket
    #[command(after_help = BUCKET_EXAMPLES)]
    Fetch {
        /// Its id there, or an unambiguous beginning of it
        #[arg(value_parser = NonEmptyStringValueParser::new())]
        id: String,
    },
    /// Give one a label, which also keeps it; without a label, take it away
    Label {
        /// Its id, or an unambiguous beginning of it
        #[arg(value_parser = NonEmptyStringValueParser::new())]
        id: String,
        /// The label
        #[arg(default_value = "", hide_default_value = true)]
        label: String,
    },
    /// Remove some
    Rm {
        /// Their ids, or unambiguous beginnings of them
        #[arg(required = true, value_name = "ID", value_parser = NonEmptyStringValueParser::new())]
        ids: Vec<String>,
    },
    /// Remove what is beyond what is to be kept of each tree, and free what nothing refers to
    ///
    /// Labelled snapshots, those of living runs and the bases of runs that are kept always stay.
    #[command(after_help = GC_EXAMPLES)]
    Gc {
        /// Keep so many of each tree
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
        keep_count: Option<u64>,
        /// Keep what is younger than so many days
        #[arg(long, value_name = "DAYS", value_parser = clap::value_parser!(u64).range(1..=36_500))]
        keep_days: Option<u64>,
        /// Keep at most so much of each tree: 500MB, 20GB, 1GiB
        #[arg(long, value_name = "SIZE", value_parser = size)]
        keep_bytes: Option<u64>,
        /// Only say what would go
        #[arg(long)]
        dry_run: bool,
    },
    /// Read everything that is stored and check it
    Verify,
}

#[derive(Debug, Args)]
pub(crate) struct Fork {
    /// Id of the snapshot, or an unambiguous beginning of it
    #[arg(value_parser = NonEmptyStringValueParser::new())]
    pub(crate) id: String,
    /// The agent file
    #[arg(value_hint = ValueHint::FilePath)]
    pub(crate) file: PathBuf,
    /// What to do; `-` or nothing reads it from standard input
    pub(crate) task: Option<String>,
    /// Which agent of the file, when there are several: only it runs
    #[arg(short, long)]
    pub(crate) agent: Option<String>,
    #[command(flatten)]
    pub(crate) watching: Watching,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Workspaces {
    /// List them
    Ls,
    /// Show what is known of one
    Show {
        /// Its path, a run's id, or RUN/AGENT
        #[arg(value_parser = NonEmptyStringValueParser::new())]
        name: String,
    },
    /// Remove one that Cordon made and no run uses
    Rm {
        /// Its path, a run's id, or RUN/AGENT
        #[arg(value_parser = NonEmptyStringValueParser::new())]
        name: String,
    },
    /// Print a file of one, byte for byte; on a terminal, neutralised
    Cat {
        /// Its path, a run's id, RUN/AGENT, or a snapshot's id
        #[arg(value_parser = NonEmptyStringValueParser::new())]
        name: String,
        /// The file, relative to it
        path: OsString,
    },
    /// Show what is in one
    Tree {
        /// Its path, a run's id, RUN/AGENT, or a snapshot's id
        #[arg(value_parser = NonEmptyStringValueParser::new())]
        name: String,
        /// Only below this directory, relative to it
        #[arg(default_value = "", hide_default_value = true)]
        path: OsString,
        /// Only so many directories deep
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
        depth: Option<u32>,
    },
}

/// `500`, `20GB` (decimal), `1GiB` or `1G` (binary).
fn size(text: &str) -> Result<u64, String> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().map_err(|_| "it begins with no number; write for instance 20GB")?;
    let (power, decimal) = match unit.trim().to_ascii_lowercase().as_str() {
        "" | "b" => (0, true),
        "kb" => (1, true),
        "mb" => (2, true),
        "gb" => (3, true),
        "tb" => (4, true),
        "k" | "kib" => (1, false),
        "m" | "mib" => (2, false),
        "g" | "gib" => (3, false),
        "t" | "tib" => (4, false),
        _ => return Err("no such unit; write for instance 500MB, 20GB or 1GiB".to_owned()),
    };
    let factor = if decimal { 1000_u64 } else { 1024 };
    match number.checked_mul(factor.pow(power)) {
        Some(0) => Err("nothing at all would be kept".to_owned()),
        Some(bytes) => Ok(bytes),
        None => Err("that is more than can be counted".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_as_people_write_them() {
        for (text, bytes) in [
            ("7", Some(7)),
            ("20GB", Some(20_000_000_000)),
            ("1gib", Some(1 << 30)),
            ("1G", Some(1 << 30)),
            ("500 MB", Some(500_000_000)),
            ("0", None),
            ("-1", None),
            ("GB", None),
            ("1XB", None),
            ("99999999999TB", None),
        ] {
            assert_eq!(size(text).ok(), bytes, "{text}");
        }
    }
}
