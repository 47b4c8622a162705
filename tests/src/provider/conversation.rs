//! Where a conversation stands is read from the request alone: clients retry and
//! make side requests, so a counter would be wrong. Call ids carry the turn that
//! made them.

/// Where a conversation stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Position {
    /// Last message that a person wrote.
    pub(super) prompt: String,
    /// The turn to play now.
    pub(super) turn: usize,
    /// The turns whose calls came back since.
    pub(super) steps: Vec<Step>,
    /// Thoughts that came back with no calls of them.
    pub(super) loose: Vec<String>,
}

/// What came back of one turn.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Step {
    pub(super) turn: usize,
    /// The thoughts before its calls, as the protocol seals them.
    pub(super) seals: Vec<String>,
}

impl Position {
    /// A person spoke: the turns begin again. Texts that clients add on their own
    /// (`<environment_context>`, `<system-reminder>`, `(no content)`) are none.
    pub(super) fn user(&mut self, text: &str) {
        let text = text.trim();
        if !text.is_empty() && !text.starts_with('<') && text != "(no content)" {
            let mut loose = std::mem::take(&mut self.loose);
            loose.extend(std::mem::take(&mut self.steps).into_iter().flat_map(|s| s.seals));
            *self = Self { prompt: text.to_owned(), loose, ..Self::default() };
        }
    }

    /// Thoughts came back; the calls of them follow.
    pub(super) fn thought(&mut self, seal: String) {
        self.loose.push(seal);
    }

    /// A call of ours was made or answered.
    pub(super) fn call(&mut self, id: &str) {
        if let Some(turn) = turn_of(id) {
            self.called(turn);
        }
    }

    /// The same for one whose turn is known otherwise.
    pub(super) fn called(&mut self, turn: usize) {
        self.turn = self.turn.max(turn + 1);
        if self.steps.last().is_none_or(|step| step.turn != turn) {
            self.steps.push(Step { turn, seals: Vec::new() });
        }
        if let Some(step) = self.steps.last_mut() {
            step.seals.append(&mut self.loose);
        }
    }
}

/// The name of one answer. Clients merge what has the same id, so no two answers of
/// any provider may share one.
#[derive(Clone, Debug)]
pub(super) struct Serial {
    turn: usize,
    unique: String,
}

impl Serial {
    pub(super) fn new(turn: usize, unique: String) -> Self {
        Self { turn, unique }
    }

    /// The id of a call, with its turn in it.
    pub(super) fn call(&self, prefix: &str, number: usize) -> String {
        format!("{prefix}_scripted{:04}x{number:02}x{}", self.turn, self.unique)
    }

    /// The id of anything else.
    pub(super) fn id(&self, prefix: &str) -> String {
        format!("{prefix}_{}", self.unique)
    }
}

fn turn_of(id: &str) -> Option<usize> {
    let (_, rest) = id.split_once("_scripted")?;
    rest.split_once('x')?.0.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_position_is_the_highest_turn_since_a_person_spoke() {
        let mut position = Position::default();
        position.user("first");
        position.call(&Serial::new(0, "a1".into()).call("call", 0));
        position.call(&Serial::new(1, "a2".into()).call("call", 1));
        position.call("call_of_somebody_else");
        assert_eq!(position.turn, 2);
        position.user("<environment_context>…");
        assert_eq!((position.prompt.as_str(), position.turn), ("first", 2));
        position.user("second");
        assert_eq!(position, Position { prompt: "second".into(), ..Position::default() });
    }
}
