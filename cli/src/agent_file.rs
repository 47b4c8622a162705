//! Reads an agent file, and gathers the variables that the daemon asks for by name.

use crate::{args::Output, dotenv, error::CliError, neutral, problems, progress, session::Session};
use cordon_proto::v1::{AgentFile, GetRunFileRequest, ValidateRequest, ValidateResponse};
use std::{
    collections::{BTreeMap, HashMap},
    fs::File,
    io::Read as _,
    os::unix::{ffi::OsStrExt as _, fs::OpenOptionsExt as _},
    path::Path,
};

const MAX_FILE: u64 = 1 << 20;
/// Entries of the daemon's list that begin like this are no variables: a file of variables, by
/// its path, and the whole environment. Both are told as one JSON object.
const ENV_FILE: &str = "env-file:";
const ENVIRONMENT: &str = "environment:";

/// Reads an agent file as the daemon wants it, without variables.
pub(crate) fn read(path: &Path) -> Result<AgentFile, CliError> {
    let content = read_limited(path, MAX_FILE)?;
    let parent = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let directory =
        parent.canonicalize().map_err(|source| CliError::Read { path: parent.to_owned(), source })?;
    let directory = directory.into_os_string().into_string().map_err(|_| {
        CliError::Input("the directory of the agent file has a name that is not UTF-8".to_owned())
    })?;
    Ok(AgentFile {
        name: path.to_string_lossy().into_owned(),
        content: content.into(),
        directory,
        variables: HashMap::new(),
    })
}

/// Reads, validates with every variable that could be found, and prints all problems. Errors of the
/// file end here. With the file, the names of its agents.
pub(crate) async fn check(session: &Session, path: &Path) -> Result<(AgentFile, Vec<String>), CliError> {
    told(ask(session, path).await?)
}

/// The same with the file of an ended run.
pub(crate) async fn check_kept(session: &Session, run: &str) -> Result<AgentFile, CliError> {
    let request = GetRunFileRequest { id: run.to_owned() };
    let file = session.runs().get_run_file(request).await?.into_inner();
    Ok(told(complete(session, file).await?)?.0)
}

/// The same, with all that the daemon says of the file.
pub(crate) async fn check_whole(
    session: &Session,
    path: &Path,
) -> Result<(AgentFile, ValidateResponse), CliError> {
    let (file, answer) = ask(session, path).await?;
    let (file, _) = told((file, answer.clone()))?;
    Ok((file, answer))
}

fn told((file, answer): (AgentFile, ValidateResponse)) -> Result<(AgentFile, Vec<String>), CliError> {
    let errors = problems::errors(&answer);
    eprint!(
        "{}",
        problems::render(&file.name, &answer.problems, crate::screen::Look::of(&std::io::stderr()))
    );
    if !answer.valid {
        return Err(CliError::Invalid { file: file.name, errors: errors.max(1) });
    }
    Ok((file, answer.agents))
}

/// What the daemon says of the file, given the variables it asked for.
pub(crate) async fn ask(session: &Session, path: &Path) -> Result<(AgentFile, ValidateResponse), CliError> {
    complete(session, read(path)?).await
}

async fn complete(session: &Session, mut file: AgentFile) -> Result<(AgentFile, ValidateResponse), CliError> {
    let answer = validate(session, &file).await?;
    if answer.variables.is_empty() {
        return Ok((file, answer));
    }
    file.variables = {
        // Also where it is only mentioned: that costs a line in the environment, and nothing else.
        let file_has_key = file.content.windows(7).any(|word| word == b"api_key");
        gather(&answer.variables, Path::new(&file.directory), file_has_key)?
    };
    let answer = validate(session, &file).await?;
    Ok((file, answer))
}

async fn validate(session: &Session, file: &AgentFile) -> Result<ValidateResponse, CliError> {
    let request = ValidateRequest { agent_file: Some(file.clone()) };
    let answer = progress::during("checking the agent file", session.agents().validate(request)).await?;
    Ok(answer.into_inner())
}

/// They say where a key is sent, each with the variables that may hold that key.
const WHERE: [(&str, &[&str]); 4] = [
    ("OPENAI_BASE_URL", &["OPENAI_API_KEY"]),
    ("ANTHROPIC_BASE_URL", &["ANTHROPIC_API_KEY"]),
    ("AZURE_OPENAI_ENDPOINT", &["AZURE_OPENAI_API_KEY"]),
    ("AZURE_OPENAI_API_VERSION", &["AZURE_OPENAI_API_KEY"]),
];

/// A file that says where a key goes has to bring the key too: a repository may have a `.env`, and
/// what is the person's must not go to whom the repository names. So the key must be in the file,
/// and none in the environment or the agent file that would be sent instead.
fn may_say_where(
    keys: &[&str],
    file: &BTreeMap<String, String>,
    environment: impl Fn(&str) -> Option<String>,
    file_has_key: bool,
) -> bool {
    let some = |value: &String| !value.trim().is_empty();
    let brings = keys.iter().any(|key| file.get(*key).is_some_and(some));
    brings && !file_has_key && !keys.iter().any(|key| environment(key).is_some())
}

