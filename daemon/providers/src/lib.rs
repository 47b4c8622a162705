//! The providers of models, as data: how each is spoken to, where it is, where its key comes
//! from and what it can do. The checker of agent files, the builders of requests and the table
//! that people see read it from here. It opens no socket and knows no agent file.

mod making;
mod models;
mod protocol;
mod provider;
mod setting;

pub use making::{Maker, Making, MakingApi, MakingOption, MakingPrice, making_price};
pub use models::{Figures, Long, MODELS, Price, Tokens, figures, figures_of_vendor};
pub use protocol::Protocol;
pub use provider::{Auth, ChatDialect, PROVIDERS, Provider, Replay, Thinking, provider, provider_of_host};
pub use setting::{Effort, Setting, Summary, Verbosity};
