//! The scripted model provider as a program, for trials by hand and for tests that
//! need it in a process of its own.

use clap::Parser;
use cordon_tests::provider::{Provider, Script};
use std::{error::Error, net::SocketAddr, path::PathBuf};

/// Plays a script as a provider of Responses, chat completions, Messages and generateContent.
#[derive(Parser)]
struct Arguments {
    /// The script, JSON.
    #[arg(long, value_name = "FILE")]
    script: PathBuf,
    /// Where to listen.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// Write the address here once it listens.
    #[arg(long, value_name = "FILE")]
    port_file: Option<PathBuf>,
    /// Append every request here, one JSON value a line.
    #[arg(long, value_name = "FILE")]
    record: Option<PathBuf>,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments = Arguments::parse();
    let script: Script = serde_json::from_slice(&std::fs::read(&arguments.script)?)?;
    let provider = Provider::listen(script, arguments.listen, arguments.record).await?;
    println!("{}", provider.addr);
    if let Some(file) = &arguments.port_file {
        // Readers poll for the file: it must appear whole.
        let part = file.with_extension("part");
        std::fs::write(&part, provider.addr.to_string())?;
        std::fs::rename(&part, file)?;
    }
    tokio::signal::ctrl_c().await?;
    Ok(())
}
