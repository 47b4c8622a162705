//! Thoughts are sealed: a signature, or what is encrypted. The seal of a turn has to come
//! back with its calls exactly as it was given, as the real services want it.

use super::{Script, Turn, conversation::Position};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

/// What Gemini's service takes for thoughts that were another model's: `skip_thought_signature_validator`, as base64
/// reads it, which the real CLI sends, and in base64, which others do.
const NOT_OURS: [&str; 2] =
    ["skip/thought/signature/validator", "c2tpcF90aG91Z2h0X3NpZ25hdHVyZV92YWxpZGF0b3I="];

/// The seal of a turn. Base64, with what has a meaning in URLs in it, and not short.
pub(super) fn seal(turn: &Turn) -> String {
    let mut hash = DefaultHasher::new();
    ("a scripted seal", &turn.thoughts, turn.redacted).hash(&mut hash);
    format!("Ev+/{}AQ==", format!("{:016x}", hash.finish()).repeat(9))
}

/// Whether every seal that came back is one of ours, and every turn since the last prompt has its own.
/// `sealed` is what has to come back of a turn with thoughts.
pub(super) fn check(
    script: &Script,
    position: &Position,
    sealed: impl Fn(&Turn) -> Option<String>,
) -> Result<(), String> {
    let sealed = |turn: &Turn| Some(turn).filter(|t| !t.thoughts.is_empty()).and_then(&sealed);
    let known: Vec<String> = script.all().filter_map(sealed).collect();
    let given = position.steps.iter().flat_map(|s| &s.seals).chain(&position.loose);
    if let Some(strange) = given.into_iter().find(|s| !known.contains(s) && !NOT_OURS.contains(&s.as_str())) {
        return Err(format!("these thoughts were never given out like this: {strange}"));
    }
    for step in &position.steps {
        let wanted = sealed(&script.turn(&position.prompt, step.turn));
        if wanted.is_some_and(|wanted| !step.seals.contains(&wanted)) {
            let turn = step.turn;
            return Err(format!("the calls of turn {turn} came back without the thoughts that led to them"));
        }
    }
    Ok(())
}
