//! Killed at random points while it ingests, changes accounts, rotates keys and erases: nothing acked is lost,
//! nothing is doubled, and it is back within two seconds.
//!
//! `HEARTH_KILLS` sets how many times (200), `HEARTH_SEED` which points.

#![expect(
    clippy::unwrap_used,
    reason = "test code: a failure here is the test's"
)]

use std::collections::BTreeSet;
use std::time::Duration;

use hearth_api::accounts::v1 as accounts;
use hearth_api::accounts::v1::accounts_service_client::AccountsServiceClient;
use hearth_api::accounts::v1::homes_service_client::HomesServiceClient;
use hearth_api::types::v1::{Capability, DataFamily, RetentionChoice, RetentionClass};
use hearth_e2e::child::Child;
use hearth_e2e::random::Random;
use hearth_kernel::Timestamp;
use hearth_ports::{Clock, SystemClock};
use hearth_testkit::hub::{self, id_bytes};
use hearth_testkit::person::request_id;
use hearth_testkit::{Hub, Person};
use tonic::transport::Channel;

/// The longest that a life lasts before it is killed, in milliseconds.
const LIFE_MILLIS: usize = 400;
/// How long a restart may take, in any build: the promise itself.
const RESTART: Duration = Duration::from_secs(2);
const MEASURED: Capability = Capability::ClimateTemperature;

/// What is known to be stored, and what may be.
struct World {
    person: Person,
    home: String,
    hub: Hub,
    device: String,
    /// Names of areas that were acked, and the request whose outcome is unknown.
    areas: BTreeSet<String>,
    pending: Option<(String, String)>,
    next_area: u64,
    /// The first reading's time; one a second follows.
    first: Timestamp,
    /// The last sequence that was acked.
    durable: u64,
}

impl World {
    fn reading(&self, number: u64) -> (i64, f64) {
        let second = i64::try_from(number).unwrap() * 1_000_000;
        #[expect(clippy::cast_precision_loss, reason = "small numbers")]
        let value = (number % 300) as f64 / 10.0;
        (self.first.micros() + second, value)
    }

    /// Batch n holds readings 10 n - 9 to 10 n.
    fn batch(&self, sequence: u64) -> hearth_api::ingest::v1::Batch {
        let device = id_bytes(&self.device);
        let readings: Vec<_> = (sequence * 10 - 9..=sequence * 10)
            .map(|number| {
                let (at, value) = self.reading(number);
                (device, MEASURED, at, value)
            })
            .collect();
        hub::numbers(self.hub.stream_id, sequence, &readings)
    }

    /// Makes and removes areas until the connection is lost.
    async fn change_areas(&mut self) {
        let mut homes = HomesServiceClient::new(self.person.channel.clone());
        loop {
            let (request, name) = self.pending.clone().unwrap_or_else(|| {
                self.next_area += 1;
                (request_id(), format!("area {}", self.next_area))
            });
            self.pending = Some((request.clone(), name.clone()));
            let create = accounts::CreateAreaRequest {
                request_id: request,
                home_id: self.home.clone(),
                name: name.clone(),
            };
            let Ok(area) = homes.create_area(self.person.with(create)).await else {
                return;
            };
            self.pending = None;
            if self.areas.len() < 20 {
                self.areas.insert(name);
                continue;
            }
            // Enough: this one goes again. Its removal may be repeated until it is known.
            let remove = accounts::RemoveAreaRequest {
                request_id: request_id(),
                home_id: self.home.clone(),
                area_id: area.into_inner().area_id,
            };
            if homes.remove_area(self.person.with(remove)).await.is_err() {
                // Whether it went is unknown; either is right.
                self.areas.remove(&name);
                return;
            }
        }
    }

    /// Sends batches until the connection is lost, each twice now and then.
    async fn ingest(&mut self, random: &mut Random) {
        let channel = self.person.channel.clone();
        let Ok(mut stream) = self.hub.open(channel).await else {
            return;
        };
        assert!(
            stream.durable >= self.durable,
            "acked {}, has {}",
            self.durable,
            stream.durable
        );
        let mut sent = stream.durable;
        loop {
            self.durable = self.durable.max(stream.durable);
            while sent < stream.durable + u64::from(stream.credit).min(16) {
                sent += 1;
                let twice = random.below(4) == 0;
                for _ in 0..1 + usize::from(twice) {
                    if stream.send(self.batch(sent)).await.is_err() {
                        return;
                    }
                }
            }
            if stream.ack().await.is_err() {
                return;
            }
        }
    }

    /// Everything acked is there, once, and nothing that was not sent.
    async fn check(&self) {
        let mut homes = HomesServiceClient::new(self.person.channel.clone());
        let get = accounts::GetHomeRequest {
            home_id: self.home.clone(),
            after: Vec::new(),
        };
        let home = homes
            .get_home(self.person.with(get))
            .await
            .unwrap()
            .into_inner()
            .home
            .unwrap();
        let names: Vec<String> = home.areas.into_iter().map(|area| area.name).collect();
        let unique: BTreeSet<String> = names.iter().cloned().collect();
        assert_eq!(names.len(), unique.len(), "an area is there twice");
        assert!(self.areas.is_subset(&unique), "an acked area is lost");
        let end = Timestamp::from_micros(self.reading(self.durable * 10 + 10_000).0);
        let found = hub::query(
            &self.person,
            &self.home,
            &self.device,
            MEASURED,
            (self.first, end),
        )
        .await
        .unwrap();
        let expected = |count: u64| {
            (1..=count)
                .map(|number| self.reading(number))
                .collect::<Vec<_>>()
        };
        let count = u64::try_from(found.len()).unwrap();
        assert!(
            count >= self.durable * 10,
            "{count} readings, {} acked",
            self.durable * 10
        );
        assert_eq!(
            found,
            expected(count),
            "a reading is lost, doubled or changed"
        );
    }

