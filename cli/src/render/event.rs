use super::Renderer;
use crate::{
    neutral,
    screen::{Screen, Tint},
};
use cordon_proto::v1::{
    CommandEvent, Denial, FileChangeEvent, Outcome, OutputEvent, OutputStream, SandboxReady, ToolCallEvent,
    TurnEnded, TurnStarted, event::Kind,
};
use std::io::{self, Write};

/// Characters of one tool call's arguments or result that are shown.
const MAX_TOOL_TEXT: usize = 2000;
/// The same in a conversation, and lines.
const CHAT_TOOL_TEXT: (usize, usize) = (600, 6);

impl Renderer {
    pub(super) fn kind(&mut self, id: &str, kind: &Kind, screen: &mut Screen<impl Write>) -> io::Result<()> {
        if !matches!(kind, Kind::Output(_)) {
            self.finish_lines(id, screen)?;
        }
        // Counts and unknown things come in the middle of a message.
        if !matches!(
            kind,
            Kind::Output(_)
                | Kind::Message(_)
                | Kind::MessageDelta(_)
                | Kind::Usage(_)
                | Kind::Unknown(_)
                | Kind::Session(_)
                | Kind::Conversation(_)
        ) {
            self.end_message(id, screen)?;
        }
        self.progress = None;
        let about = self.about(id);
        match kind {
            Kind::RunStarted(_) if self.chat => Ok(()),
            Kind::RunStarted(e) => {
                screen.own(None, &format!("run started: {}", neutral::word(&e.agent_file_name)))
            }
            Kind::SandboxReady(e) => self.sandbox_ready(id, e, screen),
            Kind::Warning(e) => {
                let text = format!("{about}warning: {}", neutral::text(e.message.as_bytes()));
                if self.chat && !self.warned.insert(text.clone()) {
                    return Ok(());
                }
                screen.own(Some(Tint::Yellow), &text)
            }
            Kind::TurnStarted(e) => self.turn_started(id, e, screen),
            Kind::Output(e) => self.output(id, e, screen),
            Kind::Message(e) => {
                self.agent(id).doing("working");
                self.message(id, &e.text, screen)
            }
            Kind::Reasoning(e) => {
                self.agent(id).doing("thinking");
                if self.reasoning || self.raw {
                    self.say(id, '~', Some(Tint::Dim), &e.text, screen)
                } else {
                    Ok(())
                }
            }
            Kind::Command(e) => self.command(id, e, screen),
            Kind::FileChange(e) => self.file_change(id, e, screen),
            Kind::ToolCall(e) => self.tool_call(id, e, screen),
            Kind::Error(e) => {
                let mut text = format!("{about}error: {}", neutral::text(e.message.as_bytes()));
                if !e.fix.is_empty() {
                    text += &format!("\nhelp: {}", neutral::text(e.fix.as_bytes()));
                }
                screen.own(Some(Tint::Red), &text)
            }
            Kind::Denial(e) => {
                self.keep_denial(id, e);
                let (operation, target) = (neutral::word(&e.operation), neutral::word(&e.target));
                let text = format!("{about}denied: {operation} {target}: {}", neutral::word(&e.rule));
                screen.own(Some(Tint::Yellow), &text)
            }
            Kind::Unknown(e) if self.raw => {
                screen.raw(&e.raw)?;
                screen.raw(b"\n")
            }
            Kind::SnapshotTaken(e) if self.chat && e.skipped == 0 => Ok(()),
            Kind::SnapshotTaken(e) => self.snapshot_taken(id, e, screen),
            // A step of something that has no length, such as the build of an image.
            Kind::Progress(e) if e.tree.is_empty() && e.done_bytes == 0 && e.total_bytes == 0 => {
                screen.own(Some(Tint::Dim), &format!("{about}{}", neutral::text(e.what.as_bytes())))
            }
            Kind::Progress(e) => {
                self.progress(id, e);
                Ok(())
            }
            Kind::Retry(e) => {
                let wait = if e.wait_ms > 0 {
                    format!(" in {}", super::summary::duration(e.wait_ms))
                } else {
                    String::new()
                };
                let attempt = if e.attempt > 0 { format!(" (attempt {})", e.attempt) } else { String::new() };
                let text =
                    format!("{about}trying again{wait}{attempt}: {}", neutral::text(e.reason.as_bytes()));
                self.agent(id).doing("waiting to try again");
                screen.own(Some(Tint::Yellow), &text)
            }
            Kind::MessageDelta(e) => self.piece(id, &e.text, screen),
            Kind::Unknown(_)
            | Kind::Usage(_)
            | Kind::Session(_)
            | Kind::Conversation(_)
            | Kind::ProcessStarted(_)
            | Kind::ProcessExited(_) => Ok(()),
            Kind::Viewer(e) => {
                let what = neutral::word(&e.what);
                screen.own(Some(Tint::Dim), &format!("{about}viewer {} (user {}): {what}", e.viewer, e.uid))
            }
            Kind::TurnEnded(e) => self.turn_ended(id, e, screen),
            Kind::RunEnded(e) => self.ended(e.outcome(), e.summary.as_ref(), screen),
            Kind::Recovered(e) => {
                screen.own(None, &format!("{about}{}", neutral::text(e.message.as_bytes())))
            }
            Kind::OutputDropped(e) => {
                let text = format!("{about}output from byte {} to {} was dropped", e.from, e.to);
                screen.own(Some(Tint::Yellow), &text)
            }
        }
    }

