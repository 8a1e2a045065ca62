//! Looks now and then how everything that follows the log stands, and puts it into the metrics.
//!
//! It reads what consumers write down (`hearth_engine::standing`), so no service has to count for it, and a consumer
//! that does not run at all shows. A look that fails or takes too long is counted, and leaves the numbers as they were.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use hearth_engine::standing::{self, Behind};
use hearth_engine::{Watermarks, parking};
use hearth_kernel::{Service, Timestamp};
use hearth_ports::tasks::Chain;
use hearth_ports::{Clock, Documents, Family, Log, Position, StoreError, Stream, Tasks};

use crate::metrics::{Counter, Metrics, Sample, Sampled};
use crate::module::Context;

/// How often it looks.
const EVERY: Duration = Duration::from_secs(15);
/// How long a look may take.
const WITHIN: Duration = Duration::from_secs(10);
/// A consumer whose mark stands still for so long although a message is there is stuck.
const STUCK_AFTER: Duration = Duration::from_secs(60);
/// Timers are counted up to here.
const MOST_TIMERS: usize = 10_000;

/// The sampler of a process.
pub(crate) struct Sampler {
    log: Arc<dyn Log>,
    documents: Arc<dyn Documents>,
    clock: Arc<dyn Clock>,
    watermarks: Watermarks,
    services: Vec<Service>,
    gauges: Gauges,
    /// Marks that stand still, and since when.
    still: BTreeMap<(String, Stream), (Position, Timestamp)>,
}

struct Gauges {
    lag_messages: Sampled,
    lag_seconds: Sampled,
    stuck: Sampled,
    parked: Sampled,
    relay_messages: Sampled,
    relay_seconds: Sampled,
    timers_late: Sampled,
    timers_oldest: Sampled,
    timers_waiting: Sampled,
    failed: Counter,
}

impl Gauges {
    fn new(metrics: &Metrics) -> Self {
        Self {
            lag_messages: metrics.sampled(
                "hearth_consumer_lag_messages",
                "Messages behind a consumer's mark, at most.",
            ),
            lag_seconds: metrics.sampled(
                "hearth_consumer_lag_seconds",
                "Age of the oldest message that a consumer has not handled.",
            ),
            stuck: metrics.sampled(
                "hearth_consumer_stuck",
                "1 when a consumer's mark stands still for a minute with a message behind it.",
            ),
            parked: metrics.sampled(
                "hearth_parked_subjects",
                "Subjects that a consumer set aside.",
            ),
            relay_messages: metrics.sampled(
                "hearth_relay_lag_messages",
                "Commits of a service's history that are not known to be published, at most.",
            ),
            relay_seconds: metrics.sampled(
                "hearth_relay_watermark_age_seconds",
                "Age of the last word of a service's relay.",
            ),
            timers_late: metrics.sampled("hearth_timers_late", "Timers that are due and not done."),
            timers_oldest: metrics.sampled(
                "hearth_timers_oldest_late_seconds",
                "How late the oldest timer is that is due and not done.",
            ),
            timers_waiting: metrics
                .sampled("hearth_timers_waiting", "Timers that wait for their time."),
            failed: metrics.counter(
                "hearth_samples_failed_total",
                "Looks at consumers, relays and timers that failed.",
                &[],
            ),
        }
    }
}

impl Sampler {
    /// The sampler of a process with these services, on the stores of one of its modules' contexts.
    pub(crate) fn new(context: &Context, services: Vec<Service>) -> Self {
        Self {
            log: Arc::clone(&context.log),
            documents: Arc::clone(&context.documents),
            clock: Arc::clone(&context.clock),
            watermarks: context.watermarks.clone(),
            services,
            gauges: Gauges::new(&context.metrics),
            still: BTreeMap::new(),
        }
    }

    /// Looks from now on.
    pub(crate) fn start(mut self, tasks: &Tasks) {
        tasks.spawn("metrics sampler", async move {
            loop {
                self.look().await;
                tokio::time::sleep(EVERY).await;
            }
        });
    }

