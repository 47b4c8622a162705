//! Watches the view. A mount that guards a name vanishes in every namespace when somebody
//! on the host replaces the name (an editor that saves by renaming, `git config`): from
//! then on what was hidden or read-only would be the agent's. Nothing inside can unmount, so
//! a mount that is gone means that the view is no longer the policy's, and the sandbox ends.

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::{
    collections::BTreeSet,
    fs::File,
    io::{self, Read as _, Seek as _, Write as _},
    path::Path,
    thread,
};

/// Exit code of a guest whose view was broken from outside.
const BROKEN_VIEW: i32 = 86;
/// Where the last words stand, beside the sockets.
const LAST_WORDS: &str = "last-words";
/// How often the table is read where nothing tells of a change.
const LOOK: Timespec = Timespec { tv_sec: 0, tv_nsec: 250_000_000 };
const STACK: usize = 64 << 10;

/// The mounts of a sandbox as they were before anything of the agent's ran.
pub(crate) struct View {
    table: File,
    before: BTreeSet<String>,
    /// None where the directory is read-only.
    words: Option<File>,
    told: bool,
}

impl View {
    /// Looks at the mounts, and opens what will be needed once this process is confined. `told`:
    /// the kernel tells of changes, and the directory can be written.
    pub(crate) fn look(directory: &Path, told: bool) -> io::Result<Self> {
        let mut table = File::open("/proc/self/mountinfo")?;
        let before = read(&mut table)?;
        let words = told.then(|| File::create(directory.join(LAST_WORDS))).transpose()?;
        Ok(Self { table, before, words, told })
    }

    /// Ends the sandbox as soon as one of the mounts is gone.
    pub(crate) fn watch(mut self) -> io::Result<()> {
        thread::Builder::new().name("view".to_owned()).stack_size(STACK).spawn(move || self.run()).map(drop)
    }

    fn run(&mut self) {
        let lost = loop {
            match read(&mut self.table) {
                Ok(now) => {
                    if let Some(lost) = self.before.difference(&now).next() {
                        break format!("what is mounted at {lost} was replaced on the host");
                    }
                }
                Err(error) => break format!("the mounts cannot be read: {error}"),
            }
            // The kernel raises PRI when the table changed since it was read.
            let mut wait = [PollFd::new(&self.table, PollFlags::PRI)];
            match poll(&mut wait, (!self.told).then_some(&LOOK)) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => break format!("the mounts cannot be watched: {error}"),
            }
        };
        match &mut self.words {
            Some(words) => drop(words.write_all(lost.as_bytes())),
            None => eprintln!("{lost}"),
        }
        // This is PID 1: the kernel ends everything else with it.
        std::process::exit(BROKEN_VIEW);
    }
}

/// Mount number and place of every mount, escaped as the kernel does.
fn read(table: &mut File) -> io::Result<BTreeSet<String>> {
    let mut text = Vec::new();
    table.rewind()?;
    table.read_to_end(&mut text)?;
    let text = String::from_utf8_lossy(&text);
    let entry = |line: &str| {
        let mut fields = line.split(' ');
        let (number, place) = (fields.next()?, fields.nth(3)?);
        Some(format!("{place} ({number})"))
    };
    Ok(text.lines().filter_map(entry).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mounts_of_this_process_are_found() {
        let directory = tempfile::tempdir().unwrap();
        let view = View::look(directory.path(), true).unwrap();
        assert!(view.before.iter().any(|line| line.starts_with("/ (")), "{:?}", view.before);
        assert!(view.before.iter().any(|line| line.starts_with("/proc (")));
    }
}
