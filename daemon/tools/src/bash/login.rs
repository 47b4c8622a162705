//! The environment of a login shell, read once: start-up files cost more than most commands.

use super::{
    child::Child,
    run::{self, Cancel, Ending, Sink},
    shell::Shell,
};
use std::{
    collections::BTreeMap,
    ffi::{OsStr, OsString},
    os::unix::ffi::{OsStrExt as _, OsStringExt as _},
    process::{Command, Stdio},
    time::Duration,
};
use tokio_util::task::TaskTracker;

const LIMIT: Duration = Duration::from_secs(10);
const BYTES: usize = 1 << 20;
/// Start-up files may print whatever they like before.
const BEGIN: &[u8] = b"\0CORDON_ENVIRONMENT\0";
const SCRIPT: &str = r"printf '\0CORDON_ENVIRONMENT\0'; exec env -0";
/// What a shell sets anew, or what is true for that one only.
const PASSING: [&str; 5] = ["_", "SHLVL", "PWD", "OLDPWD", super::tree::MARKER];

/// What every command starts with.
#[derive(Clone, Debug)]
pub(crate) struct Login {
    pub(crate) shell: Shell,
    pub(crate) variables: BTreeMap<OsString, OsString>,
    /// Why it is not the login shell's, if it is not.
    pub(crate) problem: Option<String>,
}

impl Login {
    /// Asks the login shell. Where it does not answer, this process's own environment serves.
    pub(crate) async fn read(tracker: &TaskTracker, cancel: &Cancel) -> Self {
        let shell = Shell::find();
        let own: BTreeMap<_, _> = std::env::vars_os().collect();
        let (mut variables, problem) = match ask(&shell, tracker, cancel).await {
            Ok(mut read) => {
                keep_places(&mut read, own.get(OsStr::new("PATH")));
                (read, None)
            }
            Err(why) => (own, Some(format!("the login environment could not be read: {why}"))),
        };
        for name in PASSING {
            variables.remove(OsStr::new(name));
        }
        Self { shell, variables, problem }
    }
}

/// A login shell often sets PATH anew; what an image's maker put there is still there after.
fn keep_places(variables: &mut BTreeMap<OsString, OsString>, own: Option<&OsString>) {
    let Some(own) = own else { return };
    let read = variables.entry("PATH".into()).or_default();
    let has = |place: &[u8], path: &OsStr| path.as_bytes().split(|b| *b == b':').any(|one| one == place);
    for place in own.as_bytes().split(|b| *b == b':').filter(|place| !place.is_empty()) {
        if !has(place, read) {
            if !read.is_empty() {
                read.push(":");
            }
            read.push(OsStr::from_bytes(place));
        }
    }
}

#[derive(Default)]
struct Printed(Vec<u8>);

impl Sink for Printed {
    fn stdout(&mut self, bytes: &[u8]) {
        let room = BYTES.saturating_sub(self.0.len()).min(bytes.len());
        self.0.extend_from_slice(&bytes[..room]);
    }

    fn stderr(&mut self, _: &[u8]) {}
}

async fn ask(
    shell: &Shell,
    tracker: &TaskTracker,
    cancel: &Cancel,
) -> Result<BTreeMap<OsString, OsString>, String> {
    let mut command = Command::new(&shell.program);
    command.args(["-l", "-c", SCRIPT]).stdin(Stdio::null());
    let started = Child::start(command, tracker.token()).map_err(|error| error.to_string())?;
    let mut printed = Printed::default();
    let outcome = run::run(started, &mut printed, Some(LIMIT), cancel).await;
    match outcome.map_err(|error| error.to_string())?.ending {
        Ending::Own => parse(&printed.0).ok_or_else(|| "it printed none".to_owned()),
        Ending::TimedOut => Err(format!("its start-up files took longer than {} s", LIMIT.as_secs())),
        Ending::Cancelled => Err("it was cancelled".to_owned()),
    }
}

fn parse(printed: &[u8]) -> Option<BTreeMap<OsString, OsString>> {
    let at = printed.windows(BEGIN.len()).rposition(|window| window == BEGIN)?;
    // The last one ends as all others do, unless it was cut off.
    let whole = &printed[at + BEGIN.len()..];
    let end = whole.iter().rposition(|byte| *byte == 0)?;
    let variables = whole[..end].split(|byte| *byte == 0).filter_map(|variable| {
        let equals = variable.iter().position(|byte| *byte == b'=').filter(|at| *at > 0)?;
        let (name, value) = (variable[..equals].to_vec(), variable[equals + 1..].to_vec());
        Some((OsString::from_vec(name), OsString::from_vec(value)))
    });
    Some(variables.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn start_up_files_may_print() {
        let read = parse(b"hello\nPATH=/evil\0\0CORDON_ENVIRONMENT\0A=1\0B=x\n=y\0=no\0C=\0CUT=of").unwrap();
        let expected = [("A", "1"), ("B", "x\n=y"), ("C", "")].map(|(n, v)| (n.into(), v.into()));
        assert_eq!(read, BTreeMap::from(expected));
        assert_eq!(parse(b"A=1\0"), None);
    }

    #[test]
    fn places_of_the_image_stay() {
        let mut read = BTreeMap::from([("PATH".into(), "/usr/bin:/bin".into())]);
        keep_places(&mut read, Some(&"/opt/x/bin:/bin::/usr/bin".into()));
        assert_eq!(read[OsStr::new("PATH")], "/usr/bin:/bin:/opt/x/bin");
    }
}
