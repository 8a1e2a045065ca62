//! The stored form of what the rules of a home have seen. Sealed whole before it is stored.

use hearth_api::stored::notifications::v1 as stored;
use hearth_engine::CodecError;
use hearth_kernel::Capability;
use hearth_notifications_domain::watch::{Flag, Known, Open, Progress, Subject, Watch};
use prost::Message;

use super::{bytes, id, optional_micros, optional_time, time};

/// The clear form.
pub(crate) fn encode(watch: &Watch) -> Vec<u8> {
    let known = watch
        .known
        .iter()
        .map(|((device, flag), known)| stored::WatchedFlag {
            device: bytes(*device),
            capability: u32::from(flag.capability().number()),
            on: known.on,
            since: known.since.micros(),
            at: known.at.micros(),
            claim: bytes(known.claim),
        });
    let claims = watch
        .claims
        .iter()
        .map(|(claim, progress)| stored::WatchedClaim {
            claim: bytes(*claim),
            frontier: progress.frontier.micros(),
            received_at: progress.received_at.micros(),
            late: progress.late,
        });
    let open = watch
        .open
        .iter()
        .map(|((rule, subject), open)| stored::OpenEpisode {
            rule: bytes(*rule),
            subject: subject.to_bytes().to_vec().into(),
            began_at: open.began_at.micros(),
            silent: open.silent,
            broken: optional_micros(open.broken),
        });
    let message = stored::WatchState {
        known: known.collect(),
        claims: claims.collect(),
        open: open.collect(),
    };
    message.encode_to_vec()
}

/// The watch of a clear form.
pub(crate) fn decode(clear: &[u8]) -> Result<Watch, CodecError> {
    let malformed = CodecError::Malformed("watch");
    let message = stored::WatchState::decode(clear).map_err(|_| malformed.clone())?;
    let mut watch = Watch::default();
    for it in &message.known {
        let number = u16::try_from(it.capability).map_err(|_| malformed.clone())?;
        let flag = Capability::from_number(number).and_then(Flag::of);
        // A flag that no rule looks at any more is of no use.
        let Some(flag) = flag else { continue };
        let known = Known {
            on: it.on,
            since: time(it.since),
            at: time(it.at),
            claim: id(&it.claim)?,
        };
        watch.known.insert((id(&it.device)?, flag), known);
    }
    for it in &message.claims {
        let progress = Progress {
            frontier: time(it.frontier),
            received_at: time(it.received_at),
            late: it.late,
        };
        watch.claims.insert(id(&it.claim)?, progress);
    }
    for it in &message.open {
        let subject = Subject::from_bytes(&it.subject).ok_or_else(|| malformed.clone())?;
        let open = Open {
            began_at: time(it.began_at),
            silent: it.silent,
            broken: optional_time(it.broken),
        };
        watch.open.insert((id(&it.rule)?, subject), open);
    }
    Ok(watch)
}