    /// A piece of a message, where somebody sees it grow; else the whole message follows.
    fn piece(&mut self, id: &str, text: &str, screen: &mut Screen<impl Write>) -> io::Result<()> {
        self.agent(id).doing("answering");
        if self.raw || !screen.is_live() {
            return Ok(());
        }
        let who = self.who(id);
        let lines = self.agent(id).live.push(text, |line| screen.cut(&who, line));
        lines.iter().try_for_each(|line| screen.foreign(&who, '|', None, line))
    }

    fn message(&mut self, id: &str, text: &str, screen: &mut Screen<impl Write>) -> io::Result<()> {
        let (lines, known) =
            std::mem::take(&mut self.agent(id).live).whole(text.trim_end_matches(['\r', '\n']));
        let who = self.who(id);
        lines.iter().try_for_each(|line| screen.foreign(&who, '|', None, line))?;
        if known { Ok(()) } else { self.say(id, '|', None, text, screen) }
    }

    /// What was said until now is all that will be.
    fn end_message(&mut self, id: &str, screen: &mut Screen<impl Write>) -> io::Result<()> {
        let who = self.who(id);
        match self.agents.get_mut(id).and_then(|a| a.live.end()) {
            Some(line) => screen.foreign(&who, '|', None, &line),
            None => Ok(()),
        }
    }

    fn say(
        &self,
        id: &str,
        mark: char,
        tint: Option<Tint>,
        text: &str,
        screen: &mut Screen<impl Write>,
    ) -> io::Result<()> {
        if self.raw {
            screen.raw(text.as_bytes())?;
            return screen.raw(b"\n");
        }
        let text = neutral::text(text.as_bytes());
        screen.foreign(&self.who(id), mark, tint, text.strip_suffix('\n').unwrap_or(&text))
    }

    fn sandbox_ready(
        &mut self,
        id: &str,
        e: &SandboxReady,
        screen: &mut Screen<impl Write>,
    ) -> io::Result<()> {
        let about = self.about(id);
        self.agent(id).doing("sandbox is ready");
        let good = e.findings.iter().filter(|f| f.ok).count();
        if self.chat && good == e.findings.len() {
            return Ok(());
        }
        let wall = neutral::word(&e.wall);
        screen.own(
            None,
            &format!(
                "{about}sandbox ready after {} ms behind the {wall} wall; probe: {good} of {} checks as expected",
                e.ready_ms,
                e.findings.len()
            ),
        )?;
        for finding in e.findings.iter().filter(|f| !f.ok) {
            screen.own(
                Some(Tint::Red),
                &format!(
                    "{about}{}: expected {}, found {}",
                    neutral::word(&finding.check),
                    neutral::word(&finding.expected),
                    neutral::word(&finding.found)
                ),
            )?;
        }
        Ok(())
    }

    fn turn_started(&mut self, id: &str, e: &TurnStarted, screen: &mut Screen<impl Write>) -> io::Result<()> {
        let about = self.about(id);
        let agent = self.agent(id);
        agent.backend.clone_from(&e.backend);
        agent.done = false;
        agent.doing("working");
        if self.chat {
            return Ok(());
        }
        screen.own(None, &format!("{about}turn {} ({})", e.turn, neutral::word(&e.backend)))
    }

    fn output(&mut self, id: &str, e: &OutputEvent, screen: &mut Screen<impl Write>) -> io::Result<()> {
        if self.raw {
            return screen.raw(&e.data);
        }
        let agent = self.agent(id);
        if agent.in_tool {
            return Ok(());
        }
        agent.shown_output |= !agent.speaks_protocol();
        for line in agent.take(e.stream(), &e.data) {
            self.output_line(id, e.stream(), &line, screen)?;
        }
        Ok(())
    }

    fn output_line(
        &mut self,
        id: &str,
        stream: OutputStream,
        line: &[u8],
        screen: &mut Screen<impl Write>,
    ) -> io::Result<()> {
        let agent = self.agent(id);
        match (agent.speaks_protocol(), stream) {
            (true, OutputStream::Stderr) => {
                agent.keep_error(line);
                Ok(())
            }
            (true, _) => Ok(()),
            (false, OutputStream::Stderr) => screen.foreign(&self.who(id), '!', None, &neutral::text(line)),
            (false, _) => screen.foreign(&self.who(id), '|', None, &neutral::text(line)),
        }
    }

