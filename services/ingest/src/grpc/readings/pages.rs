//! The pages of a query: columns of at most 4,096 readings or windows, read a day at a time as the client takes them.

use bytes::Bytes;
use futures::Stream;
use hearth_api::ingest::v1::query_readings_response::Chunk;
use hearth_api::ingest::v1::{QueryReadingsResponse, RawColumns, WindowColumns};
use tonic::Status;

use super::Asked;
use crate::app::readings::history_failure;
use crate::grpc::refused;
use crate::history::{HistoryError, Reader, Samples, WindowRow};
use crate::observed::Observed;

/// Readings or windows of one page.
const PAGE: usize = 4_096;

/// What is not answered yet.
enum Waiting {
    Readings(Vec<(i64, Observed)>),
    Windows(Vec<WindowRow>),
}

impl Waiting {
    fn len(&self) -> usize {
        match self {
            Self::Readings(list) => list.len(),
            Self::Windows(list) => list.len(),
        }
    }

    /// The first of them as a page.
    fn page(&mut self, size: usize, last: bool) -> QueryReadingsResponse {
        let size = size.min(self.len());
        let (chunk, end) = match self {
            Self::Readings(list) => {
                let taken: Vec<_> = list.drain(..size).collect();
                (Chunk::Raw(raw(&taken)), taken.last().map(|it| it.0))
            }
            Self::Windows(list) => {
                let taken: Vec<_> = list.drain(..size).collect();
                (
                    Chunk::Windows(windows(&taken)),
                    taken.last().map(|it| it.start),
                )
            }
        };
        let cursor = end
            .filter(|_| !last)
            .map(|at| Bytes::copy_from_slice(&at.to_be_bytes()));
        QueryReadingsResponse {
            chunk: Some(chunk),
            cursor: cursor.unwrap_or_default(),
        }
    }
}

/// Answers a query, page by page. The last page has no cursor; a query that its limit cut has one.
pub(super) fn pages(
    mut reader: Reader,
    asked: &Asked,
) -> impl Stream<Item = Result<QueryReadingsResponse, Status>> + Send + 'static {
    let (level, mut left) = (asked.level, asked.limit);
    async_stream::stream! {
        let mut waiting = match level {
            None => Waiting::Readings(Vec::new()),
            Some(_) => Waiting::Windows(Vec::new()),
        };
        for day in reader.days() {
            let read: Result<(), HistoryError> = match (&mut waiting, level) {
                (Waiting::Readings(list), _) => {
                    reader.readings(day).await.map(|samples| list.extend(values(&samples)))
                }
                (Waiting::Windows(list), Some(level)) => {
                    reader.windows(day, level).await.map(|rows| list.extend(rows))
                }
                (Waiting::Windows(_), None) => Ok(()),
            };
            if let Err(error) = read {
                yield Err(refused(history_failure(&error)));
                return;
            }
            // One more than a page is kept back, so that the last page knows that it is.
            while waiting.len() > PAGE.min(left) {
                let size = PAGE.min(left);
                left -= size;
                yield Ok(waiting.page(size, false));
                if left == 0 {
                    return;
                }
            }
        }
        yield Ok(waiting.page(PAGE.min(left), true));
    }
}

fn values(samples: &Samples) -> impl Iterator<Item = (i64, Observed)> + '_ {
    samples.iter().map(|it| (it.at, it.value.clone()))
}

fn raw(readings: &[(i64, Observed)]) -> RawColumns {
    let base = readings.first().map_or(0, |it| it.0);
    let mut columns = RawColumns {
        base_time: base,
        ..RawColumns::default()
    };
    let mut before = base;
    for (at, value) in readings {
        columns.time_delta.push(at.abs_diff(before));
        before = *at;
        match value {
            Observed::Number(value) => columns.numbers.push(*value),
            Observed::Integer(value) => columns.integers.push(*value),
            Observed::Flag(value) => columns.flags.push(*value),
            Observed::Text(value) => {
                let known = columns.texts.iter().position(|it| **it == **value);
                let code = known.unwrap_or_else(|| {
                    columns.texts.push(value.to_string());
                    columns.texts.len() - 1
                });
                columns.text.push(u32::try_from(code).unwrap_or(u32::MAX));
            }
        }
    }
    columns
}

fn windows(rows: &[WindowRow]) -> WindowColumns {
    let base = rows.first().map_or(0, |it| it.start);
    let mut columns = WindowColumns {
        base_time: base,
        ..WindowColumns::default()
    };
    let mut before = base;
    for row in rows {
        columns.start_delta.push(row.start.abs_diff(before));
        before = row.start;
        columns
            .count
            .push(u32::try_from(row.count).unwrap_or(u32::MAX));
        if let Some(numbers) = row.numbers {
            columns.min.push(numbers.min);
            columns.max.push(numbers.max);
            columns.sum.push(numbers.sum);
            columns.last.push(numbers.last);
        }
        columns.true_for.extend(row.true_for);
    }
    columns
}