/// The environment first, then `.env` beside the agent file, then `.env` here. What comes from
/// here is said: a repository may bring one, and with it a key that is not the person's.
fn gather(
    names: &[String],
    directory: &Path,
    file_has_key: bool,
) -> Result<HashMap<String, String>, CliError> {
    let beside = read_dotenv(&directory.join(".env"))?;
    let here = match std::env::current_dir() {
        Ok(here) if here != directory => read_dotenv(Path::new(".env"))?,
        _ => BTreeMap::new(),
    };
    let environment_has = |name: &str| std::env::var_os(name).and_then(|value| value.into_string().ok());
    let (asked, names): (Vec<&String>, Vec<&String>) = names.iter().partition(|n| n.contains(':'));
    let find = |name: &String| {
        let own = environment_has(name);
        let place = WHERE.iter().find(|(address, _)| address == name);
        let from_beside = || {
            let value = beside.get(name)?;
            if place.is_some_and(|(_, keys)| !may_say_where(keys, &beside, environment_has, file_has_key)) {
                eprintln!(
                    "cordon: {name} in .env beside the agent file is left out: it says where a key goes, and the key \
                     that would go there is not from that .env; set {name} in the environment, or base_url in the \
                     agent file"
                );
                return None;
            }
            Some(value.clone())
        };
        let from_here = || {
            let value = here.get(name)?;
            if place.is_some() {
                eprintln!(
                    "cordon: {name} in .env of the current directory is left out: it says where a key goes; set it \
                     in the environment, or base_url in the agent file"
                );
                return None;
            }
            eprintln!("cordon: {name} is taken from .env of the current directory");
            Some(value.clone())
        };
        let value = own.or_else(from_beside).or_else(from_here);
        value.map(|value| (name.clone(), value))
    };
    let mut found: HashMap<String, String> = names.into_iter().filter_map(find).collect();
    for name in asked {
        let told = match name.strip_prefix(ENV_FILE) {
            Some(path) => several(&directory.join(path))?,
            None if name == ENVIRONMENT => Some(environment()),
            None => None,
        };
        found.extend(told.map(|told| (name.clone(), crate::json::encode(&serde_json::json!(told)))));
    }
    Ok(found)
}

/// What a file of variables says; none when there is no such file.
fn several(path: &Path) -> Result<Option<BTreeMap<String, String>>, CliError> {
    // What cannot be looked at is an error of reading it.
    match path.try_exists() {
        Ok(false) => Ok(None),
        _ => read_dotenv(path).map(Some),
    }
}

/// Names and values that are no text are nobody's to pass.
fn environment() -> BTreeMap<String, String> {
    std::env::vars_os().filter_map(|(n, v)| Some((n.into_string().ok()?, v.into_string().ok()?))).collect()
}

