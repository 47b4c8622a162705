//! The command filters of an agent file: advice for a model that errs. A command that means
//! to get past them does; the wall is what stops it.

use crate::{Answer, Table, error::shown};
use regex::Regex;
use serde_json::json;

/// The refusal of a command by a filter, if one refuses it.
pub(crate) fn refusal(table: &Table, command: &str) -> Option<Answer> {
    let command = command.trim();
    if let Some(filter) = table.blocked_commands.iter().find(|filter| filter.is_match(command)) {
        let filter = written(filter);
        return Some(refuse(
            "command_line_blocked_commands",
            &filter,
            format!("the filter {filter} matches its beginning"),
        ));
    }
    let allowed = &table.allowed_commands;
    if allowed.is_empty() || allowed.iter().any(|filter| filter.is_match(command)) {
        return None;
    }
    let filters = shown(&allowed.iter().map(written).collect::<Vec<_>>().join(" | "));
    Some(refuse(
        "command_line_allowed_commands",
        &filters,
        format!("none of the filters {filters} matches its beginning"),
    ))
}

/// As it stands in the agent file.
fn written(filter: &Regex) -> String {
    let text = filter.as_str();
    let inner = text.strip_prefix("^(?:").and_then(|text| text.strip_suffix(')'));
    shown(inner.unwrap_or(text))
}

fn refuse(key: &str, filter: &str, why: String) -> Answer {
    let message = format!(
        "command not run: {why} ({key} of the agent file). This is advice from that file, not a \
         boundary: what a command may do is up to the sandbox."
    );
    let mut answer = Answer::text(&message)
        .with(json!({ "filter": { "key": key, "filter": filter, "message": message } }));
    answer.is_error = true;
    answer
}

#[cfg(test)]
mod tests {
    use super::*;
    use cordon_policy::Policy;
    use std::path::Path;

    fn table(allowed: &[&str], blocked: &[&str]) -> Table {
        let mut table = Table::new(Policy::default(), Path::new("/w")).unwrap();
        let compile = |texts: &[&str]| {
            texts.iter().map(|text| Regex::new(&format!("^(?:{text})")).unwrap()).collect::<Vec<_>>()
        };
        table.allowed_commands = compile(allowed);
        table.blocked_commands = compile(blocked);
        table
    }

    #[test]
    fn filters_speak_of_the_beginning() {
        let t = table(&["git |ls", "echo"], &["git push", "rm|mv"]);
        for (command, runs) in [
            ("git status", true),
            ("  ls -l", true),
            ("git push", false),
            ("rm x", false),
            ("mv a b", false),
            ("cat x", false),
            ("cat x; ls", false),
            ("echo rm", true),
        ] {
            assert_eq!(refusal(&t, command).is_none(), runs, "{command}");
        }
        assert!(refusal(&table(&[], &[]), "rm -rf /").is_none());
    }

    #[test]
    fn a_refusal_names_the_filter_and_says_what_it_is() {
        let answer = refusal(&table(&[], &["rm( |$)"]), "rm x").unwrap();
        assert!(answer.is_error);
        let text = answer.all_text();
        assert!(text.contains("rm( |$)") && text.contains("not a boundary"), "{text}");
        assert_eq!(answer.structured.unwrap()["filter"]["key"], "command_line_blocked_commands");
    }
}
