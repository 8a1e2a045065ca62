//! A hub of the story: the SDK's client over a connection, fed with what devices saw.
//!
//! As a real one it holds every batch until the server says that it is durable. Between two occasions it is away, and
//! resumes its stream when it comes back.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context as _, Result};
use hearth_client::hub::{HubClient, HubKey, HubOptions, Reading, Value as HubValue};
use hearth_kernel::{Capability, DeviceId, Timestamp};
use hearth_ports::{Clock, SystemClock};
use tonic::transport::Channel;

use super::data::{Gadget, Sample, Value};
use super::home::Home;
use super::people::Line;
use super::screen::{Screen, check, thousands};

/// Readings of one batch.
const BATCH: usize = 128;
/// Batches that the hub holds until they are durable.
const BUFFER: usize = 256;

/// A hub that is set up.
pub(super) struct Session {
    client: HubClient,
    channel: Channel,
    devices: BTreeMap<Gadget, DeviceId>,
}

/// What a replay came to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Replayed {
    pub(super) readings: u64,
    pub(super) batches: u64,
    pub(super) took: Duration,
}

impl Replayed {
    /// Durable readings a second, from the first batch to the last ack.
    pub(super) fn per_second(&self) -> u64 {
        let micros = u64::try_from(self.took.as_micros())
            .unwrap_or(u64::MAX)
            .max(1);
        self.readings * 1_000_000 / micros
    }
}

impl Session {
    /// The hub of a home, with an empty buffer.
    pub(super) fn open(line: &Line, home: &Home) -> Result<Self> {
        let options = HubOptions {
            audience: home.hub.audience.clone(),
            claim: home.hub.claim,
            buffer: BUFFER,
        };
        let key = HubKey::from_pkcs8(&home.hub.key)?;
        Ok(Self {
            client: HubClient::new(key, options)?,
            channel: line.channel.clone(),
            devices: home.devices.clone(),
        })
    }

    /// Sends samples in batches of 128, and waits until all are durable and none was refused.
    pub(super) async fn replay(&self, samples: &[Sample], screen: &Screen) -> Result<Replayed> {
        let began = SystemClock.now();
        let sending = async {
            let mut sent = Replayed {
                readings: 0,
                batches: 0,
                took: Duration::ZERO,
            };
            for part in samples.chunks(BATCH) {
                self.client.send(&self.readings(part)?).await?;
                sent.readings += u64::try_from(part.len())?;
                sent.batches += 1;
                sent.took = SystemClock.now().since(began);
                if sent.batches.is_multiple_of(64) {
                    screen.progress(&format!("{} readings", thousands(sent.readings)));
                }
            }
            self.client.drained().await;
            sent.took = SystemClock.now().since(began);
            Ok(sent)
        };
        let sent = tokio::select! {
            sent = sending => sent,
            ended = self.client.run(self.channel.clone()) => {
                ended.context("expected the hub to be served")?;
                Err(anyhow::anyhow!("expected the hub to be served; it was sent away"))
            }
        };
        let refused = self.client.refused();
        check(
            refused.is_empty(),
            "every reading to be taken",
            format_args!("{refused:?}"),
        )?;
        sent
    }

    fn readings(&self, samples: &[Sample]) -> Result<Vec<Reading>> {
        samples
            .iter()
            .map(|sample| reading(sample, &self.devices))
            .collect()
    }
}

fn reading(sample: &Sample, devices: &BTreeMap<Gadget, DeviceId>) -> Result<Reading> {
    let device = devices.get(&sample.gadget);
    let number = u16::try_from(i32::from(sample.capability))?;
    Ok(Reading {
        device: *device.with_context(|| format!("no device is {:?}", sample.gadget))?,
        capability: Capability::from_number(number).context("a capability of the catalogue")?,
        observed_at: Timestamp::from_micros(sample.at),
        value: match sample.value {
            Value::Number(number) => HubValue::Number(number),
            Value::Flag(flag) => HubValue::Flag(flag),
        },
    })
}

#[cfg(test)]
mod tests {
    use hearth_api::types::v1::Capability as Wire;

    use super::*;

    #[test]
    fn a_sample_becomes_a_reading_of_its_device() {
        let boiler = DeviceId::from_bytes([2; 16]);
        let sample = Sample {
            at: 105,
            gadget: Gadget::Boiler,
            capability: Wire::HeatingOn,
            value: Value::Flag(true),
        };
        let devices = BTreeMap::from([(Gadget::Boiler, boiler)]);
        let reading = reading(&sample, &devices).expect("a known device");
        assert_eq!((reading.device, reading.capability.number()), (boiler, 105));
        assert_eq!(reading.observed_at.micros(), 105);
        assert_eq!(reading.value, HubValue::Flag(true));
        assert!(super::reading(&sample, &BTreeMap::new()).is_err());
    }
}
