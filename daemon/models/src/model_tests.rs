use crate::{AskError, Patience, Told, testing::*};
use cordon_backends::api::{ApiError, FailureKind, GiveUp, Limits};
use std::{
    collections::HashSet,
    time::{Duration, Instant},
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio_util::sync::CancellationToken;

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// All that an error shows, to whom it may be.
fn shown(outcome: &Outcome) -> String {
    format!("{:?} {:?}", outcome.end, outcome.told)
}

#[tokio::test]
async fn what_is_said_is_told_and_answered() {
    let server = Server::always(whole("grüße")).await;
    let outcome = ask(&model_at(&server.url())).await;
    assert_eq!(outcome.text(), "grüße");
    assert_eq!(outcome.end.unwrap().items.len(), 1);
    let (_, request) = server.heard().remove(0);
    let (head, body) = request.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("POST /v1/chat/completions HTTP/1.1\r\n"), "{head}");
    assert!(head.contains(&format!("authorization: Bearer {KEY}")));
    assert!(!head.to_ascii_lowercase().contains("accept-encoding"), "{head}");
    assert!(!body.contains(KEY));
}

#[tokio::test]
async fn a_key_follows_no_redirect() {
    let elsewhere = Server::always(whole("stolen")).await;
    for status in ["301 Moved", "302 Found", "303 See Other", "307 Temporary", "308 Permanent"] {
        let location = format!("location: http://u:pw@127.0.0.1:{}/to?token=t0psecret#f\r\n", elsewhere.port);
        let server = Server::always(answered(status, &location, "")).await;
        let outcome = ask(&model_at(&server.url())).await;
        let Err(AskError::Failed { error: ApiError::Refused(failure), gave_up: GiveUp::Hopeless }) =
            &outcome.end
        else {
            panic!("{:?}", outcome.end)
        };
        assert_eq!(failure.kind, FailureKind::Redirected);
        assert!(outcome.error().contains(&format!("127.0.0.1:{}/to", elsewhere.port)), "{}", outcome.error());
        for secret in ["t0psecret", "pw", KEY] {
            assert!(!shown(&outcome).contains(secret), "{}", shown(&outcome));
        }
        assert_eq!(server.heard().len(), 1);
    }
    assert!(elsewhere.heard().is_empty());
}

#[tokio::test]
async fn connections_are_used_again() {
    let server = Server::always(whole("x")).await;
    let model = model_at(&server.url());
    for _ in 0..20 {
        ask(&model).await.end.unwrap();
        tokio::task::yield_now().await;
    }
    let connections: HashSet<usize> = server.heard().into_iter().map(|(connection, _)| connection).collect();
    assert!(connections.len() <= 3, "{connections:?}");
}

#[tokio::test]
async fn a_connection_that_the_server_closed_is_no_failure() {
    let mut does = whole("x");
    does.push(Does::Closes);
    let server = Server::always(does).await;
    let model = model_at(&server.url());
    for _ in 0..10 {
        ask(&model).await.end.unwrap();
    }
}

#[tokio::test]
async fn cancelling_takes_effect_at_once() {
    let drip = || Does::Repeats(chunk("drip").into_bytes(), 1);
    let dripping: Vec<Does> =
        [sends(OPEN)].into_iter().chain((0..100_000).flat_map(|_| [drip(), Does::Waits(ms(1))])).collect();
    // In lines: one without end is refused before anybody could cancel.
    let comments = format!(":{}\n", "-".repeat(1022)).repeat(64).into_bytes();
    let flooding = vec![sends(OPEN), Does::Repeats(comments, 1 << 20)];
    let silent = vec![sends(OPEN), Does::Hangs];
    for does in
        [dripping, flooding, silent, vec![Does::Hangs], answered("503 Busy", "retry-after: 20\r\n", "")]
    {
        let said = format!("{:?}", does[0]);
        let server = Server::always(does).await;
        let (model, cancel) = (model_at(&server.url()), CancellationToken::new());
        let asked = ask_until(&model, None, &cancel);
        let stops = async {
            while server.heard().is_empty() {
                tokio::time::sleep(ms(1)).await;
            }
            // What the server does is under way.
            tokio::time::sleep(ms(20)).await;
            cancel.cancel();
            Instant::now()
        };
        let (outcome, cancelled) = tokio::join!(asked, stops);
        assert!(matches!(outcome.end, Err(AskError::Cancelled)), "{said}: {:?}", outcome.end);
        // Every other end of these servers comes after 20 s or never.
        assert!(cancelled.elapsed() < ms(10_000), "{said}: {:?}", cancelled.elapsed());
    }
}

