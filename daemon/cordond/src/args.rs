use crate::error::StartError;
use clap::{Parser, Subcommand, ValueEnum};
use cordon_objects::{Keys, RemoteError, Target};
use cordon_runs::Bucket;
use std::path::PathBuf;

/// Runs AI agents in sandboxes, for `cordon`.
#[derive(Debug, Parser)]
#[command(name = "cordond", version, about, subcommand_negates_reqs = true)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,

    #[command(flatten)]
    pub(crate) serve: Serve,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Print the version.
    Version,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Serve {
    /// Where runs, workspaces and sandboxes are kept [default: /var/lib/cordon for root, else
    /// $XDG_STATE_HOME/cordon or ~/.local/state/cordon].
    #[arg(long, env = "CORDON_STATE_DIR", value_name = "DIRECTORY")]
    pub(crate) state_dir: Option<PathBuf>,

    /// Unix socket to listen on [default: /run/cordon/cordond.sock for root, else
    /// $XDG_RUNTIME_DIR/cordon/cordond.sock or /tmp/cordon-UID/cordond.sock].
    #[arg(long, env = "CORDON_SOCKET", value_name = "PATH")]
    pub(crate) socket: Option<PathBuf>,

    /// The guest's executable [default: `cordon-guest` beside this program].
    #[arg(long, env = "CORDON_GUEST", value_name = "PATH")]
    pub(crate) guest: Option<PathBuf>,

    /// Docker Engine of the docker wall, for instance unix:///run/docker.sock.
    #[arg(long, env = "DOCKER_HOST", value_name = "ADDRESS")]
    pub(crate) docker_host: Option<String>,

    /// Let agent files ask for the host's network.
    #[arg(long, env = "CORDON_ALLOW_HOST_NETWORK")]
    pub(crate) allow_host_network: bool,

    /// Directories in which the local wall looks for agents' programs, separated by colons
    /// [default: this process's PATH].
    #[arg(long, env = "CORDON_PROGRAM_PATH", value_name = "PATHS")]
    pub(crate) program_path: Option<std::ffi::OsString>,

    /// The largest journal of one run, in MiB; a run that prints more is ended.
    #[arg(long, env = "CORDON_JOURNAL_LIMIT", value_name = "MIB", default_value_t = 4096,
          value_parser = clap::value_parser!(u64).range(1..=1 << 24))]
    pub(crate) journal_limit: u64,

    /// The most that the kept home of one agent may hold, in MiB; an agent that fills it is ended.
    #[arg(long, env = "CORDON_HOME_LIMIT", value_name = "MIB", default_value_t = 8192,
          value_parser = clap::value_parser!(u64).range(1..=1 << 24))]
    pub(crate) home_limit: u64,

    /// The most that the snapshots of one user may take, for instance `50GiB`; what does not
    /// fit is not kept, and its run is refused or told so [default: no limit].
    #[arg(long, env = "CORDON_SNAPSHOT_QUOTA", value_name = "SIZE", value_parser = size)]
    pub(crate) snapshot_quota: Option<u64>,

    /// Bucket for snapshots that are pushed, s3://BUCKET/PREFIX?region=REGION&endpoint=URL: each user has
    /// PREFIX/UID in it.
    #[arg(long, env = "CORDON_SNAPSHOT_BUCKET", value_name = "ADDRESS", hide_env_values = true)]
    pub(crate) snapshot_bucket: Option<String>,

    /// Name of the environment variable that holds the name of the bucket's key.
    #[arg(long, value_name = "VARIABLE", default_value = "AWS_ACCESS_KEY_ID")]
    pub(crate) snapshot_bucket_key_id: String,

    /// Name of the environment variable that holds the bucket's secret key.
    #[arg(long, value_name = "VARIABLE", default_value = "AWS_SECRET_ACCESS_KEY")]
    pub(crate) snapshot_bucket_secret: String,

    /// Name of the environment variable that holds the token of short-lived keys [default: none].
    #[arg(long, value_name = "VARIABLE", default_value = "", hide_default_value = true)]
    pub(crate) snapshot_bucket_token: String,

    /// Server that renews Codex logins in place of the vendor's, named as Codex itself has it.
    #[arg(long, env = "CODEX_REFRESH_TOKEN_URL_OVERRIDE", value_name = "URL")]
    pub(crate) codex_token_server: Option<String>,

    /// GitHub that `cordon login copilot` logs in at, named as Copilot itself has it.
    #[arg(long, env = "COPILOT_GH_HOST", value_name = "HOST")]
    pub(crate) copilot_host: Option<String>,

    /// What becomes of running agents when the daemon is told to end.
    #[arg(long, env = "CORDON_ON_SHUTDOWN", value_enum, default_value_t = OnShutdown::Leave)]
    pub(crate) on_shutdown: OnShutdown,

    /// End after so many seconds without a run and without a client.
    #[arg(long, env = "CORDON_IDLE_EXIT", value_name = "SECONDS",
          value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) idle_exit: Option<u64>,

    /// What to log, for instance `info` or `cordond=debug`.
    #[arg(long, env = "CORDON_LOG", value_name = "FILTER", default_value = "info")]
    pub(crate) log: String,

    /// How to log.
    #[arg(long, env = "CORDON_LOG_FORMAT", value_enum, default_value_t = LogFormat::Text)]
    pub(crate) log_format: LogFormat,
}

