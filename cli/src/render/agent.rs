use super::live::Live;
use crate::neutral;
use cordon_proto::v1::OutputStream;
use std::{collections::VecDeque, time::Instant};

/// A line longer than this is shown in pieces.
const MAX_LINE: usize = 16 << 10;
/// Lines of hidden error output that are kept for the case that the turn fails.
const KEPT_ERRORS: usize = 10;

/// What is known of one agent.
#[derive(Debug, Default)]
pub(super) struct AgentView {
    pub(super) backend: String,
    pub(super) done: bool,
    doing: String,
    since: Option<Instant>,
    stdout: Vec<u8>,
    stderr: Vec<u8>,
    hidden_errors: VecDeque<String>,
    /// What it is saying.
    pub(super) live: Live,
    /// A tool's process prints what its result tells better.
    pub(super) in_tool: bool,
    /// The running command's output was shown while it ran.
    pub(super) shown_output: bool,
}

impl AgentView {
    /// Whether the backend's output is a protocol, told by other events too.
    pub(super) fn speaks_protocol(&self) -> bool {
        matches!(self.backend.as_str(), "codex" | "claude_code" | "gemini_cli" | "copilot")
    }

    pub(super) fn doing(&mut self, what: &str) {
        let first = what.lines().next().unwrap_or_default();
        let short: String = first.chars().take(200).collect();
        self.doing = neutral::word(&short);
        self.since = Some(Instant::now());
    }

    pub(super) fn status(&self) -> String {
        match self.since.map(|s| s.elapsed().as_secs()) {
            Some(seconds) if seconds > 0 => format!("{} ({seconds} s)", self.doing),
            _ => self.doing.clone(),
        }
    }

    /// Takes a piece of output; gives back the lines that are complete, without their newlines.
    pub(super) fn take(&mut self, stream: OutputStream, data: &[u8]) -> Vec<Vec<u8>> {
        let buffer = self.buffer(stream);
        let mut lines = Vec::new();
        for piece in data.split_inclusive(|b| *b == b'\n') {
            for part in piece.chunks(MAX_LINE) {
                buffer.extend_from_slice(part);
                if buffer.ends_with(b"\n") {
                    buffer.pop();
                    lines.push(std::mem::take(buffer));
                } else if buffer.len() >= MAX_LINE {
                    let rest = buffer.split_off(buffer.len() - neutral::incomplete_tail(buffer));
                    lines.push(std::mem::replace(buffer, rest));
                }
            }
        }
        lines
    }

    /// What waits for its newline.
    pub(super) fn rest(&mut self, stream: OutputStream) -> Option<Vec<u8>> {
        Some(std::mem::take(self.buffer(stream))).filter(|rest| !rest.is_empty())
    }

    fn buffer(&mut self, stream: OutputStream) -> &mut Vec<u8> {
        match stream {
            OutputStream::Stderr => &mut self.stderr,
            OutputStream::Stdout | OutputStream::Unspecified => &mut self.stdout,
        }
    }

    pub(super) fn keep_error(&mut self, line: &[u8]) {
        if self.hidden_errors.len() == KEPT_ERRORS {
            self.hidden_errors.pop_front();
        }
        self.hidden_errors.push_back(neutral::text(&line[..line.len().min(1000)]));
    }

    pub(super) fn take_errors(&mut self) -> VecDeque<String> {
        std::mem::take(&mut self.hidden_errors)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_endless_line_is_cut_between_characters() {
        let mut view = AgentView::default();
        let text = "€".repeat(MAX_LINE);
        let mut lines = view.take(OutputStream::Stdout, text.as_bytes());
        assert!(view.stdout.len() < MAX_LINE);
        lines.extend(view.rest(OutputStream::Stdout));
        let all: String = lines.iter().map(|l| String::from_utf8(l.clone()).unwrap()).collect();
        assert_eq!(all, text);
    }

    proptest! {
        #[test]
        fn cuts_do_not_change_lines(pieces in proptest::collection::vec("[ab\n]{0,20}", 0..20)) {
            let mut view = AgentView::default();
            let mut lines = Vec::new();
            for piece in &pieces {
                lines.extend(view.take(OutputStream::Stderr, piece.as_bytes()));
            }
            lines.extend(view.rest(OutputStream::Stderr));
            let whole = pieces.concat();
            let expected: Vec<_> = whole.lines().map(|l| l.as_bytes().to_vec()).collect();
            prop_assert_eq!(lines, expected);
        }
    }
}
