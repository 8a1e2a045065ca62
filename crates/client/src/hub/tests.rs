//! The buffer and the columns; the connection is tested against the real server by the ingest service and the demo.

mod line;
mod spool;

use hearth_api::ingest::v1::Ack;
use hearth_kernel::{Capability, DeviceId, HubStreamId, Timestamp};

use super::buffer::{Buffer, Heard};
use super::{HubError, HubKey, Reading, Value, columns, framed};

fn reading(device: u8, seconds: i64, value: Value) -> Reading {
    let capability = match value {
        Value::Number(_) => Capability::PLUG_POWER,
        Value::Integer(_) => Capability::LIGHT_COLOUR,
        Value::Flag(_) => Capability::MOTION,
        Value::Text(_) => Capability::HEATING_MODE,
    };
    Reading {
        device: DeviceId::from_bytes([device; 16]),
        capability,
        observed_at: Timestamp::from_seconds(seconds),
        value,
    }
}

#[test]
fn readings_keep_their_order_and_share_a_dictionary() {
    let readings = [
        reading(1, 10, Value::Number(1.0)),
        reading(2, 9, Value::Flag(true)),
        reading(1, 12, Value::Number(2.0)),
        reading(1, 12, Value::Text("eco".into())),
        reading(2, 13, Value::Text("eco".into())),
        reading(2, 13, Value::Integer(7)),
    ];
    let columns = columns::of(&readings).unwrap();
    assert_eq!(columns.devices.len(), 32);
    assert_eq!(columns.measure, [0, 1, 0, 2, 3, 4]);
    assert_eq!(columns.measure_device, [0, 1, 0, 1, 1]);
    assert_eq!(
        columns.time_delta,
        [0, -1_000_000, 3_000_000, 0, 1_000_000, 0]
    );
    assert_eq!(
        (columns.text.as_slice(), columns.texts.len()),
        ([0, 0].as_slice(), 1)
    );
    let long = [reading(1, 1, Value::Text("x".repeat(65)))];
    assert!(columns::of(&long).is_err());
}

#[tokio::test]
async fn what_is_acked_leaves_the_buffer_and_a_full_one_waits() {
    let stream = HubStreamId::from_bytes([1; 16]);
    let buffer = std::sync::Arc::new(Buffer::new(stream, 2));
    for sequence in 1..=2 {
        assert_eq!(buffer.push(columns::of(&[]).unwrap()).await, sequence);
    }
    let (pushed, _) = tokio::join!(buffer.push(columns::of(&[]).unwrap()), async {
        let of_other = Ack {
            stream_id: vec![9; 16].into(),
            durable_through: 2,
            ..Ack::default()
        };
        assert_eq!(buffer.acked(&of_other), Heard::Believed);
        assert_eq!(buffer.len(), 2);
        let ack = Ack {
            stream_id: vec![1; 16].into(),
            durable_through: 1,
            ..Ack::default()
        };
        assert_eq!(buffer.acked(&ack), Heard::Impossible);
        buffer.sent(1);
        assert_eq!(buffer.acked(&ack), Heard::Believed);
    });
    assert_eq!((pushed, buffer.len(), buffer.durable()), (3, 2, 1));
    assert!(buffer.batch(1).is_none());
    assert_eq!(buffer.batch(3).unwrap().sequence, 3);
    buffer.restream(HubStreamId::from_bytes([2; 16]));
    assert_eq!(buffer.batch(1).unwrap().stream_id.as_ref(), [2; 16]);
    buffer.sent(2);
    assert_eq!(buffer.through(2), Heard::Believed);
    assert_eq!(buffer.push(columns::of(&[]).unwrap()).await, 4);
    buffer.sent(3);
    let _ = buffer.through(3);
    buffer.drained().await;
}

#[test]
fn a_hubs_id_follows_from_its_key() {
    let (key, kept) = HubKey::generate().unwrap();
    assert_eq!(HubKey::from_pkcs8(&kept).unwrap().hub_id(), key.hub_id());
    assert_ne!(framed(&[b"ab", b"c"]), framed(&[b"a", b"bc"]));
}

#[test]
fn what_the_server_would_refuse_as_a_whole_is_refused_here() {
    let texts: Vec<_> = (0..16_384)
        .map(|n| reading(1, n, Value::Text(format!("{n:064}"))))
        .collect();
    assert!(matches!(columns::of(&texts), Err(HubError::TooLarge)));
    let few = columns::of(&texts[..14_000]).unwrap();
    assert!(prost::Message::encoded_len(&few) < 1 << 20);

    let mut apart = [
        reading(1, 0, Value::Flag(true)),
        reading(1, 0, Value::Flag(true)),
    ];
    apart[0].observed_at = Timestamp::from_micros(i64::MIN);
    apart[1].observed_at = Timestamp::from_micros(i64::MAX);
    assert!(matches!(
        columns::of(&apart),
        Err(HubError::Apart { index: 1 })
    ));

    let mut misfit = [
        reading(1, 0, Value::Flag(true)),
        reading(1, 0, Value::Number(1.0)),
    ];
    misfit[1].capability = Capability::MOTION;
    assert!(matches!(
        columns::of(&misfit),
        Err(HubError::Misfit { index: 1 })
    ));
    misfit[1].capability = Capability::from_stored(0);
    assert!(matches!(
        columns::of(&misfit),
        Err(HubError::Misfit { index: 1 })
    ));
}
