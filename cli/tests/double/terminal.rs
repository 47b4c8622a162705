//! A person at a terminal.

use std::{
    fs::File,
    io::{Read as _, Write as _},
    process::Stdio,
};

/// The two ends of a new terminal of this size.
pub fn terminal(rows: u16, columns: u16) -> (File, File) {
    use rustix::{
        pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt},
        termios::{Winsize, tcsetwinsize},
    };
    let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&ours).unwrap();
    unlockpt(&ours).unwrap();
    let name = ptsname(&ours, Vec::new()).unwrap();
    let theirs = File::options().read(true).write(true).open(name.to_str().unwrap()).unwrap();
    tcsetwinsize(&theirs, Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 }).unwrap();
    (ours.into(), theirs)
}

/// A program that is talked with over a terminal, which has all it says.
pub struct Dialogue {
    ours: File,
    pub child: tokio::process::Child,
    /// What was not waited for yet.
    seen: String,
}

impl Dialogue {
    pub fn begin(mut command: tokio::process::Command, columns: u16) -> Self {
        let (ours, theirs) = terminal(50, columns);
        let end = || Stdio::from(theirs.try_clone().unwrap());
        let child = command.stdin(end()).stdout(end()).stderr(end()).spawn().unwrap();
        // The command still holds its own ends: the terminal must end with the program.
        drop(command);
        Self { ours, child, seen: String::new() }
    }

    /// Everything up to these words.
    pub fn until(&mut self, words: &str) -> String {
        loop {
            if let Some(at) = self.seen.find(words) {
                let rest = self.seen.split_off(at + words.len());
                return std::mem::replace(&mut self.seen, rest);
            }
            assert!(self.more(), "the program ended without {words:?}: {}", self.seen);
        }
    }

    /// Types a line when these words have come.
    pub fn answer(&mut self, words: &str, line: &str) -> String {
        let said = self.until(words);
        self.ours.write_all(line.as_bytes()).unwrap();
        said
    }

    /// Everything else that it says, and how it ends.
    pub async fn end(mut self) -> (String, i32) {
        while self.more() {}
        (self.seen, self.child.wait().await.unwrap().code().unwrap())
    }

    /// False at the end: nobody holds the other end any more.
    fn more(&mut self) -> bool {
        let mut piece = [0; 1000];
        match self.ours.read(&mut piece) {
            Ok(0) | Err(_) => false,
            Ok(read) => {
                self.seen += &String::from_utf8_lossy(&piece[..read]).replace("\r\n", "\n");
                true
            }
        }
    }
}
