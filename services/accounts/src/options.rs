//! The configuration of accounts.

use std::num::NonZero;

use serde::Deserialize;

/// `[accounts]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// Memory of one password hash in KiB, 64 to 1,048,576; below 19,456 for tests only. Default 47,104, which is 46 MiB. Since 0.1.0.
    pub password_memory_kib: u32,
    /// Passes of one password hash, 1 to 16. Default 1. Since 0.1.0.
    pub password_passes: u32,
    /// Password hashes at a time, 1 to 64; each holds its memory. Default: one per core. Since 0.1.0.
    pub password_arenas: usize,
    /// Password hashes that may wait, 0 to 1,024. Default 32. Since 0.1.0.
    pub password_queue: usize,
}

impl Default for Options {
    fn default() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
        Self {
            password_memory_kib: 47_104,
            password_passes: 1,
            password_arenas: cores.min(64),
            password_queue: 32,
        }
    }
}

impl Options {
    /// Whether every option is within its bounds; else the names of those that are not.
    ///
    /// # Errors
    /// A sentence for the operator.
    pub fn check(&self) -> Result<(), String> {
        let problems = self.problems();
        if problems.is_empty() {
            return Ok(());
        }
        Err(problems.join("; "))
    }

    /// Every option that is out of its bounds, as a sentence.
    pub(crate) fn problems(&self) -> Vec<String> {
        let bounds = [
            (
                "password_memory_kib",
                (64..=1_048_576).contains(&self.password_memory_kib),
            ),
            ("password_passes", (1..=16).contains(&self.password_passes)),
            ("password_arenas", (1..=64).contains(&self.password_arenas)),
            ("password_queue", self.password_queue <= 1024),
        ];
        let wrong = bounds.iter().filter(|(_, holds)| !holds);
        wrong
            .map(|(name, _)| format!("{name} is out of bounds"))
            .collect()
    }
}
