use super::*;
use crate::testing::{Does, KEY, Server, answered};
use cordon_backends::api::Settings;
use cordon_config::Secret;

fn target(name: &str, base: Option<&str>, model: &str) -> Target {
    let endpoint = Endpoint::new(provider(name).unwrap(), base, None).unwrap();
    let settings = Settings { model: model.to_owned(), ..Settings::default() };
    Target { endpoint, key: Some(Secret::new(KEY.to_owned())), settings }
}

/// A server with an answer for some paths, by method and path.
async fn server(routes: &[(&str, &str)]) -> Server {
    let routes: Vec<(String, String)> =
        routes.iter().map(|(p, b)| ((*p).to_owned(), (*b).to_owned())).collect();
    Server::start(move |_, line| {
        let found = routes.iter().find(|(path, _)| line == format!("{path} HTTP/1.1"));
        found.map_or_else(|| answered("404 Where", "", "{}"), |(_, body)| answered("200 OK", "", body))
    })
    .await
}

async fn settle_at(name: &str, server: &Server, model: &str, start: bool) -> Result<Target, SettleError> {
    let options = LmStudio { port: None, start };
    let target = target(name, Some(&server.url()), model);
    settle(target, &options, &Client::new().unwrap(), &CancellationToken::new()).await
}

fn paths(server: &Server) -> Vec<String> {
    let line = |request: &str| request.lines().next().unwrap().trim_end_matches(" HTTP/1.1").to_owned();
    server.heard().iter().map(|(_, request)| line(request)).collect()
}

#[tokio::test]
async fn what_is_said_is_not_asked_for() {
    let server = server(&[]).await;
    for name in ["vllm", "sglang", "lmstudio", "chatcompletion"] {
        let settled = settle_at(name, &server, "mine", false).await.unwrap();
        assert_eq!(settled.settings.model, "mine");
    }
    assert!(server.heard().is_empty());
}

