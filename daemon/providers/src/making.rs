//! What providers make beside words: pictures and speech, through which interface, with which
//! model, and what that costs. Public list prices as of 2026-11-23.

use crate::{PROVIDERS, Provider};

/// Something that is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Making {
    /// A picture.
    Image,
    /// Speech.
    Audio,
}

impl Making {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Image, Self::Audio];

    /// The word of agent files: `image_generation_backend`, `enable_audio_generation`.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Image => "image",
            Self::Audio => "audio",
        }
    }

    /// The key that turns it on.
    #[must_use]
    pub fn key(self) -> &'static str {
        match self {
            Self::Image => "enable_image_generation",
            Self::Audio => "enable_audio_generation",
        }
    }

    /// Providers that make it, by name, in the order of the table.
    #[must_use]
    pub fn providers(self) -> Vec<&'static str> {
        PROVIDERS.iter().filter(|p| p.maker(self).is_some()).map(|p| p.name).collect()
    }
}

/// How something is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MakingApi {
    /// `images/generations`. How it is told to answer with the picture itself: the value of
    /// `response_format`; none: it always does.
    Images(Option<&'static str>),
    /// `audio/speech`: the body of the answer is the sound.
    Speech,
    /// Gemini's generateContent with `responseModalities`.
    Content,
    /// Chat completions with `modalities`.
    Chat,
}

/// What may be said of it beside the words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MakingOption {
    /// `size`.
    Size,
    /// `quality`.
    Quality,
    /// `aspect_ratio`.
    AspectRatio,
    /// `voice`.
    Voice,
    /// `instructions`: how it is to be spoken.
    Instructions,
    /// The type of the file: by the name that it is to have.
    Format,
}

impl MakingOption {
    /// The argument of the tool; none: it follows from another one.
    #[must_use]
    pub fn argument(self) -> Option<&'static str> {
        Some(match self {
            Self::Size => "size",
            Self::Quality => "quality",
            Self::AspectRatio => "aspect_ratio",
            Self::Voice => "voice",
            Self::Instructions => "instructions",
            Self::Format => return None,
        })
    }
}

/// How a provider makes something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Maker {
    /// What.
    pub making: Making,
    /// How it is asked.
    pub api: MakingApi,
    /// The model when the agent file names none; none: it has to.
    pub model: Option<&'static str>,
    /// What may be said.
    pub takes: &'static [MakingOption],
    /// The voice that speaks when nobody names one: not every service has one of its own.
    pub voice: Option<&'static str>,
}

use MakingOption::{AspectRatio, Format, Instructions, Quality, Size, Voice};

pub(crate) const OPENAI: &[Maker] = &[
    Maker {
        making: Making::Image,
        api: MakingApi::Images(None),
        model: Some("gpt-image-2"),
        takes: &[Size, Quality, Format],
        voice: None,
    },
    Maker {
        making: Making::Audio,
        api: MakingApi::Speech,
        model: Some("gpt-4o-mini-tts"),
        takes: &[Voice, Instructions, Format],
        voice: Some("alloy"),
    },
];

/// Its models are deployments, whose names say nothing.
pub(crate) const AZURE: &[Maker] = &[Maker { model: None, ..OPENAI[0] }, Maker { model: None, ..OPENAI[1] }];

pub(crate) const GEMINI: &[Maker] = &[
    Maker {
        making: Making::Image,
        api: MakingApi::Content,
        model: Some("gemini-3.1-flash-image"),
        takes: &[Size, AspectRatio],
        voice: None,
    },
    Maker {
        making: Making::Audio,
        api: MakingApi::Content,
        model: Some("gemini-3.8-flash-tts"),
        takes: &[Voice],
        voice: Some("Kore"),
    },
];

pub(crate) const GROK: &[Maker] = &[Maker {
    making: Making::Image,
    api: MakingApi::Images(Some("b64_json")),
    model: Some("grok-imagine-image"),
    takes: &[AspectRatio],
    voice: None,
}];

pub(crate) const OPENROUTER: &[Maker] = &[Maker {
    making: Making::Image,
    api: MakingApi::Chat,
    model: Some("google/gemini-3.1-flash-image"),
    takes: &[Size, AspectRatio],
    voice: None,
}];

/// Any server that speaks like `OpenAI`'s.
pub(crate) const COMPATIBLE: &[Maker] = &[
    Maker { api: MakingApi::Images(Some("b64_json")), model: None, takes: &[Size, Quality], ..OPENAI[0] },
    Maker { model: None, ..OPENAI[1] },
];

impl Provider {
    /// How it makes this, if it does.
    #[must_use]
    pub fn maker(&self, making: Making) -> Option<&'static Maker> {
        self.makes.iter().find(|m| m.making == making)
    }
}