    /// Shows what still waits for a newline: what comes next is not its rest.
    fn finish_lines(&mut self, id: &str, screen: &mut Screen<impl Write>) -> io::Result<()> {
        for stream in [OutputStream::Stdout, OutputStream::Stderr] {
            if let Some(rest) = self.agents.get_mut(id).and_then(|a| a.rest(stream)) {
                self.output_line(id, stream, &rest, screen)?;
            }
        }
        Ok(())
    }

    fn command(&mut self, id: &str, e: &CommandEvent, screen: &mut Screen<impl Write>) -> io::Result<()> {
        if e.status == "started" {
            let agent = self.agent(id);
            agent.doing(&format!("$ {}", e.command));
            agent.shown_output = false;
            agent.in_tool = false;
            return self.say(id, '$', Some(Tint::Bold), &e.command, screen);
        }
        let agent = self.agent(id);
        agent.doing("working");
        // Shown already while it ran.
        let shown = std::mem::take(&mut agent.shown_output);
        if !shown && !e.output.is_empty() {
            self.say(id, '|', self.tool_tint(), &self.short(&e.output), screen)?;
        }
        let about = self.about(id);
        match e.exit_code {
            Some(0) => Ok(()),
            Some(code) => screen.own(Some(Tint::Dim), &format!("{about}the command ended with {code}")),
            None if e.status == "failed" => {
                screen.own(Some(Tint::Dim), &format!("{about}the command failed"))
            }
            None => Ok(()),
        }
    }

    fn file_change(&self, id: &str, e: &FileChangeEvent, screen: &mut Screen<impl Write>) -> io::Result<()> {
        let text = format!("{} {}", neutral::word(&e.change), neutral::path(&e.path));
        screen.foreign(&self.who(id), '+', Some(Tint::Dim), &text)
    }

    fn tool_call(&mut self, id: &str, e: &ToolCallEvent, screen: &mut Screen<impl Write>) -> io::Result<()> {
        let agent = self.agent(id);
        agent.in_tool = e.status == "started";
        if agent.in_tool {
            agent.doing(&format!("tool {}", e.name));
            let call = format!("{} {}", e.name, self.short(&e.arguments));
            return self.say(id, '$', Some(Tint::Bold), &call, screen);
        }
        self.agent(id).doing("working");
        if !e.result.is_empty() {
            self.say(id, '|', self.tool_tint(), &self.short(&e.result), screen)?;
        }
        if e.status == "failed" {
            let about = self.about(id);
            return screen.own(Some(Tint::Dim), &format!("{about}the tool call failed"));
        }
        Ok(())
    }

    /// Of what a tool got and gave, as much as belongs between two things that are said.
    fn short(&self, text: &str) -> String {
        let (characters, lines) = if self.chat { CHAT_TOOL_TEXT } else { (MAX_TOOL_TEXT, usize::MAX) };
        let cut: String = text.chars().take(characters).collect();
        let mut shown = cut.lines().take(lines).collect::<Vec<_>>().join("\n");
        let hidden = text.trim_end().len() - shown.len().min(text.trim_end().len());
        if hidden == 0 {
            return shown;
        }
        match text.lines().count().saturating_sub(shown.lines().count()) {
            0 => shown.push('…'),
            more => shown += &format!("\n… {}", super::table::count(more as u64, "more line")),
        }
        shown
    }

    /// In a conversation the answer stands out.
    fn tool_tint(&self) -> Option<Tint> {
        self.chat.then_some(Tint::Dim)
    }

    fn turn_ended(&mut self, id: &str, e: &TurnEnded, screen: &mut Screen<impl Write>) -> io::Result<()> {
        let about = self.about(id);
        let agent = self.agent(id);
        agent.done = true;
        agent.in_tool = false;
        let errors = agent.take_errors();
        if e.outcome() == Outcome::Success {
            return Ok(());
        }
        for line in errors {
            screen.foreign(&self.who(id), '!', None, &line)?;
        }
        let code = e.exit_code.map(|c| format!(" (exit code {c})")).unwrap_or_default();
        let gap = if e.message.is_empty() { "" } else { ": " };
        let text = format!(
            "{about}turn {} {}{code}{gap}{}",
            e.turn,
            super::summary::words(e.outcome()),
            neutral::text(e.message.as_bytes())
        );
        screen.own(Some(Tint::Red), &text)
    }
}

/// Everything that a denial says, on lines of their own.
pub(super) fn denial(e: &Denial) -> String {
    let mut text = format!(
        "{} {}\nrule: {} ({}; enforced by {})",
        neutral::word(&e.operation),
        neutral::word(&e.target),
        neutral::word(&e.rule),
        neutral::word(&e.origin),
        neutral::word(&e.layer)
    );
    if e.would_allow.is_empty() {
        text += "\nnothing in the agent file can allow it";
    } else {
        text += &format!("\nto allow it: {}", neutral::word(&e.would_allow));
    }
    text
}
