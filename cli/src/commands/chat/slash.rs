//! Words with a meaning of their own in a conversation.

use super::Talk;
use crate::{
    args::{Apply, Colour, Diff, DiffStyle, Output},
    commands::{apply, diff},
    error::CliError,
    exit::Exit,
    json, neutral,
    render::{table, usage},
    screen::Look,
    signals::interruptible,
};
use cordon_proto::v1::GetRunRequest;
use std::io;

/// With what they do, as `/help` tells it.
const ALL: [(&str, &str); 7] = [
    ("help", "this list"),
    ("agents", "who answers, behind which wall and where"),
    ("usage", "tokens of this chat"),
    ("diff", "what the last turn changed; /diff AGENT: one agent's"),
    ("apply", "bring it into your trees, asking first; /apply AGENT: one agent's"),
    ("new", "begin anew: another conversation, in another home"),
    ("quit", "leave, as Ctrl-D does"),
];

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Slash {
    Help,
    Agents,
    Usage,
    Diff(String),
    Apply(String),
    New,
    Quit,
}

pub(super) fn words() -> Vec<&'static str> {
    ALL.iter().map(|(word, _)| *word).collect()
}

/// What the message asks Cordon for; none: it is for the agents.
pub(super) fn of(message: &str) -> Option<Result<Slash, String>> {
    let command =
        message.strip_prefix('/').filter(|rest| rest.starts_with(|c: char| c.is_ascii_lowercase()))?;
    let mut words = command.split_whitespace();
    let word = words.next().filter(|word| word.bytes().all(|b| b.is_ascii_lowercase()))?;
    let rest: Vec<&str> = words.collect();
    Some(match (word, rest.as_slice()) {
        ("help", []) => Ok(Slash::Help),
        ("agents", []) => Ok(Slash::Agents),
        ("usage", []) => Ok(Slash::Usage),
        ("diff", []) => Ok(Slash::Diff(String::new())),
        ("diff", [agent]) => Ok(Slash::Diff((*agent).to_owned())),
        ("apply", []) => Ok(Slash::Apply(String::new())),
        ("apply", [agent]) => Ok(Slash::Apply((*agent).to_owned())),
        ("new", []) => Ok(Slash::New),
        ("quit" | "exit", []) => Ok(Slash::Quit),
        // It costs nothing to ask, and an answer does.
        _ => Err(format!(
            "/{} is no command here; /help lists them, and a space before it makes it a message",
            neutral::word(word)
        )),
    })
}

impl Talk {
    pub(super) async fn obey(&mut self, command: Slash) {
        let done = match command {
            Slash::Help => {
                help();
                Ok(())
            }
            Slash::Agents => self.tell_agents().await,
            Slash::Usage => {
                self.tell_usage();
                Ok(())
            }
            Slash::Diff(agent) => self.diff(agent).await,
            Slash::Apply(agent) => self.apply(agent).await,
            Slash::New => {
                self.last = None;
                outln!("cordon: the next message begins a new conversation");
                Ok(())
            }
            Slash::Quit => Ok(()),
        };
        if let Err(e) = done {
            eprint!("{}", e.report());
        }
    }

    async fn tell_agents(&self) -> Result<(), CliError> {
        let Some(last) = &self.last else {
            outln!("cordon: {} will answer; nothing was said yet", neutral::word(&self.names.join(", ")));
            return Ok(());
        };
        let run = self.session.runs().get_run(GetRunRequest { id: last.id.clone() }).await?.into_inner();
        let row = |a: &cordon_proto::v1::RunAgent| {
            let outcome = json::outcome(a.outcome()).to_owned();
            vec![
                neutral::word(&a.id),
                neutral::word(&a.backend),
                neutral::word(&a.wall),
                outcome,
                neutral::path(a.workspace.as_bytes()),
            ]
        };
        let rows: Vec<_> = run.agents.iter().map(row).collect();
        let heading = ["AGENT", "BACKEND", "WALL", "LAST TURN", "WORKSPACE"];
        crate::out::write(format_args!("{}", table::render(&heading, &rows, Look::of(&io::stdout()))));
        Ok(())
    }

    fn tell_usage(&self) {
        let turns = table::count(u64::from(self.turns), "turn");
        match &self.used {
            Some(used) => outln!("cordon: {turns}; {}", usage(used)),
            None => outln!("cordon: {turns}; no tokens were told of"),
        }
    }

    async fn diff(&self, agent: String) -> Result<(), CliError> {
        let Some(run) = self.last_run() else { return Ok(()) };
        let style = DiffStyle { stat: false, name_only: false, color: Colour::Auto, paths: Vec::new() };
        done(interruptible(diff::of_run(&self.session, Diff { run, agent, style }, Output::Table)).await)
    }

    async fn apply(&self, agent: String) -> Result<(), CliError> {
        let Some(run) = self.last_run() else { return Ok(()) };
        let asked = Apply {
            run,
            agent,
            paths: Vec::new(),
            yes: false,
            allow: Vec::new(),
            on_drift: None,
            leave_out: false,
            dry_run: false,
        };
        done(interruptible(apply::apply(&self.session, asked, Output::Table)).await)
    }

    fn last_run(&self) -> Option<String> {
        if self.last.is_none() {
            outln!("cordon: nothing was said yet");
        }
        self.last.as_ref().map(|run| run.id.clone())
    }
}

fn done(result: Result<Exit, CliError>) -> Result<(), CliError> {
    result.map(|_| ())
}

fn help() {
    for (word, what) in ALL {
        outln!("  /{word:8} {what}");
    }
    outln!(
        "  A line that ends with a backslash goes on, as after Alt-Enter; what is pasted stays one message."
    );
    outln!("  Ctrl-C interrupts a turn, and what was said stays. A message that begins with a space is not");
    outln!("  kept in the history, and may begin with a slash after it.");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_words_of_their_own() {
        assert_eq!(of("/help"), Some(Ok(Slash::Help)));
        assert_eq!(of("/quit "), Some(Ok(Slash::Quit)));
        assert_eq!(of("/exit"), Some(Ok(Slash::Quit)));
        assert_eq!(of("/diff coder"), Some(Ok(Slash::Diff("coder".into()))));
        for unknown in ["/helpp", "/help me", "/quit now", "/apply a b", "/etc is what"] {
            assert!(matches!(of(unknown), Some(Err(_))), "{unknown}");
        }
        for message in ["help", " /help", "/etc/hosts says what?", "/", "/ help", "/* a comment */", "/Users"]
        {
            assert_eq!(of(message), None, "{message}");
        }
    }

    #[test]
    fn what_help_lists_is_there() {
        for word in words() {
            assert!(matches!(of(&format!("/{word}")), Some(Ok(_))), "{word}");
        }
    }
}
