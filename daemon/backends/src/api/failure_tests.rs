use super::*;
use FailureKind::*;
use proptest::prelude::*;

fn failed(status: u16, headers: &[(&str, &str)], body: &str) -> Failure {
    let header = |name: &str| headers.iter().find(|(n, _)| *n == name).map(|(_, v)| *v);
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_790_000_000);
    Failure::of_response(status, &header, body.as_bytes(), now)
}

#[test]
fn what_providers_say_is_understood() {
    for (status, body, kind) in [
        (
            401,
            r#"{"error":{"message":"Incorrect API key provided: sk-x***","type":"invalid_request_error","param":null,"code":"invalid_api_key"}}"#,
            Auth,
        ),
        (
            401,
            r#"{"type":"error","error":{"type":"authentication_error","message":"invalid x-api-key"},"request_id":"req_1"}"#,
            Auth,
        ),
        (
            400,
            r#"{"error":{"code":400,"message":"API key not valid. Please pass a valid API key.","status":"INVALID_ARGUMENT","details":[{"@type":"type.googleapis.com/google.rpc.ErrorInfo","reason":"API_KEY_INVALID"}]}}"#,
            Auth,
        ),
        (
            400,
            r#"{"code":"Client specified an invalid argument","error":"Incorrect API key provided: xa***yz"}"#,
            BadRequest,
        ),
        (
            429,
            r#"{"error":{"message":"You exceeded your current quota","type":"insufficient_quota","param":null,"code":"insufficient_quota"}}"#,
            Billing,
        ),
        (402, r#"{"error":{"code":402,"message":"Insufficient credits"}}"#, Billing),
        (
            400,
            r#"{"type":"error","error":{"type":"invalid_request_error","message":"Your credit balance is too low to access the API"}}"#,
            Billing,
        ),
        (403, r#"[{"error":{"code":403,"message":"no","status":"PERMISSION_DENIED"}}]"#, Permission),
        (
            404,
            r#"{"error":{"message":"The model `x` does not exist","type":"invalid_request_error","code":"model_not_found"}}"#,
            NotFound,
        ),
        (
            400,
            r#"{"error":{"message":"Your input exceeds the context window of this model.","type":"invalid_request_error","code":"context_length_exceeded"}}"#,
            ContextTooLong,
        ),
        (
            400,
            r#"{"type":"error","error":{"type":"invalid_request_error","message":"prompt is too long: 210000 tokens > 200000 maximum"}}"#,
            ContextTooLong,
        ),
        (
            400,
            r#"{"error":{"code":400,"message":"The input token count (1200000) exceeds the maximum number of tokens allowed (1048576).","status":"INVALID_ARGUMENT"}}"#,
            ContextTooLong,
        ),
        (
            400,
            r#"{"object":"error","message":"This model's maximum context length is 4096 tokens.","type":"BadRequestError","code":400}"#,
            ContextTooLong,
        ),
        (
            413,
            r#"{"type":"error","error":{"type":"request_too_large","message":"Request exceeds the maximum size"}}"#,
            TooLarge,
        ),
        (529, r#"{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}"#, Overloaded),
        (503, "<html>upstream</html>", Overloaded),
        (500, "", Server),
        (504, r#"{"detail":"slow"}"#, Timeout),
        (422, r#"{"detail":[{"loc":["body"],"msg":"field required"}]}"#, BadRequest),
        (418, "teapot", BadRequest),
        (302, "", Redirected),
        (400, r#"{"error":{"message":"filtered","code":"content_filter","status":400}}"#, Filtered),
    ] {
        assert_eq!(failed(status, &[], body).kind, kind, "{status} {body}");
    }
}

#[test]
fn only_what_time_can_heal_is_asked_again() {
    for (status, retried) in
        [(400, false), (401, false), (403, false), (404, false), (413, false), (302, false)]
            .into_iter()
            .chain([
                (408, true),
                (409, true),
                (429, true),
                (500, true),
                (502, true),
                (503, true),
                (529, true),
            ])
    {
        assert_eq!(failed(status, &[], "").is_retryable(), retried, "{status}");
    }
    assert!(!failed(500, &[("x-should-retry", "false")], "").is_retryable());
    assert!(!failed(401, &[("x-should-retry", "true")], "").is_retryable());
}

#[test]
fn how_long_to_wait_is_read_in_every_form() {
    let wait = |headers: &[(&str, &str)], body: &str| failed(429, headers, body).retry_after;
    let secs = |n: f64| Some(Duration::from_secs_f64(n));
    assert_eq!(wait(&[("retry-after", "7")], ""), secs(7.0));
    assert_eq!(wait(&[("retry-after", " 0.5 ")], ""), secs(0.5));
    assert_eq!(wait(&[("retry-after", "7"), ("retry-after-ms", "250")], ""), secs(0.25));
    let date = |n| httpdate::fmt_http_date(SystemTime::UNIX_EPOCH + Duration::from_secs(n));
    assert_eq!(wait(&[("retry-after", &date(1_790_000_042))], ""), secs(42.0));
    assert_eq!(wait(&[("retry-after", &date(1_789_999_000))], ""), secs(0.0));
    for bad in ["", "-1", "inf", "NaN", "1e400", "soon", "99999999999999999999999"] {
        assert_eq!(wait(&[("retry-after", bad)], ""), None, "{bad}");
    }
    let delay = r#"{"error":{"code":429,"message":"Please retry in 9s","status":"RESOURCE_EXHAUSTED","details":[{"@type":"type.googleapis.com/google.rpc.RetryInfo","retryDelay":"34.5s"}]}}"#;
    assert_eq!(wait(&[], delay), secs(34.5));
    let said = |text: &str| wait(&[], &serde_json::json!({"error": {"message": text}}).to_string());
    assert_eq!(said("Please try again in 11.054s. Visit"), secs(11.054));
    assert_eq!(said("Please try again in 20ms."), secs(0.02));
    assert_eq!(said("Please try again in 2 minutes"), secs(120.0));
    assert_eq!(said("Please try again in a while"), None);
}

#[test]
fn a_message_says_what_when_and_who_to_ask() {
    let failure = failed(
        429,
        &[("x-request-id", "req_7")],
        r#"{"error":{"message":"Slow down","type":"requests","code":"rate_limit_exceeded"}}"#,
    );
    assert_eq!(
        failure.to_string(),
        "the model API has a rate limit that is used up (429, rate_limit_exceeded): Slow down [request req_7]"
    );
    assert!(failed(500, &[], &"x".repeat(1 << 20)).message.len() < 2 * MAX_LINE);
}

proptest! {
    #[test]
    fn arbitrary_bodies_never_panic(status in any::<u16>(), body in proptest::collection::vec(any::<u8>(), 0..100), header in "\\PC{0,30}") {
        let header = |_: &str| Some(header.as_str());
        let _ = Failure::of_response(status, &header, &body, SystemTime::now()).to_string();
    }
}
