//! How long each kind of data is kept: the table of the privacy notice.

use std::time::Duration;

const DAY: Duration = Duration::from_secs(86_400);

/// How long one kind of data is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Period {
    /// The kind, as a stable name.
    pub category: &'static str,
    /// How long unless a home chose otherwise; `None`: as long as the account or home lives.
    pub default: Option<Duration>,
    /// The longest that a home may choose; `None`: no choice.
    pub most: Option<Duration>,
    /// What closing the account does to it.
    pub on_closing: &'static str,
}

const fn days(days: u32) -> Option<Duration> {
    Some(DAY.saturating_mul(days))
}

const ERASED: &str = "erased after the grace, keys first and bytes after them";
const WITH_ITS_HOME: &str = "erased after the grace when its home ends with the account";

/// Every kind, in the order of the privacy notice.
pub const PERIODS: &[Period] = &[
    Period {
        category: "profile",
        default: None,
        most: None,
        on_closing: ERASED,
    },
    Period {
        category: "readings",
        default: days(30),
        most: days(400),
        on_closing: WITH_ITS_HOME,
    },
    Period {
        category: "water",
        default: days(90),
        most: days(400),
        on_closing: WITH_ITS_HOME,
    },
    Period {
        category: "rollups",
        default: days(400),
        most: days(762),
        on_closing: WITH_ITS_HOME,
    },
    Period {
        category: "inbox",
        default: days(90),
        most: None,
        on_closing: ERASED,
    },
    Period {
        category: "security",
        default: days(365),
        most: days(730),
        on_closing: "kept without a name until its period is over",
    },
    Period {
        category: "receipts",
        default: days(1_096),
        most: days(2_192),
        on_closing: "kept until their period is over; they name nobody",
    },
];

#[cfg(test)]
mod tests {
    //! The table fits itself and the contract.

    use super::*;

    #[test]
    fn every_kind_stands_once_with_its_reason_and_no_default_above_its_most() {
        let mut seen = std::collections::BTreeSet::new();
        for period in PERIODS {
            assert!(seen.insert(period.category), "{}", period.category);
            assert!((1..=256).contains(&period.on_closing.len()));
            if let (Some(default), Some(most)) = (period.default, period.most) {
                assert!(default <= most, "{}", period.category);
            }
        }
    }
}
