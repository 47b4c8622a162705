//! Terminals of programs inside a sandbox. The program has a pseudo-terminal, the daemon reads
//! it always, keeps a model of its screen, and shows it to any number of viewers of whom one
//! writes. Nothing here knows what a run is.

mod carry;
mod filter;
mod hub;
mod model;

pub use carry::{Ended, carry, pass_input};
pub use hub::{End, Happening, Hub, Input, News, NotJoined, Place, Role, Told, Viewer, Wish};
pub use model::{Fed, Model, Size};
