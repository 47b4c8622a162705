//! Models by provider: how much they read and write, and what that costs. Public list prices as
//! of 2026-11-23, for what is asked in real time at the standard tier; what a provider does itself,
//! such as a search, comes on top and is not counted here.

/// A model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Figures {
    /// Whose it is, by the name of [`crate::Provider`].
    pub provider: &'static str,
    /// Its name. What follows it may be a date, and nothing else.
    pub model: &'static str,
    /// Tokens that fit, read and written together.
    pub window: u64,
    /// Tokens of one answer.
    pub output: u64,
    /// What they cost.
    pub price: Price,
}

/// Thousandths of a dollar for a million tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Price {
    /// Read.
    pub input: u64,
    /// Read from a cache.
    pub cached: u64,
    /// Read, and written to a cache.
    pub cache_written: u64,
    /// Written.
    pub output: u64,
    /// A request that is long costs more, as a whole.
    pub long: Option<Long>,
}

/// What a long request costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Long {
    /// It reads more tokens than these.
    pub above: u64,
    /// Per cent of the price of what is read.
    pub input: u64,
    /// Per cent of the price of what is written.
    pub output: u64,
}

/// Tokens of one request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tokens {
    /// All that was read.
    pub input: u64,
    /// Of these, from a cache.
    pub cached: u64,
    /// Of these, to a cache.
    pub cache_written: u64,
    /// All that was written, thoughts too.
    pub output: u64,
}

impl Price {
    /// What a request costs, in millionths of a dollar, rounded up.
    #[must_use]
    pub fn of(&self, tokens: Tokens) -> u64 {
        let long = self.long.filter(|long| tokens.input > long.above);
        let (read, write) = long.map_or((100, 100), |long| (long.input, long.output));
        let cached = tokens.cached.min(tokens.input);
        let written = tokens.cache_written.min(tokens.input - cached);
        let fresh = tokens.input - cached - written;
        let part = |tokens: u64, price: u64, per_cent: u64| {
            u128::from(tokens) * u128::from(price) * u128::from(per_cent)
        };
        let all = part(fresh, self.input, read)
            + part(cached, self.cached, read)
            + part(written, self.cache_written, read)
            + part(tokens.output, self.output, write);
        u64::try_from(all.div_ceil(100_000)).unwrap_or(u64::MAX)
    }
}

/// What a model of a provider is. A name that only begins like a known one is none: it may cost
/// twenty times as much.
#[must_use]
pub fn figures(provider: &str, model: &str) -> Option<&'static Figures> {
    let model = model.strip_prefix("models/").unwrap_or(model);
    MODELS.iter().find(|m| m.provider == provider && model.strip_prefix(m.model).is_some_and(is_date))
}

/// The same for a model that is offered under another's name, as `anthropic/claude-opus-5`.
#[must_use]
pub fn figures_of_vendor(model: &str) -> Option<&'static Figures> {
    let (vendor, model) = model.split_once('/')?;
    let provider = match vendor {
        "openai" => "openai",
        "anthropic" => "claude",
        "google" => "gemini",
        "x-ai" => "grok",
        "z-ai" => "zai",
        "moonshotai" => "moonshot",
        _ => return None,
    };
    let (model, _) = model.split_once(':').unwrap_or((model, ""));
    figures(provider, model).or_else(|| figures(provider, &model.replace('.', "-")))
}

/// Nothing, or a date with hyphens before or in it.
pub(crate) fn is_date(rest: &str) -> bool {
    let Some(digits) = rest.strip_prefix('-') else { return rest.is_empty() };
    let plain: String = digits.chars().filter(|c| *c != '-').collect();
    plain.len() == 8 && plain.starts_with("20") && plain.bytes().all(|b| b.is_ascii_digit())
}

const fn model(
    provider: &'static str,
    model: &'static str,
    window: u64,
    output: u64,
    [read, cached, cache_written, written]: [u64; 4],
    long: Option<Long>,
) -> Figures {
    let price = Price { input: read, cached, cache_written, output: written, long };
    Figures { provider, model, window, output, price }
}