    /// A new connection and, when hers has ended, a new session.
    async fn reconnect(&mut self, channel: Channel) {
        self.person.channel = channel;
        self.person.sign_in_again().await;
    }
}

async fn found(child: &Child) -> World {
    let channel = child.channel().await;
    let code = async |email: &str| child.code_for(email).await;
    let person = Person::register(channel, "anna", code).await;
    let home = person.home("House").await;
    keep_long(&person, &home).await;
    let now = SystemClock.now();
    let hub = Hub::pair(&person, &home, "hearth", now).await;
    let device = hub::device(&person, &home, "Sensor", &[MEASURED]).await;
    World {
        person,
        home,
        hub,
        device,
        areas: BTreeSet::new(),
        pending: None,
        next_area: 0,
        first: now.minus(Duration::from_secs(3 * 86_400)),
        durable: 0,
    }
}

/// Weeks pass in this test: the readings are to outlive them.
async fn keep_long(person: &Person, home: &str) {
    let update = accounts::UpdateHomeRequest {
        request_id: request_id(),
        home_id: home.to_owned(),
        retention: vec![RetentionChoice {
            family: DataFamily::Readings.into(),
            class: RetentionClass::Days400.into(),
        }],
        ..accounts::UpdateHomeRequest::default()
    };
    let mut homes = HomesServiceClient::new(person.channel.clone());
    homes.update_home(person.with(update)).await.unwrap();
}

/// Somebody registers and closes her account at once, so that there are erasures to be killed in.
async fn leaver(child: &Child, number: usize) -> accounts::CloseAccountResponse {
    let code = async |email: &str| child.code_for(email).await;
    let name = format!("leaver{number}");
    let person = Person::register(child.channel().await, &name, code).await;
    person.home("Short").await;
    AccountsServiceClient::new(person.channel.clone())
        .close_account(person.with(accounts::CloseAccountRequest {
            request_id: request_id(),
            password: person.password.clone(),
            grace: None,
        }))
        .await
        .unwrap()
        .into_inner()
}

#[expect(
    clippy::disallowed_methods,
    reason = "how often is the test's business, not configuration"
)]
fn kills() -> usize {
    std::env::var("HEARTH_KILLS")
        .ok()
        .and_then(|n| n.parse().ok())
        .unwrap_or(200)
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_kills_lose_nothing_and_double_nothing() {
    let mut random = Random::seeded("kill");
    let folder = tempfile::tempdir().unwrap();
    let program = env!("CARGO_BIN_EXE_hearth-movable");
    let mut child = Child::new(program, folder.path().join("data"));
    child.start().await;
    let mut world = found(&child).await;
    let (mut left, mut slowest) = (Vec::new(), Duration::ZERO);
    for life in 0..kills() {
        if life % 20 == 5 {
            left.push(leaver(&child, life).await);
        }
        if life % 20 == 10 {
            // Past the grace: the erasure begins, keys rotate, sessions end.
            child.advance(Duration::from_secs(80 * 3600)).await;
            world.reconnect(child.channel().await).await;
        }
        let moment = Duration::from_millis(u64::try_from(random.below(LIFE_MILLIS)).unwrap());
        // One after the other borrows the world; which of them is cut off is chance, as is where.
        let working = async {
            if random.below(2) == 0 {
                world.ingest(&mut random).await;
            } else {
                world.change_areas().await;
            }
        };
        let _ = tokio::time::timeout(moment, working).await;
        child.kill().await;
        child.start().await;
        slowest = slowest.max(child.started_in);
        assert!(
            child.started_in < RESTART,
            "life {life}: back after {:?}",
            child.started_in
        );
        world.reconnect(child.channel().await).await;
        if life % 10 == 9 {
            world.check().await;
        }
    }
    println!("kill: the slowest restart took {slowest:?}");
    world.check().await;
    let finished = erasures_end(&mut child, &left).await;
    assert_eq!(finished, left.len(), "an erasure did not come to its end");
    world.reconnect(child.channel().await).await;
    world.check().await;
}

/// Lets the residual periods pass, and counts the erasures that have their second receipt.
async fn erasures_end(child: &mut Child, left: &[accounts::CloseAccountResponse]) -> usize {
    use hearth_api::retention::v1 as retention;
    use hearth_api::retention::v1::retention_service_client::RetentionServiceClient;
    let mut finished = 0;
    for _day in 0..60 {
        child.advance(Duration::from_secs(86_400)).await;
        let mut client = RetentionServiceClient::new(child.channel().await);
        finished = 0;
        for closing in left {
            let receipt = retention::ReceiptReference {
                receipt_id: closing.receipt_id.clone(),
                receipt_secret: closing.receipt_secret.clone(),
            };
            let get = retention::GetErasureRequest {
                receipt: Some(receipt),
                ..retention::GetErasureRequest::default()
            };
            let state = client
                .get_erasure(get)
                .await
                .map(|answer| answer.into_inner().state());
            if matches!(state, Ok(retention::ErasureState::BytesGone)) {
                finished += 1;
            }
        }
        if finished == left.len() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    finished
}
