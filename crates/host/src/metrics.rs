//! Metrics: a registry that is handed down, and its text form for Prometheus.
//!
//! Names and labels are constants of the source, so no id of a person, home or device can become one. Recording is an
//! atomic addition; only registering and printing take a lock.

use std::collections::BTreeMap;
use std::fmt::{self, Write};
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Upper bounds of the buckets of durations, in microseconds: 100 us to 10 s, then without bound.
pub const DURATION_BUCKETS_MICROS: [u64; 14] = [
    100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 1_000_000,
    2_500_000, 10_000_000,
];

/// The labels of a metric: constant names and values.
pub type Labels = &'static [(&'static str, &'static str)];

/// The registry of a process. Cheap to clone; all clones are one.
#[derive(Clone, Default)]
pub struct Metrics {
    families: Arc<Mutex<BTreeMap<&'static str, Family>>>,
}

struct Family {
    help: &'static str,
    members: BTreeMap<Vec<(&'static str, &'static str)>, Member>,
}

#[derive(Clone)]
enum Member {
    Counter(Counter),
    Gauge(Gauge),
    Asked(Arc<dyn Fn() -> i64 + Send + Sync>),
    AskedCounter(Arc<dyn Fn() -> u64 + Send + Sync>),
    Histogram(Histogram),
    Sampled(Sampled),
}

impl Member {
    const fn kind(&self) -> &'static str {
        match self {
            Self::Counter(_) | Self::AskedCounter(_) => "counter",
            Self::Gauge(_) | Self::Asked(_) | Self::Sampled(_) => "gauge",
            Self::Histogram(_) => "histogram",
        }
    }
}

/// A number that only grows.
#[derive(Clone, Debug, Default)]
pub struct Counter(Arc<AtomicU64>);

impl Counter {
    /// One more.
    pub fn increment(&self) {
        self.add(1);
    }

    /// That many more.
    pub fn add(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }

    /// The number.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A number that goes up and down.
#[derive(Clone, Debug, Default)]
pub struct Gauge(Arc<AtomicI64>);

impl Gauge {
    /// Sets it.
    pub fn set(&self, value: i64) {
        self.0.store(value, Ordering::Relaxed);
    }

    /// That much more, or less.
    pub fn add(&self, change: i64) {
        self.0.fetch_add(change, Ordering::Relaxed);
    }

