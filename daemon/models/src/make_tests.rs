use super::*;
use crate::testing::{Does, KEY, Server, answered, hurried, sends};
use cordon_backends::api::{Endpoint, Settings, provider};
use cordon_config::Secret;

/// `\x89PNG\r\n\x1a\n`
const PNG: &str = "iVBORw0KGgo=";

fn maker(url: &str) -> Maker {
    let endpoint = Endpoint::new(provider("chatcompletion").unwrap(), Some(url), None).unwrap();
    let settings = Settings { model: "m".to_owned(), ..Settings::default() };
    let target = Target { endpoint, key: Some(Secret::new(KEY.to_owned())), settings };
    Maker::new(target, Making::Image, &Client::new().unwrap()).unwrap().with_patience(hurried())
}

fn order() -> Order {
    Order { making: Making::Image, prompt: "a fox".to_owned(), options: Vec::new() }
}

async fn make(server: &Server) -> Result<Made, String> {
    let made = maker(&server.url()).make(&order(), &CancellationToken::new()).await;
    let made = made.map(|(made, _)| made).map_err(|error| error.to_string());
    assert!(!format!("{made:?}").contains(KEY));
    made
}

fn picture(data: &str) -> String {
    format!("{{\"data\":[{{\"b64_json\":\"{data}\"}}]}}")
}

fn ok(body: &str) -> Vec<Does> {
    answered("200 OK", "content-type: application/json\r\n", body)
}

#[tokio::test]
async fn it_is_asked_again_until_an_answer_has_begun() {
    let server = Server::start(|number, _| match number {
        0 => answered("503 Busy", "", "{}"),
        1 => answered("429 Slow", "retry-after: 0\r\n", "{}"),
        _ => ok(&picture(PNG)),
    })
    .await;
    assert_eq!(make(&server).await.unwrap().mime, "image/png");
    assert_eq!(server.heard().len(), 3);
    assert!(server.heard()[0].1.starts_with("POST /v1/images/generations "));
    // What was begun is paid for, whatever it is.
    for body in ["{", "{\"data\":[]}", &picture("AAAA"), "{\"error\":{\"code\":\"server_error\"}}"] {
        let server = Server::always(ok(body)).await;
        let _ = make(&server).await.unwrap_err();
        assert_eq!(server.heard().len(), 1, "{body}");
    }
    let head = "HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n{\"data\":";
    let server = Server::always(vec![sends(head), Does::Closes]).await;
    assert!(make(&server).await.unwrap_err().contains("broke off"));
    assert_eq!(server.heard().len(), 1);
}

#[tokio::test]
async fn neither_a_key_nor_an_order_goes_elsewhere() {
    let elsewhere = Server::always(ok(&picture(PNG))).await;
    let location = format!("location: http://127.0.0.1:{}/to\r\n", elsewhere.port);
    let server = Server::always(answered("307 Temporary", &location, "")).await;
    assert!(make(&server).await.unwrap_err().contains("where the key must not go"));
    assert!(elsewhere.heard().is_empty());
    // What repeats the key is shown without it.
    let server =
        Server::always(answered("400 Bad", "", &format!("{{\"error\":{{\"message\":\"{KEY}\"}}}}"))).await;
    assert!(make(&server).await.unwrap_err().contains("[redacted]"));
    let server = Server::always(ok(&format!("{{\"error\":{{\"message\":\"{KEY}\"}}}}"))).await;
    assert!(make(&server).await.unwrap_err().contains("[redacted]"));
}

#[tokio::test]
async fn what_is_too_large_is_left_in_the_middle() {
    let head = sends("HTTP/1.1 200 OK\r\n\r\n{\"data\":[{\"b64_json\":\"");
    let server = Server::always(vec![head, Does::Repeats(vec![b'A'; 64 << 10], 1 << 20)]).await;
    assert!(make(&server).await.unwrap_err().contains("has more than"));
}

#[tokio::test]
async fn whoever_waits_can_stop() {
    let server = Server::always(vec![sends("HTTP/1.1 200 OK\r\n\r\n{"), Does::Hangs]).await;
    let cancel = CancellationToken::new();
    let maker = maker(&server.url());
    let stop = async {
        while server.heard().is_empty() {
            tokio::task::yield_now().await;
        }
        cancel.cancel();
    };
    let order = order();
    let (made, ()) = tokio::join!(maker.make(&order, &cancel), stop);
    assert!(matches!(made, Err(AskError::Cancelled)));
}

#[test]
fn what_one_costs_is_told_or_in_the_list() {
    let of = |name: &str, base: Option<&str>, model: &str| {
        let endpoint = Endpoint::new(provider(name).unwrap(), base, None).unwrap();
        let settings = Settings { model: model.to_owned(), ..Settings::default() };
        let key = Some(Secret::new(KEY.to_owned()));
        Maker::new(Target { endpoint, key, settings }, Making::Image, &Client::new().unwrap()).unwrap()
    };
    let mut made = Made {
        data: Vec::new(),
        mime: "image/png",
        extension: "png",
        usage: cordon_backends::api::Usage { input: 20, output: 4160, ..Default::default() },
        revised: None,
    };
    assert_eq!(of("openai", None, "gpt-image-1").cost(&order(), &made), Some(166_500));
    assert_eq!(of("grok", None, "grok-imagine-image").cost(&order(), &made), Some(20_000));
    assert!(!of("openai", None, "other").price_known());
    assert!(of("chatcompletion", Some("https://openrouter.ai/api/v1"), "x/y").price_known());
    made.usage.cost_micros = Some(7);
    assert_eq!(of("openai", None, "other").cost(&order(), &made), Some(7));
}