#[tokio::test]
async fn a_deadline_holds_however_slowly_the_server_speaks() {
    let drips = (0..100_000).flat_map(|_| [sends(": \n"), Does::Waits(ms(1))]);
    let server = Server::always([sends(OPEN)].into_iter().chain(drips).collect()).await;
    let model = model_at(&server.url());
    let deadline = tokio::time::Instant::now() + ms(150);
    let outcome = ask_until(&model, Some(deadline), &CancellationToken::new()).await;
    assert!(matches!(outcome.end, Err(AskError::TimedOut)), "{:?}", outcome.end);
    // Nobody waits for ever, even when nobody says how long.
    let model = model.with_patience(Patience { whole: ms(150), ..hurried() });
    assert!(matches!(ask(&model).await.end, Err(AskError::TimedOut)));
}

#[tokio::test]
async fn silence_ends_an_attempt() {
    for quiet in [
        vec![Does::Hangs],
        vec![sends(OPEN), Does::Hangs],
        vec![sends(OPEN), sends(&chunk("a")), Does::Hangs],
        // Interim answers without end are no answer.
        vec![Does::Repeats(b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n".repeat(64), usize::MAX)],
        vec![Does::Repeats(b"HTTP/1.1 102 Processing\r\n\r\n".to_vec(), 3), Does::Hangs],
    ] {
        let server = Server::start(move |n, _| if n == 0 { quiet.clone() } else { whole("b") }).await;
        let model =
            model_at(&server.url()).with_patience(Patience { first: ms(80), idle: ms(80), ..hurried() });
        let outcome = ask(&model).await;
        assert!(outcome.again()[0].contains("sent nothing for 0.08 s"), "{:?}", outcome.again());
        assert_eq!(outcome.text(), "b");
        outcome.end.unwrap();
    }
}

#[tokio::test]
async fn what_breaks_off_is_asked_again_and_nothing_of_it_counts() {
    let begun = chunk("half");
    let cut = |end: Does| vec![sends(OPEN), sends(&begun), end];
    let short = vec![sends("HTTP/1.1 200 OK\r\ncontent-length: 9000\r\n\r\n"), sends(&begun), Does::Closes];
    let chunked =
        vec![sends("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\ndata:\r\n"), Does::Closes];
    let mid = "data: {\"error\":{\"message\":\"overloaded\",\"type\":\"server_error\"}}\n\n";
    for fails in [
        cut(Does::Closes),
        short,
        chunked,
        vec![Does::Closes],
        vec![sends("HTTP/1.1 2"), Does::Closes],
        vec![sends("garbage\r\n\r\n"), Does::Closes],
        vec![sends(OPEN), Does::Closes],
        vec![sends(OPEN), sends(&begun), sends(mid), Does::Closes],
        answered("500 Oops", "", "x"),
        answered("429 Slow", "retry-after-ms: 1\r\n", "{}"),
    ] {
        let said = format!("{fails:?}");
        let server = Server::start(move |n, _| if n < 2 { fails.clone() } else { whole("all") }).await;
        let outcome = ask(&model_at(&server.url())).await;
        assert_eq!(outcome.again().len(), 2, "{said}: {:?} {:?}", outcome.end, outcome.told);
        assert_eq!(outcome.text(), "all");
        assert_eq!(outcome.end.unwrap().items.len(), 1);
    }
}

#[tokio::test]
async fn what_cannot_help_is_not_done_again_and_no_error_shows_the_key() {
    let body = |said: &str| serde_json::json!({"error": {"message": said, "type": said}}).to_string();
    let echo = format!("Incorrect API key provided: {KEY}. Bearer {KEY}");
    let escaped = body(&echo).replace('/', "\\/").replace('+', "\\u002b");
    for (status, body) in [
        ("401 No", body(&echo)),
        ("401 No", escaped),
        ("400 Bad", format!("{}{KEY}", "x".repeat(100))),
        ("404 Where", body(&echo)),
        ("200 OK", format!("<html>{KEY}")),
        ("200 OK", body(&echo).replace("\"type\":", "\"status\":\"unauthenticated\",\"type\":")),
    ] {
        let server = Server::always(answered(status, &format!("x-request-id: {KEY}\r\n"), &body)).await;
        let outcome = ask(&model_at(&server.url())).await;
        assert!(
            matches!(outcome.end, Err(AskError::Failed { gave_up: GiveUp::Hopeless, .. })),
            "{:?}",
            outcome.end
        );
        assert!(!shown(&outcome).contains(KEY) && !outcome.error().contains(KEY), "{}", shown(&outcome));
        assert_eq!(server.heard().len(), 1, "{status}");
    }
    let server = Server::always(answered("429 Slow", "retry-after: 3600\r\n", "")).await;
    let outcome = ask(&model_at(&server.url())).await;
    assert!(outcome.error().contains("the provider asks to wait for 3600 s"), "{}", outcome.error());
    let server = Server::always(answered("200 OK", "content-encoding: gzip\r\n", "\x1f")).await;
    let outcome = ask(&model_at(&server.url())).await;
    assert!(outcome.error().contains("gzip"), "{}", outcome.error());
    assert_eq!(server.heard().len(), 1);
}

#[tokio::test]
async fn where_nobody_answers_it_is_said_who() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let outcome = ask(&model_at(&format!("http://127.0.0.1:{port}/v1"))).await;
    assert_eq!(outcome.again().len(), 2);
    let error = outcome.error();
    assert!(error.starts_with(&format!("127.0.0.1:{port} cannot be reached: Connection refused")), "{error}");
    // A server that has no TLS: what it answers to a greeting is none.
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let plain = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.write_all(b"HTTP/1.1 400 Bad\r\n\r\n").await.unwrap();
        stream.read_to_end(&mut Vec::new()).await.unwrap();
    });
    let outcome = ask(&model_at(&format!("https://127.0.0.1:{port}/v1"))).await;
    plain.abort();
    assert!(outcome.error().contains("TLS failed"), "{}", outcome.error());
    assert!(outcome.again().is_empty());
}

