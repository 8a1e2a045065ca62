//! What is sealed in the events of episodes and notices: which thing, and when.

use hearth_api::stored::notifications::v1 as stored;
use hearth_engine::CodecError;
use hearth_kernel::{AreaId, DeviceId, Part, Secret, Timestamp};
use prost::Message;

use super::{bytes, id, optional_micros, optional_time};

/// What an episode is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Content {
    /// The device that shows it.
    pub(crate) device: Option<DeviceId>,
    /// Its area.
    pub(crate) area: Option<AreaId>,
    /// When it began.
    pub(crate) began_at: Option<Timestamp>,
    /// When it ended.
    pub(crate) ended_at: Option<Timestamp>,
}

impl Content {
    /// Of an episode that began.
    pub(crate) const fn began(device: DeviceId, area: Option<AreaId>, at: Timestamp) -> Self {
        Self {
            device: Some(device),
            area,
            began_at: Some(at),
            ended_at: None,
        }
    }

    /// Of an episode that ended.
    pub(crate) const fn ended(at: Timestamp) -> Self {
        Self {
            device: None,
            area: None,
            began_at: None,
            ended_at: Some(at),
        }
    }

    /// A part that is still to be sealed.
    pub(crate) fn part(&self) -> Part {
        let message = stored::EpisodeContent {
            device: self.device.map(bytes).unwrap_or_default(),
            area: self.area.map(bytes).unwrap_or_default(),
            began_at: optional_micros(self.began_at),
            ended_at: optional_micros(self.ended_at),
        };
        Part::Clear(Secret::new(message.encode_to_vec()))
    }

    /// The content of an opened part.
    pub(crate) fn read(clear: &Secret) -> Result<Self, CodecError> {
        let message = stored::EpisodeContent::decode(clear.expose())
            .map_err(|_| CodecError::Malformed("episode content"))?;
        let filled = |bytes: &[u8]| !bytes.is_empty();
        Ok(Self {
            device: filled(&message.device)
                .then(|| id(&message.device))
                .transpose()?,
            area: filled(&message.area)
                .then(|| id(&message.area))
                .transpose()?,
            began_at: optional_time(message.began_at),
            ended_at: optional_time(message.ended_at),
        })
    }
}
