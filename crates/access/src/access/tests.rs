//! What is answered of one account, from facts as accounts publishes them.

use hearth_api::events::v1::envelope::Payload;
use hearth_backend_memory::Memory;
use hearth_kernel::AreaId;
use hearth_ports::{Expected, ManualClock, Position, Subject, Topic};
use prost::Message as _;

use super::*;

const ANNA: AccountId = AccountId::from_bytes([1; 16]);
const HOME: HomeId = HomeId::from_bytes([2; 16]);
const SESSION: SessionId = SessionId::from_bytes([3; 16]);

struct World {
    memory: Memory,
    clock: ManualClock,
    access: Arc<Access>,
    tasks: Tasks,
}

fn wire(time: Timestamp) -> prost_types::Timestamp {
    prost_types::Timestamp {
        seconds: time.seconds(),
        nanos: 0,
    }
}

fn anna(status: Status, role: Role) -> events::Access {
    events::Access {
        account_id: ANNA.as_bytes().to_vec().into(),
        status: status.into(),
        grants: vec![events::Grant {
            home_id: HOME.as_bytes().to_vec().into(),
            membership_id: vec![4; 16].into(),
            role: role.number().into(),
            ..events::Grant::default()
        }],
        ..events::Access::default()
    }
}

impl World {
    fn open() -> Self {
        let clock = ManualClock::new(Timestamp::from_seconds(1_800_000_000));
        let memory = Memory::new(Arc::new(clock.clone()));
        let log: Arc<dyn Log> = Arc::clone(&memory.log) as _;
        let (tasks, watermarks) = (Tasks::new(), Watermarks::new(Arc::clone(&log)));
        let listening = watermarks.clone();
        tasks.supervise("watermarks", move || {
            let watermarks = listening.clone();
            async move { watermarks.listen(Service::Accounts).await }
        });
        let access = Access::start(log, Arc::clone(&memory.clock), watermarks, &tasks);
        Self {
            memory,
            clock,
            access,
            tasks,
        }
    }

    /// Publishes what Anna may do, and says that everything is published.
    async fn publish(&self, access: events::Access) {
        let envelope = events::Envelope {
            payload: Some(Payload::AccountsFact(events::AccountsFact {
                fact: Some(Fact::Access(access)),
            })),
            ..events::Envelope::default()
        };
        let subject = Subject::fact(Service::Accounts, "access", ANNA);
        let bytes = envelope.encode_to_vec().into();
        let log = &self.memory.log;
        let at = log.append(&subject, Expected::Any, bytes).await.unwrap();
        self.tell(at).await;
    }

    async fn tell(&self, at: Position) {
        let state = events::Position {
            generation: at.generation,
            sequence: at.sequence,
        };
        // Until it is heard: who does not listen yet loses it.
        for _ in 0..10_000 {
            self.clock.advance(Duration::from_micros(1));
            let mark = events::Watermark {
                source: "accounts".to_owned(),
                at_micros: self.memory.clock.now().micros(),
                state: Some(state),
                ..events::Watermark::default()
            };
            let topic = Topic("watermark.accounts".into());
            let said = self
                .memory
                .log
                .announce(&topic, mark.encode_to_vec().into());
            said.await.unwrap();
            tokio::task::yield_now().await;
            let known = self.access.facts().changes();
            let read = *known.borrow();
            if read.is_some_and(|read| read >= at) && self.access.facts().is_fresh() {
                return;
            }
        }
        panic!("it was never heard");
    }

    fn principal(&self) -> Principal {
        Principal::Account {
            account: ANNA,
            session: SESSION,
            signed_in_at: self.memory.clock.now(),
        }
    }

    async fn require(&self, role: Role) -> Result<(), Reason> {
        let answer = self.access.require(&self.principal(), HOME, role).await;
        answer.map(drop).map_err(|failure| failure.reason)
    }
}

