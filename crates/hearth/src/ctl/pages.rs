//! Lists that come in pages, read to their end.

use hearth_api::types::v1::{PageRequest, PageResponse};
use tonic::Status;

/// Items per page: the most that the contract lets ask for.
const SIZE: u32 = 200;
/// The most pages: above every list of the contract that has a bound (2,000 devices), and an end for the others.
const MOST: usize = 500;

/// Every item, page after page.
///
/// # Errors
/// What the server answers.
pub(crate) async fn all<T, F, Fut>(ask: F) -> Result<Vec<T>, Status>
where
    F: Fn(Option<PageRequest>) -> Fut,
    Fut: Future<Output = Result<(Vec<T>, Option<PageResponse>), Status>>,
{
    at_most(usize::MAX, ask).await
}

/// The first items.
///
/// # Errors
/// What the server answers.
pub(crate) async fn at_most<T, F, Fut>(limit: usize, ask: F) -> Result<Vec<T>, Status>
where
    F: Fn(Option<PageRequest>) -> Fut,
    Fut: Future<Output = Result<(Vec<T>, Option<PageResponse>), Status>>,
{
    let size = u32::try_from(limit).map_or(SIZE, |limit| limit.clamp(1, SIZE));
    let (mut items, mut cursor) = (Vec::new(), bytes::Bytes::new());
    for _ in 0..MOST {
        let (page, next) = ask(Some(PageRequest { size, cursor })).await?;
        items.extend(page);
        cursor = next.unwrap_or_default().cursor;
        if cursor.is_empty() || items.len() >= limit {
            break;
        }
    }
    items.truncate(limit);
    Ok(items)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Pages of two out of seven.
    async fn page(request: Option<PageRequest>) -> Result<(Vec<u8>, Option<PageResponse>), Status> {
        let from = request
            .unwrap_or_default()
            .cursor
            .first()
            .copied()
            .unwrap_or(0);
        let to = (from + 2).min(7);
        let cursor = if to == 7 { Vec::new() } else { vec![to] };
        Ok((
            (from..to).collect(),
            Some(PageResponse {
                cursor: cursor.into(),
            }),
        ))
    }

    #[tokio::test]
    async fn pages_are_read_to_the_end_or_the_limit() {
        assert_eq!(all(page).await.unwrap(), (0..7).collect::<Vec<_>>());
        assert_eq!(at_most(3, page).await.unwrap(), vec![0, 1, 2]);
        assert_eq!(at_most(70, page).await.unwrap().len(), 7);
    }

    #[tokio::test]
    async fn a_list_without_an_end_has_one() {
        let endless = |_| async {
            Ok((
                vec![1],
                Some(PageResponse {
                    cursor: vec![1].into(),
                }),
            ))
        };
        assert_eq!(all(endless).await.unwrap().len(), MOST);
    }
}
