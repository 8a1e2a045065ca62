//! What is sealed in one stored chunk: several encoded columns, each with its capability.
//!
//! Layout of version 1: one byte of format, then for each column its capability (2 bytes, big-endian), its length (4
//! bytes, big-endian) and its bytes. A capability with more readings than one column holds has several.

use super::HistoryError;

/// First byte of a bundle of version 1.
const FORMAT: u8 = 0x81;
/// Columns of one bundle: 64 capabilities, and room for many parts of one.
const MOST: usize = 1_024;

/// Columns that are stored together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Bundle {
    /// Capability number and encoded column, in order.
    pub(crate) columns: Vec<(u16, Vec<u8>)>,
}

impl Bundle {
    /// Its bytes.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let length = self.columns.iter().map(|(_, bytes)| bytes.len() + 6);
        let mut out = Vec::with_capacity(1 + length.sum::<usize>());
        out.push(FORMAT);
        for (capability, bytes) in &self.columns {
            out.extend_from_slice(&capability.to_be_bytes());
            // A column is bounded by the codec's limits, a few MiB.
            let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
            out.extend_from_slice(&length.to_be_bytes());
            out.extend_from_slice(bytes);
        }
        out
    }

    /// The same columns in bundles of about that many bytes at most. A column that is longer is alone.
    pub(crate) fn parts(self, most: usize) -> Vec<Self> {
        let mut parts: Vec<Self> = Vec::new();
        let mut room = 0;
        for (capability, bytes) in self.columns {
            let length = bytes.len() + 6;
            match parts.last_mut() {
                Some(part) if length <= room => {
                    room -= length;
                    part.columns.push((capability, bytes));
                }
                _ => {
                    room = most.saturating_sub(length);
                    let columns = vec![(capability, bytes)];
                    parts.push(Self { columns });
                }
            }
        }
        parts
    }

    /// The bundle of these bytes.
    ///
    /// # Errors
    /// `Corrupt` for anything that [`Self::encode`] did not write.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, HistoryError> {
        let corrupt = || HistoryError::Corrupt("bundle");
        let (format, mut rest) = bytes.split_first().ok_or_else(corrupt)?;
        if *format != FORMAT {
            return Err(corrupt());
        }
        let mut columns = Vec::new();
        while !rest.is_empty() {
            let (capability, after) = rest.split_first_chunk::<2>().ok_or_else(corrupt)?;
            let (length, after) = after.split_first_chunk::<4>().ok_or_else(corrupt)?;
            let length = usize::try_from(u32::from_be_bytes(*length)).map_err(|_| corrupt())?;
            let (column, after) = after.split_at_checked(length).ok_or_else(corrupt)?;
            columns.push((u16::from_be_bytes(*capability), column.to_vec()));
            if columns.len() > MOST {
                return Err(corrupt());
            }
            rest = after;
        }
        Ok(Self { columns })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn comes_back(columns in prop::collection::vec((any::<u16>(), prop::collection::vec(any::<u8>(), 0..20)), 0..6)) {
            let bundle = Bundle { columns };
            prop_assert_eq!(Bundle::decode(&bundle.encode()).unwrap(), bundle);
        }

        #[test]
        fn parts_hold_everything_in_order(columns in prop::collection::vec((any::<u16>(), prop::collection::vec(any::<u8>(), 0..40)), 0..12)) {
            let bundle = Bundle { columns };
            let parts = bundle.clone().parts(64);
            prop_assert!(parts.iter().all(|it| it.columns.len() == 1 || it.encode().len() <= 65));
            let joined: Vec<_> = parts.into_iter().flat_map(|it| it.columns).collect();
            prop_assert_eq!(joined, bundle.columns);
        }

        #[test]
        fn hostile_bytes_are_refused_or_read(mut bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            if let Some(first) = bytes.first_mut() {
                *first = FORMAT;
            }
            if let Ok(bundle) = Bundle::decode(&bytes) {
                prop_assert_eq!(bundle.encode(), bytes);
            }
        }
    }
}