#[tokio::test]
async fn an_account_in_its_grace_reads_and_does_nothing_else() {
    let world = World::open();
    world.publish(anna(Status::Active, Role::Owner)).await;
    assert_eq!(world.require(Role::Owner).await, Ok(()));
    world.publish(anna(Status::Closing, Role::Owner)).await;
    assert_eq!(world.require(Role::Guest).await, Ok(()));
    for role in [Role::Adult, Role::Admin, Role::Owner] {
        assert_eq!(world.require(role).await, Err(Reason::ACCOUNT_CLOSING));
    }
    for status in [Status::Closed, Status::Unverified, Status::Unspecified] {
        world.publish(anna(status, Role::Owner)).await;
        assert_eq!(world.require(Role::Guest).await, Err(Reason::NOT_FOUND));
    }
    world.tasks.stop(Duration::from_secs(5)).await;
}

#[tokio::test]
async fn a_guest_s_time_ends_by_itself_and_unreadable_limits_give_nothing() {
    let world = World::open();
    let mut access = anna(Status::Active, Role::Guest);
    let end = world.memory.clock.now().plus(Duration::from_secs(2));
    access.grants[0].expires_at = Some(wire(end));
    access.grants[0].area_ids = vec![vec![7; 16].into()];
    world.publish(access.clone()).await;
    let member = world.access.member(ANNA, HOME).await.unwrap().unwrap();
    assert!(member.sees(Some(AreaId::from_bytes([7; 16]))));
    assert!(!member.sees(Some(AreaId::from_bytes([8; 16]))) && !member.sees(None));
    assert_eq!(world.require(Role::Adult).await, Err(Reason::NOT_ALLOWED));
    world.clock.advance(Duration::from_secs(2));
    world.publish(access.clone()).await;
    assert_eq!(world.require(Role::Guest).await, Err(Reason::NOT_FOUND));

    access.grants[0].expires_at = None;
    access.grants[0].area_ids = vec![vec![7; 15].into()];
    world.publish(access).await;
    assert_eq!(world.require(Role::Guest).await, Err(Reason::NOT_FOUND));
    world.tasks.stop(Duration::from_secs(5)).await;
}

#[tokio::test]
async fn tokens_count_while_their_session_stands_and_they_are_not_too_old() {
    let world = World::open();
    let now = world.memory.clock.now();
    let check = async |session: SessionId, issued_at: Timestamp| {
        world.access.check(ANNA, session, issued_at).await
    };
    world.publish(anna(Status::Active, Role::Adult)).await;
    assert_eq!(check(SESSION, now).await, Verdict::Active);
    let mut access = anna(Status::Active, Role::Adult);
    access.revoked_sessions = vec![events::RevokedSession {
        session_id: SESSION.as_bytes().to_vec().into(),
        revoked_at: Some(wire(now)),
    }];
    access.tokens_not_before = Some(wire(now));
    world.publish(access).await;
    assert_eq!(check(SESSION, now).await, Verdict::Revoked);
    let other = SessionId::from_bytes([9; 16]);
    assert_eq!(check(other, now).await, Verdict::Active);
    let before = now.minus(Duration::from_secs(1));
    assert_eq!(check(other, before).await, Verdict::Revoked);
    world.clock.advance(Duration::from_secs(11));
    assert_eq!(check(other, now).await, Verdict::Unknown, "stale");
    world.tasks.stop(Duration::from_secs(5)).await;
}

#[tokio::test]
async fn no_is_said_only_by_who_knows_what_was_decided_before_the_question() {
    let world = World::open();
    world
        .publish(events::Access {
            grants: Vec::new(),
            ..anna(Status::Active, Role::Owner)
        })
        .await;
    world.clock.advance(Duration::from_secs(1));
    // The watermark is a second old: she may have joined since.
    assert_eq!(
        world.require(Role::Guest).await,
        Err(Reason::STALE_KNOWLEDGE)
    );
    let (asking, joining) = tokio::join!(world.require(Role::Guest), async {
        tokio::task::yield_now().await;
        world.publish(anna(Status::Active, Role::Owner)).await;
    });
    assert_eq!((asking, joining), (Ok(()), ()));
    world.tasks.stop(Duration::from_secs(5)).await;
}
