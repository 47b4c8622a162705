//! Asks models: carries the requests of the four wire protocols to where they go, and their
//! answers back, with patience, limits and cancellation. It knows no run, no tool and no sandbox.

mod ask;
mod attempt;
mod client;
mod fault;
mod lmstudio;
mod make;
mod model;
mod probe;
mod retry;
mod settle;
#[cfg(test)]
mod testing;

pub use ask::{Ask, AskError, Asks, Told};
pub use client::Client;
pub use make::{LARGEST_MADE, Maker, Makes};
pub use model::{Model, Patience};
pub use settle::{SettleError, settle};
