//! Problems of an agent file, shown as a compiler shows them.

use crate::{
    commands::dollars,
    neutral,
    screen::{Look, Tint},
};
use cordon_proto::v1::{ModelAgent, Problem, ValidateResponse};
use serde_json::{Value, json};

pub(crate) fn errors(answer: &ValidateResponse) -> usize {
    answer.problems.iter().filter(|p| p.severity == "error").count()
}

pub(crate) fn render(file: &str, problems: &[Problem], look: Look) -> String {
    let file = neutral::word(file);
    let mut out = String::new();
    for problem in problems {
        let tint = if problem.severity == "error" { Tint::Red } else { Tint::Yellow };
        let reason = format!("{}[{}]", neutral::word(&problem.severity), neutral::word(&problem.reason));
        out += &format!("{}: {}\n", look.tint(tint, &reason), neutral::word(&problem.message));
        let line = problem.line.to_string();
        let margin = " ".repeat(line.len());
        let key = if problem.key.is_empty() {
            String::new()
        } else {
            format!(" ({})", neutral::word(&problem.key))
        };
        if problem.line == 0 {
            out += &format!(" --> {file}{key}\n");
        } else {
            out += &format!("{margin}--> {file}:{}:{}{key}\n", problem.line, problem.column);
        }
        if !problem.excerpt.is_empty() {
            let text = neutral::text(problem.excerpt.as_bytes());
            out += &format!("{margin} |\n");
            for (index, source) in text.lines().enumerate() {
                let number = if index == 0 && problem.line > 0 { &line } else { &margin };
                out += &format!("{number} | {}\n", source.trim_end());
            }
        }
        if !problem.help.is_empty() {
            out += &format!("{margin} = help: {}\n", neutral::word(&problem.help));
        }
        out.push('\n');
    }
    out
}

pub(crate) fn verdict(file: &str, answer: &ValidateResponse) -> String {
    let file = neutral::word(file);
    let count = |n: usize, what: &str| format!("{n} {what}{}", if n == 1 { "" } else { "s" });
    let errors = errors(answer);
    let warnings = count(answer.problems.len() - errors, "warning");
    if answer.valid {
        let agents: Vec<_> = answer.agents.iter().map(|a| neutral::word(a)).collect();
        format!("{file} is valid: {} ({}), {warnings}", count(agents.len(), "agent"), agents.join(", "))
    } else {
        format!("{file} is not valid: {}, {warnings}", count(errors, "error"))
    }
}

/// Who is asked for each agent of a model API, a line each.
pub(crate) fn models(answer: &ValidateResponse) -> String {
    answer.models.iter().map(|m| format!("  {}\n", model(m))).collect()
}

fn model(m: &ModelAgent) -> String {
    let word = |text: &str| neutral::word(text);
    let place = match (m.url.as_str(), m.url_from.as_str()) {
        ("", _) => "nowhere".to_owned(),
        (url, "") => word(url),
        (url, from) => format!("{} (by {})", word(url), word(from)),
    };
    let names = m.key_variables.iter().map(|k| word(k)).collect::<Vec<_>>().join(" or ");
    let key = match (m.key_from.as_str(), m.key_needed) {
        ("", true) => format!("no key in {names}: one is needed, or one kept by `cordon login`"),
        ("", false) => "no key, and none is needed".to_owned(),
        (from, _) => format!("the key of {}", word(from)),
    };
    let price = match (&m.figures, m.price_known) {
        (Some(f), true) => {
            let (read, written) = (dollars(f.input_price), dollars(f.output_price));
            format!("{read} and {written} dollars per million tokens read and written")
        }
        (_, true) => "what it costs is known".to_owned(),
        (_, false) => "what it costs is not known".to_owned(),
    };
    let model = if m.model.is_empty() { "no model".to_owned() } else { word(&m.model) };
    let tools = m.tools.iter().map(|t| word(t)).collect::<Vec<_>>().join(", ");
    format!("{}: {} at {place}, {model}, {key}; {price}; tools: {tools}", word(&m.agent), word(&m.backend))
}

pub(crate) fn json(file: &str, answer: &ValidateResponse) -> Value {
    let problem = |p: &Problem| {
        json!({
            "severity": p.severity, "reason": p.reason, "message": p.message, "key": p.key,
            "line": p.line, "column": p.column, "excerpt": p.excerpt, "help": p.help,
        })
    };
    json!({
        "file": file,
        "valid": answer.valid,
        "agents": answer.agents,
        "variables": answer.variables,
        "models": answer.models.iter().map(asked).collect::<Vec<_>>(),
        "problems": answer.problems.iter().map(problem).collect::<Vec<_>>(),
    })
}

/// Who is asked for an agent, for programs.
pub(crate) fn asked(m: &ModelAgent) -> Value {
    json!({
        "agent": m.agent, "backend": m.backend, "url": m.url, "url_from": m.url_from, "model": m.model,
        "key_from": m.key_from, "key_variables": m.key_variables, "key_needed": m.key_needed,
        "tools": m.tools, "price_known": m.price_known, "window": m.figures.as_ref().map(|f| f.window),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: Look = Look { colour: false, columns: None };

    #[test]
    fn who_is_asked_is_one_harmless_line() {
        let mut of = ModelAgent {
            agent: "a".into(),
            backend: "openai".into(),
            url: "https://x.test/\u{1b}[2J".into(),
            url_from: "OPENAI_BASE_URL".into(),
            model: "m".into(),
            key_variables: vec!["OPENAI_API_KEY".into()],
            key_needed: true,
            tools: vec!["Cordon's own".into(), "2 MCP servers".into()],
            ..ModelAgent::default()
        };
        let line = model(&of);
        assert!(
            line.starts_with("a: openai at https://x.test/\\x1b[2J (by OPENAI_BASE_URL), m, no key in"),
            "{line}"
        );
        assert!(line.ends_with("not known; tools: Cordon's own, 2 MCP servers"), "{line}");
        of.key_from = "api_key".into();
        of.price_known = true;
        assert!(model(&of).contains("the key of api_key; what it costs is known"), "{}", model(&of));
    }

    #[test]
    fn a_problem_looks_like_a_compilers() {
        let problems = [
            Problem {
                severity: "error".into(),
                reason: "unknown-key".into(),
                message: "unknown key `cwdd`\u{1b}[2J".into(),
                key: "agents[0].backend.cwdd".into(),
                line: 12,
                column: 7,
                excerpt: "      cwdd: work\n      ^^^^".into(),
                help: "did you mean `cwd`?".into(),
            },
            Problem {
                severity: "warning".into(),
                reason: "ignored-key".into(),
                message: "`ui` has no effect".into(),
                ..Problem::default()
            },
        ];
        assert_eq!(
            render("a.yaml", &problems, PLAIN),
            "\
error[unknown-key]: unknown key `cwdd`\\x1b[2J
  --> a.yaml:12:7 (agents[0].backend.cwdd)
   |
12 |       cwdd: work
   |       ^^^^
   = help: did you mean `cwd`?

warning[ignored-key]: `ui` has no effect
 --> a.yaml

"
        );
        let answer = ValidateResponse { problems: problems.into(), ..ValidateResponse::default() };
        assert_eq!(verdict("a.yaml", &answer), "a.yaml is not valid: 1 error, 1 warning");
        assert_eq!(json("a.yaml", &answer)["problems"][0]["line"], 12);
    }
}
