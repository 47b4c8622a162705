//! `cordon lmstudio`.

use clap::{Subcommand, builder::NonEmptyStringValueParser, value_parser};

/// Where LM Studio listens unless it is told otherwise.
const PORT: &str = "1234";

/// The port, of every command that asks the server.
#[derive(Debug, clap::Args)]
pub(crate) struct Port {
    /// The server's port
    #[arg(long, default_value = PORT, value_parser = value_parser!(u16).range(1..))]
    pub(crate) port: u16,
}

#[derive(Debug, Subcommand)]
pub(crate) enum LmStudio {
    /// Say where its program is and whether the server answers
    Status(Port),
    /// Start the server
    Start(Port),
    /// Download a model
    Get {
        /// Its name, as LM Studio's catalogue has it
        #[arg(value_parser = NonEmptyStringValueParser::new())]
        model: String,
    },
    /// Load a model that is downloaded into memory
    Load {
        /// Its name, as `lms ls` has it
        #[arg(value_parser = NonEmptyStringValueParser::new())]
        model: String,
    },
    /// Download LM Studio's own installer, show where it is, ask, and run it
    Install {
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
}
