//! A turn of Copilot CLI: the program itself, then a look at the file in which it counts
//! its tokens. What that file says is told; it decides nothing.

use super::copilot_events::CopilotParser;
use crate::driver::CliDriver;
use crate::events;
use crate::json;
use crate::text::MAX_OUTPUT;
use crate::{Driver, ExecPlan, Exit, Step};
use cordon_proto::v1::event::Kind;
use cordon_proto::v1::{OutputStream, UsageEvent};
use serde_json::Value;

/// Models of one turn that are counted.
const MAX_MODELS: usize = 1000;

pub(super) struct CopilotDriver {
    work: CliDriver<CopilotParser>,
    count: Option<ExecPlan>,
    counted: Vec<u8>,
    /// The program tells its session only when it ends by itself.
    session: Option<Kind>,
    /// It counts a session as a whole: what was told of it before.
    told: UsageEvent,
    stage: Stage,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Work,
    /// It ran to its own end.
    Worked,
    Count,
    Done,
}

impl CopilotDriver {
    pub(super) fn new(work: ExecPlan, count: ExecPlan, session: &str, told: UsageEvent) -> Self {
        Self {
            work: CliDriver::new("copilot", work, CopilotParser::new()),
            count: Some(count),
            counted: Vec::new(),
            session: events::session(session),
            told,
            stage: Stage::Work,
        }
    }
}

impl Driver for CopilotDriver {
    fn next(&mut self) -> (Vec<Kind>, Step) {
        if self.stage == Stage::Worked
            && let Some(plan) = self.count.take()
        {
            self.stage = Stage::Count;
            return (Vec::new(), Step::Exec(plan));
        }
        let (mut events, step) = self.work.next();
        events.extend(self.session.take());
        (events, step)
    }

    fn output(&mut self, stream: OutputStream, data: &[u8]) -> Vec<Kind> {
        if self.stage == Stage::Work {
            return self.work.output(stream, data);
        }
        if stream == OutputStream::Stdout {
            // One byte more than is taken: a longer file is none of the program's.
            let room = (MAX_OUTPUT + 1).saturating_sub(self.counted.len());
            self.counted.extend_from_slice(&data[..room.min(data.len())]);
        }
        Vec::new()
    }

    fn exited(&mut self, exit: &Exit) -> Vec<Kind> {
        if self.stage == Stage::Work {
            let own = exit.code.is_some() && !exit.cancelled && !exit.timed_out;
            self.stage = if own { Stage::Worked } else { Stage::Done };
            return self.work.exited(exit);
        }
        self.stage = Stage::Done;
        let since = usage(&self.counted).map(|total| events::since(&total, &self.told));
        since.map(Kind::Usage).into_iter().collect()
    }
}

fn usage(text: &[u8]) -> Option<UsageEvent> {
    if text.len() > MAX_OUTPUT {
        return None;
    }
    let usage = json::object(text)?;
    let models = usage["modelMetrics"].as_object()?;
    let mut total = UsageEvent::default();
    let add = |sum: &mut u64, usage: &Value, key: &str| *sum = sum.saturating_add(json::count(usage, key));
    for metrics in models.values().take(MAX_MODELS) {
        let usage = &metrics["usage"];
        add(&mut total.input_tokens, usage, "inputTokens");
        add(&mut total.cached_input_tokens, usage, "cacheReadTokens");
        add(&mut total.output_tokens, usage, "outputTokens");
        add(&mut total.reasoning_tokens, usage, "reasoningTokens");
    }
    Some(total)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::driver::testing::plan;
    use crate::testing::{exit, play};
    use cordon_proto::v1::Outcome;
    use proptest::prelude::*;

    const RECORDED: &[u8] = include_bytes!("golden/copilot-1.0.102-usage.json");
    const SESSION: &str = crate::testing::NEW_SESSION;
    const END: &[u8] = br#"{"type":"result","exitCode":0}"#;

    fn count() -> ExecPlan {
        ExecPlan { argv: vec![b"cat".to_vec()], ..plan() }
    }

    #[test]
    fn the_tokens_are_told_after_the_end_and_decide_nothing() {
        for (text, code, told) in [
            (RECORDED, 0, Some((400, 80, 40))),
            (b"".as_slice(), 1, None),
            (b"{\"modelMetrics\":[]}", 0, None),
        ] {
            let mut driver = CopilotDriver::new(plan(), count(), SESSION, UsageEvent::default());
            let (plans, events, outcome) = play(
                &mut driver,
                &[(&[(OutputStream::Stdout, END)], exit(0)), (&[(OutputStream::Stdout, text)], exit(code))],
            );
            assert_eq!(plans, [plan(), count()]);
            assert_eq!(outcome.outcome, Outcome::Success);
            let usage = events.iter().find_map(|e| match e {
                Kind::Usage(u) => Some((u.input_tokens, u.cached_input_tokens, u.output_tokens)),
                _ => None,
            });
            assert_eq!(usage, told);
        }
    }

    #[test]
    fn a_later_turn_of_a_session_counts_for_itself() {
        let told = UsageEvent {
            input_tokens: 300,
            cached_input_tokens: 60,
            output_tokens: 50,
            ..UsageEvent::default()
        };
        let mut driver = CopilotDriver::new(plan(), count(), SESSION, told);
        let (_, events, _) = play(
            &mut driver,
            &[(&[(OutputStream::Stdout, END)], exit(0)), (&[(OutputStream::Stdout, RECORDED)], exit(0))],
        );
        let [Kind::Session(session), .., Kind::Usage(usage)] = events.as_slice() else {
            panic!("{events:?}")
        };
        assert_eq!(session.id, SESSION);
        let counted = (usage.input_tokens, usage.cached_input_tokens, usage.output_tokens);
        assert_eq!(counted, (100, 20, 0), "what it counted less of than before is nothing");
    }

    #[test]
    fn after_a_stop_nothing_more_is_run() {
        let stopped = Exit { cancelled: true, ..exit(0) };
        let mut driver = CopilotDriver::new(plan(), count(), SESSION, UsageEvent::default());
        let (plans, _, outcome) = play(&mut driver, &[(&[(OutputStream::Stdout, END)], stopped)]);
        assert_eq!((plans.len(), outcome.outcome), (1, Outcome::Cancelled));
    }

    proptest! {
        #[test]
        fn no_file_makes_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200), text in "\\PC{0,80}") {
            let _ = usage(&bytes);
            let _ = usage(text.as_bytes());
            let _ = usage(format!("{{\"modelMetrics\":{{\"m\":{text}}}}}").as_bytes());
        }
    }
}
