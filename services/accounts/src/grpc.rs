//! The gRPC services: convert, ask the use case, convert back. No rule is here.

pub(crate) mod accounts;
mod fields;
pub(crate) mod homes;

use hearth_api::types::v1::{CommitToken as WireToken, PageRequest, PageResponse};
use hearth_engine::CommitToken;
use hearth_kernel::{AccountId, Failure, Service, SessionId};
use hearth_rpc::{Principal, TraceContext, fail};
use tonic::{Response, Status};

use crate::app::Token;
use crate::app::caller;
use fields::Fields;

/// Items of a page unless the client says otherwise.
const PAGE: usize = 50;
/// The most items of a page.
const MOST: usize = 200;

/// Who calls, and in which trace.
struct Caller {
    principal: Principal,
    trace: String,
}

impl Caller {
    /// What the stack found out about a request, and its message.
    fn of<T>(request: tonic::Request<T>) -> (Self, T) {
        let extensions = request.extensions();
        let trace = extensions.get::<TraceContext>().map(ToString::to_string);
        let caller = Self {
            principal: Principal::of_request(&request),
            trace: trace.unwrap_or_default(),
        };
        (caller, request.into_inner())
    }

    fn account(&self) -> Result<AccountId, Failure> {
        self.principal.signed_in().map(|(account, _)| account)
    }

    fn session(&self) -> Result<(AccountId, SessionId), Failure> {
        self.principal.signed_in()
    }

    fn request(&self, rpc: &'static str, request_id: String) -> caller::Request {
        caller::Request {
            rpc,
            request_id,
            trace: self.trace.clone(),
        }
    }
}

/// The edge: a failure is logged here, once.
fn answer<T>(result: Result<T, Failure>) -> Result<Response<T>, Status> {
    let answered = result.map(Response::new);
    answered.map_err(|failure| fail(&failure, None))
}

/// A commit token of this service.
fn wire_token(token: Token) -> Option<WireToken> {
    let position = token?;
    let token = CommitToken {
        service: Service::Accounts,
        position,
    };
    Some(WireToken {
        value: token.to_bytes().into(),
    })
}

/// One page of a list that fits in memory, and where the next one starts.
fn paged<T>(
    items: Vec<T>,
    page: Option<&PageRequest>,
) -> Result<(Vec<T>, Option<PageResponse>), Failure> {
    let mut fields = Fields::default();
    let asked = page.map_or(0, |page| page.size);
    let size = usize::try_from(asked).unwrap_or(usize::MAX);
    fields.require(size <= MOST, "page.size", "at most 200");
    let size = if size == 0 { PAGE } else { size };
    let cursor: &[u8] = page.map_or(&[], |page| &page.cursor);
    let start = match cursor {
        [] => Some(0),
        bytes => <[u8; 4]>::try_from(bytes).ok().map(u32::from_be_bytes),
    };
    fields.require(
        start.is_some(),
        "page.cursor",
        "one that a page of this list gave",
    );
    let start = usize::try_from(fields.finish(start)?).unwrap_or(usize::MAX);
    let total = items.len();
    let shown: Vec<T> = items.into_iter().skip(start).take(size).collect();
    let end = start.saturating_add(shown.len());
    let next = u32::try_from(end).ok().filter(|_| end < total);
    let next = next.map(|next| PageResponse {
        cursor: next.to_be_bytes().to_vec().into(),
    });
    Ok((shown, next))
}

#[cfg(test)]
mod tests {
    //! Pages: they are whole together, and a cursor that is not one is refused.

    use super::*;

    fn page(size: u32, cursor: &[u8]) -> PageRequest {
        PageRequest {
            size,
            cursor: cursor.to_vec().into(),
        }
    }

    #[test]
    fn pages_follow_each_other_to_the_end() {
        let items: Vec<u32> = (0..7).collect();
        let (mut seen, mut cursor) = (Vec::new(), Vec::new());
        loop {
            let (shown, next) = paged(items.clone(), Some(&page(3, &cursor))).unwrap();
            seen.extend(shown);
            match next {
                Some(next) => cursor = next.cursor.to_vec(),
                None => break,
            }
        }
        assert_eq!(seen, items);
        assert_eq!(paged(items.clone(), None).unwrap().0, items);
    }

    #[test]
    fn what_is_no_page_is_refused() {
        assert!(paged(vec![1], Some(&page(201, &[]))).is_err());
        assert!(paged(vec![1], Some(&page(1, &[1]))).is_err());
        let far = paged(vec![1], Some(&page(1, &[0xff; 4]))).unwrap();
        assert!(far.0.is_empty() && far.1.is_none());
    }
}
