use crate::{
    Ask, AskError, Asks, Client, Told,
    attempt::{Attempts, Sending, headers},
    retry::patiently,
};
use async_trait::async_trait;
use bytes::Bytes;
use cordon_backends::{
    Redactor,
    api::{Answer, Limits, RequestError, RetryPolicy, Settings, Target, Usage, request},
};
use cordon_providers::{Figures, Price, Tokens, figures, figures_of_vendor, provider_of_host};
use std::time::Duration;
use tokio::time::{Instant, sleep_until};

/// How long a model is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// Until the first byte of an answer. A model may think before it speaks.
    pub first: Duration,
    /// Between two bytes of it.
    pub idle: Duration,
    /// Until there is an answer, all attempts together.
    pub whole: Duration,
    /// Whether to ask again.
    pub retry: RetryPolicy,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            first: Duration::from_secs(15 * 60),
            idle: Duration::from_secs(5 * 60),
            whole: Duration::from_secs(60 * 60),
            retry: RetryPolicy::default(),
        }
    }
}

/// A model behind an interface over HTTP.
#[derive(Clone, Debug)]
pub struct Model {
    target: Target,
    client: Client,
    redactor: Redactor,
    patience: Patience,
    limits: Limits,
}

impl Model {
    /// Asks this target through this client.
    #[must_use]
    pub fn new(target: Target, client: &Client) -> Self {
        let secrets: Vec<String> = target.key.iter().map(|key| key.reveal().trim().to_owned()).collect();
        Self {
            redactor: Redactor::new(&secrets),
            target,
            client: client.clone(),
            patience: Patience::default(),
            limits: Limits::default(),
        }
    }

    /// With another patience.
    #[must_use]
    pub fn with_patience(mut self, patience: Patience) -> Self {
        self.patience = patience;
        self
    }

    /// With other limits of an answer.
    #[must_use]
    pub fn with_limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Who is asked.
    #[must_use]
    pub fn target(&self) -> &Target {
        &self.target
    }

    /// Host and port.
    fn host(&self) -> String {
        host_of(&self.target)
    }

    /// Whether it is known what an answer costs. A limit in dollars is none otherwise.
    #[must_use]
    pub fn price_known(&self) -> bool {
        !matches!(self.bill(), Bill::Unknown)
    }

    /// Whose server this is, as far as its name says.
    fn provider(&self) -> &'static str {
        whose(&self.target)
    }

    fn figures(&self) -> Option<&'static Figures> {
        let model = &self.target.settings.model;
        match self.provider() {
            "openrouter" => figures_of_vendor(model),
            provider => figures(provider, model),
        }
    }

    fn bill(&self) -> Bill {
        match self.provider() {
            "lmstudio" | "vllm" | "sglang" | "inference" => Bill::Free,
            "openrouter" => Bill::Told,
            _ => self.figures().map_or(Bill::Unknown, |figures| Bill::List(figures.price)),
        }
    }

    fn attempts(&self, ask: &Ask<'_>) -> Result<Attempts<'_>, AskError> {
        let Target { endpoint, key, settings } = &self.target;
        let settings = Settings { choice: ask.choice.clone(), ..settings.clone() };
        let request = request(endpoint, key.as_ref(), ask.conversation, ask.tools, &settings)?;
        let unfit = RequestError::Key { provider: endpoint.provider().name };
        Ok(Attempts {
            sending: Sending {
                client: &self.client,
                patience: &self.patience,
                redactor: &self.redactor,
                headers: headers(&request).ok_or(unfit)?,
                url: request.url,
                body: Bytes::from(request.body),
            },
            origin: endpoint.origin(&settings.model),
            limits: self.limits,
            serial: ask.serial,
        })
    }
}

/// Host and port.
pub(crate) fn host_of(target: &Target) -> String {
    let (host, port) = target.endpoint.host();
    format!("{host}:{port}")
}

/// Whose server this is, as far as its name says.
pub(crate) fn whose(target: &Target) -> &'static str {
    match target.endpoint.provider().name {
        "chatcompletion" => provider_of_host(target.endpoint.host().0).map_or("", |p| p.name),
        name => name,
    }
}

#[async_trait]
impl Asks for Model {
    async fn ask(&self, ask: Ask<'_>, tell: &mut (dyn FnMut(Told) + Send)) -> Result<Answer, AskError> {
        let mut attempts = self.attempts(&ask)?;
        let last = Instant::now() + self.patience.whole;
        let deadline = ask.deadline.map_or(last, |deadline| deadline.min(last));
        let host = self.host();
        // Whoever stops waiting drops the connection in the middle, and with it what came.
        tokio::select! {
            biased;
            () = ask.cancel.cancelled() => Err(AskError::Cancelled),
            () = sleep_until(deadline) => Err(AskError::TimedOut),
            answer = patiently(&mut attempts, &self.patience.retry, deadline, &host, tell) => answer,
        }
    }

    fn takes(&self, mime: &str) -> bool {
        cordon_backends::api::takes_media(self.target.endpoint.provider().protocol, mime)
    }

    fn window(&self) -> Option<u64> {
        self.figures().map(|figures| figures.window)
    }

    fn cost(&self, usage: &Usage) -> Option<u64> {
        usage.cost_micros.or_else(|| match self.bill() {
            Bill::Free => Some(0),
            Bill::Told => None,
            Bill::List(price) => {
                let Usage { input, cached, cache_written, output, .. } = *usage;
                Some(price.of(Tokens { input, cached, cache_written, output }))
            }
            Bill::Unknown => None,
        })
    }
}

/// Where what an answer costs is known from.
enum Bill {
    /// It costs nobody anything by the token.
    Free,
    /// The provider says so with every answer.
    Told,
    /// The list.
    List(Price),
    Unknown,
}

#[cfg(test)]
#[path = "model_tests.rs"]
mod tests;
