//! `cordon lmstudio`: LM Studio's own program, for the person who types it and with that person's
//! rights. No agent file leads here and the daemon knows nothing of it.

mod find;
mod program;

use crate::{
    args::{LmStudio, Output, Port},
    ask,
    error::CliError,
    exit::Exit,
    neutral, progress,
};
use find::Places;
use program::{Ended, Program};
use std::{net::Ipv4Addr, os::unix::ffi::OsStrExt as _, path::Path, time::Duration};
use tokio::{net::TcpStream, time::timeout};

const INSTALLER: &str = "https://lmstudio.ai/install.sh";
/// Nobody's installer is larger.
const INSTALLER_BYTES: u64 = 1 << 20;
const MINUTE: Duration = Duration::from_secs(60);
/// LM Studio says that it has started a little before it listens.
const ANSWERS_WITHIN: Duration = Duration::from_secs(10);

pub(crate) async fn dispatch(command: LmStudio, output: Output) -> Result<Exit, CliError> {
    let places = Places::of_this_process()?;
    match command {
        LmStudio::Status(Port { port }) => status(&places, port, output).await,
        LmStudio::Start(Port { port }) => start(&places, port).await,
        LmStudio::Get { model } => {
            let what = format!("downloading {}", neutral::word(&model));
            with_model(&places, &["get"], &model, &what, 6 * 60 * MINUTE).await
        }
        LmStudio::Load { model } => {
            let what = format!("loading {}", neutral::word(&model));
            with_model(&places, &["load"], &model, &what, 15 * MINUTE).await
        }
        LmStudio::Install { yes } => install(&places, yes, output).await,
    }
}

async fn status(places: &Places, port: u16, output: Output) -> Result<Exit, CliError> {
    let lms = places.lms()?;
    let answers = listens(port).await;
    let shown = lms.as_deref().map(|p| neutral::path(p.as_os_str().as_bytes()));
    match output {
        Output::Json => {
            let json = serde_json::json!({ "program": shown, "port": port, "answers": answers });
            outln!("{}", crate::json::encode(&json));
        }
        Output::Table => {
            outln!("program  {}", shown.as_deref().unwrap_or("not found"));
            outln!(
                "server   {} on port {port}",
                if answers { "something answers" } else { "nothing answers" }
            );
        }
    }
    Ok(if lms.is_some() && answers { Exit::Success } else { Exit::Failed })
}

async fn start(places: &Places, port: u16) -> Result<Exit, CliError> {
    let lms = found(places)?;
    if listens(port).await {
        eprintln!("cordon: something answers on port {port} already; nothing is started");
        return Ok(Exit::Success);
    }
    let text = port.to_string();
    run(places, &lms, &["server", "start", "--port", &text], "starting LM Studio's server", 2 * MINUTE)
        .await?;
    let answers = timeout(ANSWERS_WITHIN, async {
        while !listens(port).await {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    });
    if answers.await.is_err() {
        return Err(CliError::Program(format!(
            "LM Studio says that its server is started, and nothing answers on port {port}: look at `lms server \
             status` and `lms log stream`"
        )));
    }
    eprintln!("cordon: LM Studio answers on port {port}");
    Ok(Exit::Success)
}

async fn with_model(
    places: &Places,
    verb: &[&str],
    model: &str,
    what: &str,
    within: Duration,
) -> Result<Exit, CliError> {
    let model = model_name(model)?;
    let lms = found(places)?;
    run(places, &lms, &[verb, &[model, "--yes"]].concat(), what, within).await?;
    eprintln!("cordon: done {what}");
    Ok(Exit::Success)
}

/// Never an option, and nothing that means anything to whoever reads it next.
fn model_name(model: &str) -> Result<&str, CliError> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:@+".contains(c);
    let first = model.starts_with(|c: char| c.is_ascii_alphanumeric());
    if first && model.len() <= 256 && model.chars().all(plain) {
        return Ok(model);
    }
    Err(CliError::Input(format!(
        "{:?} is no name of a model: letters, digits and - _ . / : @ +, a letter or digit first",
        neutral::word(model)
    )))
}

fn found(places: &Places) -> Result<std::path::PathBuf, CliError> {
    places.lms()?.ok_or_else(|| {
        CliError::Input(
            "LM Studio's program `lms` is neither on PATH nor in ~/.lmstudio/bin: install LM Studio from \
             lmstudio.ai and start it once, or run `cordon lmstudio install`"
                .to_owned(),
        )
    })
}

