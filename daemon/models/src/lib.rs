//! Asks models: carries the requests of the four wire protocols to where they go, and their
//! answers back, with patience, limits and cancellation. It knows no run, no tool and no sandbox.

mod ask;

pub use ask::{Ask, AskError, Asks, Told};
