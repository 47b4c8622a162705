use super::*;
use crate::driver::testing::{CLEAN, run};
use crate::testing::context;
use cordon_config::{Ag2 as Agents, BackendKind};
use cordon_proto::v1::{Outcome, event::Kind};
use proptest::prelude::*;
use std::path::Path;

fn ag2(agents: &Value, variables: &[(&str, &str)]) -> Context {
    let mut context = context(BackendKind::Ag2, Path::new("/work"));
    let agents = agents.as_object().unwrap().clone();
    context.agent.program.ag2 = Some(Agents { agents, secrets: Vec::new() });
    context.variables = variables.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
    context
}

fn models(models: Value) -> Value {
    json!({"name": "a", "type": "assistant", "llm_config": models})
}

#[test]
fn keys_go_to_their_providers_own_host_alone() {
    let both = [("OPENAI_API_KEY", "sk-openai-1"), ("ANTHROPIC_API_KEY", "sk-ant-1")];
    let settled =
        settle(&ag2(&models(json!([{"model": "m"}, {"api_type": "anthropic", "model": "c"}])), &both))
            .unwrap();
    let list = &settled.agents["llm_config"];
    assert_eq!(
        (list[0]["api_key"].as_str(), list[1]["api_key"].as_str()),
        (Some("sk-openai-1"), Some("sk-ant-1"))
    );
    assert_eq!(settled.needs.secrets, ["sk-openai-1", "sk-ant-1"]);
    let hosts: Vec<String> = settled.needs.hosts.iter().map(ToString::to_string).collect();
    assert_eq!(hosts, ["api.openai.com:443", "api.anthropic.com:443"]);

    // Another host is not shown a key of the environment, and a private one needs none.
    let elsewhere = models(json!([{"model": "m", "base_url": "https://models.example.com/v1"}]));
    assert!(matches!(settle(&ag2(&elsewhere, &both)), Err(BackendError::NoLogin { .. })));
    let private = models(json!([{"model": "m", "base_url": "http://127.0.0.1:8000/v1"}]));
    let settled = settle(&ag2(&private, &both)).unwrap();
    assert_eq!(settled.agents["llm_config"][0]["api_key"], NO_KEY);
    assert_eq!(settled.needs.grants, [("127.0.0.1".to_owned(), 8000)]);
    assert!(settled.needs.secrets.is_empty() && settled.needs.hosts.is_empty());

    let unknown = models(json!([{"model": "m", "api_type": "bedrock"}]));
    assert!(settle(&ag2(&unknown, &both)).err().unwrap().to_string().contains("api_type"));
    assert!(settle(&ag2(&models(json!([{"api_type": "openai"}])), &both)).is_err());
    assert!(
        settle(&ag2(&models(json!([{"model": "m"}])), &[]))
            .err()
            .unwrap()
            .to_string()
            .contains("OPENAI_API_KEY")
    );
}

#[test]
fn every_model_of_a_group_is_settled() {
    let one = json!([{"model": "m"}]);
    let group = json!({"llm_config": one, "agents": [{"name": "a", "llm_config": one}, {"name": "b"}],
        "pattern": {"type": "auto", "group_manager_args": {"llm_config": one}}});
    let settled = settle(&ag2(&group, &[("OPENAI_API_KEY", "sk-openai-1")])).unwrap();
    let keys = settled.agents.to_string().matches("sk-openai-1").count();
    assert_eq!(keys, 3, "{}", settled.agents);
}

#[test]
fn the_runners_events_become_ours() {
    let lines = concat!(
        r#"{"type":"session","id":"0199a000-0000-7000-8000-000000000000"}"#,
        "\n",
        r#"{"type":"message","agent":"coder","text":"Let me see."}"#,
        "\n",
        r##"{"type":"code","id":"code-1","status":"completed","code":"# python\nprint(42)","exit_code":0,"output":"42\n"}"##,
        "\n",
        r#"{"type":"usage","input_tokens":20,"output_tokens":10,"cost_usd":0.5}"#,
        "\n",
        r#"{"type":"end","status":"success"}"#,
        "\n",
    );
    let (events, outcome) = run(Ag2Parser::default(), &[lines.as_bytes()], &CLEAN);
    assert_eq!(outcome.outcome, Outcome::Success);
    assert!(
        events.iter().any(|e| matches!(e, Kind::Message(m) if m.text == "coder: Let me see.")),
        "{events:?}"
    );
    assert!(
        events.iter().any(|e| matches!(e, Kind::Usage(u) if u.input_tokens == 20 && u.cost_usd == Some(0.5)))
    );
    assert!(!events.iter().any(|e| matches!(e, Kind::Unknown(_))), "{events:?}");
    for reason in ["missing-package", "too-new-package"] {
        let end = format!(r#"{{"type":"end","status":"error","reason":"{reason}","message":"none"}}"#);
        let (events, outcome) = run(Ag2Parser::default(), &[end.as_bytes()], &CLEAN);
        assert_eq!((outcome.outcome, outcome.message.as_str()), (Outcome::AgentFailed, "none"));
        assert!(
            matches!(&events[0], Kind::Error(e) if e.reason == reason && !e.fix.is_empty()),
            "{events:?}"
        );
    }
}

proptest! {
    #[test]
    fn without_its_end_nothing_is_a_success(data in prop::collection::vec(any::<u8>(), 0..400)) {
        let (_, outcome) = run(Ag2Parser::default(), &[&data], &CLEAN);
        prop_assert_ne!(outcome.outcome, Outcome::Success);
    }
}
