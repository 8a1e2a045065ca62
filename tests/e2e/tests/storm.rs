//! A hub that sends every batch three times, shuffled and cut at random, over lines that break within a batch or an ack,
//! to a process that is killed and that compacts in between, with late days and a lost buffer, comes to the answers of
//! a hub that sent everything once, in order.
//!
//! `HEARTH_STORMS` sets how many storms (6), `HEARTH_SEED` which.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "test code: a failure here is the test's"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hearth_api::ingest::v1 as ingest;
use hearth_api::ingest::v1::query_readings_response::Chunk;
use hearth_api::ingest::v1::reading::Value;
use hearth_api::ingest::v1::readings_service_client::ReadingsServiceClient;
use hearth_api::types::v1::{Capability, Interval};
use hearth_e2e::child::Child;
use hearth_e2e::cut;
use hearth_e2e::random::Random;
use hearth_kernel::Timestamp;
use hearth_kernel::capability::ValueType;
use hearth_testkit::hub::{self, Reading, id_bytes, random_id, wire_time};
use hearth_testkit::{Hub, Person};

const DAY: i64 = 86_400 * 1_000_000;

/// What is measured, by which device. All kinds of values, two families, and two capabilities of one device.
const SERIES: [(usize, Capability); 6] = [
    (0, Capability::HeatingTemperature),
    (0, Capability::HeatingMode),
    (1, Capability::WaterFlow),
    (1, Capability::PlugPower),
    (2, Capability::Motion),
    (2, Capability::LightColour),
];

/// A reading without the device's id: series, time, value.
type Plan = (usize, i64, Value);

/// An observation as every answer is compared: series, time, value.
type Seen = BTreeSet<(usize, i64, String)>;

/// A home with devices and a hub.
struct Home {
    id: String,
    devices: Vec<String>,
    hub: Hub,
}

impl Home {
    async fn found(person: &Person, name: &str, now: Timestamp) -> Self {
        let id = person.home(name).await;
        let mut devices = Vec::new();
        for device in 0..3 {
            let of_it = SERIES.iter().filter(|(owner, _)| *owner == device);
            let capabilities: Vec<Capability> = of_it.map(|it| it.1).collect();
            devices
                .push(hub::device(person, &id, &format!("device {device}"), &capabilities).await);
        }
        let hub = Hub::pair(person, &id, "hearth", now).await;
        Self { id, devices, hub }
    }

    /// A batch, in one form or the other.
    fn batch(&self, sequence: usize, plans: &[Plan], in_rows: bool) -> ingest::Batch {
        let readings: Vec<Reading> = plans
            .iter()
            .map(|(series, at, value)| {
                let (device, capability) = SERIES[*series];
                (
                    id_bytes(&self.devices[device]),
                    capability,
                    *at,
                    value.clone(),
                )
            })
            .collect();
        let form = if in_rows { hub::rows } else { hub::columns };
        form(
            self.hub.stream_id,
            u64::try_from(sequence).unwrap(),
            &readings,
        )
    }
}

/// Observations by series, of these devices.
fn seen(devices: &[String], observations: &[ingest::Observation]) -> Seen {
    let seen = observations.iter().map(|it| {
        let device = devices.iter().position(|id| *id == it.device_id);
        let series = SERIES.iter().position(|(device_of, capability)| {
            Some(*device_of) == device && *capability == it.capability()
        });
        let at = it.observed_at.unwrap();
        let micros = at.seconds * 1_000_000 + i64::from(at.nanos) / 1_000;
        use ingest::observation::Value as Observed;
        let value = match it.value.clone().unwrap() {
            Observed::Number(value) => format!("{value:?}"),
            Observed::Integer(value) => value.to_string(),
            Observed::Flag(value) => value.to_string(),
            Observed::Text(value) => value,
        };
        (
            series.expect("an observation of nothing that was sent"),
            micros,
            value,
        )
    });
    seen.collect()
}

fn spelled(value: &Value) -> String {
    match value {
        Value::Number(value) => format!("{value:?}"),
        Value::Integer(value) => value.to_string(),
        Value::Flag(value) => value.to_string(),
        Value::Text(value) => value.clone(),
    }
}

