//! What drives an agent inside a sandbox: one file a program. A backend says what
//! it needs of the sandbox, and drives a turn as a pure state machine: it is told
//! what processes printed and answers with events and the next process. It starts
//! nothing itself, so that a restarted daemon can feed it the journal again.

mod contract;
mod error;

pub use contract::{
    Backend, Context, Driver, ExecPlan, Exit, Login, Needs, Step, Turn, TurnOutcome, Variables,
};
pub use error::BackendError;
