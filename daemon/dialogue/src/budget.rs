//! How far a turn may go, and how far it went.

use cordon_backends::api::Usage;
use cordon_config::TurnLimits;

/// Counts what the answers of a turn used.
#[derive(Clone, Debug)]
pub(crate) struct Budget {
    limits: TurnLimits,
    answers: u32,
    tokens: u64,
    cost_micros: u64,
}

impl Budget {
    pub(crate) fn new(limits: TurnLimits) -> Self {
        Self { limits, answers: 0, tokens: 0, cost_micros: 0 }
    }

    /// An answer came. What it cost counts for nothing where nobody knows it: a turn with a limit
    /// on cost is not begun then.
    pub(crate) fn count(&mut self, usage: &Usage, cost_micros: Option<u64>) {
        self.answers = self.answers.saturating_add(1);
        self.spend(usage, cost_micros);
    }

    /// A tool asked a model.
    pub(crate) fn spend(&mut self, usage: &Usage, cost_micros: Option<u64>) {
        // The numbers are a server's, and may be any.
        self.tokens = self.tokens.saturating_add(usage.input).saturating_add(usage.output);
        self.cost_micros = self.cost_micros.saturating_add(cost_micros.unwrap_or_default());
    }

    /// Whether anything spent counts against a limit.
    pub(crate) fn is_limited(&self) -> bool {
        self.limits.tokens.is_some() || self.limits.cost_micros.is_some()
    }

    /// Why the model must not be asked once more.
    pub(crate) fn reached(&self) -> Option<String> {
        if self.answers >= self.limits.answers {
            return Some(format!("the model answered {} times: max_turns is reached", self.answers));
        }
        self.spent()
    }

    /// Why nothing more is to be spent.
    pub(crate) fn spent(&self) -> Option<String> {
        if let Some(most) = self.limits.tokens.filter(|most| self.tokens >= *most) {
            return Some(format!("max_tokens_total of {most} is reached: {} tokens were used", self.tokens));
        }
        let most = self.limits.cost_micros.filter(|most| self.cost_micros >= *most)?;
        let dollars = |micros: u64| format!("{}.{:06}", micros / 1_000_000, micros % 1_000_000);
        let (most, used) = (dollars(most), dollars(self.cost_micros));
        Some(format!("max_cost_usd of {most} is reached: {used} dollars were spent"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_limit_ends_a_turn_by_its_name() {
        let usage = |input, output| Usage { input, output, ..Usage::default() };
        let mut budget = Budget::new(TurnLimits {
            answers: 3,
            tokens: Some(100),
            cost_micros: Some(2_500_000),
            ..TurnLimits::default()
        });
        assert_eq!(budget.reached(), None);
        budget.count(&usage(50, 49), Some(1_000_000));
        assert_eq!(budget.reached(), None);
        let mut tokens = budget.clone();
        tokens.count(&usage(1, 0), None);
        assert!(tokens.reached().unwrap().contains("max_tokens_total"));
        let mut cost = budget.clone();
        cost.count(&usage(0, 0), Some(1_500_000));
        assert!(cost.reached().unwrap().contains("max_cost_usd of 2.500000"));
        budget.count(&usage(0, 0), None);
        budget.count(&usage(0, 0), None);
        assert!(budget.reached().unwrap().contains("max_turns"));
        budget.count(&usage(u64::MAX, u64::MAX), Some(u64::MAX));
        assert!(budget.reached().is_some());
    }
}
