//! The versions of the schema and their statements. Only ever appended to.
//!
//! | table | partition | deleted how | kept after a delete (`gc_grace`) |
//! | --- | --- | --- | --- |
//! | `documents_<service>` | table, partition | row, partition | 30 days: an older put that arrives later must stay deleted, and a put is never repeated for longer |
//! | `segments` | home, day | row, partition | 1 day: longer than a hint waits (3 h); one that came back is covered by its manifest |
//! | `chunks_<class>` | home, device, capability, month | row, partition, TTL | 1 day, as segments; so that windows are dropped soon after they expire |
//! | `manifest`, `latest` | home | row | 10 days |
//! | `segment_days`, `chunk_months` | home | row, TTL | 10 days: what tells where the others lie comes back rather than goes |
//!
//! Repair each table more often than that. Values are stored uncompressed.

use hearth_kernel::{RetentionClass, Service};

use crate::dialect::Dialect;

/// Windows of a time-window table: a drop of whole files every thirtieth of its period.
const WINDOWS: u32 = 30;
const DAY_SECONDS: u32 = 86_400;

/// One version.
#[derive(Debug)]
pub(super) struct Version {
    pub(super) number: i32,
    pub(super) name: &'static str,
    statements: fn(&str, Dialect) -> Vec<String>,
}

impl Version {
    pub(super) fn statements(&self, keyspace: &str, dialect: Dialect) -> Vec<String> {
        (self.statements)(keyspace, dialect)
    }
}

/// All of them, oldest first, numbered without a gap.
pub(super) const VERSIONS: &[Version] = &[
    Version {
        number: 1,
        name: "documents of each service",
        statements: documents,
    },
    Version {
        number: 2,
        name: "series",
        statements: series,
    },
];

/// One table per service, so that a role can be granted its own.
fn documents(keyspace: &str, dialect: Dialect) -> Vec<String> {
    let plain = dialect.uncompressed();
    Service::ALL
        .into_iter()
        .map(|service| {
            format!(
                "CREATE TABLE IF NOT EXISTS {keyspace}.documents_{service} (table_name text, partition blob, key blob, \
                 value blob, PRIMARY KEY ((table_name, partition), key)) WITH {plain} AND \
                 compaction = {{'class': 'LeveledCompactionStrategy'}} AND gc_grace_seconds = 2592000",
                service = service.name(),
            )
        })
        .collect()
}

fn series(keyspace: &str, dialect: Dialect) -> Vec<String> {
    let plain = dialect.uncompressed();
    let mut all = vec![
        format!(
            "CREATE TABLE IF NOT EXISTS {keyspace}.segment_days (home blob, day int, there boolean, \
             PRIMARY KEY (home, day)) WITH gc_grace_seconds = 864000"
        ),
        format!(
            "CREATE TABLE IF NOT EXISTS {keyspace}.chunk_months (home blob, class tinyint, device blob, \
             capability int, month int, until int, there boolean, \
             PRIMARY KEY (home, class, device, capability, month, until)) WITH gc_grace_seconds = 864000"
        ),
        format!(
            "CREATE TABLE IF NOT EXISTS {keyspace}.segments (home blob, day int, key blob, sealed blob, \
             PRIMARY KEY ((home, day), key)) WITH {plain} AND gc_grace_seconds = 86400"
        ),
        format!(
            "CREATE TABLE IF NOT EXISTS {keyspace}.manifest (home blob, day int, body blob, \
             PRIMARY KEY (home, day)) WITH {plain} AND gc_grace_seconds = 864000"
        ),
        format!(
            "CREATE TABLE IF NOT EXISTS {keyspace}.latest (home blob, device blob, capability int, sealed blob, \
             PRIMARY KEY (home, device, capability)) WITH {plain} AND gc_grace_seconds = 864000"
        ),
    ];
    all.extend(RetentionClass::ALL.map(|class| {
        let period = u32::from(class.days()) * DAY_SECONDS;
        // In hours, rounded up: never more than thirty windows.
        let hours = period.div_ceil(WINDOWS * 3600);
        format!(
            "CREATE TABLE IF NOT EXISTS {keyspace}.{table} (home blob, device blob, capability int, month int, \
             key blob, expires bigint, sealed blob, PRIMARY KEY ((home, device, capability, month), key)) \
             WITH {plain} AND compaction = {{'class': 'TimeWindowCompactionStrategy', \
             'compaction_window_unit': 'HOURS', 'compaction_window_size': '{hours}'}} \
             AND default_time_to_live = {period} AND gc_grace_seconds = 86400",
            table = chunks_table(class),
        )
    }));
    all
}

/// The table of chunks of a class.
pub(crate) const fn chunks_table(class: RetentionClass) -> &'static str {
    match class {
        RetentionClass::Days7 => "chunks_days7",
        RetentionClass::Days30 => "chunks_days30",
        RetentionClass::Days90 => "chunks_days90",
        RetentionClass::Days400 => "chunks_days400",
        RetentionClass::Years5 => "chunks_years5",
        RetentionClass::Rollups => "chunks_rollups",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_numbered_without_a_gap_and_may_be_run_again() {
        for (number, version) in (1..).zip(VERSIONS) {
            assert_eq!(version.number, number);
            for statement in version.statements("ks", Dialect::Cassandra) {
                assert!(
                    statement.starts_with("CREATE TABLE IF NOT EXISTS ks."),
                    "only additive, repeatable statements: {statement}"
                );
            }
        }
    }

    #[test]
    fn a_class_has_at_most_thirty_windows_and_a_table() {
        for class in RetentionClass::ALL {
            let hours = (u32::from(class.days()) * 24).div_ceil(WINDOWS);
            assert!((u32::from(class.days()) * 24).div_ceil(hours) <= WINDOWS);
            let made = series("ks", Dialect::Cassandra);
            let window = format!("'compaction_window_size': '{hours}'");
            let table = format!(" ks.{} ", chunks_table(class));
            assert!(
                made.iter()
                    .any(|it| it.contains(&table) && it.contains(&window))
            );
        }
    }
}
