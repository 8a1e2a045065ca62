//! Where Apache Cassandra and ScyllaDB differ: everything that is known to, and nothing anywhere else.
//!
//! Cassandra's side is run by the tests. **ScyllaDB's side has not been run**; it stands as its documentation and
//! source have it, and an operator who goes there first should run the conformance suite against it.
//!
//! Besides what is code below, mind of ScyllaDB:
//! - it refuses timestamps more than three days ahead of its clock (`restrict_future_timestamp`). Stamps of this
//!   crate are log positions, ranks and observation times, all far below; a stamp above about 2^50.6 is not;
//! - it fails partitions over 2 GB or 200,000 rows and cells over 2 MB in newer releases: within bounds here;
//! - replicas never exceed racks where tablets are on; nothing here needs tablets off (no counters, views, indexes
//!   or lightweight transactions).

/// Which store answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// Apache Cassandra 4.1 or newer.
    Cassandra,
    /// ScyllaDB.
    Scylla,
}

impl Dialect {
    /// Tells by what a node says of itself: only ScyllaDB shards its connections, and it calls itself release 3.
    pub(crate) fn of(sharded: bool, release: &str) -> Result<Self, String> {
        let mut numbers = release
            .split(['.', '-'])
            .map_while(|it| it.parse::<u32>().ok());
        let (major, minor) = (numbers.next(), numbers.next());
        match (sharded, major, minor) {
            (true, _, _) | (_, Some(3), Some(0)) => Ok(Self::Scylla),
            (_, Some(major), Some(minor)) if (major, minor) >= (4, 1) => Ok(Self::Cassandra),
            _ => Err(release.to_owned()),
        }
    }

    /// Asks one node how it syncs its commit log.
    pub(crate) const fn sync_query(self) -> &'static str {
        match self {
            Self::Cassandra => {
                "SELECT value FROM system_views.settings WHERE name = 'commitlog_sync'"
            }
            Self::Scylla => "SELECT value FROM system.config WHERE name = 'commitlog_sync'",
        }
    }

    /// Whether that value syncs each write before it is acked. ScyllaDB prints it as JSON.
    pub(crate) fn syncs(self, value: &str) -> bool {
        let plain = value.trim_matches('"');
        match self {
            Self::Cassandra => matches!(plain, "batch" | "group"),
            Self::Scylla => plain == "batch",
        }
    }

    /// The table option that stores bytes as they are: what is sealed does not compress, and a search for key ids
    /// must find them in the files.
    pub(crate) const fn uncompressed(self) -> &'static str {
        match self {
            Self::Cassandra => "compression = {'enabled': 'false'}",
            Self::Scylla => "compression = {'sstable_compression': ''}",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_is_told_by_its_release_and_its_shards() {
        assert_eq!(Dialect::of(false, "5.0.6"), Ok(Dialect::Cassandra));
        assert_eq!(Dialect::of(false, "4.1-rc1"), Ok(Dialect::Cassandra));
        assert_eq!(Dialect::of(false, "3.0.8"), Ok(Dialect::Scylla));
        assert_eq!(Dialect::of(true, "3.0.8"), Ok(Dialect::Scylla));
        for old in ["4.0.11", "3.11.4", "", "new"] {
            assert_eq!(Dialect::of(false, old), Err(old.to_owned()));
        }
    }

    #[test]
    fn only_what_syncs_before_the_ack_syncs() {
        for (value, cassandra, scylla) in [
            ("group", true, false),
            ("batch", true, true),
            ("\"batch\"", true, true),
            ("periodic", false, false),
            ("", false, false),
        ] {
            assert_eq!(Dialect::Cassandra.syncs(value), cassandra, "{value}");
            assert_eq!(Dialect::Scylla.syncs(value), scylla, "{value}");
        }
    }
}
