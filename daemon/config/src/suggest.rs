use crate::{
    keys::SCOPES,
    report::Quoted,
    shape::{Scope, Status},
};

/// The candidate that was most likely meant.
pub(crate) fn closest<'c>(word: &str, candidates: impl IntoIterator<Item = &'c str>) -> Option<&'c str> {
    let word: String = word.chars().take(64).flat_map(char::to_lowercase).collect();
    let most = 1 + word.chars().count() / 4;
    candidates
        .into_iter()
        .map(|c| (strsim::damerau_levenshtein(&word, &c.to_lowercase()), c))
        .filter(|(distance, c)| *distance <= most && *distance < c.chars().count())
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, c)| c)
}

/// `did you mean …?`, or nothing.
pub(crate) fn did_you_mean<'c>(word: &str, candidates: impl IntoIterator<Item = &'c str>) -> String {
    closest(word, candidates).map_or_else(String::new, |c| format!("did you mean `{c}`?"))
}

/// What to say of a key that a scope does not know.
pub(crate) fn for_key(name: &str, scope: &Scope) -> String {
    if let Some(other) = SCOPES.iter().find(|s| s.all().any(|k| k.name == name)) {
        return format!("{} belongs in {}", Quoted(name), other.name);
    }
    let names = |supported: bool| {
        scope
            .all()
            .filter(move |k| matches!(k.status, Status::Supported) == supported && !k.name.ends_with('*'))
            .map(|k| k.name)
    };
    let found = did_you_mean(name, names(true));
    if !found.is_empty() {
        return found;
    }
    let found = did_you_mean(name, names(false));
    if !found.is_empty() {
        return found;
    }
    match names(true).collect::<Vec<_>>() {
        known if known.is_empty() || known.len() > 12 => String::new(),
        known => format!("known here: {}", known.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::{AGENT, BACKEND, TOP};

    #[test]
    fn near_keys_are_found_and_far_ones_are_not() {
        assert_eq!(for_key("modle", &BACKEND), "did you mean `model`?");
        assert_eq!(for_key("agnets", &TOP), "did you mean `agents`?");
        assert_eq!(
            for_key("command_line_docker_netwrk_mode", &BACKEND),
            "did you mean `command_line_docker_network_mode`?"
        );
        assert_eq!(for_key("cwd", &AGENT), "`cwd` belongs in agents[].backend");
        assert_eq!(for_key("zzzzzzzz", &BACKEND), "");
        assert_eq!(closest("x", ["y"]), None);
    }
}