/// The type and range of a series' values.
fn kind_of(series: usize) -> ValueType {
    let number = u16::try_from(i32::from(SERIES[series].1)).unwrap();
    let capability = hearth_kernel::Capability::from_number(number).unwrap();
    capability.spec().unwrap().value
}

/// A value of a series; one in twenty is out of its range and is refused.
fn value(random: &mut Random, series: usize) -> Value {
    let (step, odd) = (random.below(50), random.below(20) == 0);
    #[expect(clippy::cast_precision_loss, reason = "small numbers")]
    let fraction = step as f64 / 8.0;
    let step = i64::try_from(step).unwrap();
    match kind_of(series) {
        ValueType::Number { max, .. } if odd => Value::Number(max + 1.0),
        ValueType::Number { .. } => Value::Number(fraction),
        ValueType::Integer { max, .. } if odd => Value::Integer(max + 1),
        ValueType::Integer { min, .. } => Value::Integer(min + step),
        ValueType::Flag => Value::Flag(step % 2 == 0),
        ValueType::Text { .. } if odd => Value::Text("no such word".to_owned()),
        ValueType::Text { words } => {
            Value::Text(words[usize::try_from(step).unwrap() % words.len()].to_owned())
        }
    }
}

fn is_taken(series: usize, value: &Value) -> bool {
    let kind = kind_of(series);
    match value {
        Value::Number(value) => kind.takes_number(*value),
        Value::Integer(value) => kind.takes_integer(*value),
        Value::Flag(_) => true,
        Value::Text(value) => kind.takes_text(value),
    }
}

/// Readings of some days before a time: instants repeat, and one series has a busy day.
fn plans(random: &mut Random, now: i64, days: &[i64], count: usize) -> Vec<Plan> {
    let mut plans = Vec::new();
    for _ in 0..count {
        let series = random.below(SERIES.len());
        let second = i64::try_from(random.below(900)).unwrap() + 1;
        let at = now - random.of(days) * DAY - second * 1_000_000;
        plans.push((series, at, value(random, series)));
    }
    let busy = now - days.last().unwrap() * DAY;
    for second in 0..300 {
        plans.push((3, busy - second * 20_000_000, value(random, 3)));
    }
    plans
}

/// The same readings in batches of any size.
fn cut_up(random: &mut Random, plans: &[Plan]) -> Vec<Vec<Plan>> {
    let (mut batches, mut at) = (Vec::new(), 0);
    while at < plans.len() {
        let end = (at + 1 + random.below(60)).min(plans.len());
        batches.push(plans[at..end].to_vec());
        at = end;
    }
    batches
}

struct World {
    child: Child,
    person: Person,
    /// What watchers of the storm's home saw, and whether any was told that it missed something.
    watched: Arc<Mutex<(Seen, u64)>>,
    /// The highest ack of the stream.
    acked: u64,
}

impl World {
    async fn reconnect(&mut self) {
        self.person.channel = self.child.channel().await;
        self.person.sign_in_again().await;
    }

    async fn kill(&mut self) {
        self.child.kill().await;
        self.child.start().await;
        self.reconnect().await;
    }