#[tokio::test]
async fn the_server_behind_inference_is_found_out() {
    let one = |owner: &str| format!(r#"{{"data":[{{"id":"qwen","owned_by":"{owner}"}}]}}"#);
    let (vllm, sglang, other) = (one("vllm"), one("sglang"), one("me"));
    for (routes, found) in [
        (vec![("GET /v1/models", &*vllm)], "vllm"),
        (vec![("GET /v1/models", &*sglang)], "sglang"),
        (vec![("GET /v1/models", &*other), ("GET /version", r#"{"version":"0.11.0"}"#)], "vllm"),
        (vec![("GET /v1/models", &*other), ("GET /get_server_info", r#"{"tp_size":1}"#)], "sglang"),
        (vec![("GET /v1/models", &*other)], "inference"),
    ] {
        let server = server(&routes).await;
        for model in ["", "mine"] {
            let settled = settle_at("inference", &server, model, false).await.unwrap();
            assert_eq!(settled.endpoint.provider().name, found);
            assert_eq!(settled.endpoint.host(), ("127.0.0.1", server.port));
            assert_eq!(settled.settings.model, if model.is_empty() { "qwen" } else { "mine" });
        }
        let authorised =
            server.heard().iter().all(|(_, r)| r.contains(&format!("authorization: Bearer {KEY}")));
        assert!(authorised);
    }
}

#[tokio::test]
async fn a_model_is_chosen_where_there_is_one() {
    let many: Vec<String> = (0..40).map(|n| format!(r#"{{"id":"m{n}"}}"#)).collect();
    let many = format!(r#"{{"data":[{}]}}"#, many.join(","));
    for (body, says) in [
        (r#"{"data":[]}"#, "has no model"),
        (&*many, "several models"),
        (r#"{"data":[{"id":"a\nb"},{"id":5},{}]}"#, "has no model"),
        ("[]", "something else"),
        ("<html>", "cannot be read"),
    ] {
        let server = server(&[("GET /v1/models", body)]).await;
        let error = settle_at("vllm", &server, "", false).await.unwrap_err().to_string();
        assert!(error.contains(says) && error.len() < 400, "{error}");
    }
    let refuses = Server::always(answered("401 No", "", KEY)).await;
    let error = settle_at("vllm", &refuses, "", false).await.unwrap_err().to_string();
    assert!(error.contains("another key") && !error.contains(KEY), "{error}");
    let endless = Server::always(vec![
        crate::testing::sends("HTTP/1.1 200 OK\r\n\r\n"),
        Does::Repeats(vec![b'['; 64 << 10], 1 << 20),
    ])
    .await;
    assert!(settle_at("vllm", &endless, "", false).await.is_err());
    let elsewhere = server(&[("GET /v1/models", r#"{"data":[{"id":"stolen"}]}"#)]).await;
    let location = format!("location: {}/models\r\n", elsewhere.url());
    let redirects = Server::always(answered("307 Go", &location, "")).await;
    assert!(settle_at("vllm", &redirects, "", false).await.is_err());
    assert!(elsewhere.heard().is_empty());
}

#[tokio::test]
async fn cancelling_is_no_question_of_the_server() {
    let server = Server::always(vec![Does::Hangs]).await;
    let cancel = CancellationToken::new();
    cancel.cancel();
    let target = target("vllm", Some(&server.url()), "");
    let settled = settle(target, &LmStudio::default(), &Client::new().unwrap(), &cancel).await;
    assert!(matches!(settled, Err(SettleError::Ask(AskError::Cancelled))));
}

const LISTED_V1: &str = r#"{"models":[{"type":"llm","key":"in","loaded_instances":[{"id":"in"}]},
    {"type":"llm","key":"out","loaded_instances":[]},
    {"type":"embedding","key":"e","loaded_instances":[{"id":"e"}]}]}"#;

#[tokio::test]
async fn lm_studio_has_what_it_has_in_memory() {
    let new = server(&[("GET /api/v1/models", LISTED_V1)]).await;
    assert_eq!(settle_at("lmstudio", &new, "", false).await.unwrap().settings.model, "in");
    let old = r#"{"data":[{"id":"in","type":"llm","state":"loaded"},{"id":"out","type":"llm","state":"not-loaded"}]}"#;
    let old = server(&[("GET /api/v0/models", old)]).await;
    assert_eq!(settle_at("lmstudio", &old, "", false).await.unwrap().settings.model, "in");
    let none = server(&[("GET /v1/models", r#"{"data":[{"id":"only"}]}"#)]).await;
    assert_eq!(settle_at("lmstudio", &none, "", false).await.unwrap().settings.model, "only");
}

#[tokio::test]
async fn lm_studio_gets_and_loads_a_model_when_it_is_told_to() {
    let routes = [
        ("GET /api/v1/models", LISTED_V1),
        ("POST /api/v1/models/load", r#"{"status":"loaded"}"#),
        ("POST /api/v1/models/download", r#"{"job_id":"j/1","status":"downloading"}"#),
        ("GET /api/v1/models/download/status/j%2F1", r#"{"job_id":"j/1","status":"completed"}"#),
    ];
    for (model, asked) in [
        ("in", &routes[..1]),
        ("out", &routes[..2]),
        ("new", &[routes[0], routes[2], routes[3], routes[1]][..]),
    ] {
        let server = server(&routes).await;
        settle_at("lmstudio", &server, model, true).await.unwrap();
        let asked: Vec<&str> = asked.iter().map(|(path, _)| *path).collect();
        assert_eq!(paths(&server), asked, "{model}");
    }
    for (download, says) in [
        (r#"{"job_id":"j","status":"failed"}"#, "the download failed"),
        (r#"{"job_id":"j","status":"paused"}"#, "paused"),
        (r#"{"status":"downloading"}"#, "failed"),
    ] {
        let server =
            server(&[("GET /api/v1/models", LISTED_V1), ("POST /api/v1/models/download", download)]).await;
        let error = settle_at("lmstudio", &server, "new", true).await.unwrap_err().to_string();
        assert!(error.contains(says), "{error}");
    }
    let old = server(&[("GET /api/v0/models", r#"{"data":[{"id":"out","state":"not-loaded"}]}"#)]).await;
    let error = settle_at("lmstudio", &old, "new", true).await.unwrap_err().to_string();
    assert!(error.contains("`cordon lmstudio get new` and `cordon lmstudio load new`"), "{error}");
}

#[tokio::test]
async fn where_no_lm_studio_is_it_is_said_how_there_is_one() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let target = target("lmstudio", Some(&format!("http://127.0.0.1:{port}/v1")), "m");
    let options = LmStudio { port: None, start: true };
    let settled = settle(target, &options, &Client::new().unwrap(), &CancellationToken::new()).await;
    let error = settled.unwrap_err().to_string();
    assert!(error.contains(&format!("cordon lmstudio start --port {port}")), "{error}");
}