const ABOVE_272K: Long = Long { above: 272_000, input: 200, output: 150 };
const ABOVE_200K: Long = Long { above: 200_000, input: 200, output: 150 };
const ALL_ABOVE_200K: Long = Long { above: 200_000, input: 200, output: 200 };
const ABOVE_100K: Long = Long { above: 100_000, input: 500, output: 500 };

/// All that are known: provider, name, window, longest answer, and the prices of what is read,
/// read from a cache, written to a cache and written.
#[rustfmt::skip]
pub static MODELS: &[Figures] = &[
    model("openai", "gpt-6-astra", 1_050_000, 128_000, [10_000, 1_000, 12_500, 50_000], Some(ABOVE_272K)),
    model("openai", "gpt-6.1-sol", 1_050_000, 128_000, [2_000, 100, 2_500, 10_000], Some(ABOVE_272K)),
    model("openai", "gpt-6.1-terra", 1_050_000, 128_000, [1_000, 50, 1_250, 5_000], Some(ABOVE_272K)),
    model("openai", "gpt-6-sol", 1_050_000, 128_000, [2_000, 200, 2_500, 10_000], Some(ABOVE_272K)),
    model("openai", "gpt-6-luna", 1_050_000, 128_000, [100, 10, 125, 500], Some(ABOVE_272K)),
    model("openai", "gpt-5.6", 1_050_000, 128_000, [4_000, 400, 5_000, 20_000], Some(ABOVE_272K)),
    model("openai", "gpt-5.6-sol", 1_050_000, 128_000, [4_000, 400, 5_000, 20_000], Some(ABOVE_272K)),
    model("openai", "gpt-5.6-terra", 1_050_000, 128_000, [2_000, 200, 2_500, 12_000], Some(ABOVE_272K)),
    model("openai", "gpt-5.6-luna", 1_050_000, 128_000, [200, 20, 250, 1_200], Some(ABOVE_272K)),
    model("openai", "gpt-5.5", 1_050_000, 128_000, [5_000, 500, 5_000, 30_000], Some(ABOVE_272K)),
    model("openai", "gpt-5.5-pro", 1_050_000, 128_000, [30_000, 30_000, 30_000, 180_000], Some(ABOVE_272K)),
    model("openai", "gpt-5.4", 1_050_000, 128_000, [2_500, 250, 2_500, 15_000], Some(ABOVE_272K)),
    model("openai", "gpt-5.4-pro", 1_050_000, 128_000, [30_000, 30_000, 30_000, 180_000], Some(ABOVE_272K)),
    model("openai", "gpt-5.4-mini", 400_000, 128_000, [750, 75, 750, 4_500], None),
    model("openai", "gpt-5.4-nano", 400_000, 128_000, [200, 20, 200, 1_250], None),
    model("openai", "gpt-5.3-codex", 400_000, 128_000, [1_750, 175, 1_750, 14_000], None),
    model("openai", "gpt-5.2", 400_000, 128_000, [1_750, 175, 1_750, 14_000], None),
    model("openai", "gpt-5.2-pro", 400_000, 128_000, [21_000, 21_000, 21_000, 168_000], None),
    model("openai", "gpt-5.1", 400_000, 128_000, [1_250, 125, 1_250, 10_000], None),
    model("openai", "gpt-5", 400_000, 128_000, [1_250, 125, 1_250, 10_000], None),
    model("openai", "gpt-5-pro", 400_000, 128_000, [15_000, 15_000, 15_000, 120_000], None),
    model("openai", "gpt-5-mini", 400_000, 128_000, [250, 25, 250, 2_000], None),
    model("openai", "gpt-5-nano", 400_000, 128_000, [50, 5, 50, 400], None),
    model("openai", "gpt-4.1", 1_047_576, 32_768, [2_000, 500, 2_000, 8_000], None),
    model("openai", "gpt-4.1-mini", 1_047_576, 32_768, [400, 100, 400, 1_600], None),
    model("openai", "gpt-4o", 128_000, 16_384, [2_500, 1_250, 2_500, 10_000], None),
    model("openai", "gpt-4o-mini", 128_000, 16_384, [150, 75, 150, 600], None),
    model("openai", "o3", 200_000, 100_000, [2_000, 500, 2_000, 8_000], None),
    model("openai", "o4-mini", 200_000, 100_000, [1_100, 275, 1_100, 4_400], None),
    model("claude", "claude-opus-5-5", 1_000_000, 128_000, [4_000, 200, 5_000, 20_000], None),
    model("claude", "claude-opus-5", 1_000_000, 128_000, [5_000, 500, 6_250, 25_000], None),
    model("claude", "claude-opus-4-8", 1_000_000, 128_000, [5_000, 500, 6_250, 25_000], None),
    model("claude", "claude-opus-4-7", 1_000_000, 128_000, [5_000, 500, 6_250, 25_000], None),
    model("claude", "claude-opus-4-6", 1_000_000, 128_000, [5_000, 500, 6_250, 25_000], None),
    model("claude", "claude-opus-4-5", 200_000, 64_000, [5_000, 500, 6_250, 25_000], None),
    model("claude", "claude-sonnet-5-5", 1_000_000, 128_000, [2_000, 100, 2_500, 10_000], None),
    model("claude", "claude-sonnet-5", 1_000_000, 128_000, [2_000, 200, 2_500, 10_000], None),
    model("claude", "claude-sonnet-4-6", 1_000_000, 128_000, [3_000, 300, 3_750, 15_000], None),
    model("claude", "claude-sonnet-4-5", 200_000, 64_000, [3_000, 300, 3_750, 15_000], None),
    model("claude", "claude-haiku-5-5", 1_000_000, 128_000, [100, 10, 125, 500], Some(ABOVE_100K)),
    model("claude", "claude-haiku-4-5", 200_000, 64_000, [1_000, 100, 1_250, 5_000], None),
    model("claude", "claude-fable-5-1", 1_000_000, 128_000, [10_000, 250, 12_500, 50_000], None),
    model("claude", "claude-fable-5", 1_000_000, 128_000, [10_000, 1_000, 12_500, 50_000], None),
    model("claude", "claude-mythos-5-1", 1_000_000, 128_000, [10_000, 250, 12_500, 50_000], None),
    model("claude", "claude-mythos-5", 1_000_000, 128_000, [10_000, 1_000, 12_500, 50_000], None),
    model("gemini", "gemini-4-argon", 1_048_576, 1_048_576, [2_000, 100, 2_000, 10_000], None),
    model("gemini", "gemini-3.8-flash", 1_048_576, 65_536, [750, 75, 750, 3_750], None),
    model("gemini", "gemini-3.7-flash", 1_048_576, 65_536, [750, 75, 750, 3_750], None),
    model("gemini", "gemini-3.6-flash", 1_048_576, 65_536, [750, 75, 750, 3_750], None),
    model("gemini", "gemini-3.5-flash", 1_048_576, 65_536, [1_500, 150, 1_500, 9_000], None),
    model("gemini", "gemini-3.5-flash-lite", 1_048_576, 65_536, [300, 30, 300, 2_500], None),
    model("gemini", "gemini-3.1-pro-preview", 1_048_576, 65_536, [2_000, 200, 2_000, 12_000], Some(ABOVE_200K)),
    model("gemini", "gemini-3.1-flash-lite", 1_048_576, 65_536, [250, 25, 250, 1_500], None),
    model("gemini", "gemini-3-flash-preview", 1_048_576, 65_536, [500, 50, 500, 3_000], None),
    model("gemini", "gemini-2.5-pro", 1_048_576, 65_536, [1_250, 125, 1_250, 10_000], Some(ABOVE_200K)),
    model("gemini", "gemini-2.5-flash", 1_048_576, 65_536, [300, 30, 300, 2_500], None),
    model("gemini", "gemini-2.5-flash-lite", 1_048_576, 65_536, [100, 10, 100, 400], None),
    model("grok", "grok-4.7", 500_000, 500_000, [2_000, 500, 2_000, 6_000], Some(ALL_ABOVE_200K)),
    model("grok", "grok-4.6", 500_000, 500_000, [2_000, 500, 2_000, 6_000], Some(ALL_ABOVE_200K)),
    model("grok", "grok-4.5", 500_000, 500_000, [2_000, 300, 2_000, 6_000], Some(ALL_ABOVE_200K)),
    model("grok", "grok-4.3", 1_000_000, 1_000_000, [1_250, 200, 1_250, 2_500], Some(ALL_ABOVE_200K)),
    model("grok", "grok-4.20", 1_000_000, 1_000_000, [1_250, 200, 1_250, 2_500], Some(ALL_ABOVE_200K)),
    model("grok", "grok-4.20-reasoning", 1_000_000, 1_000_000, [1_250, 200, 1_250, 2_500], Some(ALL_ABOVE_200K)),
    model("grok", "grok-4.20-non-reasoning", 1_000_000, 1_000_000, [1_250, 200, 1_250, 2_500], Some(ALL_ABOVE_200K)),
    model("grok", "grok-4.20-0309-reasoning", 1_000_000, 1_000_000, [1_250, 200, 1_250, 2_500], Some(ALL_ABOVE_200K)),
    model("grok", "grok-4.20-0309-non-reasoning", 1_000_000, 1_000_000, [1_250, 200, 1_250, 2_500], Some(ALL_ABOVE_200K)),
    model("grok", "grok-build-0.1", 256_000, 256_000, [1_000, 200, 1_000, 2_000], Some(ALL_ABOVE_200K)),
    model("zai", "glm-5.3", 1_000_000, 128_000, [1_400, 260, 1_400, 4_400], None),
    model("zai", "glm-5.3-flash", 1_048_576, 128_000, [150, 30, 150, 500], None),
    model("zai", "glm-5.2", 1_000_000, 128_000, [1_400, 260, 1_400, 4_400], None),
    model("zai", "glm-5.1", 200_000, 128_000, [1_400, 260, 1_400, 4_400], None),
    model("zai", "glm-5", 200_000, 128_000, [1_000, 200, 1_000, 3_200], None),
    model("zai", "glm-5-code", 200_000, 128_000, [1_200, 300, 1_200, 5_000], None),
    model("zai", "glm-5v-turbo", 200_000, 128_000, [1_200, 240, 1_200, 4_000], None),
    model("zai", "glm-4.7", 200_000, 128_000, [600, 110, 600, 2_200], None),
    model("zai", "glm-4.6", 200_000, 128_000, [600, 110, 600, 2_200], None),
    model("zai", "glm-4.5", 128_000, 32_000, [600, 600, 600, 2_200], None),
    model("zai", "glm-4.5-x", 128_000, 32_000, [2_200, 2_200, 2_200, 8_900], None),
    model("zai", "glm-4.5-air", 128_000, 32_000, [200, 200, 200, 1_100], None),
    model("zai", "glm-4.5-airx", 128_000, 32_000, [1_100, 1_100, 1_100, 4_500], None),
    model("zai", "glm-4.5v", 128_000, 32_000, [600, 600, 600, 1_800], None),
    model("moonshot", "kimi-k3.1-pro", 1_048_576, 1_048_576, [2_000, 200, 2_000, 10_000], None),
    model("moonshot", "kimi-k3", 1_048_576, 1_048_576, [3_000, 300, 3_000, 15_000], None),
    model("moonshot", "kimi-k2.7-code", 262_144, 262_144, [950, 190, 950, 4_000], None),
    model("moonshot", "kimi-k2.6", 262_144, 262_144, [950, 160, 950, 4_000], None),
    model("cerebras", "gpt-oss-120b", 131_072, 32_768, [350, 350, 350, 750], None),
    model("groq", "openai/gpt-oss-120b", 131_072, 65_536, [150, 75, 150, 600], None),
];

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_name_is_itself_or_itself_with_a_date() {
        for (provider, name, found) in [
            ("openai", "gpt-5", Some("gpt-5")),
            ("openai", "gpt-5-2025-08-07", Some("gpt-5")),
            ("openai", "gpt-5-pro", Some("gpt-5-pro")),
            ("openai", "gpt-5-pro-2025-10-06", Some("gpt-5-pro")),
            ("openai", "gpt-5-proper", None),
            ("openai", "gpt-5-1234", None),
            ("openai", "gpt-55", None),
            ("claude", "claude-opus-4-6-20260205", Some("claude-opus-4-6")),
            ("claude", "claude-opus-5-5", Some("claude-opus-5-5")),
            ("claude", "gpt-5", None),
            ("gemini", "models/gemini-2.5-pro", Some("gemini-2.5-pro")),
            ("chatcompletion", "gpt-5", None),
        ] {
            assert_eq!(figures(provider, name).map(|m| m.model), found, "{provider} {name}");
        }
        let of = |name| figures_of_vendor(name).map(|m| (m.provider, m.model));
        assert_eq!(of("anthropic/claude-opus-4.6"), Some(("claude", "claude-opus-4-6")));
        assert_eq!(of("openai/gpt-5.4:online"), Some(("openai", "gpt-5.4")));
        assert_eq!(of("someone/gpt-5.4"), None);
        assert_eq!(of("gpt-5.4"), None);
    }

    #[test]
    fn the_table_is_sound() {
        let mut seen = std::collections::HashSet::new();
        for m in MODELS {
            assert!(seen.insert((m.provider, m.model)), "{m:?}");
            assert!(crate::provider(m.provider).is_some(), "{m:?}");
            assert!(m.window >= m.output && m.output >= 16_384, "{m:?}");
            let Price { input, cached, cache_written, output, .. } = m.price;
            assert!(cached <= input && input <= cache_written && input <= output && cached > 0, "{m:?}");
        }
        // What an agent gets that names no model has figures.
        for name in ["openai", "claude", "gemini", "grok", "zai"] {
            let model = crate::provider(name).unwrap().model.unwrap();
            assert!(figures(name, model).is_some(), "{name} {model}");
        }
    }

    #[test]
    fn an_answer_costs_what_the_list_says() {
        let price = figures("openai", "gpt-5.4").unwrap().price;
        let short = Tokens { input: 100_000, cached: 60_000, cache_written: 0, output: 2_000 };
        // 40 000 at 2.50, 60 000 at 0.25, 2 000 at 15 dollars for a million.
        assert_eq!(price.of(short), 100_000 + 15_000 + 30_000);
        let long = Tokens { input: 300_000, output: 1_000, ..Tokens::default() };
        assert_eq!(price.of(long), 1_500_000 + 22_500);
        let written = Tokens { input: 1_000, cache_written: 1_000, ..Tokens::default() };
        assert_eq!(figures("claude", "claude-opus-4-6").unwrap().price.of(written), 6_250);
        assert_eq!(price.of(Tokens { output: 1, ..Tokens::default() }), 15);
        assert_eq!(
            figures("openai", "gpt-5-nano").unwrap().price.of(Tokens { input: 1, ..Tokens::default() }),
            1
        );
    }

    proptest! {
        #[test]
        fn no_count_is_too_large_and_more_never_costs_less(
            input in any::<u64>(), cached in any::<u64>(), cache_written in any::<u64>(), output in any::<u64>(), at in 0..MODELS.len(),
        ) {
            let price = MODELS[at].price;
            let tokens = Tokens { input, cached, cache_written, output };
            let cost = price.of(tokens);
            let half = price.of(Tokens { output: output / 2, ..tokens });
            prop_assert!(half <= cost);
            let fresh = price.of(Tokens { cached: 0, cache_written: 0, ..tokens });
            let from_cache = price.of(Tokens { cache_written: 0, ..tokens });
            prop_assert!(from_cache <= fresh);
        }

        #[test]
        fn any_name_is_looked_up(provider in "\\PC{0,8}", model in "\\PC{0,20}") {
            let _ = (figures(&provider, &model), figures_of_vendor(&model));
        }
    }
}