    /// Watches a home until the process dies or the session ends; answers when the stream is open.
    #[expect(
        clippy::disallowed_methods,
        reason = "it ends with the process that it watches"
    )]
    async fn watch(&self, home: &Home) {
        let request = ingest::WatchReadingsRequest {
            home_id: home.id.clone(),
            ..ingest::WatchReadingsRequest::default()
        };
        let mut request = self.person.with(request);
        request.set_timeout(Duration::from_secs(600));
        let mut client = ReadingsServiceClient::new(self.person.channel.clone());
        let mut stream = client.watch_readings(request).await.unwrap().into_inner();
        let (watched, devices) = (Arc::clone(&self.watched), home.devices.clone());
        tokio::spawn(async move {
            while let Ok(Some(message)) = stream.message().await {
                let mut watched = watched.lock().unwrap();
                watched.0.extend(seen(&devices, &message.observations));
                watched.1 += message.dropped;
            }
        });
    }

    /// Sends batches once, in order, over one whole line.
    async fn send_once(&self, home: &Home, batches: &[Vec<Plan>]) {
        let mut stream = home.hub.open(self.person.channel.clone()).await.unwrap();
        for (sequence, plans) in (1..).zip(batches) {
            stream
                .send(home.batch(sequence, plans, false))
                .await
                .unwrap();
        }
        stream
            .durable_through(u64::try_from(batches.len()).unwrap())
            .await
            .unwrap();
    }

    /// Sends every batch from `first` on three times, shuffled, over lines that break, until all are durable.
    async fn storm(
        &mut self,
        random: &mut Random,
        home: &Home,
        (batches, first): (&[Vec<Plan>], usize),
        kills: bool,
    ) {
        let mut queue: Vec<usize> = (first..=batches.len()).flat_map(|it| [it; 3]).collect();
        random.shuffle(&mut queue);
        let mut at = 0;
        while at < queue.len() {
            let end = (at + 1 + random.below(25)).min(queue.len());
            self.gust(random, home, batches, &queue[at..end]).await;
            at = end;
            if kills && random.below(10) == 0 {
                self.kill().await;
            }
        }
        // In the end the hub sends whatever it holds until it is acked.
        let all = u64::try_from(batches.len()).unwrap();
        let mut stream = home.hub.open(self.person.channel.clone()).await.unwrap();
        assert!(stream.durable >= self.acked, "an ack is lost");
        let left = usize::try_from(stream.durable).unwrap() + 1;
        for sequence in left..=batches.len() {
            let in_rows = random.below(2) == 0;
            let batch = home.batch(sequence, &batches[sequence - 1], in_rows);
            stream.send(batch).await.unwrap();
        }
        stream.durable_through(all).await.unwrap();
        self.acked = all;
    }

    /// One connection: some batches, an ack or none, and the line may be cut at any byte.
    async fn gust(
        &mut self,
        random: &mut Random,
        home: &Home,
        batches: &[Vec<Plan>],
        sequences: &[usize],
    ) {
        let (up, down) = match random.below(4) {
            0 => (usize::MAX, usize::MAX),
            1 => (usize::MAX, 200 + random.below(1_500)),
            _ => (300 + random.below(12_000), usize::MAX),
        };
        let line = cut::line(self.child.address(), up, down).await;
        let Ok(mut stream) = home.hub.open(line).await else {
            return;
        };
        assert!(stream.durable >= self.acked, "an ack is lost");
        for &sequence in sequences {
            let in_rows = random.below(2) == 0;
            let batch = home.batch(sequence, &batches[sequence - 1], in_rows);
            if stream.send(batch).await.is_err() {
                break;
            }
        }
        for _ in 0..random.below(6) {
            let moment = Duration::from_millis(30);
            match tokio::time::timeout(moment, stream.ack()).await {
                Ok(Ok(_)) => self.acked = self.acked.max(stream.durable),
                Ok(Err(_)) | Err(_) => return,
            }
        }
    }

    /// Lets the compactor run, killed in between or not, until no day that is over has segments.
    async fn compact(&mut self, random: &mut Random, home: &Home) {
        self.child.advance(Duration::from_secs(61)).await;
        if random.below(2) == 0 {
            let moment = u64::try_from(random.below(60)).unwrap();
            tokio::time::sleep(Duration::from_millis(moment)).await;
            self.kill().await;
        }
        self.child.advance(Duration::from_secs(3_700)).await;
        for _ in 0..200 {
            if self.child.uncompacted(&home.id).await == 0 {
                self.reconnect().await;
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
            self.child.advance(Duration::from_secs(61)).await;
        }
        panic!("the compactor does not come to its end");
    }

    /// Every answer about a home, in words without ids.
    async fn answers(&self, home: &Home, now: i64) -> BTreeMap<String, Vec<String>> {
        let mut answers = BTreeMap::new();
        let ranges = [
            ("31 days", now - 30 * DAY, now + DAY),
            ("a day", now - 2 * DAY, now - DAY),
            (
                "a week and a bit",
                now - 9 * DAY - 7_654_321,
                now - 1_234_567,
            ),
            ("ten minutes", now - 600_000_000, now),
            (
                "an hour of a late day",
                now - 12 * DAY - 3_600_000_000,
                now - 12 * DAY,
            ),
        ];
        for (series, (device, capability)) in SERIES.into_iter().enumerate() {
            let is_text = matches!(kind_of(series), ValueType::Text { .. });
            for resolution in [
                ingest::Resolution::Raw,
                ingest::Resolution::Minute,
                ingest::Resolution::Hour,
                ingest::Resolution::Day,
            ] {
                if is_text && resolution != ingest::Resolution::Raw {
                    continue;
                }
                for (name, start, end) in ranges {
                    let query = ingest::QueryReadingsRequest {
                        home_id: home.id.clone(),
                        device_id: home.devices[device].clone(),
                        capability: capability.into(),
                        interval: Some(Interval {
                            start: Some(wire_time(Timestamp::from_micros(start))),
                            end: Some(wire_time(Timestamp::from_micros(end))),
                        }),
                        resolution: resolution.into(),
                        ..ingest::QueryReadingsRequest::default()
                    };
                    let rows = self.rows(query).await;
                    answers.insert(format!("{capability:?} {resolution:?} {name}"), rows);
                }
            }
        }
        let latest = ingest::LatestReadingsRequest {
            home_id: home.id.clone(),
            ..ingest::LatestReadingsRequest::default()
        };
        let mut client = ReadingsServiceClient::new(self.person.channel.clone());
        let latest = client
            .latest_readings(self.person.with(latest))
            .await
            .unwrap();
        let latest = seen(&home.devices, &latest.into_inner().observations);
        let latest = latest.into_iter().map(|it| format!("{it:?}")).collect();
        answers.insert("latest".to_owned(), latest);
        answers
    }

    async fn rows(&self, query: ingest::QueryReadingsRequest) -> Vec<String> {
        let mut client = ReadingsServiceClient::new(self.person.channel.clone());
        let stream = client.query_readings(self.person.with(query)).await;
        let mut stream = stream.unwrap().into_inner();
        let mut rows = Vec::new();
        while let Some(page) = stream.message().await.unwrap() {
            match page.chunk.unwrap() {
                Chunk::Raw(raw) => rows.extend(raw_rows(&raw)),
                Chunk::Windows(windows) => rows.extend(window_rows(&windows)),
            }
        }
        rows
    }
}

