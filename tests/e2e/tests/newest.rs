//! Newest values after kills: what is acked is never answered older than it was acked, however soon after the ack the
//! process is killed, and however soon after its restart it is asked.
//!
//! Newest values lie in memory until the writer's next mark, so a kill finds them in neither table nor memory: they come
//! back with the frames behind the mark.

#![expect(
    clippy::unwrap_used,
    reason = "test code: a failure here is the test's"
)]

use std::collections::BTreeMap;
use std::time::Duration;

use hearth_api::ingest::v1 as ingest;
use hearth_api::ingest::v1::readings_service_client::ReadingsServiceClient;
use hearth_api::types::v1::Capability;
use hearth_e2e::child::Child;
use hearth_e2e::random::Random;
use hearth_kernel::Timestamp;
use hearth_ports::{Clock, SystemClock};
use hearth_testkit::hub::{self, id_bytes};
use hearth_testkit::{Hub, Person};

const KILLS: usize = 16;
/// The longest that a life lasts after its last ack, in milliseconds: more than the time between two marks.
const LIFE_MILLIS: usize = 1_500;
const MEASURES: [Capability; 4] = [
    Capability::ClimateTemperature,
    Capability::ClimateHumidity,
    Capability::ClimateCo2,
    Capability::PlugPower,
];

/// Time in microseconds and value by capability.
type Newest = BTreeMap<i32, (i64, f64)>;

/// Readings in no order of time; notes which of them are the newest.
fn batch(
    random: &mut Random,
    device: [u8; 16],
    first: Timestamp,
    newest: &mut Newest,
) -> Vec<([u8; 16], Capability, i64, f64)> {
    let mut readings = Vec::new();
    for _ in 0..=random.below(20) {
        let capability = *random.of(&MEASURES);
        // Few instants are drawn twice, and then the greater value is the newest.
        let second = i64::try_from(random.below(80_000)).unwrap();
        let at = first.micros() + second * 1_000_000;
        let value = f64::from(u16::try_from(random.below(400)).unwrap()) / 10.0;
        let known = newest.entry(capability.into()).or_insert((at, value));
        if (at, value) > *known {
            *known = (at, value);
        }
        readings.push((device, capability, at, value));
    }
    readings
}

async fn latest(person: &Person, home: &str) -> Newest {
    let mut client = ReadingsServiceClient::new(person.channel.clone());
    let mut request = person.with(ingest::LatestReadingsRequest {
        home_id: home.to_owned(),
        ..ingest::LatestReadingsRequest::default()
    });
    request.set_timeout(Duration::from_secs(60));
    let answer = client.latest_readings(request).await.unwrap();
    let seen = answer.into_inner().observations.into_iter();
    seen.map(|it| {
        let time = it.observed_at.unwrap();
        let at = time.seconds * 1_000_000 + i64::from(time.nanos) / 1_000;
        let Some(ingest::observation::Value::Number(value)) = it.value else {
            unreachable!("a number was sent")
        };
        (it.capability, (at, value))
    })
    .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_newest_acked_values_survive_every_kill() {
    let mut random = Random::seeded("newest");
    let folder = tempfile::tempdir().unwrap();
    let program = env!("CARGO_BIN_EXE_hearth-movable");
    let mut child = Child::new(program, folder.path().join("data"));
    child.start().await;
    let code = async |email: &str| child.code_for(email).await;
    let mut person = Person::register(child.channel().await, "anna", code).await;
    let home = person.home("House").await;
    let now = SystemClock.now();
    let hub = Hub::pair(&person, &home, "hearth", now).await;
    let device = id_bytes(&hub::device(&person, &home, "Sensor", &MEASURES).await);
    let first = now.minus(Duration::from_secs(86_400));
    let (mut newest, mut sequence) = (Newest::new(), 0);
    for life in 0..KILLS {
        let mut stream = hub.open(person.channel.clone()).await.unwrap();
        assert_eq!(stream.durable, sequence, "life {life}: batches are lost");
        for _ in 0..=random.below(5) {
            sequence += 1;
            let readings = batch(&mut random, device, first, &mut newest);
            let batch = hub::numbers(hub.stream_id, sequence, &readings);
            stream.send(batch).await.unwrap();
        }
        stream.durable_through(sequence).await.unwrap();
        // Every other life ends with the ack, the others somewhere around the marks.
        if random.below(2) == 0 {
            let moment = u64::try_from(random.below(LIFE_MILLIS)).unwrap();
            tokio::time::sleep(Duration::from_millis(moment)).await;
        }
        child.kill().await;
        child.start().await;
        person.channel = child.channel().await;
        assert_eq!(latest(&person, &home).await, newest, "life {life}");
    }
}
