use super::{again::new_key, listing::print};
use crate::{
    agent_file::read_limited,
    args::Output,
    error::CliError,
    exit::Exit,
    json, neutral, progress,
    render::table::{self, age},
    screen::{Screen, Tint},
    session::Session,
};
use cordon_proto::v1::{BuildImageRequest, Image, ListImagesRequest, PruneImagesRequest};
use serde_json::json;
use std::{collections::BTreeMap, path::PathBuf};

const MAX_CERTIFICATES: u64 = 1 << 20;

pub(crate) async fn list(session: &Session, output: Output) -> Result<Exit, CliError> {
    let mut client = session.images();
    let images = progress::during("asking the engine", client.list_images(ListImagesRequest {}))
        .await?
        .into_inner()
        .images;
    let rows: Vec<_> = images.iter().map(row).collect();
    let document = images
        .iter()
        .map(|i| {
            let versions: BTreeMap<_, _> = i.versions.iter().collect();
            json!({
                "name": i.name, "id": i.id, "size_bytes": i.size_bytes,
                "created_unix_ms": i.created_unix_ms, "state": i.state,
                "versions": versions, "unpinned": i.unpinned, "from": i.from, "packages": i.packages,
                "used_by": i.used_by, "used_by_others": i.used_by_others,
            })
        })
        .collect();
    print(output, &["IMAGE", "STATE", "SIZE", "INSIDE", "CREATED", "USED BY", "ID"], &rows, &document);
    Ok(Exit::Success)
}

fn row(image: &Image) -> Vec<String> {
    let size =
        if image.size_bytes == 0 { String::new() } else { format!("{} MB", image.size_bytes / 1_000_000) };
    let versions: BTreeMap<_, _> = image.versions.iter().collect();
    let mut inside: Vec<String> = versions
        .iter()
        .map(|(program, version)| {
            let mark = if image.unpinned.contains(program) { " (not pinned)" } else { "" };
            format!("{program} {version}{mark}")
        })
        .collect();
    if !image.from.is_empty() {
        inside.push(format!("{} with {}", image.from, image.packages));
    }
    let mut users = image.used_by.clone();
    match image.used_by_others {
        0 => {}
        1 => users.push("1 sandbox of another user".to_owned()),
        more => users.push(format!("{more} sandboxes of other users")),
    }
    let created =
        if image.created_unix_ms == 0 { String::new() } else { age(image.created_unix_ms, table::now()) };
    let id: String = image.id.trim_start_matches("sha256:").chars().take(12).collect();
    let words =
        [image.name.as_str(), &image.state, &size, &inside.join(", "), &created, &users.join(", "), &id];
    words.iter().map(|word| neutral::word(word)).collect()
}

pub(crate) async fn gc(session: &Session, output: Output) -> Result<Exit, CliError> {
    let request = PruneImagesRequest { idempotency_key: new_key() };
    let asked = session.images().prune_images(request).await;
    let removed = asked?.into_inner().removed;
    let rows: Vec<_> = removed.iter().map(|name| vec![neutral::word(name)]).collect();
    let document = removed.iter().map(|name| json!({ "name": name })).collect();
    print(output, &["REMOVED"], &rows, &document);
    Ok(Exit::Success)
}

/// What is to be built, and how.
pub(crate) struct Wanted {
    pub(crate) names: Vec<String>,
    pub(crate) versions: Vec<(String, String)>,
    pub(crate) bootstrap: bool,
    pub(crate) ca: Option<PathBuf>,
    pub(crate) proxy: String,
}

pub(crate) async fn build(session: &Session, wanted: Wanted, output: Output) -> Result<Exit, CliError> {
    let ca_certificate = match wanted.ca {
        Some(path) => read_limited(&path, MAX_CERTIFICATES)?,
        None => Vec::new(),
    };
    let request = BuildImageRequest {
        names: wanted.names,
        bootstrap: wanted.bootstrap,
        ca_certificate: ca_certificate.into(),
        proxy: wanted.proxy,
        idempotency_key: new_key(),
        versions: wanted.versions.into_iter().collect(),
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