fn raw_rows(raw: &ingest::RawColumns) -> Vec<String> {
    let texts = raw
        .text
        .iter()
        .map(|code| raw.texts[*code as usize].clone());
    let values: Vec<String> = raw
        .numbers
        .iter()
        .map(|it| format!("{it:?}"))
        .chain(raw.integers.iter().map(ToString::to_string))
        .chain(raw.flags.iter().map(ToString::to_string))
        .chain(texts)
        .collect();
    assert_eq!(values.len(), raw.time_delta.len());
    let mut at = raw.base_time;
    let rows = raw.time_delta.iter().zip(values).map(|(delta, value)| {
        at += i64::try_from(*delta).unwrap();
        format!("{at} {value}")
    });
    rows.collect()
}

fn window_rows(windows: &ingest::WindowColumns) -> Vec<String> {
    let mut at = windows.base_time;
    let rows = windows.start_delta.iter().enumerate().map(|(row, delta)| {
        at += i64::try_from(*delta).unwrap();
        let numbers = [&windows.min, &windows.max, &windows.sum, &windows.last];
        let numbers: Vec<Option<&f64>> = numbers.into_iter().map(|it| it.get(row)).collect();
        let true_for = windows.true_for.get(row);
        format!("{at} {} {numbers:?} {true_for:?}", windows.count[row])
    });
    rows.collect()
}

/// What of these was taken.
fn taken(plans: &[Plan]) -> Seen {
    let taken = plans
        .iter()
        .filter(|(series, _, value)| is_taken(*series, value));
    taken
        .map(|(series, at, value)| (*series, *at, spelled(value)))
        .collect()
}

/// Compares, and says what differs first.
fn same(what: &str, left: &BTreeMap<String, Vec<String>>, right: &BTreeMap<String, Vec<String>>) {
    for (question, answer) in left {
        assert_eq!(Some(answer), right.get(question), "{what}: {question}");
    }
}

