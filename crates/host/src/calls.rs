//! Metrics of calls: count by code, duration, and how many are in flight, per method of the table.

use std::collections::HashMap;
use std::sync::OnceLock;
use std::time::Duration;

use hearth_rpc::{Observer, RuleTable};
use tonic::Code;

use crate::metrics::{Counter, Gauge, Histogram, Metrics};

/// Codes are 0 to 16.
const CODES: usize = 17;

/// Makes metrics of what the stack tells.
#[derive(Debug)]
pub struct CallMetrics {
    metrics: Metrics,
    methods: HashMap<&'static str, Method>,
    in_flight: Gauge,
    panics: Counter,
}

#[derive(Debug)]
struct Method {
    duration: OnceLock<Histogram>,
    codes: [OnceLock<Counter>; CODES],
}

impl CallMetrics {
    /// Metrics for every method of the table; one shows when it was called first.
    #[must_use]
    pub fn new(metrics: &Metrics, rules: &RuleTable) -> Self {
        let methods = rules.rows().into_iter().map(|rule| {
            let codes = std::array::from_fn(|_| OnceLock::new());
            (
                rule.path,
                Method {
                    duration: OnceLock::new(),
                    codes,
                },
            )
        });
        Self {
            methods: methods.collect(),
            in_flight: metrics.gauge(
                "hearth_rpc_in_flight",
                "Calls and streams being served.",
                &[],
            ),
            panics: metrics.counter("hearth_rpc_panics_total", "Handlers that panicked.", &[]),
            metrics: metrics.clone(),
        }
    }
}

impl Observer for CallMetrics {
    fn started(&self, _: &'static str) {
        self.in_flight.add(1);
    }

    fn finished(&self, method: &'static str, code: Code, took: Duration) {
        self.in_flight.add(-1);
        let Some(row) = self.methods.get(method) else {
            return;
        };
        let duration = row.duration.get_or_init(|| {
            let labels = vec![("method", method)];
            self.metrics
                .histogram_of("hearth_rpc_duration_seconds", "Duration of calls.", labels)
        });
        duration.observe(took);
        let number = usize::try_from(i32::from(code)).unwrap_or_default();
        if let Some(counter) = row.codes.get(number) {
            let counter = counter.get_or_init(|| {
                let labels = vec![("code", name(code)), ("method", method)];
                self.metrics
                    .counter_of("hearth_rpc_calls_total", "Calls that ended.", labels)
            });
            counter.increment();
        }
    }

    fn panicked(&self, _: &'static str) {
        self.panics.increment();
    }
}

const fn name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}

#[cfg(test)]
mod tests {
    use hearth_rpc::rules::INFRASTRUCTURE;

    use super::*;

    #[test]
    fn a_call_is_counted_by_method_and_code() {
        let metrics = Metrics::new();
        let rules = RuleTable::new([]).expect("a table");
        let calls = CallMetrics::new(&metrics, &rules);
        let method = INFRASTRUCTURE[0].path;
        calls.started(method);
        assert!(metrics.text().contains("hearth_rpc_in_flight 1"));
        calls.finished(method, Code::NotFound, Duration::from_millis(1));
        calls.finished("/not/ours", Code::Ok, Duration::ZERO);
        let text = metrics.text();
        let line = format!("hearth_rpc_calls_total{{code=\"NOT_FOUND\",method=\"{method}\"}} 1");
        assert!(text.contains(&line), "{text}");
        assert!(!text.contains("/not/ours"));
    }
}
