//! One turn of an agent whose model is reached through an API: the model is asked, the tools that
//! it calls are called, their results go back, until it has answered or may not go on. It keeps the
//! conversation within the model's window and within what the person allows. It opens no socket
//! and touches no file: models and tools are given, and what happens is told to a [`Teller`].

mod asking;
mod bounds;
mod budget;
mod calls;
mod compact;
mod fit;
mod kept;
mod make;
mod media;
mod names;
mod own;
mod planning;
mod toolbox;
mod turn;

pub use kept::{Kept, said};
pub use make::Studio;
pub use media::{Looker, Lookers, Media};
pub use toolbox::{Came, ToolFailed, ToolInfo, Toolbox, Tools};
pub use turn::{Dialogue, Ended, Given};

use async_trait::async_trait;
use cordon_proto::v1::event::Kind;

/// Who is told what happens. What it cannot take note of does not happen.
#[async_trait]
pub trait Teller: Send + Sync {
    /// Takes note of these events, in their order.
    ///
    /// # Errors
    /// When it cannot. The turn ends.
    async fn tell(&self, kinds: Vec<Kind>) -> Result<(), TellFailed>;
}

/// It could not be noted what happens.
#[derive(Clone, Debug, thiserror::Error)]
#[error("it could not be noted: {0}")]
pub struct TellFailed(pub String);

#[cfg(test)]
mod tests;