#[tokio::test]
async fn an_error_without_end_is_cut() {
    let head = sends("HTTP/1.1 400 Bad\r\n\r\n");
    let server = Server::always(vec![head, Does::Repeats(vec![b'x'; 1 << 20], 1 << 20)]).await;
    let outcome = ask(&model_at(&server.url())).await;
    assert!(outcome.error().len() < 6000, "{}", outcome.error().len());
}

#[tokio::test]
async fn headers_without_end_are_refused() {
    let line = format!("x-{}: y\r\n", "a".repeat(1000)).into_bytes();
    for does in [
        vec![sends("HTTP/1.1 200 OK\r\n"), Does::Repeats(line, 1 << 20)],
        vec![sends("HTTP/1.1 200 OK\r\n"), Does::Repeats(b"a: b\r\n".to_vec(), 1 << 20)],
        vec![sends("HTTP/1.1 200 OK\r\nx: "), Does::Repeats(vec![b'x'; 1 << 20], 1 << 20)],
        vec![Does::Repeats(b"HTTP/1.1 100 Continue\r\n\r\n".to_vec(), 1000), Does::Closes],
    ] {
        let said = format!("{:?}", does[0]).chars().take(200).collect::<String>();
        let server = Server::always(does).await;
        let model =
            model_at(&server.url()).with_patience(Patience { whole: Duration::from_secs(15), ..hurried() });
        let outcome = ask(&model).await;
        assert!(matches!(outcome.end, Err(AskError::Failed { .. })), "{said}: {:?}", outcome.end);
    }
}

#[tokio::test]
async fn many_bytes_pass_and_few_are_kept() {
    let comment = [vec![b':'; 64 << 10], b"\n".to_vec()].concat();
    let mut does = vec![sends(OPEN), Does::Repeats(comment, 1600), sends(&chunk("after"))];
    does.extend([sends(END), Does::Closes]);
    let server = Server::always(does).await;
    let outcome = ask(&model_at(&server.url())).await;
    assert_eq!(outcome.text(), "after");
    outcome.end.unwrap();
    // What is to be kept is bounded, what is passed is as well.
    let words = chunk(&"w".repeat(64 << 10)).into_bytes();
    let server = Server::always(vec![sends(OPEN), Does::Repeats(words, 1 << 20)]).await;
    let limits = Limits { kept: 4 << 20, ..Limits::default() };
    for model in [
        model_at(&server.url()).with_limits(limits),
        model_at(&server.url()).with_limits(Limits { stream: 4 << 20, ..Limits::default() }),
    ] {
        let outcome = ask(&model).await;
        let many = matches!(
            outcome.end,
            Err(AskError::Failed { error: ApiError::TooMuch { .. }, gave_up: GiveUp::Hopeless })
        );
        assert!(many, "{:?}", outcome.end);
    }
}

