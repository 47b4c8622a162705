//! What an agent file leaves open, the server is asked: what it is, and which model it has.

use crate::{
    AskError, Client, lmstudio,
    probe::{Probe, Silent, name},
};
use cordon_backends::api::{Endpoint, RequestError, Target, provider};
use cordon_config::LmStudio;
use tokio_util::sync::CancellationToken;

/// Names that an error lists.
const LISTED: usize = 12;

/// Why it stays open.
#[derive(Debug, thiserror::Error)]
pub enum SettleError {
    /// Nobody answers.
    #[error(transparent)]
    Ask(#[from] AskError),
    /// It has none.
    #[error("{host} has no model: load one there, or name one with `model`")]
    NoModel {
        /// Host and port.
        host: String,
    },
    /// It has several.
    #[error("{host} has several models; name one of them with `model`: {}", listed(.models))]
    Several {
        /// Host and port.
        host: String,
        /// Their names.
        models: Vec<String>,
    },
    /// It does not say.
    #[error("{host} does not say which models it has ({why}); name one with `model`, and check base_url")]
    Unknown {
        /// Host and port.
        host: String,
        /// What it does instead.
        why: String,
    },
    /// LM Studio cannot do what `lmstudio_start` asks for.
    #[error("{0}")]
    LmStudio(String),
}

fn listed(models: &[String]) -> String {
    let more = if models.len() > LISTED { ", …" } else { "" };
    models.iter().take(LISTED).map(String::as_str).collect::<Vec<_>>().join(", ") + more
}

/// The target with nothing left open. A server is only asked where something is.
///
/// # Errors
/// When it does not answer, or its answer leaves it open.
pub async fn settle(
    target: Target,
    lmstudio: &LmStudio,
    client: &Client,
    cancel: &CancellationToken,
) -> Result<Target, SettleError> {
    tokio::select! {
        biased;
        () = cancel.cancelled() => Err(AskError::Cancelled.into()),
        settled = settled(target, lmstudio, client) => settled,
    }
}

async fn settled(mut target: Target, options: &LmStudio, client: &Client) -> Result<Target, SettleError> {
    let mut served = None;
    if target.endpoint.provider().name == "inference" {
        let found = find(&target, client).await?;
        target.endpoint = found.0;
        served = Some(found.1);
    }
    let probe = Probe { client, endpoint: &target.endpoint, key: target.key.as_ref() };
    let is_lmstudio = target.endpoint.provider().name == "lmstudio";
    if is_lmstudio && options.start {
        lmstudio::ready(&probe, &target.settings.model).await?;
    }
    if !target.settings.model.is_empty() || !target.endpoint.provider().is_local_server() {
        return Ok(target);
    }
    let models = match served {
        Some(served) => served,
        // Of all that it has on its disk, those count that it has in memory.
        None if is_lmstudio => match lmstudio::loaded(&probe).await {
            Some(loaded) if !loaded.is_empty() => loaded,
            _ => listing(&probe).await?.models,
        },
        None => listing(&probe).await?.models,
    };
    let host = probe.host();
    match <[String; 1]>::try_from(models) {
        Ok([model]) => target.settings.model = model,
        Err(models) if models.is_empty() => return Err(SettleError::NoModel { host }),
        Err(models) => return Err(SettleError::Several { host, models }),
    }
    Ok(target)
}

/// What `/v1/models` says.
struct Listing {
    models: Vec<String>,
    owners: Vec<String>,
}

async fn listing(probe: &Probe<'_>) -> Result<Listing, SettleError> {
    let host = probe.host();
    let unknown = |why: &str| SettleError::Unknown { host: probe.host(), why: why.to_owned() };
    let said = probe.endpoint_get("models").await.map_err(|silent| match silent {
        Silent::Unreachable(why) => AskError::Unreachable { host, why }.into(),
        Silent::Status(401 | 403) => unknown("it wants another key"),
        Silent::Status(status) => unknown(&format!("status {status}")),
        Silent::Unreadable => unknown("its answer cannot be read"),
    })?;
    let data =
        said.get("data").and_then(|d| d.as_array()).ok_or_else(|| unknown("it answers something else"))?;
    Ok(Listing {
        models: data.iter().filter_map(|m| name(m, "id")).collect(),
        owners: data.iter().filter_map(|m| name(m, "owned_by")).collect(),
    })
}

/// Which server it is that speaks like `OpenAI`'s, and where, when nobody says so.
async fn find(target: &Target, client: &Client) -> Result<(Endpoint, Vec<String>), SettleError> {
    let mut places = vec![target.endpoint.clone()];
    if !target.endpoint.is_named() {
        // Where SGLang listens unless it is told otherwise.
        let other = provider("sglang").and_then(|p| Endpoint::new(p, None, None).ok());
        places.extend(other);
    }
    let hosts: Vec<String> = places.iter().map(|p| Probe { client, endpoint: p, key: None }.host()).collect();
    let mut first = None;
    for place in places {
        let probe = Probe { client, endpoint: &place, key: target.key.as_ref() };
        match listing(&probe).await {
            Ok(listing) => {
                let kind = kind(&probe, &listing).await;
                let endpoint = kind.and_then(provider).map_or(place.clone(), |p| place.spoken_by(p));
                return Ok((endpoint, listing.models));
            }
            Err(SettleError::Ask(AskError::Unreachable { why, .. })) => {
                let host = hosts.join(" and ");
                first = first.or(Some(AskError::Unreachable { host, why }.into()));
            }
            // Whoever answers there is more likely meant than nobody.
            Err(error) => first = Some(error),
        }
    }
    let none = || AskError::Request(RequestError::NoUrl { provider: "inference" }).into();
    Err(first.unwrap_or_else(none))
}

/// The name of the provider that a server is.
async fn kind(probe: &Probe<'_>, listing: &Listing) -> Option<&'static str> {
    let owned = |by: &str| listing.owners.iter().any(|owner| owner.eq_ignore_ascii_case(by));
    if owned("vllm") {
        return Some("vllm");
    }
    if owned("sglang") {
        return Some("sglang");
    }
    // A model may be somebody's own: only one of the two has each of these.
    if probe.get(&["get_server_info"]).await.is_ok_and(|info| info.is_object()) {
        return Some("sglang");
    }
    let version = probe.get(&["version"]).await.ok()?;
    name(&version, "version").map(|_| "vllm")
}

#[cfg(test)]
#[path = "settle_tests.rs"]
mod tests;