impl Serve {
    /// Where snapshots may be pushed to. The address is not repeated in an error: it may hold a key
    /// that does not belong there.
    pub(crate) fn bucket(&self) -> Result<Option<Bucket>, StartError> {
        let Some(address) = &self.snapshot_bucket else { return Ok(None) };
        let unusable = |e: RemoteError| StartError::Invalid(format!("--snapshot-bucket cannot be used: {e}"));
        let target = Target::parse(address).map_err(unusable)?;
        let keys = Keys {
            id: self.snapshot_bucket_key_id.clone(),
            secret: self.snapshot_bucket_secret.clone(),
            token: self.snapshot_bucket_token.clone(),
        };
        keys.check().map_err(unusable)?;
        Ok(Some(Bucket { target, keys }))
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum OnShutdown {
    /// End them, and wait until nothing of them is left.
    Stop,
    /// Leave their sandboxes: the next daemon goes on with them.
    Leave,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    Text,
    Json,
}

/// A number of bytes with a unit of 1024.
fn size(text: &str) -> Result<u64, String> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let shift = match unit.trim_start() {
        "" | "B" => 0,
        "KiB" => 10,
        "MiB" => 20,
        "GiB" => 30,
        "TiB" => 40,
        _ => return Err("a size is a number with B, KiB, MiB, GiB or TiB, for instance 50GiB".to_owned()),
    };
    let number: u64 = number.parse().map_err(|_| "a size begins with a whole number".to_owned())?;
    number.checked_mul(1 << shift).ok_or_else(|| "that is more than there can be".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn sizes_are_what_they_say() {
        for (text, bytes) in [("0", 0), ("7B", 7), ("50GiB", 50 << 30), ("2 TiB", 2 << 40), ("3KiB", 3072)] {
            assert_eq!(size(text), Ok(bytes), "{text}");
        }
        for bad in ["", "GiB", "5GB", "-1", "1.5GiB", "99999999999TiB", "5GiBx"] {
            assert!(size(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_bucket_needs_an_address_and_keys_and_no_error_repeats_them() {
        let with = |flags: &[&str]| Args::parse_from([&["cordond"], flags].concat()).serve.bucket();
        let told = |flags: &[&str]| with(flags).unwrap_err().to_string();
        assert!(told(&["--snapshot-bucket", "s3://k:hunter2@team"]).contains("do not belong"));
        assert!(!told(&["--snapshot-bucket", "s3://k:hunter2@team"]).contains("hunter2"));
        let absent = ["--snapshot-bucket", "s3://team", "--snapshot-bucket-secret", "CORDON_NO_SUCH_KEY"];
        // Both are set in every test: by cargo.
        let id = ["--snapshot-bucket-key-id", "CARGO_PKG_NAME"];
        assert!(told(&[&absent[..], &id].concat()).contains("CORDON_NO_SUCH_KEY"));
        let there = ["--snapshot-bucket", "s3://team/a", "--snapshot-bucket-secret", "CARGO_PKG_VERSION"];
        let bucket = with(&[&there[..], &id].concat()).unwrap().unwrap();
        assert_eq!(bucket.target.to_string(), "s3://team/a");
        assert!(!format!("{bucket:?}").contains(env!("CARGO_PKG_VERSION")));
    }

    #[test]
    fn the_flags_agree_with_each_other() {
        Args::command().debug_assert();
    }
}
