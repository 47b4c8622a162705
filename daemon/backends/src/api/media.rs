use super::Protocol;

/// Whether a request of this protocol can hold media of this type. A model may still have no use
/// for it.
#[must_use]
pub fn takes_media(protocol: Protocol, mime: &str) -> bool {
    let (kind, format) = mime.split_once('/').unwrap_or((mime, ""));
    match protocol {
        Protocol::Responses => kind == "image" || mime == "application/pdf",
        Protocol::Chat => kind == "image" || (kind == "audio" && matches!(format, "wav" | "mp3" | "mpeg")),
        Protocol::Messages => {
            (kind == "image" && matches!(format, "jpeg" | "png" | "gif" | "webp"))
                || mime == "application/pdf"
        }
        Protocol::Generate => matches!(kind, "image" | "audio" | "video") || mime == "application/pdf",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::{Conversation, Endpoint, Item, PROVIDERS, Part, Settings, request};
    use cordon_config::Secret;

    #[test]
    fn what_is_taken_can_be_sent() {
        for provider in PROVIDERS {
            let base = provider.base_url.unwrap_or("https://x.openai.azure.com");
            let endpoint = Endpoint::new(provider, Some(base), None).unwrap();
            for mime in [
                "image/png",
                "image/jpeg",
                "image/svg+xml",
                "image/bmp",
                "audio/wav",
                "audio/mpeg",
                "audio/flac",
                "video/mp4",
                "application/pdf",
                "application/zip",
                "odd",
            ] {
                let media = Part::Media { mime: mime.to_owned(), data: "AA==".to_owned() };
                let conversation =
                    Conversation { system: String::new(), items: vec![Item::User(vec![media])] };
                let settings = Settings { model: "m".to_owned(), ..Settings::default() };
                let key = Secret::new("k".to_owned());
                let sent = request(&endpoint, Some(&key), &conversation, &[], &settings);
                if takes_media(provider.protocol, mime) {
                    assert!(sent.is_ok(), "{} {mime}: {sent:?}", provider.name);
                }
            }
        }
    }
}