async fn until_watched(world: &World, expected: &Seen) {
    for _ in 0..500 {
        {
            let watched = world.watched.lock().unwrap();
            if watched.0.is_superset(expected) || watched.1 > 0 {
                return;
            }
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[expect(clippy::cognitive_complexity, reason = "it is one story, in its order")]
async fn one_storm(world: &mut World, random: &mut Random, number: usize) {
    let now = world.child.now().micros() / 1_000_000 * 1_000_000;
    let early = plans(random, now, &[0, 1, 2, 5, 27], 300);
    let late = plans(random, now, &[1, 4, 12, 27], 200);
    let everything = [early.clone(), late.clone()].concat();
    let expected = taken(&everything);

    let clean = Home::found(&world.person, &format!("Clean {number}"), world.child.now()).await;
    *world.watched.lock().unwrap() = Default::default();
    world.watch(&clean).await;
    let orderly: Vec<Vec<Plan>> = everything.chunks(50).map(<[Plan]>::to_vec).collect();
    world.send_once(&clean, &orderly).await;
    let answers = world.answers(&clean, now).await;
    // The clean run itself is what was sent, so that both cannot lose the same.
    for (series, (_, capability)) in SERIES.iter().enumerate() {
        let instants: BTreeSet<i64> = expected
            .iter()
            .filter(|it| it.0 == series)
            .map(|it| it.1)
            .collect();
        let found = &answers[&format!("{capability:?} Raw 31 days")];
        assert_eq!(found.len(), instants.len(), "{capability:?}");
    }
    until_watched(world, &expected).await;
    let (watched, dropped) = world.watched.lock().unwrap().clone();
    assert!(dropped > 0 || watched == expected, "watching the clean run");

    let mut home = Home::found(&world.person, &format!("Storm {number}"), world.child.now()).await;
    world.acked = 0;
    let mut batches = cut_up(random, &early);
    world.storm(random, &home, (&batches, 1), true).await;
    world.compact(random, &home).await;
    let first = batches.len() + 1;
    batches.extend(cut_up(random, &late));
    world.storm(random, &home, (&batches, first), true).await;
    same(
        "late days after compaction",
        &answers,
        &world.answers(&home, now).await,
    );
    if random.below(2) == 0 {
        world.compact(random, &home).await;
    }

    // The hub has lost its buffer: it begins another stream, with all it can still read from its devices.
    *world.watched.lock().unwrap() = Default::default();
    world.watch(&home).await;
    home.hub.stream_id = random_id();
    world.acked = 0;
    let again = cut_up(random, &everything);
    let kills = random.below(2) == 0;
    world.storm(random, &home, (&again, 1), kills).await;
    if !kills {
        until_watched(world, &expected).await;
    }
    let (watched, dropped) = world.watched.lock().unwrap().clone();
    assert!(
        watched.is_subset(&expected),
        "somebody saw what was never sent"
    );
    assert!(
        kills || dropped > 0 || watched == expected,
        "watching the storm"
    );
    same(
        "after the storm",
        &answers,
        &world.answers(&home, now).await,
    );
    world.compact(random, &home).await;
    same("compacted", &answers, &world.answers(&home, now).await);
    same(
        "the clean run, compacted",
        &answers,
        &world.answers(&clean, now).await,
    );
}

#[expect(
    clippy::disallowed_methods,
    reason = "how often is the test's business, not configuration"
)]
fn storms() -> usize {
    let given = std::env::var("HEARTH_STORMS").ok();
    given.and_then(|n| n.parse().ok()).unwrap_or(6)
}

#[tokio::test(flavor = "multi_thread")]
async fn storms_over_a_process_that_is_killed_come_to_the_answers_of_one_clean_run() {
    let mut random = Random::seeded("storm");
    let folder = tempfile::tempdir().unwrap();
    let program = env!("CARGO_BIN_EXE_hearth-movable");
    let mut child = Child::new(program, folder.path().join("data"));
    child.start().await;
    let code = async |email: &str| child.code_for(email).await;
    let person = Person::register(child.channel().await, "anna", code).await;
    let mut world = World {
        child,
        person,
        watched: Arc::default(),
        acked: 0,
    };
    for number in 0..storms() {
        world.reconnect().await;
        one_storm(&mut world, &mut random, number).await;
        println!("storm {number}: as one clean run");
    }
}
