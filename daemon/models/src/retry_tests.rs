use super::*;
use cordon_backends::api::{Answer, Event, Failure, GiveUp, Stop, Usage};
use std::{collections::VecDeque, time::SystemTime};

/// Fails as it is told, then answers.
struct Fails(VecDeque<Fault>, Duration);

#[async_trait]
impl Once<Answer> for Fails {
    async fn once(&mut self, tell: &mut (dyn FnMut(Told) + Send)) -> Result<Answer, Fault> {
        sleep(self.1).await;
        tell(Told::Event(Event::Text("x".to_owned())));
        match self.0.pop_front() {
            Some(fault) => Err(fault),
            None => Ok(Answer {
                items: vec![],
                stop: Stop::End,
                usage: Usage::default(),
                model: String::new(),
                id: String::new(),
            }),
        }
    }
}

fn status(status: u16, after: Option<&str>) -> Fault {
    let header = |name: &str| after.filter(|_| name == "retry-after");
    let failure = Failure::of_response(status, &header, b"", SystemTime::UNIX_EPOCH);
    Fault::Api(ApiError::Refused(Box::new(failure)))
}

fn nobody() -> Fault {
    Fault::Unreachable { why: "nobody is there".to_owned(), again: true }
}

/// How it ended, after how long, and the waits that were told.
async fn run(
    faults: Vec<Fault>,
    each: u64,
    deadline: u64,
) -> (Result<Answer, AskError>, Duration, Vec<Duration>) {
    let mut what = Fails(faults.into(), Duration::from_secs(each));
    let (began, mut waits, mut attempts) = (Instant::now(), Vec::new(), Vec::new());
    let deadline = began + Duration::from_secs(deadline);
    let end = patiently(&mut what, &RetryPolicy::default(), deadline, "host:1", &mut |told| {
        if let Told::Again { wait, attempt, .. } = told {
            waits.push(wait);
            attempts.push(attempt);
        }
    })
    .await;
    assert_eq!(attempts, (2..=waits.len() as u32 + 1).collect::<Vec<_>>());
    (end, began.elapsed(), waits)
}

#[tokio::test(start_paused = true)]
async fn waits_are_waited_and_grow() {
    let faults = (0..5).map(|_| status(500, None)).collect();
    let (end, took, waits) = run(faults, 1, 1000).await;
    end.unwrap();
    assert_eq!(waits.len(), 5);
    let sum: Duration = waits.iter().sum();
    let spent = took - Duration::from_secs(6);
    assert!(spent >= sum && spent < sum + Duration::from_millis(20), "{took:?} {sum:?}");
    for (n, wait) in waits.iter().enumerate() {
        let step = Duration::from_millis(500 << n);
        assert!(*wait >= step / 2 && *wait <= step, "{n}: {wait:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_provider_is_left_alone_for_as_long_as_it_asks() {
    let (end, took, waits) = run(vec![status(429, Some("90")), status(503, Some("3"))], 0, 1000).await;
    end.unwrap();
    assert!(waits[0] >= Duration::from_secs(90) && waits[1] >= Duration::from_secs(3), "{waits:?}");
    assert!(took >= Duration::from_secs(93));
}

#[tokio::test(start_paused = true)]
async fn everything_ends() {
    let (end, ..) = run((0..100).map(|_| status(500, None)).collect(), 0, 1000).await;
    assert!(matches!(end, Err(AskError::Failed { gave_up: GiveUp::Attempts(6), .. })), "{end:?}");
    let (end, _, waits) = run(vec![status(429, Some("90"))], 0, 60).await;
    assert!(matches!(end, Err(AskError::Failed { gave_up: GiveUp::Time, .. })), "{end:?}");
    assert!(waits.is_empty());
    let (end, _, waits) = run((0..100).map(|_| nobody()).collect(), 0, 1000).await;
    assert_eq!(end.unwrap_err().to_string(), "host:1 cannot be reached: nobody is there");
    assert_eq!(waits.len(), 2);
    let fault = Fault::Wrong(ApiError::Truncated);
    let (end, _, waits) = run(vec![fault], 0, 1000).await;
    assert!(
        matches!(end, Err(AskError::Failed { gave_up: GiveUp::Hopeless, .. })) && waits.is_empty(),
        "{end:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn clients_that_failed_together_come_back_apart() {
    let mut waits = std::collections::HashSet::new();
    for _ in 0..20 {
        waits.insert(run(vec![status(500, None)], 0, 1000).await.2[0]);
    }
    assert!(waits.len() > 15, "{waits:?}");
}
