//! The statements of series: positional, each naming its partition, prepared once.

use hearth_kernel::RetentionClass;
use scylla::statement::prepared::PreparedStatement;

use crate::connection::Connection;
use crate::error::CqlError;
use crate::schema::versions::chunks_table;

/// Rows of a page of sealed values, which may be large.
const FEW: i32 = 100;
/// Rows of a page of small rows.
const MANY: i32 = 5_000;

/// On the table of one class.
pub(super) struct ChunkStatements {
    pub(super) put: PreparedStatement,
    pub(super) read: PreparedStatement,
    pub(super) delete: PreparedStatement,
    pub(super) drop: PreparedStatement,
}

/// All of them.
pub(super) struct Statements {
    pub(super) put_day: PreparedStatement,
    pub(super) days: PreparedStatement,
    pub(super) delete_day: PreparedStatement,
    pub(super) first_homes: PreparedStatement,
    pub(super) next_homes: PreparedStatement,
    pub(super) first_manifests: PreparedStatement,
    pub(super) next_manifests: PreparedStatement,
    pub(super) put_month: PreparedStatement,
    pub(super) months_of_one: PreparedStatement,
    pub(super) months: PreparedStatement,
    pub(super) delete_month: PreparedStatement,
    pub(super) put_segment: PreparedStatement,
    pub(super) first_segments: PreparedStatement,
    pub(super) next_segments: PreparedStatement,
    pub(super) any_segment: PreparedStatement,
    pub(super) delete_segment: PreparedStatement,
    pub(super) drop_segments: PreparedStatement,
    pub(super) put_manifest: PreparedStatement,
    pub(super) manifest: PreparedStatement,
    pub(super) manifest_ranks: PreparedStatement,
    pub(super) delete_manifest: PreparedStatement,
    pub(super) put_latest: PreparedStatement,
    pub(super) latest: PreparedStatement,
    pub(super) latest_times: PreparedStatement,
    pub(super) delete_latest: PreparedStatement,
    chunks: Vec<(RetentionClass, ChunkStatements)>,
}

