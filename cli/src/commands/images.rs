use super::{again::new_key, listing::print};
use crate::{
    agent_file::read_limited,
    args::Output,
    error::CliError,
    exit::Exit,
    json, neutral, progress,
    screen::{Screen, Tint},
    session::Session,
};
use cordon_proto::v1::{BuildImageRequest, ListImagesRequest};
use serde_json::json;
use std::path::PathBuf;

const MAX_CERTIFICATES: u64 = 1 << 20;

pub(crate) async fn list(session: &Session, output: Output) -> Result<Exit, CliError> {
    let mut client = session.images();
    let images = progress::during("asking the engine", client.list_images(ListImagesRequest {}))
        .await?
        .into_inner()
        .images;
    let rows: Vec<_> = images
        .iter()
        .map(|i| {
            let size =
                if i.size_bytes == 0 { String::new() } else { format!("{} MB", i.size_bytes / 1_000_000) };
            let id: String = i.id.trim_start_matches("sha256:").chars().take(12).collect();
            vec![neutral::word(&i.name), neutral::word(&i.state), size, neutral::word(&id)]
        })
        .collect();
    let document = images
        .iter()
        .map(|i| {
            json!({
                "name": i.name, "id": i.id, "size_bytes": i.size_bytes,
                "created_unix_ms": i.created_unix_ms, "state": i.state,
            })
        })
        .collect();
    print(output, &["IMAGE", "STATE", "SIZE", "ID"], &rows, &document);
    Ok(Exit::Success)
}

pub(crate) async fn build(
    session: &Session,
    names: Vec<String>,
    bootstrap: bool,
    ca: Option<PathBuf>,
    proxy: String,
    output: Output,
) -> Result<Exit, CliError> {
    let ca_certificate = match ca {
        Some(path) => read_limited(&path, MAX_CERTIFICATES)?,
        None => Vec::new(),
    };
    let request = BuildImageRequest {
        names,
        bootstrap,
        ca_certificate: ca_certificate.into(),
        proxy,
        idempotency_key: new_key(),
    };
    let mut lines = session.images().build_image(request).await?.into_inner();
    let mut screen = Screen::stdout();
    while let Some(message) = lines.message().await? {
        if output == Output::Json {
            let line = json!({ "image": message.image, "line": message.line, "done": message.done });
            screen.raw(json::encode(&line).as_bytes())?;
            screen.raw(b"\n")?;
        } else {
            let image = neutral::word(&message.image);
            if !message.line.is_empty() {
                let line = neutral::text(message.line.as_bytes());
                screen.foreign(&format!("{image} "), '|', None, line.trim_end())?;
            }
            if message.done {
                screen.own(Some(Tint::Green), &format!("{image} is ready"))?;
            }
        }
        screen.flush()?;
    }
    Ok(Exit::Success)
}
