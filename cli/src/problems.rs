//! Problems of an agent file, shown as a compiler shows them.

use crate::{
    neutral,
    screen::{Look, Tint},
};
use cordon_proto::v1::{Problem, ValidateResponse};
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
        "problems": answer.problems.iter().map(problem).collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: Look = Look { colour: false, columns: None };

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