async fn install(places: &Places, yes: bool, output: Output) -> Result<Exit, CliError> {
    if let Some(lms) = places.lms()? {
        eprintln!("cordon: it is there already: {}", neutral::path(lms.as_os_str().as_bytes()));
        return Ok(Exit::Success);
    }
    if !yes && !ask::possible(output) {
        return Err(CliError::Input(
            "without a terminal to ask on, nothing is installed: give --yes".to_owned(),
        ));
    }
    let (Some(curl), Some(bash)) = (places.on_path("curl")?, places.on_path("bash")?) else {
        return Err(CliError::Input("`curl` and `bash` are needed and not both on PATH".to_owned()));
    };
    let room = Room::new(places)?;
    let script = room.0.join("install.sh");
    let path = script.to_str().ok_or_else(|| CliError::Input("HOME is no UTF-8".to_owned()))?;
    let largest = INSTALLER_BYTES.to_string();
    // No redirect may leave https, and nothing of ~/.curlrc counts.
    let fetch = [
        "--disable",
        "--fail",
        "--silent",
        "--show-error",
        "--location",
        "--max-redirs",
        "3",
        "--proto",
        "=https",
        "--max-time",
        "60",
        "--max-filesize",
        &largest,
        "--output",
        path,
        INSTALLER,
    ];
    run(places, &curl, &fetch, "downloading LM Studio's installer", 2 * MINUTE).await?;
    // All of it or none: half a script is never run, which a pipe to a shell would do.
    let content = crate::agent_file::read_limited(&script, INSTALLER_BYTES)?;
    if !content.starts_with(b"#!") {
        return Err(CliError::Program(format!("what {INSTALLER} answered is no script; nothing was run")));
    }
    let shown = neutral::path(path.as_bytes());
    eprintln!("cordon: {INSTALLER} is at {shown}, {} bytes; read it before you agree", content.len());
    if !yes && !ask::yes("run it with your rights, outside of any sandbox?").await? {
        eprintln!("cordon: nothing was run");
        return Ok(Exit::Cancelled);
    }
    run(places, &bash, &["--noprofile", "--norc", path], "installing LM Studio", 60 * MINUTE).await?;
    match places.lms()? {
        Some(lms) => eprintln!("cordon: installed: {}", neutral::path(lms.as_os_str().as_bytes())),
        None => {
            return Err(CliError::Program(
                "the installer ended without an error, and `lms` is neither on PATH nor in ~/.lmstudio/bin"
                    .to_owned(),
            ));
        }
    }
    Ok(Exit::Success)
}

/// A directory of this person's alone, for as long as it is needed.
struct Room(std::path::PathBuf);

impl Room {
    fn new(places: &Places) -> Result<Self, CliError> {
        use std::os::unix::fs::DirBuilderExt as _;
        let path = places.home.join(format!(".cordon-lmstudio-{}", uuid::Uuid::new_v4()));
        let made = std::fs::DirBuilder::new().mode(0o700).create(&path);
        made.map_err(|source| CliError::Write { path: path.clone(), source })?;
        Ok(Self(path))
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

async fn run(
    places: &Places,
    program: &Path,
    arguments: &[&str],
    what: &str,
    within: Duration,
) -> Result<(), CliError> {
    let asked = Program { program, arguments, home: &places.home, within };
    let name = neutral::path(program.as_os_str().as_bytes());
    let (how, said) = match progress::during(what, asked.run()).await? {
        (Ended::Well, _) => return Ok(()),
        (Ended::Badly(code), said) => (code, said),
        (Ended::Late, said) => {
            (format!("did not end within {} minutes and was stopped", within.as_secs() / 60), said)
        }
    };
    let said = neutral::text(&said);
    let said = said.trim();
    let said = if said.is_empty() { "it said nothing".to_owned() } else { format!("it said:\n{said}") };
    Err(CliError::Program(format!("{what} failed: {name} {how}; {said}")))
}

async fn listens(port: u16) -> bool {
    let dialled = timeout(Duration::from_secs(2), TcpStream::connect((Ipv4Addr::LOCALHOST, port))).await;
    dialled.is_ok_and(|connected| connected.is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_of_a_model_is_never_an_option_or_more_than_a_name() {
        for good in ["qwen/qwen3-8b", "a", "m@q4_k_m", "https://host.example/a/b", "x:1+2.3"] {
            assert_eq!(model_name(good).unwrap(), good);
        }
        let long = "a".repeat(257);
        for bad in ["-y", "--host=h", "", "a b", "a;b", "a\nb", "$(a)", "../a", "/a", "ü", "a?b", &long] {
            assert!(model_name(bad).is_err(), "{bad:?}");
        }
    }
}