#[tokio::test]
async fn twenty_are_answered_at_once() {
    let server = Server::start(|n, _| {
        let mut does = vec![sends(OPEN)];
        for _ in 0..50 {
            does.extend([sends(&chunk(&format!("{n} "))), Does::Waits(ms(1))]);
        }
        does.extend([sends(END), Does::Closes]);
        does
    })
    .await;
    let model = model_at(&server.url());
    let asked: Vec<_> = (0..20)
        .map(|_| {
            let model = model.clone();
            tokio::spawn(async move { ask(&model).await })
        })
        .collect();
    let mut seen = HashSet::new();
    for outcome in asked {
        let outcome = outcome.await.unwrap();
        outcome.end.as_ref().unwrap();
        let text = outcome.text();
        let words: Vec<&str> = text.split(' ').collect();
        assert!(words.len() == 51 && words[..50].iter().all(|w| *w == words[0]), "{words:?}");
        seen.insert(words[0].to_owned());
    }
    assert_eq!(seen.len(), 20);
}

#[tokio::test]
async fn what_follows_the_end_is_nobodys() {
    let more = vec![b'x'; 1 << 20];
    let server =
        Server::always(vec![sends(OPEN), sends(&chunk("a")), sends(END), Does::Repeats(more, 1 << 20)]).await;
    let outcome = ask(&model_at(&server.url())).await;
    assert_eq!(outcome.text(), "a");
    outcome.end.unwrap();
    let server = Server::always(vec![sends(OPEN), sends(&chunk("a")), sends(END), Does::Hangs]).await;
    let asked = Instant::now();
    ask(&model_at(&server.url())).await.end.unwrap();
    // Silence is borne for 20 s.
    assert!(asked.elapsed() < Duration::from_secs(10), "{:?}", asked.elapsed());
}

#[tokio::test]
async fn usage_is_told() {
    let usage =
        "data: {\"id\":\"1\",\"choices\":[],\"usage\":{\"prompt_tokens\":7,\"completion_tokens\":2}}\n\n";
    let body = format!("{}{}", chunk("a"), END.replace("data: [DONE]", &format!("{usage}data: [DONE]")));
    let server = Server::always(answered("200 OK", "", &body)).await;
    let outcome = ask(&model_at(&server.url())).await;
    assert_eq!(outcome.end.as_ref().unwrap().usage.input, 7);
    assert!(outcome.told.iter().any(|t| matches!(t, Told::Event(cordon_backends::api::Event::Usage(_)))));
}

#[test]
fn a_price_is_known_or_it_is_not() {
    use crate::{Asks, Client, Model};
    use cordon_backends::api::{Endpoint, Settings, Target, Usage, provider};
    let client = Client::new().unwrap();
    let model = |name: &str, base: Option<&str>, model: &str| {
        let endpoint = Endpoint::new(provider(name).unwrap(), base, None).unwrap();
        let settings = Settings { model: model.to_owned(), ..Settings::default() };
        Model::new(Target { endpoint, key: None, settings }, &client)
    };
    let usage = Usage { input: 1_000_000, output: 1000, ..Usage::default() };
    let told = Usage { cost_micros: Some(7), ..usage };
    for (name, base, asked, cost, window) in [
        ("openai", None, "gpt-4.1", Some(2_008_000), Some(1_047_576)),
        ("chatcompletion", None, "gpt-4.1", Some(2_008_000), Some(1_047_576)),
        ("chatcompletion", Some("https://somewhere.example/v1"), "gpt-4.1", None, None),
        ("azure_openai", Some("https://a.openai.azure.com"), "gpt-4.1", None, None),
        ("openai", None, "gpt-4.1-of-ours", None, None),
        ("lmstudio", None, "qwen", Some(0), None),
    ] {
        let model = model(name, base, asked);
        assert_eq!((model.cost(&usage), model.window()), (cost, window), "{name} {asked}");
        assert_eq!(model.price_known(), cost.is_some(), "{name} {asked}");
        assert_eq!(model.cost(&told), Some(7), "what the provider says goes first");
    }
    let routed = model("openrouter", None, "anthropic/claude-opus-4.6");
    assert!(routed.price_known() && routed.cost(&usage).is_none() && routed.window() == Some(1_000_000));
}