impl Provider {
    /// The same for a server of this host, which may be one that is known.
    #[must_use]
    pub fn maker_at(&'static self, host: Option<&str>, making: Making) -> Option<&'static Maker> {
        self.at_host(host).maker(making).or_else(|| self.maker(making))
    }
}

/// What something costs that is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MakingPrice {
    /// Thousandths of a dollar for a million tokens, read and written: the answer counts them.
    Tokens {
        /// Read.
        input: u64,
        /// Written.
        output: u64,
    },
    /// Millionths of a dollar for each.
    Each(u64),
    /// Millionths of a dollar for a million characters of what is spoken.
    Characters(u64),
}

impl MakingPrice {
    /// What one cost, in millionths of a dollar, rounded up; none: the answer does not say
    /// how much it was.
    #[must_use]
    pub fn of(self, input: u64, output: u64, characters: u64) -> Option<u64> {
        let rounded = |all: u128, by: u128| u64::try_from(all.div_ceil(by)).unwrap_or(u64::MAX);
        match self {
            Self::Tokens { .. } if input == 0 && output == 0 => None,
            Self::Tokens { input: read, output: written } => {
                let all = u128::from(input) * u128::from(read) + u128::from(output) * u128::from(written);
                Some(rounded(all, 1000))
            }
            Self::Each(micros) => Some(micros),
            Self::Characters(micros) => Some(rounded(u128::from(characters) * u128::from(micros), 1_000_000)),
        }
    }
}

const fn tokens(input: u64, output: u64) -> MakingPrice {
    MakingPrice::Tokens { input, output }
}

/// Provider, model and price.
#[rustfmt::skip]
const PRICES: &[(&str, &str, MakingPrice)] = &[
    ("openai", "gpt-image-2", tokens(5_000, 30_000)),
    ("openai", "gpt-image-1.5", tokens(5_000, 32_000)),
    ("openai", "gpt-image-1", tokens(5_000, 40_000)),
    ("openai", "gpt-image-1-mini", tokens(2_000, 8_000)),
    ("openai", "tts-1", MakingPrice::Characters(15_000_000)),
    ("openai", "tts-1-hd", MakingPrice::Characters(30_000_000)),
    ("gemini", "gemini-3.1-flash-image", tokens(500, 60_000)),
    ("gemini", "gemini-2.5-flash-image", tokens(300, 30_000)),
    ("gemini", "gemini-3-pro-image", tokens(2_000, 120_000)),
    ("grok", "grok-imagine-image", MakingPrice::Each(20_000)),
];

/// What a model of a provider takes for what it makes. A preview costs what it will cost.
#[must_use]
pub fn making_price(provider: &str, model: &str) -> Option<MakingPrice> {
    let model = model.strip_prefix("models/").unwrap_or(model);
    let same = |name: &str| {
        model.strip_prefix(name).is_some_and(|rest| rest == "-preview" || crate::models::is_date(rest))
    };
    PRICES.iter().find(|(of, name, _)| *of == provider && same(name)).map(|(_, _, price)| *price)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn who_makes_what_is_in_the_table() {
        assert_eq!(
            Making::Image.providers(),
            ["openai", "gemini", "grok", "azure_openai", "openrouter", "chatcompletion"]
        );
        assert_eq!(Making::Audio.providers(), ["openai", "gemini", "azure_openai", "chatcompletion"]);
        for provider in PROVIDERS {
            for maker in provider.makes {
                assert_eq!(maker.voice.is_some(), maker.making == Making::Audio, "{}", provider.name);
            }
        }
    }

    #[test]
    fn a_name_that_only_begins_like_a_known_one_has_no_price() {
        assert_eq!(making_price("openai", "gpt-image-1"), Some(tokens(5_000, 40_000)));
        assert_eq!(making_price("openai", "gpt-image-1-mini-2025-10-06"), Some(tokens(2_000, 8_000)));
        assert_eq!(
            making_price("gemini", "models/gemini-3.1-flash-image-preview"),
            Some(tokens(500, 60_000))
        );
        for (provider, model) in [("openai", "gpt-image-11"), ("grok", "gpt-image-1"), ("openai", "tts-1-x")]
        {
            assert_eq!(making_price(provider, model), None, "{model}");
        }
    }

    #[test]
    fn what_one_costs() {
        // A high picture of 1024 pixels of gpt-image-1.
        assert_eq!(tokens(5_000, 40_000).of(20, 4160, 0), Some(166_500));
        assert_eq!(tokens(5_000, 40_000).of(0, 0, 99), None);
        assert_eq!(MakingPrice::Each(20_000).of(0, 0, 0), Some(20_000));
        assert_eq!(MakingPrice::Characters(15_000_000).of(0, 0, 11), Some(165));
    }

    proptest! {
        #[test]
        fn no_price_overflows(input: u64, output: u64, characters: u64) {
            for (_, _, price) in PRICES {
                let _ = price.of(input, output, characters);
            }
        }
    }
}