    /// The number.
    #[must_use]
    pub fn get(&self) -> i64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// One row of a sampled metric: its labels, and the number.
pub type Sample = (Vec<(&'static str, String)>, i64);

/// A gauge whose rows are looked up now and then, all at once. Labels are names of the source that come by way of a
/// store (a consumer, a stream): never the id of a person, home or device.
#[derive(Clone, Debug, Default)]
pub struct Sampled(Arc<Mutex<Vec<Sample>>>);

impl Sampled {
    /// Puts these in the place of the rows before.
    pub fn replace(&self, rows: Vec<Sample>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = rows;
    }
}

/// Durations, counted in buckets.
#[derive(Clone, Debug, Default)]
pub struct Histogram(Arc<Buckets>);

#[derive(Debug, Default)]
struct Buckets {
    /// One per bound, and one for what is above all of them.
    counts: [AtomicU64; DURATION_BUCKETS_MICROS.len() + 1],
    sum_micros: AtomicU64,
}

impl Histogram {
    /// Counts one.
    pub fn observe(&self, duration: Duration) {
        let micros = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        let bucket = DURATION_BUCKETS_MICROS.partition_point(|bound| *bound < micros);
        self.0.counts[bucket].fetch_add(1, Ordering::Relaxed);
        self.0.sum_micros.fetch_add(micros, Ordering::Relaxed);
    }

    /// How many were counted.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.0
            .counts
            .iter()
            .map(|count| count.load(Ordering::Relaxed))
            .sum()
    }
}

impl Metrics {
    /// An empty registry.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The counter of that name and labels, registered at the first call. Names end in `_total`.
    #[must_use]
    pub fn counter(&self, name: &'static str, help: &'static str, labels: Labels) -> Counter {
        match self.member(name, help, labels, || Member::Counter(Counter::default())) {
            Member::Counter(counter) => counter,
            // Registered as something else: count where nobody sees it. A test of the registry's users finds it.
            _ => Counter::default(),
        }
    }

    /// The gauge of that name and labels.
    #[must_use]
    pub fn gauge(&self, name: &'static str, help: &'static str, labels: Labels) -> Gauge {
        match self.member(name, help, labels, || Member::Gauge(Gauge::default())) {
            Member::Gauge(gauge) => gauge,
            _ => Gauge::default(),
        }
    }

    /// A gauge that is asked when it is printed. It must not block, nor use this registry.
    pub fn ask(
        &self,
        name: &'static str,
        help: &'static str,
        labels: Labels,
        value: impl Fn() -> i64 + Send + Sync + 'static,
    ) {
        self.member(name, help, labels, || Member::Asked(Arc::new(value)));
    }

    /// A counter that is kept elsewhere, and asked when it is printed. It must not block, nor use this registry.
    pub fn ask_counter(
        &self,
        name: &'static str,
        help: &'static str,
        labels: Labels,
        value: impl Fn() -> u64 + Send + Sync + 'static,
    ) {
        self.member(name, help, labels, || Member::AskedCounter(Arc::new(value)));
    }

    /// The sampled gauge of that name.
    #[must_use]
    pub fn sampled(&self, name: &'static str, help: &'static str) -> Sampled {
        match self.member(name, help, &[], || Member::Sampled(Sampled::default())) {
            Member::Sampled(sampled) => sampled,
            _ => Sampled::default(),
        }
    }

    /// The names of all metrics that are registered.
    #[must_use]
    pub fn names(&self) -> Vec<&'static str> {
        let families = self.families.lock().unwrap_or_else(PoisonError::into_inner);
        families.keys().copied().collect()
    }

    /// The histogram of durations of that name and labels. Names end in `_seconds`.
    #[must_use]
    pub fn histogram(&self, name: &'static str, help: &'static str, labels: Labels) -> Histogram {
        self.histogram_of(name, help, labels.to_vec())
    }

    pub(crate) fn histogram_of(
        &self,
        name: &'static str,
        help: &'static str,
        labels: Vec<(&'static str, &'static str)>,
    ) -> Histogram {
        match self.member_of(name, help, labels, || {
            Member::Histogram(Histogram::default())
        }) {
            Member::Histogram(histogram) => histogram,
            _ => Histogram::default(),
        }
    }

    pub(crate) fn counter_of(
        &self,
        name: &'static str,
        help: &'static str,
        labels: Vec<(&'static str, &'static str)>,
    ) -> Counter {
        match self.member_of(name, help, labels, || Member::Counter(Counter::default())) {
            Member::Counter(counter) => counter,
            _ => Counter::default(),
        }
    }

    fn member(
        &self,
        name: &'static str,
        help: &'static str,
        labels: Labels,
        make: impl FnOnce() -> Member,
    ) -> Member {
        self.member_of(name, help, labels.to_vec(), make)
    }

    fn member_of(
        &self,
        name: &'static str,
        help: &'static str,
        labels: Vec<(&'static str, &'static str)>,
        make: impl FnOnce() -> Member,
    ) -> Member {
        let mut families = self.families.lock().unwrap_or_else(PoisonError::into_inner);
        let family = families.entry(name).or_insert_with(|| Family {
            help,
            members: BTreeMap::new(),
        });
        family.members.entry(labels).or_insert_with(make).clone()
    }

    /// All metrics in Prometheus' text format, version 0.0.4.
    #[must_use]
    pub fn text(&self) -> String {
        let mut out = String::new();
        let families = self.families.lock().unwrap_or_else(PoisonError::into_inner);
        for (name, family) in families.iter() {
            // Writing to a string does not fail.
            let _ = print(&mut out, name, family);
        }
        out
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Metrics")
    }
}

fn print(out: &mut String, name: &str, family: &Family) -> fmt::Result {
    let Some(first) = family.members.values().next() else {
        return Ok(());
    };
    writeln!(out, "# HELP {name} {}", family.help)?;
    writeln!(out, "# TYPE {name} {}", first.kind())?;
    for (labels, member) in &family.members {
        match member {
            Member::Counter(it) => writeln!(out, "{name}{} {}", Set(labels, None), it.get())?,
            Member::Gauge(it) => writeln!(out, "{name}{} {}", Set(labels, None), it.get())?,
            Member::Asked(ask) => writeln!(out, "{name}{} {}", Set(labels, None), ask())?,
            Member::AskedCounter(ask) => writeln!(out, "{name}{} {}", Set(labels, None), ask())?,
            Member::Histogram(it) => print_histogram(out, name, labels, &it.0)?,
            Member::Sampled(it) => {
                for (labels, value) in &*it.0.lock().unwrap_or_else(PoisonError::into_inner) {
                    let labels: Vec<_> = labels.iter().map(|(n, v)| (*n, &v[..])).collect();
                    writeln!(out, "{name}{} {value}", Set(&labels, None))?;
                }
            }
        }
    }
    Ok(())
}

fn print_histogram(
    out: &mut String,
    name: &str,
    labels: &[(&'static str, &'static str)],
    buckets: &Buckets,
) -> fmt::Result {
    let mut total = 0;
    for (index, count) in buckets.counts.iter().enumerate() {
        total += count.load(Ordering::Relaxed);
        let bound = DURATION_BUCKETS_MICROS
            .get(index)
            .map(|micros| seconds(*micros));
        let bound = bound.unwrap_or_else(|| "+Inf".to_owned());
        writeln!(out, "{name}_bucket{} {total}", Set(labels, Some(&bound)))?;
    }
    let sum = seconds(buckets.sum_micros.load(Ordering::Relaxed));
    writeln!(out, "{name}_sum{} {sum}", Set(labels, None))?;
    writeln!(out, "{name}_count{} {total}", Set(labels, None))
}

fn seconds(micros: u64) -> String {
    format!("{}.{:06}", micros / 1_000_000, micros % 1_000_000)
}

/// Labels in braces, with the bound of a bucket.
struct Set<'a>(&'a [(&'static str, &'a str)], Option<&'a str>);

impl fmt::Display for Set<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bound = self.1.map(|bound| ("le", bound));
        let all = self.0.iter().copied().chain(bound);
        let mut open = "{";
        for (name, value) in all {
            let value = value
                .replace('\\', "\\\\")
                .replace('"', "\\\"")
                .replace('\n', "\\n");
            write!(f, "{open}{name}=\"{value}\"")?;
            open = ",";
        }
        if open == "," {
            f.write_str("}")
        } else {
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_form() {
        let metrics = Metrics::new();
        let refused = metrics.counter("hearth_x_total", "X.", &[("kind", "a\"b")]);
        refused.add(3);
        metrics
            .counter("hearth_x_total", "X.", &[("kind", "a\"b")])
            .increment();
        metrics.gauge("hearth_y", "Y.", &[]).set(-2);
        metrics.ask("hearth_z", "Z.", &[], || 7);
        let sampled = metrics.sampled("hearth_s", "S.");
        sampled.replace(vec![(vec![("consumer", "a.b".to_owned())], 5)]);
        metrics.ask_counter("hearth_c_total", "C.", &[], || 8);
        let times = metrics.histogram("hearth_t_seconds", "T.", &[("a", "b")]);
        times.observe(Duration::from_micros(100));
        times.observe(Duration::from_micros(101));
        times.observe(Duration::from_secs(60));
        let text = metrics.text();
        for line in [
            "# TYPE hearth_x_total counter",
            "hearth_x_total{kind=\"a\\\"b\"} 4",
            "hearth_y -2",
            "hearth_z 7",
            "hearth_s{consumer=\"a.b\"} 5",
            "# TYPE hearth_c_total counter",
            "hearth_c_total 8",
            "hearth_t_seconds_bucket{a=\"b\",le=\"0.000100\"} 1",
            "hearth_t_seconds_bucket{a=\"b\",le=\"0.000250\"} 2",
            "hearth_t_seconds_bucket{a=\"b\",le=\"10.000000\"} 2",
            "hearth_t_seconds_bucket{a=\"b\",le=\"+Inf\"} 3",
            "hearth_t_seconds_sum{a=\"b\"} 60.000201",
            "hearth_t_seconds_count{a=\"b\"} 3",
        ] {
            assert!(text.lines().any(|it| it == line), "{line} in\n{text}");
        }
    }

    #[test]
    fn one_name_is_one_kind() {
        let metrics = Metrics::new();
        metrics.counter("hearth_x_total", "X.", &[]).increment();
        metrics.gauge("hearth_x_total", "X.", &[]).set(9);
        assert!(metrics.text().contains("hearth_x_total 1"));
    }
}
