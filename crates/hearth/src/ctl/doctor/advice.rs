//! What is wrong or weak, in plain words: one sentence says what, what it means, and what to do.

use std::collections::BTreeMap;
use std::time::Duration;

use hearth_kernel::Timestamp;
use hearth_vault::BucketFacts;

/// A rotation takes minutes: one that is under way for longer is stuck, or nothing runs it.
const ROTATING: Duration = Duration::from_secs(86_400);
/// Epoch keys are changed every week, while Hearth runs.
const WEEKLY: Duration = Duration::from_secs(8 * 86_400);

/// What was found.
pub(super) struct Findings {
    pub(super) now: Timestamp,
    /// Why the vault does not start, if it does not.
    pub(super) vault: Option<String>,
    /// Whether destroyed keys are overwritten where they lay; unknown without the vault.
    pub(super) in_place: Option<bool>,
    pub(super) buckets: Vec<BucketFacts>,
    /// Folders that others may read or write.
    pub(super) open_to_others: Vec<String>,
    /// Folders on one file system.
    pub(super) together: Vec<(&'static str, &'static str)>,
    /// Parked subjects by consumer.
    pub(super) parked: BTreeMap<String, usize>,
}

impl Findings {
    /// The warnings, the gravest first.
    pub(super) fn advice(&self) -> Vec<String> {
        let mut advice = Vec::new();
        if let Some(why) = &self.vault {
            advice.push(format!("the keys cannot be used ({why}): nothing can be opened until they are restored from the escrow"));
        }
        self.keys(&mut advice);
        for folder in &self.open_to_others {
            advice.push(format!("{folder} can be read by other users of this machine: make it private with chmod 700"));
        }
        for pair in &self.together {
            advice.push(match pair {
                ("data", _) => "data and keys lie on one file system: a copy of that disk holds both, and opens everything; put the keys elsewhere with --keys",
                _ => "keys and escrow lie on one file system: if that disk fails, both copies of the keys are gone, and with them all data; put the escrow elsewhere with --escrow",
            }.to_owned());
        }
        for (consumer, subjects) in &self.parked {
            advice.push(format!("{consumer} has set {subjects} subjects aside, because it could not handle a message: what it makes of them is out of date; see the log for \"parked a subject\""));
        }
        advice
    }

    fn keys(&self, advice: &mut Vec<String>) {
        let names = |holds: &dyn Fn(&&BucketFacts) -> bool| {
            let found = self.buckets.iter().filter(holds);
            found
                .map(|bucket| bucket.bucket.to_string())
                .collect::<Vec<_>>()
                .join(", ")
        };
        let late = |since: Option<(u64, Timestamp)>, bound| {
            since.is_some_and(|(_, since)| self.now.since(since) > bound)
        };
        let missing = names(&|bucket| !bucket.keys_present);
        if !missing.is_empty() {
            advice.push(format!("keys are missing (buckets {missing}): what lies under them cannot be opened; restore the keys from the escrow"));
        }
        if self.in_place == Some(false) {
            advice.push("the keys lie on a file system that does not overwrite in place (such as btrfs, ZFS, overlayfs or a network share): a destroyed key may stay readable below the files, and receipts of erasures say so; put keys and escrow on ext4 or XFS".to_owned());
        }
        let stuck = names(&|bucket| late(bucket.leaving, ROTATING));
        if !stuck.is_empty() {
            advice.push(format!("keys are on their way out for more than a day (buckets {stuck}): erasures wait for them; start hearth up, and see its log if this stays"));
        }
        let old = names(&|bucket| late(bucket.open, WEEKLY));
        if !old.is_empty() {
            advice.push(format!("keys were not changed for more than a week (buckets {old}): hearth up changes them while it runs"));
        }
        let stray: usize = self.buckets.iter().map(|bucket| bucket.stray_keys).sum();
        if stray > 0 {
            advice.push(format!("{stray} keys are left over from a process that was stopped: they open nothing, and the next rotation destroys them"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn healthy() -> Findings {
        let now = Timestamp::from_seconds(1_800_000_000);
        let bucket = BucketFacts {
            bucket: 7,
            open: Some((3, now)),
            leaving: None,
            destroyed_through: 2,
            keys_present: true,
            stray_keys: 0,
        };
        Findings {
            now,
            vault: None,
            in_place: Some(true),
            buckets: vec![bucket],
            open_to_others: Vec::new(),
            together: Vec::new(),
            parked: BTreeMap::new(),
        }
    }

    /// The only warning of findings that were changed in one way.
    fn only(change: impl FnOnce(&mut Findings)) -> String {
        let mut findings = healthy();
        change(&mut findings);
        let advice = findings.advice();
        assert_eq!(advice.len(), 1, "{advice:?}");
        advice[0].clone()
    }

    #[test]
    fn what_is_well_needs_no_words() {
        assert_eq!(healthy().advice(), Vec::<String>::new());
    }

    #[test]
    fn each_finding_has_its_sentence() {
        let long_ago = Timestamp::from_seconds(1_700_000_000);
        assert!(only(|it| it.in_place = Some(false)).contains("does not overwrite in place"));
        assert!(only(|it| it.buckets[0].keys_present = false).contains("buckets 7"));
        assert!(only(|it| it.buckets[0].stray_keys = 2).starts_with("2 keys are left over"));
        assert!(
            only(|it| it.buckets[0].leaving = Some((2, long_ago))).contains("on their way out")
        );
        assert!(only(|it| it.buckets[0].open = Some((2, long_ago))).contains("not changed"));
        assert!(only(|it| it.vault = Some("x".to_owned())).contains("restored from the escrow"));
        assert!(only(|it| it.open_to_others.push("/keys".to_owned())).starts_with("/keys can be"));
        assert!(only(|it| it.together.push(("data", "keys"))).contains("--keys"));
        assert!(only(|it| it.together.push(("keys", "escrow"))).contains("--escrow"));
        assert!(
            only(|it| it.parked = BTreeMap::from([("view.x".to_owned(), 3)]))
                .contains("set 3 subjects")
        );
    }
}
