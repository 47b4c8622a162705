#![allow(clippy::unwrap_used, clippy::panic)]

use super::*;
use cordon_backends::{
    Redactor,
    api::{
        Answer, ApiError, Arguments, Call, Choice, Conversation, Failure, FailureKind, GiveUp, Item, Part,
        Stop, Text, Usage, Written,
    },
};
use cordon_config::TurnLimits;
use cordon_models::{Ask, AskError, Asks, Told};
use cordon_proto::v1::Outcome;
use serde_json::{Map, Value, json};
use std::{
    collections::VecDeque,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

type Answers = VecDeque<Box<dyn FnOnce(&Ask<'_>) -> Result<Answer, AskError> + Send>>;

/// Answers from a list, and remembers what it was asked.
struct Scripted {
    answers: Mutex<Answers>,
    asked: Mutex<Vec<(Conversation, Vec<String>, Choice)>>,
    window: Option<u64>,
}

impl Scripted {
    fn new(answers: Vec<Answer>) -> Self {
        let answers = answers.into_iter().map(|a| Box::new(move |_: &Ask<'_>| Ok(a)) as Box<_>).collect();
        Self { answers: Mutex::new(answers), asked: Mutex::default(), window: None }
    }

    fn then(self, answer: impl FnOnce(&Ask<'_>) -> Result<Answer, AskError> + Send + 'static) -> Self {
        self.answers.lock().unwrap().push_back(Box::new(answer));
        self
    }

    fn asked(&self, at: usize) -> Conversation {
        self.asked.lock().unwrap()[at].0.clone()
    }
}

#[async_trait]
impl Asks for Scripted {
    async fn ask(&self, ask: Ask<'_>, tell: &mut (dyn FnMut(Told) + Send)) -> Result<Answer, AskError> {
        let names = ask.tools.iter().map(|t| t.name.clone()).collect();
        self.asked.lock().unwrap().push((ask.conversation.clone(), names, ask.choice.clone()));
        let next = self.answers.lock().unwrap().pop_front();
        let Some(next) = next else {
            // Nobody wrote an answer: it never comes.
            ask.cancel.cancelled().await;
            return Err(AskError::Cancelled);
        };
        let answer = next(&ask)?;
        for item in &answer.items {
            if let Item::Text(text) = item {
                let (a, b) = text.text.split_at(text.text.len() / 2);
                tell(Told::Event(cordon_backends::api::Event::Text(a.to_owned())));
                tell(Told::Event(cordon_backends::api::Event::Text(b.to_owned())));
            }
        }
        Ok(answer)
    }

    fn window(&self) -> Option<u64> {
        self.window
    }

    fn cost(&self, usage: &Usage) -> Option<u64> {
        Some(usage.output * 1000)
    }
}

/// Tools that answer what they were asked.
#[derive(Default)]
struct Echoes {
    running: AtomicUsize,
    most: AtomicUsize,
    kept: Mutex<Vec<(String, String)>>,
}

#[async_trait]
impl Toolbox for Echoes {
    fn tools(&self) -> Vec<ToolInfo> {
        let tool = |name: &str, own| ToolInfo {
            name: name.to_owned(),
            description: String::new(),
            schema: Map::new(),
            own,
        };
        vec![tool("read_text_file", true), tool("execute_command", true), tool("mcp__s__long.name", false)]
    }

    async fn call(&self, name: &str, arguments: Map<String, Value>) -> Result<Came, ToolFailed> {
        let now = self.running.fetch_add(1, Ordering::SeqCst) + 1;
        self.most.fetch_max(now, Ordering::SeqCst);
        tokio::task::yield_now().await;
        if arguments.contains_key("forever") {
            std::future::pending::<()>().await;
        }
        self.running.fetch_sub(1, Ordering::SeqCst);
        let size = arguments.get("size").and_then(Value::as_u64).unwrap_or_default();
        let text = format!("{name} {} sk-secret", "x".repeat(usize::try_from(size).unwrap()));
        Ok(Came::text(text, arguments.contains_key("fail")))
    }

    async fn keep(&self, name: &str, text: &str) -> Result<String, String> {
        self.kept.lock().unwrap().push((name.to_owned(), text.to_owned()));
        Ok(format!("/w/.tool_results/{name}"))
    }
}

#[derive(Default)]
struct Heard(Mutex<Vec<Kind>>);

#[async_trait]
impl Teller for Heard {
    async fn tell(&self, kinds: Vec<Kind>) -> Result<(), TellFailed> {
        self.0.lock().unwrap().extend(kinds);
        Ok(())
    }
}

impl Heard {
    fn kept(&self) -> Conversation {
        let mut kept = Kept::default();
        for kind in self.0.lock().unwrap().iter() {
            if let Kind::Conversation(event) = kind {
                kept.see(event);
            }
        }
        kept.conversation(String::new()).unwrap()
    }

    fn deltas(&self) -> String {
        let heard = self.0.lock().unwrap();
        heard
            .iter()
            .filter_map(|k| if let Kind::MessageDelta(d) = k { Some(d.text.as_str()) } else { None })
            .collect()
    }

    fn warnings(&self) -> Vec<String> {
        let heard = self.0.lock().unwrap();
        heard
            .iter()
            .filter_map(|k| if let Kind::Warning(w) = k { Some(w.reason.clone()) } else { None })
            .collect()
    }
}

fn answer(stop: Stop, items: Vec<Item>) -> Answer {
    let usage = Usage { input: 10, output: 5, ..Usage::default() };
    Answer { items, stop, usage, model: "m".to_owned(), id: "i".to_owned() }
}

fn text(text: &str) -> Item {
    Item::Text(Text { text: text.to_owned(), opaque: None })
}

fn call(id: &str, name: &str, arguments: Value) -> Item {
    let arguments = Written::Whole(Arguments::parse(arguments.to_string()).unwrap());
    Item::Call(Call { id: id.to_owned(), name: name.to_owned(), arguments, opaque: None })
}

struct Turn {
    tools: Echoes,
    heard: Heard,
    limits: TurnLimits,
    planning: bool,
    cancel: CancellationToken,
    within: Duration,
}

impl Default for Turn {
    fn default() -> Self {
        Self {
            tools: Echoes::default(),
            heard: Heard::default(),
            limits: TurnLimits::default(),
            planning: false,
            cancel: CancellationToken::new(),
            within: Duration::from_secs(600),
        }
    }
}

impl Turn {
    fn given<'a>(&'a self, model: &'a Scripted) -> Given<'a> {
        Given {
            model,
            tools: &self.tools,
            teller: &self.heard,
            limits: self.limits.clone(),
            planning: self.planning,
            planning_words: None,
            redactor: Redactor::new(&["sk-secret".to_owned()]),
            cancel: &self.cancel,
            deadline: Instant::now() + self.within,
        }
    }

    async fn take(&self, model: &Scripted, conversation: Conversation) -> Ended {
        Dialogue::new(self.given(model), conversation).turn("do it").await.unwrap()
    }
}

fn results(conversation: &Conversation) -> Vec<(String, String, bool)> {
    let text = |parts: &[Part]| match &parts[0] {
        Part::Text(text) => text.clone(),
        media @ Part::Media { .. } => panic!("{media:?}"),
    };
    let result = |item: &Item| match item {
        Item::Result(r) => Some((r.id.clone(), text(&r.parts), r.failed)),
        _ => None,
    };
    conversation.items.iter().filter_map(result).collect()
}

#[tokio::test]
async fn calls_are_made_side_by_side_and_answered_in_their_order() {
    let calls = (0..4).map(|n| call(&n.to_string(), "execute_command", json!({ "n": n }))).collect();
    let model = Scripted::new(vec![answer(Stop::End, calls), answer(Stop::End, vec![text("done")])]);
    let turn = Turn { limits: TurnLimits { at_once: 3, ..TurnLimits::default() }, ..Turn::default() };
    let ended = turn.take(&model, Conversation::default()).await;
    assert_eq!(ended.outcome, Outcome::Success);
    let ids: Vec<String> = results(&model.asked(1)).into_iter().map(|r| r.0).collect();
    assert_eq!(ids, ["0", "1", "2", "3"]);
    assert_eq!(turn.tools.most.load(Ordering::SeqCst), 3);
    assert_eq!(turn.heard.deltas(), "done");
    // What the journal has is what a later turn begins with, and no secret is in it.
    assert_eq!(turn.heard.kept().items.len(), 10);
    assert!(results(&turn.heard.kept()).iter().all(|r| r.1.ends_with("[redacted]")));
    assert!(results(&model.asked(1)).iter().all(|r| !r.1.contains("sk-secret")));
}

#[tokio::test]
async fn a_call_that_is_none_comes_back_with_what_is_wrong() {
    let broken = Item::Call(Call {
        id: "b".to_owned(),
        name: "read_text_file".to_owned(),
        arguments: Written::Broken(Arguments::parse("{\"path\":".to_owned()).unwrap_err()),
        opaque: None,
    });
    let model = Scripted::new(vec![
        answer(Stop::End, vec![call("a", "format_disk", json!({})), broken]),
        answer(Stop::End, vec![text("sorry")]),
    ]);
    let turn = Turn::default();
    assert_eq!(turn.take(&model, Conversation::default()).await.outcome, Outcome::Success);
    let results = results(&model.asked(1));
    assert!(results[0].1.contains("no tool \"format_disk\"") && results[0].2);
    assert!(results[1].1.contains("no valid JSON") && results[1].2);
    assert_eq!(turn.tools.most.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn what_a_limit_says_holds() {
    let again = || answer(Stop::End, vec![call("a", "execute_command", json!({}))]);
    for (limits, word) in [
        (TurnLimits { answers: 2, ..TurnLimits::default() }, "max_turns"),
        (TurnLimits { tokens: Some(20), ..TurnLimits::default() }, "max_tokens_total"),
        (TurnLimits { cost_micros: Some(9000), ..TurnLimits::default() }, "max_cost_usd"),
    ] {
        let model = Scripted::new((0..9).map(|_| again()).collect());
        let turn = Turn { limits, ..Turn::default() };
        let ended = turn.take(&model, Conversation::default()).await;
        assert_eq!(ended.outcome, Outcome::AgentFailed);
        assert!(ended.message.contains(word), "{}", ended.message);
        assert_eq!(model.asked.lock().unwrap().len(), 2, "{word}");
        assert!(turn.heard.kept().unanswered().is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn a_turn_ends_when_it_is_cancelled_or_late_also_within_a_tool() {
    let stuck =
        || Scripted::new(vec![answer(Stop::End, vec![call("a", "execute_command", json!({"forever": 1}))])]);
    let late = Turn { within: Duration::from_secs(5), ..Turn::default() };
    assert_eq!(late.take(&stuck(), Conversation::default()).await.outcome, Outcome::TimedOut);
    assert!(late.heard.kept().unanswered().is_empty());
    let cancelled = Turn::default();
    let cancel = cancelled.cancel.clone();
    let model = stuck();
    let taking = cancelled.take(&model, Conversation::default());
    let (ended, ()) = tokio::join!(taking, async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        cancel.cancel();
    });
    assert_eq!(ended.outcome, Outcome::Cancelled);
    let results = results(&cancelled.heard.kept());
    assert!(results[0].1.contains("not known"), "{results:?}");
}

#[tokio::test]
async fn planning_offers_nothing_that_changes_anything() {
    let model = Scripted::new(vec![
        answer(Stop::End, vec![call("a", "execute_command", json!({}))]),
        answer(Stop::End, vec![text("a plan")]),
    ]);
    let turn = Turn { planning: true, ..Turn::default() };
    turn.take(&model, Conversation::default()).await;
    let (asked, offered, _) = model.asked.lock().unwrap()[0].clone();
    assert_eq!(offered, ["read_text_file"]);
    assert!(asked.system.contains("Planning mode"));
    assert!(results(&model.asked(1))[0].1.contains("planning mode is active"));
    assert_eq!(turn.tools.most.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn a_large_result_lies_in_the_workspace_and_the_model_has_a_pointer() {
    let model = Scripted::new(vec![
        answer(
            Stop::End,
            vec![
                call("a", &shown("mcp__s__long.name"), json!({"size": 200_000})),
                call("b", "execute_command", json!({"size": 100_000})),
            ],
        ),
        answer(Stop::End, vec![text("read")]),
    ]);
    let turn = Turn::default();
    turn.take(&model, Conversation::default()).await;
    let results = results(&model.asked(1));
    assert!(results[0].1.len() < 10_000 && results[0].1.contains("/w/.tool_results/mcp__s__long_name-"));
    assert!(results[1].1.len() > 100_000, "Cordon's own tools bound themselves");
    let kept = turn.tools.kept.lock().unwrap();
    assert_eq!(kept.len(), 1);
    assert!(kept[0].1.len() > 200_000 && !kept[0].1.contains("sk-secret"));
}

/// Its server counts nothing, and there is no window.
#[tokio::test]
async fn a_conversation_outgrows_no_daemon() {
    let large = |id: &str| call(id, "execute_command", json!({"size": 40_000}));
    let model = Scripted::new(vec![
        answer(Stop::End, vec![large("a")]),
        answer(Stop::End, vec![large("b"), large("c")]),
        answer(Stop::End, vec![text("so far")]),
        answer(Stop::End, vec![text("done")]),
    ]);
    let turn = Turn { limits: TurnLimits { at_once: 1, ..TurnLimits::default() }, ..Turn::default() };
    let mut dialogue = Dialogue::new(turn.given(&model), Conversation::default());
    dialogue.room = bounds::Room { most: 60_000, full: 90_000 };
    let ended = dialogue.turn("do it").await.unwrap();
    assert_eq!(ended.outcome, Outcome::Success, "{ended:?}");
    assert!(
        turn.heard
            .kept()
            .items
            .iter()
            .any(|i| matches!(i, Item::User(parts) if bounds::bytes_of_parts(parts) < 60_000))
    );
    assert!(model.asked.lock().unwrap().iter().all(|(asked, ..)| bounds::bytes_of(&asked.items) < 100_000));
    let before = results(&model.asked(2));
    assert!(before.iter().any(|r| r.1.contains("there is no room")), "{}", before.len());

    // What cannot be made shorter is the end.
    let model = Scripted::new(vec![
        answer(Stop::End, vec![large("a")]),
        answer(Stop::End, vec![text(&"y".repeat(70_000))]),
    ]);
    let mut dialogue = Dialogue::new(turn.given(&model), Conversation::default());
    dialogue.room = bounds::Room { most: 30_000, full: 90_000 };
    let ended = dialogue.turn("do it").await.unwrap();
    assert_eq!(ended.outcome, Outcome::AgentFailed);
    assert!(ended.message.contains("cannot be made shorter"), "{}", ended.message);
}

#[tokio::test]
async fn a_key_that_is_called_like_a_tool_is_told_to_nobody() {
    let model = Scripted::new(vec![
        answer(Stop::End, vec![call("sk-secret", "sk-secret", json!({}))]),
        answer(Stop::End, vec![text("done")]),
    ]);
    let turn = Turn::default();
    turn.take(&model, Conversation::default()).await;
    let told = format!("{:?}", turn.heard.0.lock().unwrap());
    assert!(told.contains("There is no tool") && !told.contains("sk-secret"), "{told}");
}

fn shown(own: &str) -> String {
    crate::names::Names::default().show(own)
}

#[tokio::test]
async fn a_conversation_that_outgrows_the_window_goes_on_from_a_summary() {
    let too_long = |_: &Ask<'_>| {
        let failure = Failure {
            kind: FailureKind::ContextTooLong,
            status: Some(400),
            code: String::new(),
            message: String::new(),
            retry_after: None,
            told: None,
            request: String::new(),
        };
        Err(AskError::Failed { error: ApiError::Refused(Box::new(failure)), gave_up: GiveUp::Hopeless })
    };
    let mut items = vec![Item::User(vec![Part::Text("the first task".to_owned())])];
    for n in 0..10 {
        items.push(call(&n.to_string(), "execute_command", json!({})));
        let parts = vec![Part::Text("y".repeat(3000))];
        let (id, name) = (n.to_string(), "execute_command".to_owned());
        items.push(Item::Result(cordon_backends::api::CallResult { id, name, parts, failed: false }));
    }
    let model = Scripted::new(vec![])
        .then(too_long)
        .then(|ask| {
            assert_eq!(ask.choice, Choice::None);
            Ok(answer(Stop::End, vec![text("THE SUMMARY")]))
        })
        .then(|_| Ok(answer(Stop::End, vec![text("done")])));
    let turn = Turn::default();
    let ended = turn.take(&model, Conversation { system: "s".to_owned(), items }).await;
    assert_eq!(ended.outcome, Outcome::Success, "{}", ended.message);
    let last = model.asked(2);
    let Item::User(first) = &last.items[0] else { panic!("{last:?}") };
    let Part::Text(first) = &first[0] else { panic!("{first:?}") };
    assert!(first.starts_with("the first task") && first.ends_with("THE SUMMARY"));
    assert!(last.items.len() < 15);
    assert_eq!(turn.heard.warnings(), ["compacted"]);
    assert_eq!(turn.heard.kept().items.len(), last.items.len() + 1);
}

#[tokio::test]
async fn an_answer_that_was_no_complete_one_calls_nothing() {
    for stop in [Stop::Refused("no".to_owned()), Stop::Other("odd".to_owned())] {
        let model = Scripted::new(vec![answer(stop, vec![call("a", "execute_command", json!({}))])]);
        let turn = Turn::default();
        let ended = turn.take(&model, Conversation::default()).await;
        assert_eq!(ended.outcome, Outcome::AgentFailed);
        assert_eq!(turn.tools.most.load(Ordering::SeqCst), 0);
        assert!(turn.heard.kept().unanswered().is_empty());
    }
}

#[tokio::test]
async fn one_that_was_cut_goes_on_and_one_that_cannot_be_read_is_told_so() {
    let model = Scripted::new(vec![
        answer(Stop::Length, vec![text("half")]),
        answer(Stop::Malformed("bad".to_owned()), vec![]),
        answer(Stop::Paused, vec![]),
        answer(Stop::End, vec![text("whole")]),
    ]);
    let ended = Turn::default().take(&model, Conversation::default()).await;
    assert_eq!(ended.outcome, Outcome::Success);
    assert_eq!(model.asked.lock().unwrap().len(), 4);
}
