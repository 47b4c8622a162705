use cordon_proto::v1::Outcome;

/// How the client ends. The numbers are part of its interface and are listed in `--help`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Done, or the run succeeded.
    Success,
    /// The agent failed or ran out of time; a check found something wrong.
    Failed,
    /// What the person gave cannot be used.
    BadInput,
    /// The policy or a wall refused.
    Refused,
    /// The daemon cannot be reached, or had trouble of its own.
    Daemon,
    /// Cancelled by the person.
    Cancelled,
    /// The code of a process run by `cordon exec`.
    Process(u8),
}

impl Exit {
    pub(crate) fn code(self) -> u8 {
        match self {
            Self::Success => 0,
            Self::Failed => 1,
            Self::BadInput => 2,
            Self::Refused => 3,
            Self::Daemon => 4,
            Self::Cancelled => 130,
            Self::Process(code) => code,
        }
    }

    pub(crate) fn of(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Success => Self::Success,
            Outcome::AgentFailed | Outcome::TimedOut => Self::Failed,
            Outcome::Refused => Self::Refused,
            Outcome::Cancelled => Self::Cancelled,
            Outcome::Broken | Outcome::Unspecified => Self::Daemon,
        }
    }
}
