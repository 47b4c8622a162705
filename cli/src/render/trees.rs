//! Events about an agent's trees.

use super::Renderer;
use crate::{
    neutral,
    render::table::{bytes, count, short},
    screen::{Screen, Tint},
};
use cordon_proto::v1::{ProgressEvent, SnapshotTaken};
use std::io::{self, Write};

const BAR: u64 = 20;
/// Characters of a snapshot's id.
const SHORT: usize = 12;

impl Renderer {
    pub(super) fn snapshot_taken(
        &self,
        id: &str,
        e: &SnapshotTaken,
        screen: &mut Screen<impl Write>,
    ) -> io::Result<()> {
        let mut text = format!(
            "{}{} snapshot {} of {}: {}, {}, {} new",
            self.about(id),
            neutral::word(&e.kind),
            short(&e.snapshot_id, SHORT),
            neutral::path(&e.tree),
            count(e.files, "file"),
            bytes(e.bytes),
            bytes(e.added_bytes)
        );
        if e.skipped > 0 {
            text += &format!("; {} left out", count(e.skipped, "path"));
        }
        screen.own(Some(Tint::Dim), &text)
    }

    /// Only at the bottom of a terminal.
    pub(super) fn progress(&mut self, id: &str, e: &ProgressEvent) {
        self.progress = Some(format!("  {}{}", self.about(id), bar(e)));
    }
}

fn bar(e: &ProgressEvent) -> String {
    let what = format!("{} {}", neutral::word(&e.what), neutral::path(&e.tree));
    let done = bytes(e.done_bytes);
    if e.total_bytes == 0 {
        return format!("{done} {what}");
    }
    let part = |of: u128| u128::from(e.done_bytes.min(e.total_bytes)) * of / u128::from(e.total_bytes);
    let full = usize::try_from(part(u128::from(BAR))).unwrap_or(0);
    let rest = usize::try_from(BAR).unwrap_or(0).saturating_sub(full);
    // The name at the end: it may be cut.
    format!("[{}{}] {}% of {} {what}", "#".repeat(full), ".".repeat(rest), part(100), bytes(e.total_bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_shows_how_far_it_is_and_nothing_raw() {
        let at = |done_bytes, total_bytes| {
            bar(&ProgressEvent {
                what: "copying\u{1b}[2J".into(),
                tree: b"/w\n".to_vec().into(),
                done_bytes,
                total_bytes,
            })
        };
        assert_eq!(at(500, 1000), "[##########..........] 50% of 1.0 kB copying\\x1b[2J /w\\n");
        assert_eq!(at(u64::MAX, 1), "[####################] 100% of 1 B copying\\x1b[2J /w\\n");
        assert_eq!(at(1500, 0), "1.5 kB copying\\x1b[2J /w\\n");
    }
}
