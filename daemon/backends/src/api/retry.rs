//! When to ask again, and after how long. Whoever waits brings the clock and the dice.

use super::ApiError;
use std::time::Duration;

/// How patient a call is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryPolicy {
    /// How often a request is sent at most.
    pub attempts: u32,
    /// Wait after the first failure; it doubles with each.
    pub first: Duration,
    /// The longest wait that nobody asked for.
    pub longest: Duration,
    /// The longest wait that a provider may ask for. Beyond it waiting is pointless.
    pub asked: Duration,
    /// All waits together.
    pub total: Duration,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            attempts: 6,
            first: Duration::from_millis(500),
            longest: Duration::from_secs(30),
            asked: Duration::from_secs(120),
            total: Duration::from_secs(300),
        }
    }
}

/// What has been tried so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tried {
    /// How often the request was sent; at least 1.
    pub attempts: u32,
    /// How long was waited in between.
    pub waited: Duration,
    /// What is left until a deadline, if there is one.
    pub left: Option<Duration>,
}

/// What to do after a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Send the same request again after this long. What was told of the failed answer is void.
    Again(Duration),
    /// Do not.
    GiveUp(GiveUp),
}

/// Why not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GiveUp {
    /// It would fail again.
    #[error("asking again would not help")]
    Hopeless,
    /// It was tried often enough.
    #[error("it was tried {0} times")]
    Attempts(u32),
    /// The provider wants to be left alone for longer than anybody waits.
    #[error("the provider asks to wait for {} s", .0.as_secs())]
    Asked(Duration),
    /// Time is up, or would be.
    #[error("the time for waiting is used up")]
    Time,
}

impl RetryPolicy {
    /// What to do after a failure. `jitter` is any number, fresh each time: it spreads
    /// clients that failed together.
    #[must_use]
    pub fn decide(&self, tried: Tried, error: &ApiError, jitter: u32) -> Decision {
        if !error.is_retryable() {
            return Decision::GiveUp(GiveUp::Hopeless);
        }
        if tried.attempts >= self.attempts {
            return Decision::GiveUp(GiveUp::Attempts(tried.attempts));
        }
        let asked = error.retry_after();
        if let Some(asked) = asked.filter(|a| *a > self.asked) {
            return Decision::GiveUp(GiveUp::Asked(asked));
        }
        let wait = match asked {
            // Later than asked for, never earlier.
            Some(asked) => asked.saturating_add(part(self.first, jitter)),
            None => {
                let step = self
                    .first
                    .saturating_mul(1_u32.checked_shl(tried.attempts.saturating_sub(1)).unwrap_or(u32::MAX));
                let step = step.min(self.longest);
                // Between half of it and all of it.
                step / 2 + part(step / 2, jitter)
            }
        };
        let over = tried.waited.saturating_add(wait) > self.total;
        if over || tried.left.is_some_and(|left| wait >= left) {
            return Decision::GiveUp(GiveUp::Time);
        }
        Decision::Again(wait)
    }
}

fn part(of: Duration, jitter: u32) -> Duration {
    of.mul_f64(f64::from(jitter) / f64::from(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::super::Failure;
    use super::*;
    use proptest::prelude::*;
    use std::time::SystemTime;

    fn failure(status: u16, after: Option<&str>) -> ApiError {
        let header = |name: &str| after.filter(|_| name == "retry-after");
        ApiError::Refused(Box::new(Failure::of_response(status, &header, b"", SystemTime::UNIX_EPOCH)))
    }

    fn tried(attempts: u32) -> Tried {
        Tried { attempts, ..Tried::default() }
    }

    #[test]
    fn waits_double_up_to_the_longest() {
        let policy = RetryPolicy { attempts: 100, ..RetryPolicy::default() };
        let wait = |n| match policy.decide(tried(n), &ApiError::Truncated, u32::MAX) {
            Decision::Again(wait) => wait.as_millis(),
            other => panic!("{other:?}"),
        };
        assert_eq!([1, 2, 3, 4].map(wait), [500, 1000, 2000, 4000]);
        assert_eq!([10, 40, 99].map(wait), [30_000; 3]);
    }

    #[test]
    fn what_the_provider_asks_for_is_kept() {
        let policy = RetryPolicy::default();
        assert_eq!(
            policy.decide(tried(1), &failure(429, Some("20")), 0),
            Decision::Again(Duration::from_secs(20))
        );
        let long = policy.decide(tried(1), &failure(429, Some("3600")), 0);
        assert_eq!(long, Decision::GiveUp(GiveUp::Asked(Duration::from_secs(3600))));
        assert!(matches!(policy.decide(tried(1), &failure(429, None), 0), Decision::Again(_)));
    }

    #[test]
    fn what_cannot_help_is_not_tried() {
        let policy = RetryPolicy::default();
        for hopeless in
            [failure(401, Some("1")), failure(400, None), ApiError::TooMuch { what: "bytes", limit: 1 }]
        {
            assert_eq!(policy.decide(tried(1), &hopeless, 0), Decision::GiveUp(GiveUp::Hopeless));
        }
        assert_eq!(policy.decide(tried(6), &failure(500, None), 0), Decision::GiveUp(GiveUp::Attempts(6)));
        let late = Tried { left: Some(Duration::from_millis(100)), ..tried(1) };
        assert_eq!(policy.decide(late, &failure(500, None), 0), Decision::GiveUp(GiveUp::Time));
        let waited = Tried { waited: policy.total, ..tried(1) };
        assert_eq!(policy.decide(waited, &failure(500, None), 0), Decision::GiveUp(GiveUp::Time));
    }

    proptest! {
        #[test]
        fn no_wait_is_out_of_bounds(attempts in any::<u32>(), waited in any::<u64>(), jitter in any::<u32>(), asked in proptest::option::of(0u64..1_000_000)) {
            let policy = RetryPolicy::default();
            let tried = Tried { attempts, waited: Duration::from_millis(waited), left: None };
            let asked_text = asked.map(|a| a.to_string());
            if let Decision::Again(wait) = policy.decide(tried, &failure(503, asked_text.as_deref()), jitter) {
                prop_assert!(attempts < policy.attempts);
                prop_assert!(tried.waited + wait <= policy.total);
                prop_assert!(wait >= Duration::from_secs(asked.unwrap_or(0)));
                prop_assert!(wait <= policy.asked + policy.first);
            }
        }
    }
}
