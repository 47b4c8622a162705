//! The policy of an agent file: every rule, or what may be done at some paths.

use super::listing::print;
use crate::{
    agent_file, args::Output, error::CliError, exit::Exit, neutral, problems, progress, session::Session,
};
use cordon_proto::v1::{ExplainRequest, ExplainRow, ExplainVerdict, ValidateResponse};
use serde_json::{Value, json};
use std::path::Path;

const NOTE: &str = "(*) where the kernel of the engine has Landlock";

pub(crate) async fn explain(
    session: &Session,
    file: &Path,
    paths: Vec<String>,
    agent: String,
    output: Output,
) -> Result<Exit, CliError> {
    let (agent_file, checked) = agent_file::check_whole(session, file).await?;
    let asked = !paths.is_empty();
    let models: Vec<_> =
        checked.models.iter().filter(|m| agent.is_empty() || m.agent == agent).cloned().collect();
    let request = ExplainRequest { agent_file: Some(agent_file), agent, paths };
    let answer = progress::during("working out the policy", session.agents().explain(request)).await?;
    let found = answer.into_inner().rows;
    let document = found.iter().map(document).collect();
    if asked {
        let heading = ["AGENT", "PATH", "OPERATION", "VERDICT", "RULE", "FROM", "WHAT WOULD ALLOW IT"];
        let rows: Vec<_> = found.iter().flat_map(verdicts).collect();
        print(output, &heading, &rows, &document);
        return Ok(Exit::Success);
    }
    let heading = ["AGENT", "ACCESS", "PATH", "RULE", "FROM", "LOCAL WALL", "DOCKER WALL"];
    let rows: Vec<_> = found.iter().map(rule).collect();
    print(output, &heading, &rows, &document);
    if output == Output::Table && !models.is_empty() {
        let asked = ValidateResponse { models, ..ValidateResponse::default() };
        crate::out::write(format_args!("Asked are:\n{}", problems::models(&asked)));
    }
    if output == Output::Table && found.iter().any(|r| r.docker_layer.contains("(*)")) {
        outln!("{NOTE}");
    }
    Ok(Exit::Success)
}

fn rule(r: &ExplainRow) -> Vec<String> {
    [&r.agent, &r.access, &r.path, &r.rule, &r.origin, &r.local_layer, &r.docker_layer]
        .map(|cell| neutral::word(cell))
        .to_vec()
}

/// Operations of the same fate share a line.
fn verdicts(row: &ExplainRow) -> Vec<Vec<String>> {
    let fate = |v: &ExplainVerdict| ExplainVerdict { operation: String::new(), ..v.clone() };
    let mut groups: Vec<(ExplainVerdict, Vec<&str>)> = Vec::new();
    for verdict in &row.verdicts {
        let fate = fate(verdict);
        match groups.iter_mut().find(|(known, _)| *known == fate) {
            Some((_, operations)) => operations.push(&verdict.operation),
            None => groups.push((fate, vec![&verdict.operation])),
        }
    }
    let line = |(fate, operations): (ExplainVerdict, Vec<&str>)| {
        let verdict = if fate.allowed { "allowed" } else { "refused" };
        [&row.agent, &row.path, &operations.join(", "), verdict, &fate.rule, &fate.origin, &fate.would_allow]
            .map(neutral::word)
            .to_vec()
    };
    groups.into_iter().map(line).collect()
}

fn document(r: &ExplainRow) -> Value {
    let mut document = json!({
        "agent": r.agent, "path": r.path, "access": r.access, "rule": r.rule, "origin": r.origin,
        "layer": r.layer, "local_layer": r.local_layer, "docker_layer": r.docker_layer,
    });
    if !r.verdicts.is_empty() {
        let verdict = |v: &ExplainVerdict| {
            json!({
                "operation": v.operation, "allowed": v.allowed, "rule": v.rule, "origin": v.origin,
                "would_allow": v.would_allow,
            })
        };
        document["verdicts"] = r.verdicts.iter().map(verdict).collect();
    }
    document
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operations_of_the_same_fate_share_a_line_and_nothing_of_it_is_raw() {
        let verdict = |operation: &str, allowed| ExplainVerdict {
            operation: operation.into(),
            allowed,
            rule: if allowed { "/r is read" } else { "/r is read only" }.into(),
            origin: "a.yaml:3".into(),
            would_allow: if allowed { "" } else { "set permission: write on /r" }.into(),
        };
        let row = ExplainRow {
            agent: "a".into(),
            path: "/r/\u{1b}[2J".into(),
            verdicts: vec![verdict("read", true), verdict("write", false), verdict("list", true)],
            ..Default::default()
        };
        let path = "/r/\\x1b[2J";
        assert_eq!(
            verdicts(&row),
            [
                ["a", path, "read, list", "allowed", "/r is read", "a.yaml:3", ""],
                ["a", path, "write", "refused", "/r is read only", "a.yaml:3", "set permission: write on /r"],
            ]
        );
        assert_eq!(document(&row)["verdicts"][1]["would_allow"], "set permission: write on /r");
    }
}
