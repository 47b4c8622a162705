//! The events of the runner of ag2.

use crate::driver::{Parser, Verdict};
use crate::events::{command, message, provider_error, session};
use crate::json::{count, text};
use crate::text::{MAX_LINE, clip};
use cordon_proto::v1::event::Kind;
use cordon_proto::v1::{ErrorEvent, UsageEvent};
use serde_json::Value;

#[derive(Debug)]
pub(super) struct Ag2Parser {
    verdict: Verdict,
}

impl Default for Ag2Parser {
    fn default() -> Self {
        Self { verdict: Verdict::Open }
    }
}

impl Ag2Parser {
    fn end(&mut self, event: &Value, out: &mut Vec<Kind>) {
        if text(event, "status") == "success" {
            // A failure stands: only one end is a turn's.
            if self.verdict == Verdict::Open {
                self.verdict = Verdict::Success;
            }
            return;
        }
        let why = clip(text(event, "message"), MAX_LINE);
        let why = if why.is_empty() { "ag2 reported a failure without a reason".to_owned() } else { why };
        out.push(match text(event, "reason") {
            reason @ ("missing-package" | "too-new-package") => Kind::Error(ErrorEvent {
                reason: reason.to_owned(),
                message: why.clone(),
                fix: "docker: command_line_docker_packages with preinstall.python: ['ag2[openai]==0.14.0']; \
                      local: a virtual environment with it, and cli_path"
                    .to_owned(),
            }),
            _ => provider_error(event["http_status"].as_u64(), &why),
        });
        self.verdict = Verdict::Failed(why);
    }
}

impl Parser for Ag2Parser {
    fn event(&mut self, event: &Value, out: &mut Vec<Kind>) -> bool {
        match text(event, "type") {
            "session" => out.extend(session(text(event, "id"))),
            "message" => {
                let (agent, said) = (text(event, "agent"), text(event, "text"));
                let said = if agent.is_empty() { said.to_owned() } else { format!("{agent}: {said}") };
                out.extend(message(&said));
            }
            "code" => {
                let code = event["exit_code"].as_i64().and_then(|code| i32::try_from(code).ok());
                let (id, status) = (text(event, "id"), text(event, "status"));
                out.push(command(id, text(event, "code"), status, code, text(event, "output")));
            }
            "usage" => out.push(Kind::Usage(UsageEvent {
                input_tokens: count(event, "input_tokens"),
                cached_input_tokens: 0,
                output_tokens: count(event, "output_tokens"),
                reasoning_tokens: 0,
                cost_usd: event["cost_usd"].as_f64().filter(|cost| cost.is_finite() && *cost > 0.0),
            })),
            "end" => self.end(event, out),
            _ => return false,
        }
        true
    }

    fn verdict(&self) -> Verdict {
        self.verdict.clone()
    }
}