impl Statements {
    #[expect(
        clippy::too_many_lines,
        clippy::cognitive_complexity,
        reason = "it is a list"
    )]
    pub(super) async fn prepare(on: &Connection) -> Result<Self, CqlError> {
        let mut chunks = Vec::new();
        for class in RetentionClass::ALL {
            chunks.push((class, ChunkStatements::prepare(on, class).await?));
        }
        let writes = |text: &'static str| on.writing(text);
        Ok(Self {
            put_day: writes(
                "INSERT INTO {ks}.segment_days (home, day, there) VALUES (?, ?, true) USING TIMESTAMP ?",
            )
            .await?,
            days: on
                .reading(
                    "SELECT day, WRITETIME(there) FROM {ks}.segment_days WHERE home = ?",
                    MANY,
                )
                .await?,
            delete_day: writes(
                "DELETE FROM {ks}.segment_days USING TIMESTAMP ? WHERE home = ? AND day = ?",
            )
            .await?,
            first_homes: on
                .reading("SELECT DISTINCT home FROM {ks}.segment_days", MANY)
                .await?,
            next_homes: on
                .reading(
                    "SELECT DISTINCT home FROM {ks}.segment_days WHERE token(home) > token(?)",
                    MANY,
                )
                .await?,
            first_manifests: on
                .reading("SELECT DISTINCT home FROM {ks}.manifest", MANY)
                .await?,
            next_manifests: on
                .reading(
                    "SELECT DISTINCT home FROM {ks}.manifest WHERE token(home) > token(?)",
                    MANY,
                )
                .await?,
            put_month: writes(
                "INSERT INTO {ks}.chunk_months (home, class, device, capability, month, until, there) \
                 VALUES (?, ?, ?, ?, ?, ?, true) USING TIMESTAMP ? AND TTL ?",
            )
            .await?,
            months_of_one: on
                .reading(
                    "SELECT month FROM {ks}.chunk_months WHERE home = ? AND class = ? AND device = ? \
                     AND capability = ? AND month >= ? AND month <= ?",
                    MANY,
                )
                .await?,
            months: on
                .reading(
                    "SELECT class, device, capability, month, until FROM {ks}.chunk_months WHERE home = ?",
                    MANY,
                )
                .await?,
            delete_month: writes(
                "DELETE FROM {ks}.chunk_months USING TIMESTAMP ? WHERE home = ? AND class = ? AND device = ? \
                 AND capability = ? AND month = ? AND until = ?",
            )
            .await?,
            put_segment: writes(
                "INSERT INTO {ks}.segments (home, day, key, sealed) VALUES (?, ?, ?, ?) USING TIMESTAMP ?",
            )
            .await?,
            first_segments: on
                .reading(
                    "SELECT key, sealed FROM {ks}.segments WHERE home = ? AND day = ? LIMIT ?",
                    FEW,
                )
                .await?,
            next_segments: on
                .reading(
                    "SELECT key, sealed FROM {ks}.segments WHERE home = ? AND day = ? AND key > ? LIMIT ?",
                    FEW,
                )
                .await?,
            any_segment: on
                .reading(
                    "SELECT key FROM {ks}.segments WHERE home = ? AND day = ? LIMIT 1",
                    1,
                )
                .await?,
            delete_segment: writes(
                "DELETE FROM {ks}.segments USING TIMESTAMP ? WHERE home = ? AND day = ? AND key = ?",
            )
            .await?,
            drop_segments: writes(
                "DELETE FROM {ks}.segments USING TIMESTAMP ? WHERE home = ? AND day = ?",
            )
            .await?,
            put_manifest: writes(
                "INSERT INTO {ks}.manifest (home, day, body) VALUES (?, ?, ?) USING TIMESTAMP ?",
            )
            .await?,
            manifest: on
                .reading(
                    "SELECT day, body FROM {ks}.manifest WHERE home = ? AND day >= ? AND day <= ?",
                    FEW,
                )
                .await?,
            manifest_ranks: on
                .reading("SELECT day, WRITETIME(body) FROM {ks}.manifest WHERE home = ?", MANY)
                .await?,
            delete_manifest: writes(
                "DELETE FROM {ks}.manifest USING TIMESTAMP ? WHERE home = ? AND day = ?",
            )
            .await?,
            put_latest: writes(
                "INSERT INTO {ks}.latest (home, device, capability, sealed) VALUES (?, ?, ?, ?) USING TIMESTAMP ?",
            )
            .await?,
            latest: on
                .reading(
                    "SELECT device, capability, sealed, WRITETIME(sealed) FROM {ks}.latest WHERE home = ?",
                    MANY,
                )
                .await?,
            latest_times: on
                .reading(
                    "SELECT device, capability, WRITETIME(sealed) FROM {ks}.latest WHERE home = ?",
                    MANY,
                )
                .await?,
            delete_latest: writes(
                "DELETE FROM {ks}.latest USING TIMESTAMP ? WHERE home = ? AND device = ? AND capability = ?",
            )
            .await?,
            chunks,
        })
    }

    pub(super) fn chunks(
        &self,
        class: RetentionClass,
    ) -> Result<&ChunkStatements, hearth_ports::StoreError> {
        self.chunks
            .iter()
            .find(|(it, _)| *it == class)
            .map(|(_, statements)| statements)
            .ok_or_else(|| hearth_ports::StoreError::terminal("a class without a table"))
    }
}

impl ChunkStatements {
    async fn prepare(on: &Connection, class: RetentionClass) -> Result<Self, CqlError> {
        let table = format!("{{ks}}.{}", chunks_table(class));
        let partition = "home = ? AND device = ? AND capability = ? AND month = ?";
        Ok(Self {
            put: on
                .writing(&format!(
                    "INSERT INTO {table} (home, device, capability, month, key, expires, sealed) \
                     VALUES (?, ?, ?, ?, ?, ?, ?) USING TIMESTAMP ? AND TTL ?"
                ))
                .await?,
            read: on
                .reading(
                    &format!(
                        "SELECT key, expires, sealed FROM {table} WHERE {partition} AND key >= ? AND key <= ?"
                    ),
                    FEW,
                )
                .await?,
            delete: on
                .writing(&format!(
                    "DELETE FROM {table} USING TIMESTAMP ? WHERE {partition} AND key = ?"
                ))
                .await?,
            drop: on
                .writing(&format!("DELETE FROM {table} USING TIMESTAMP ? WHERE {partition}"))
                .await?,
        })
    }
}