fn read_dotenv(path: &Path) -> Result<BTreeMap<String, String>, CliError> {
    let bytes = match read_limited(path, MAX_FILE) {
        Ok(bytes) => bytes,
        Err(CliError::Read { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {
            return Ok(BTreeMap::new());
        }
        Err(other) => return Err(other),
    };
    let text =
        String::from_utf8(bytes).map_err(|_| CliError::Input(format!("{} is not UTF-8", path.display())))?;
    let parsed = dotenv::parse(&text);
    for line in parsed.bad_lines {
        // Never the line itself: it may hold a secret.
        let name = neutral::path(path.as_os_str().as_bytes());
        eprintln!("cordon: {name}:{line} is not KEY=VALUE and is left out");
    }
    Ok(parsed.variables)
}

/// Reads a regular file or a pipe, up to a limit; never waits for a FIFO's writer.
pub(crate) fn read_limited(path: &Path, limit: u64) -> Result<Vec<u8>, CliError> {
    let failed = |source| CliError::Read { path: path.to_owned(), source };
    let file = File::options().read(true).custom_flags(nix::libc::O_NONBLOCK).open(path).map_err(failed)?;
    if !file.metadata().map_err(failed)?.is_file() {
        return Err(CliError::Input(format!(
            "{} is not a regular file",
            neutral::path(path.as_os_str().as_bytes())
        )));
    }
    let mut bytes = Vec::new();
    file.take(limit + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > limit {
        return Err(CliError::TooLarge { what: path.to_string_lossy().into_owned(), limit });
    }
    Ok(bytes)
}

/// `cordon validate`.
pub(crate) async fn validate_command(
    session: &Session,
    path: &Path,
    output: Output,
) -> Result<bool, CliError> {
    let (file, answer) = ask(session, path).await?;
    match output {
        Output::Json => outln!("{}", crate::json::encode(&problems::json(&file.name, &answer))),
        Output::Table => {
            let look = crate::screen::Look::of(&std::io::stdout());
            crate::out::write(format_args!("{}", problems::render(&file.name, &answer.problems, look)));
            outln!("{}", problems::verdict(&file.name, &answer));
            crate::out::write(format_args!("{}", problems::models(&answer)));
        }
    }
    Ok(answer.valid)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scratch(name: &str) -> std::path::PathBuf {
        let dir = std::env::temp_dir().join(format!("cordon-file-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&dir);
        std::fs::create_dir_all(&dir).unwrap();
        dir
    }

    #[test]
    fn only_regular_files_of_a_bearable_size_are_read() {
        let dir = scratch("kinds");
        std::fs::write(dir.join("large"), vec![b'x'; 11]).unwrap();
        nix::unistd::mkfifo(&dir.join("fifo"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert_eq!(read_limited(&dir.join("large"), 11).unwrap().len(), 11);
        assert!(matches!(read_limited(&dir.join("large"), 10), Err(CliError::TooLarge { .. })));
        assert!(matches!(read_limited(&dir.join("fifo"), 10), Err(CliError::Input(_))));
        assert!(matches!(read_limited(&dir, 10), Err(CliError::Input(_))));
        assert!(matches!(read_limited(&dir.join("none"), 10), Err(CliError::Read { .. })));
        std::fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn the_environment_comes_before_the_file_and_only_names_asked_for_are_sent() {
        let dir = scratch("env");
        std::fs::write(dir.join(".env"), "PATH=no\nCORDON_TEST_KEY=yes\nOTHER=secret\n").unwrap();
        let names = ["PATH", "CORDON_TEST_KEY", "CORDON_TEST_UNSET"].map(str::to_owned);
        let found = gather(&names, &dir, false).unwrap();
        assert_eq!(found.get("CORDON_TEST_KEY").map(String::as_str), Some("yes"));
        assert_eq!(found.get("PATH"), std::env::var("PATH").ok().as_ref());
        assert_eq!(found.len(), 2);
        std::fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn every_variable_that_says_where_a_key_goes_is_known_with_the_keys() {
        for provider in cordon_providers::PROVIDERS {
            for name in provider.base_url_variables {
                let known = WHERE.iter().find(|(address, _)| address == name);
                let (_, keys) = known.unwrap_or_else(|| panic!("{name}"));
                assert_eq!(*keys, provider.keys, "{name}");
            }
        }
    }

    #[test]
    fn an_address_from_a_file_of_variables_gets_only_the_key_of_that_file() {
        let file = |text: &str| dotenv::parse(text).variables;
        let none = |_: &str| None;
        let own = |name: &str| (name == "A_KEY").then(|| "mine".to_owned());
        let both = file("URL=https://h\nA_KEY=k");
        assert!(may_say_where(&["B_KEY", "A_KEY"], &both, none, false));
        assert!(!may_say_where(&["B_KEY", "A_KEY"], &both, own, false), "the environment's would be sent");
        assert!(!may_say_where(&["A_KEY"], &both, none, true), "the agent file's would be sent");
        assert!(!may_say_where(&["A_KEY"], &file("URL=https://h"), none, false), "a kept one would be sent");
        assert!(!may_say_where(&["A_KEY"], &file("URL=https://h\nA_KEY=' '"), none, false));
        assert!(!may_say_where(&["A_KEY"], &file("URL=https://h\nB_KEY=k"), none, false));
    }

    #[test]
    fn an_address_without_its_key_is_left_out() {
        let dir = scratch("where");
        let env = "OPENAI_BASE_URL=https://h\nANTHROPIC_BASE_URL=https://h\nANTHROPIC_API_KEY=theirs\n";
        std::fs::write(dir.join(".env"), env).unwrap();
        let names = ["OPENAI_BASE_URL", "ANTHROPIC_BASE_URL", "ANTHROPIC_API_KEY"].map(str::to_owned);
        let told = |file_has_key| {
            let mut found: Vec<_> = gather(&names, &dir, file_has_key).unwrap().into_keys().collect();
            found.sort();
            found
        };
        assert_eq!(told(false), ["ANTHROPIC_API_KEY", "ANTHROPIC_BASE_URL"]);
        assert_eq!(told(true), ["ANTHROPIC_API_KEY"]);
        std::fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn files_of_variables_and_the_environment_are_told_whole_when_they_are_asked_for() {
        let dir = scratch("several");
        std::fs::write(dir.join("a.env"), "A='one \"two\"'\nB=3\n").unwrap();
        let names = ["env-file:a.env", "env-file:none.env", "environment:", "other:x"].map(str::to_owned);
        let found = gather(&names, &dir, false).unwrap();
        assert_eq!(found.len(), 2, "{:?}", found.keys());
        let told: BTreeMap<String, String> = serde_json::from_str(&found["env-file:a.env"]).unwrap();
        assert_eq!((told["A"].as_str(), told["B"].as_str(), told.len()), ("one \"two\"", "3", 2));
        let told: BTreeMap<String, String> = serde_json::from_str(&found["environment:"]).unwrap();
        assert_eq!(told.get("PATH"), std::env::var("PATH").ok().as_ref());
        std::fs::remove_dir_all(dir).unwrap();
    }
}