    async fn look(&mut self) {
        let looked = tokio::time::timeout(WITHIN, self.sample()).await;
        match looked {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                self.gauges.failed.increment();
                tracing::warn!(error = %Chain(&error), "metrics could not be sampled");
            }
            Err(_) => {
                self.gauges.failed.increment();
                tracing::warn!("sampling metrics took too long");
            }
        }
    }

    async fn sample(&mut self) -> Result<(), StoreError> {
        self.parked().await?;
        let now = self.clock.now();
        let behind = standing::consumers(&*self.log, &*self.documents).await?;
        self.consumers(&behind, now);
        self.relays(now).await?;
        self.timers(now).await
    }

    async fn parked(&self) -> Result<(), StoreError> {
        let mut counts: BTreeMap<String, i64> = BTreeMap::new();
        for parked in parking::list(&*self.documents, MOST_TIMERS).await? {
            *counts.entry(parked.consumer).or_default() += 1;
        }
        let rows = counts.into_iter();
        let rows = rows.map(|(consumer, count)| (vec![("consumer", consumer)], count));
        self.gauges.parked.replace(rows.collect());
        Ok(())
    }

    fn consumers(&mut self, all: &[Behind], now: Timestamp) {
        let mut stuck: BTreeMap<&str, i64> = BTreeMap::new();
        let (mut messages, mut seconds) = (Vec::new(), Vec::new());
        let former = std::mem::take(&mut self.still);
        for one in all {
            let labels = || {
                vec![
                    ("consumer", one.consumer.clone()),
                    ("stream", one.stream.name()),
                ]
            };
            messages.push((labels(), number(one.messages)));
            seconds.push((labels(), age(now, one.oldest)));
            let is_stuck = stuck.entry(&one.consumer).or_default();
            if one.messages > 0 {
                let key = (one.consumer.clone(), one.stream);
                let since = former.get(&key).filter(|(mark, _)| *mark == one.mark);
                let since = since.map_or(now, |(_, since)| *since);
                if now.since(since) >= STUCK_AFTER {
                    *is_stuck = 1;
                }
                self.still.insert(key, (one.mark, since));
            }
        }
        let stuck = stuck.into_iter();
        let stuck = stuck.map(|(name, it)| (vec![("consumer", name.to_owned())], it));
        self.gauges.stuck.replace(stuck.collect());
        self.gauges.lag_messages.replace(messages);
        self.gauges.lag_seconds.replace(seconds);
    }

    async fn relays(&self, now: Timestamp) -> Result<(), StoreError> {
        let (mut messages, mut seconds) = (Vec::new(), Vec::new());
        for service in &self.services {
            let mark = *self.watermarks.newest(*service).borrow();
            let head = self.log.head(Stream::new(Family::Evt, *service)).await?;
            let behind = standing::distance(mark.evt, head);
            messages.push(of(*service, number(behind)));
            // Of a relay that was never heard nothing is known: the readiness says so.
            let heard = Some(mark.at).filter(|at| *at > Timestamp::EPOCH);
            if heard.is_some() {
                seconds.push(of(*service, age(now, heard)));
            }
        }
        self.gauges.relay_messages.replace(messages);
        self.gauges.relay_seconds.replace(seconds);
        Ok(())
    }

    async fn timers(&self, now: Timestamp) -> Result<(), StoreError> {
        let (mut late, mut oldest, mut waiting) = (Vec::new(), Vec::new(), Vec::new());
        for service in &self.services {
            let it = standing::timers(&*self.documents, *service, now, MOST_TIMERS).await?;
            late.push(of(*service, number(it.late)));
            oldest.push(of(*service, age(now, it.oldest)));
            waiting.push(of(*service, number(it.waiting)));
        }
        self.gauges.timers_late.replace(late);
        self.gauges.timers_oldest.replace(oldest);
        self.gauges.timers_waiting.replace(waiting);
        Ok(())
    }
}

fn of(service: Service, value: i64) -> Sample {
    (vec![("service", service.name().to_owned())], value)
}

fn number(count: impl TryInto<i64>) -> i64 {
    count.try_into().unwrap_or(i64::MAX)
}

fn age(now: Timestamp, since: Option<Timestamp>) -> i64 {
    since.map_or(0, |since| number(now.since(since).as_secs()))
}

#[cfg(test)]
mod tests;
