//! The request body, watched as it arrives: a message that is longer than its method accepts is refused when its length
//! is announced, before it is buffered; a call that is not a stream has one message.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use hearth_kernel::{Failure, Reason};
use http_body::{Body, Frame, SizeHint};

use crate::status::{malformed, status_of};

/// The prefix of each message: a flag, and the length as a big-endian u32.
const PREFIX: usize = 5;

/// Follows messages through chunks of any size.
#[derive(Clone, Copy, Debug)]
pub struct Scanner {
    most_bytes: usize,
    most_messages: u64,
    prefix: [u8; PREFIX],
    have: usize,
    left: usize,
    messages: u64,
}

impl Scanner {
    /// For messages of at most that many bytes each; one of them, or a stream.
    #[must_use]
    pub const fn new(most_bytes: usize, stream: bool) -> Self {
        Self {
            most_bytes,
            most_messages: if stream { u64::MAX } else { 1 },
            prefix: [0; PREFIX],
            have: 0,
            left: 0,
            messages: 0,
        }
    }

    /// Takes the next bytes into account.
    ///
    /// # Errors
    /// `MESSAGE_TOO_LARGE`, or `INVALID_REQUEST` for a second message where one is expected.
    pub fn feed(&mut self, mut bytes: &[u8]) -> Result<(), Failure> {
        while !bytes.is_empty() {
            let inside = self.left.min(bytes.len());
            self.left -= inside;
            bytes = &bytes[inside..];
            let wanted = (PREFIX - self.have).min(bytes.len());
            self.prefix[self.have..self.have + wanted].copy_from_slice(&bytes[..wanted]);
            self.have += wanted;
            bytes = &bytes[wanted..];
            if self.have == PREFIX {
                self.begin()?;
            }
        }
        Ok(())
    }

    fn begin(&mut self) -> Result<(), Failure> {
        let [_, length @ ..] = self.prefix;
        let length = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
        self.have = 0;
        if self.messages == self.most_messages {
            return Err(malformed());
        }
        self.messages += 1;
        if length > self.most_bytes {
            return Err(Failure::new(Reason::MESSAGE_TOO_LARGE));
        }
        self.left = length;
        Ok(())
    }
}

/// A request body that fails when the scanner says so. Its error is a status, which the codec hands on as it is.
pub(crate) struct Scanned {
    inner: tonic::body::Body,
    scanner: Scanner,
}

impl Scanned {
    pub(crate) fn wrap(inner: tonic::body::Body, scanner: Scanner) -> tonic::body::Body {
        tonic::body::Body::new(Self { inner, scanner })
    }
}

impl Body for Scanned {
    type Data = Bytes;
    type Error = tonic::Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, tonic::Status>>> {
        let frame = ready!(Pin::new(&mut self.inner).poll_frame(cx));
        if let Some(Ok(frame)) = &frame
            && let Some(data) = frame.data_ref()
            && let Err(failure) = self.scanner.feed(data)
        {
            return Poll::Ready(Some(Err(status_of(&failure))));
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn message(length: usize) -> Vec<u8> {
        let mut bytes = vec![0];
        bytes.extend_from_slice(&u32::try_from(length).expect("short").to_be_bytes());
        bytes.resize(PREFIX + length, 0xff);
        bytes
    }

    fn reason(scanner: &mut Scanner, bytes: &[u8]) -> Option<Reason> {
        scanner.feed(bytes).err().map(|failure| failure.reason)
    }

    #[test]
    fn a_length_beyond_the_bound_is_refused_before_its_bytes_come() {
        let mut scanner = Scanner::new(10, true);
        assert_eq!(reason(&mut scanner, &message(10)), None);
        assert_eq!(
            reason(&mut scanner, &message(11)[..PREFIX]),
            Some(Reason::MESSAGE_TOO_LARGE)
        );
    }

    #[test]
    fn a_call_has_one_message() {
        let mut scanner = Scanner::new(10, false);
        assert_eq!(reason(&mut scanner, &message(3)), None);
        assert_eq!(
            reason(&mut scanner, &message(0)),
            Some(Reason::INVALID_REQUEST)
        );
    }

    proptest! {
        #[test]
        fn the_cut_into_chunks_does_not_matter(
            lengths in prop::collection::vec(0_usize..20, 0..20),
            chunk in 1_usize..40,
        ) {
            let bytes: Vec<u8> = lengths.iter().flat_map(|length| message(*length)).collect();
            let too_large = lengths.iter().any(|length| *length > 15);
            let mut scanner = Scanner::new(15, true);
            let refused = bytes.chunks(chunk).any(|chunk| scanner.feed(chunk).is_err());
            prop_assert_eq!(refused, too_large);
        }
    }
}
