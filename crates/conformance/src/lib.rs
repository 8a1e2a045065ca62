//! One suite per port, which every backend passes; the wrapper that injects faults; and the caller that
//! follows the protocol through them.
//!
//! A backend's tests run a suite in one line, which makes one named test of each case:
//!
//! ```ignore
//! async fn fresh() -> Instance<dyn Log> {
//!     Instance::new(Arc::new(MemoryLog::new(clock())))
//! }
//! hearth_conformance::log_conformance!(log, fresh);
//! ```
//!
//! Stores that outlive their process also run `log_persistence!` and its sisters, with instances that can
//! be reopened. What backends may differ in is an argument of the suite (`Capabilities`), never a question
//! about which backend it is.
//!
//! What runs where, each once as it is and once through [`Faulty`] and [`Patient`] unless it says otherwise:
//!
//! | suite | memory | SQLite | elsewhere |
//! | --- | --- | --- | --- |
//! | log, documents, series, blobs, custody, leases | yes | yes, and persistence | |
//! | clock | `ManualClock`, `AdjustableClock`, `SystemClock`, [`SimulatedClock`]; a clock cannot fail | the same: it has none of its own | |
//! | outbound | `MemoryOutbound` | the same: it has none of its own | `hearth-host`: SMTP, against a relay in the test |
//!
//! **Invariant:** a suite asks for what the port's documentation promises and nothing more. When a case and
//! a backend disagree, the documentation decides; when it is silent, it gets a sentence first.
#![expect(
    clippy::expect_used,
    clippy::panic,
    reason = "a suite is a test: it fails by panicking, with a message"
)]

#[macro_use]
mod suite;

pub mod blobs;
pub mod clock;
pub mod custody;
pub mod documents;
pub mod faulty;
mod instance;
pub mod leases;
pub mod log;
pub mod outbound;
mod patient;
mod random;
pub mod series;

pub use faulty::{Fault, Faults, Faulty, Rates, SimulatedClock};
pub use instance::Instance;
pub use patient::Patient;
pub use random::Random;
