//! Has pictures drawn and texts spoken, with the patience, limits and cancellation of every other
//! request. It is asked again only as long as no answer has begun: one that has is paid for.

use crate::{
    AskError, Client, Patience, Told,
    attempt::{Sending, headers},
    fault::{Fault, redacted, silent},
    model::{host_of, whose},
    retry::{Once, patiently},
};
use async_trait::async_trait;
use bytes::Bytes;
use cordon_backends::{
    Redactor,
    api::{ApiError, Made, MadeReader, Order, RequestError, Target, making_request},
};
use cordon_providers::{Maker as Way, Making, MakingPrice, making_price};
use std::time::Duration;
use tokio::{
    sync::OwnedSemaphorePermit,
    time::{Instant, sleep_until, timeout_at},
};
use tokio_util::sync::CancellationToken;

/// The most bytes of what is made.
pub const LARGEST_MADE: usize = 32 << 20;

/// Something that makes pictures or speech.
#[async_trait]
pub trait Makes: Send + Sync {
    /// What it makes, and what may be said of it.
    fn way(&self) -> &'static Way;

    /// Provider and model.
    fn name(&self) -> String;

    /// Why this cannot be ordered, before anything is paid for.
    ///
    /// # Errors
    /// When it cannot.
    fn check(&self, order: &Order) -> Result<(), RequestError>;

    /// Makes it. As long as the permit lives, another one waits for its room.
    ///
    /// # Errors
    /// When there is none.
    async fn make(
        &self,
        order: &Order,
        cancel: &CancellationToken,
    ) -> Result<(Made, OwnedSemaphorePermit), AskError>;

    /// What it cost, in millionths of a dollar; none: nobody knows.
    fn cost(&self, order: &Order, made: &Made) -> Option<u64>;
}

/// A model behind an interface over HTTP that makes something.
#[derive(Clone, Debug)]
pub struct Maker {
    target: Target,
    way: &'static Way,
    client: Client,
    redactor: Redactor,
    patience: Patience,
}

/// A server may take minutes for a picture, and an hour for none.
fn patience() -> Patience {
    Patience {
        first: Duration::from_secs(10 * 60),
        idle: Duration::from_secs(60),
        whole: Duration::from_secs(20 * 60),
        ..Patience::default()
    }
}

impl Maker {
    /// Has this target make it.
    ///
    /// # Errors
    /// When it makes no such thing.
    pub fn new(target: Target, making: Making, client: &Client) -> Result<Self, RequestError> {
        let way = target.endpoint.maker(making).ok_or_else(|| RequestError::MakesNone {
            provider: target.endpoint.provider().name,
            making: making.word(),
            able: making.providers().join(", "),
        })?;
        let secrets: Vec<String> = target.key.iter().map(|key| key.reveal().trim().to_owned()).collect();
        let redactor = Redactor::new(&secrets);
        Ok(Self { target, way, client: client.clone(), redactor, patience: patience() })
    }

    /// With another patience.
    #[must_use]
    pub fn with_patience(mut self, patience: Patience) -> Self {
        self.patience = patience;
        self
    }

    /// Whether it is known what it takes for one. A limit in dollars is none otherwise.
    #[must_use]
    pub fn price_known(&self) -> bool {
        whose(&self.target) == "openrouter" || self.price().is_some()
    }

    fn price(&self) -> Option<MakingPrice> {
        making_price(whose(&self.target), &self.target.settings.model)
    }
}

#[async_trait]
impl Makes for Maker {
    fn way(&self) -> &'static Way {
        self.way
    }

    fn name(&self) -> String {
        format!("{} ({})", self.target.endpoint.provider().name, self.target.settings.model)
    }

    fn check(&self, order: &Order) -> Result<(), RequestError> {
        making_request(&self.target, order).map(drop)
    }

    async fn make(
        &self,
        order: &Order,
        cancel: &CancellationToken,
    ) -> Result<(Made, OwnedSemaphorePermit), AskError> {
        let request = making_request(&self.target, order)?;
        let provider = self.target.endpoint.provider().name;
        let mut attempts = Attempts {
            sending: Sending {
                client: &self.client,
                patience: &self.patience,
                redactor: &self.redactor,
                headers: headers(&request).ok_or(RequestError::Key { provider })?,
                url: request.url,
                body: Bytes::from(request.body),
            },
            target: &self.target,
            making: order.making,
        };
        let deadline = Instant::now() + self.patience.whole;
        let host = host_of(&self.target);
        let mut nobody = |_| {};
        let made = async {
            let room = self.client.room().await.ok_or(AskError::Cancelled)?;
            let made = patiently(&mut attempts, &self.patience.retry, deadline, &host, &mut nobody).await?;
            Ok((made, room))
        };
        tokio::select! {
            biased;
            () = cancel.cancelled() => Err(AskError::Cancelled),
            () = sleep_until(deadline) => Err(AskError::TimedOut),
            made = made => made,
        }
    }

    fn cost(&self, order: &Order, made: &Made) -> Option<u64> {
        let characters = order.prompt.chars().count() as u64;
        let price = |price: MakingPrice| price.of(made.usage.input, made.usage.output, characters);
        made.usage.cost_micros.or_else(|| price(self.price()?))
    }
}

struct Attempts<'a> {
    sending: Sending<'a>,
    target: &'a Target,
    making: Making,
}

#[async_trait]
impl Once<Made> for Attempts<'_> {
    async fn once(&mut self, _tell: &mut (dyn FnMut(Told) + Send)) -> Result<Made, Fault> {
        self.try_once().await.map_err(|fault| redacted(fault, self.sending.redactor))
    }
}

impl Attempts<'_> {
    async fn try_once(&self) -> Result<Made, Fault> {
        let Patience { first, idle, .. } = *self.sending.patience;
        let first_by = Instant::now() + first;
        let mut response = self.sending.send(first_by).await?;
        let nothing = || ApiError::Unreadable { what: "something that was not ordered".to_owned() };
        let mut reader =
            MadeReader::new(self.target, self.making, LARGEST_MADE).ok_or_else(|| Fault::Wrong(nothing()))?;
        // What fails from here on has been paid for.
        let (mut by, mut within) = (first_by, first);
        loop {
            match timeout_at(by, response.chunk()).await {
                Ok(Ok(Some(bytes))) => {
                    reader.push(&bytes).map_err(Fault::Wrong)?;
                    (by, within) = (Instant::now() + idle, idle);
                }
                Ok(Ok(None)) => break,
                Ok(Err(_)) => return Err(Fault::Wrong(ApiError::Truncated)),
                Err(_) => return Err(last(silent(within))),
            }
        }
        reader.finish().map_err(Fault::Wrong)
    }
}

/// The same, and nobody asks again.
fn last(fault: Fault) -> Fault {
    match fault {
        Fault::Api(error) => Fault::Wrong(error),
        other => other,
    }
}

#[cfg(test)]
#[path = "make_tests.rs"]
mod tests;
