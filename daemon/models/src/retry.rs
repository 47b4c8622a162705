//! Asks again, as long as it may help.

use crate::{AskError, Told, fault::Fault};
use async_trait::async_trait;
use cordon_backends::api::{ApiError, Decision, RetryPolicy, Tried};
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// How often a server is dialled that does not answer: it may be about to start.
const DIALLED: u32 = 3;

/// What can be tried.
#[async_trait]
pub(crate) trait Once<T>: Send {
    async fn once(&mut self, tell: &mut (dyn FnMut(Told) + Send)) -> Result<T, Fault>;
}

/// Tries until there is an answer, or no hope of one.
pub(crate) async fn patiently<T>(
    what: &mut dyn Once<T>,
    policy: &RetryPolicy,
    deadline: Instant,
    host: &str,
    tell: &mut (dyn FnMut(Told) + Send),
) -> Result<T, AskError> {
    let mut tried = Tried::default();
    loop {
        tried.attempts += 1;
        let fault = match what.once(tell).await {
            Ok(answer) => return Ok(answer),
            Err(fault) => fault,
        };
        tried.left = Some(deadline.saturating_duration_since(Instant::now()));
        let (wait, why) = next(fault, tried, policy, host)?;
        tell(Told::Again { why, wait, attempt: tried.attempts + 1 });
        sleep(wait).await;
        tried.waited += wait;
    }
}

/// How long to wait, and why there is something to wait for.
fn next(
    fault: Fault,
    tried: Tried,
    policy: &RetryPolicy,
    host: &str,
) -> Result<(Duration, String), AskError> {
    let gave_up = match &fault {
        Fault::Api(error) => match policy.decide(tried, error, dice()) {
            Decision::Again(wait) => return Ok((wait, error.to_string())),
            Decision::GiveUp(why) => why,
        },
        Fault::Unreachable { why, again: true } => {
            let policy = RetryPolicy { attempts: policy.attempts.min(DIALLED), ..*policy };
            if let Decision::Again(wait) = policy.decide(tried, &ApiError::Truncated, dice()) {
                return Ok((wait, format!("{host} cannot be reached: {why}")));
            }
            cordon_backends::api::GiveUp::Hopeless
        }
        Fault::Unreachable { .. } | Fault::Wrong(_) => cordon_backends::api::GiveUp::Hopeless,
    };
    Err(match fault {
        Fault::Api(error) | Fault::Wrong(error) => AskError::Failed { error, gave_up },
        Fault::Unreachable { why, .. } => AskError::Unreachable { host: host.to_owned(), why },
    })
}

/// A number that nobody foresees, from the system: clients that failed together do not come back
/// together.
fn dice() -> u32 {
    uuid::Uuid::new_v4().as_fields().0
}

#[cfg(test)]
#[path = "retry_tests.rs"]
mod tests;
