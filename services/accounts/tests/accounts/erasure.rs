//! Erasing: after retention's order nothing of a person is in the streams of accounts but bare ids of tombstones, and
//! what is other people's stays.

use std::time::Duration;

use hearth_api::accounts::v1 as api;
use hearth_api::events::v1::{
    self as events, ErasureStage, accounts_fact, envelope, owner::Owner, retention_fact,
};
use hearth_kernel::{self as kernel, AccountId, ErasureId, HomeId, Service};
use hearth_ports::{
    Documents, Expected, Family, Log, Message as Stored, Position, Range, Read, Stream, Subject,
    Table,
};
use hearth_vault::Drill;
use prost::Message;

use crate::house::{House, Person, outcome, request_id};

const ERASURE: ErasureId = ErasureId::from_bytes([7; 16]);

async fn stored(house: &House, family: Family) -> Vec<Stored> {
    let stream = Stream::new(family, Service::Accounts);
    house
        .memory
        .log
        .page(stream, Position::START, 1000)
        .await
        .unwrap()
}

/// Closes the account, lets its grace pass, and answers the closing that is due.
async fn due(house: &House, who: &Person) -> events::ClosingFact {
    let request = api::CloseAccountRequest {
        request_id: request_id(),
        password: who.password.clone(),
        grace: None,
    };
    outcome(house.accounts().close_account(who.with(request)).await).unwrap();
    house.clock.advance(Duration::from_secs(72 * 3600 + 1));
    let account: AccountId = who.account_id.parse().unwrap();
    let fact = async || {
        let subject = Subject::fact(Service::Accounts, "closing", account);
        let message = house
            .memory
            .log
            .last(&subject, Read::Leader)
            .await
            .unwrap()?;
        match events::Envelope::decode(message.bytes).unwrap().payload? {
            envelope::Payload::AccountsFact(fact) => match fact.fact? {
                accounts_fact::Fact::Closing(closing) if closing.due => Some(closing),
                _ => None,
            },
            _ => None,
        }
    };
    house.until("the closing to be due", fact).await
}

/// Says what retention says once no key of the owners lives anywhere.
async fn order(house: &House, closing: &events::ClosingFact) {
    order_as(house, ERASURE, closing).await;
}

async fn order_as(house: &House, erasure: ErasureId, closing: &events::ClosingFact) {
    let owner = |owner| events::Owner { owner: Some(owner) };
    let homes = closing.ending_home_ids.iter();
    let homes = homes.map(|id| owner(Owner::HomeId(id.clone())));
    let account = owner(Owner::AccountId(closing.account_id.clone()));
    let order = events::ErasureOrder {
        erasure_id: erasure.as_bytes().to_vec().into(),
        stage: ErasureStage::Purging.into(),
        owners: [account].into_iter().chain(homes).collect(),
        membership_ids: closing.membership_ids.clone(),
        ..events::ErasureOrder::default()
    };
    let fact = events::RetentionFact {
        fact: Some(retention_fact::Fact::Order(order)),
    };
    let envelope = events::Envelope {
        payload: Some(envelope::Payload::RetentionFact(fact)),
        ..events::Envelope::default()
    };
    let subject = Subject::fact(Service::Retention, "order", erasure);
    let bytes = envelope.encode_to_vec().into();
    house
        .memory
        .log
        .append(&subject, Expected::Any, bytes)
        .await
        .unwrap();
}

async fn answered(house: &House) -> events::ErasureAnswer {
    answered_as(house, ERASURE).await
}

async fn answered_as(house: &House, erasure: ErasureId) -> events::ErasureAnswer {
    let answer = async || {
        let subject = Subject::fact(Service::Accounts, "erasure", erasure);
        let message = house
            .memory
            .log
            .last(&subject, Read::Leader)
            .await
            .unwrap()?;
        match events::Envelope::decode(message.bytes).unwrap().payload? {
            envelope::Payload::AccountsFact(fact) => match fact.fact? {
                accounts_fact::Fact::Erasure(answer) => Some(answer),
                _ => None,
            },
            _ => None,
        }
    };
    house.until("the answer", answer).await
}

fn holds(message: &Stored, needle: &[u8]) -> bool {
    message.bytes.windows(needle.len()).any(|it| it == needle)
}

#[tokio::test]
async fn after_the_order_only_tombstones_are_left_of_her() {
    let house = House::open().await;
    let (anna, boris) = (house.person("anna").await, house.person("boris").await);
    let hers = anna.home(&house, "Cottage").await;
    let his = boris.home(&house, "Office").await;
    let account: AccountId = anna.account_id.parse().unwrap();
    let home: HomeId = hers.home_id.parse().unwrap();
    let old_code = house.code(&anna.email).await;
    let closing = due(&house, &anna).await;
    assert_eq!(closing.ending_home_ids, [home.as_bytes().to_vec()]);
    let before = stored(&house, Family::Rec).await;
    assert!(
        before.iter().any(|it| holds(it, account.as_bytes())),
        "the positive control"
    );

    order(&house, &closing).await;
    let answer = answered(&house).await;
    let removed = |store: &str| {
        let found = answer.stores.iter().find(|it| it.store == store);
        found.map(|it| it.removed).unwrap()
    };
    for store in [
        "accounts.credentials",
        "accounts.sessions",
        "accounts.emails",
    ] {
        assert_eq!(removed(store), 1, "{store}");
    }
    assert!(removed("accounts.accounts") > 3);
    assert!(removed("accounts.homes") > 0);

    for family in [Family::Evt, Family::Rec, Family::State] {
        for message in stored(&house, family).await {
            let subject = message.subject.tokens();
            let own = subject == format!("account.{account}") || subject == format!("home.{home}");
            let ended = matches!(
                message.subject.kind(),
                "access" | "address" | "closing" | "home"
            );
            let tombstone = family == Family::Evt && own;
            let found = holds(&message, account.as_bytes()) || holds(&message, home.as_bytes());
            assert!(!found || tombstone || ended, "{subject} still names her");
        }
    }
    let commits = stored(&house, Family::Evt).await;
    let of_her = commits
        .iter()
        .filter(|it| it.subject.id() == Some(account.into()));
    assert_eq!(of_her.count(), 1, "the tombstone");

    // His home is as it was, and her address is free.
    let request = api::GetHomeRequest {
        home_id: his.home_id,
        ..api::GetHomeRequest::default()
    };
    let mut boris = boris;
    boris.sign_in(&house).await.unwrap();
    let seen = outcome(house.homes().get_home(boris.with(request)).await).unwrap();
    assert_eq!(seen.home.unwrap().name, "Office");
    let again = Person::new("anna");
    let registration = again.register(&house).await.unwrap();
    let code = house.code_after(&again.email, &old_code).await;
    assert!(house.verify(&again, &registration, &code).await.is_ok());
}

#[tokio::test]
async fn what_nobody_confirmed_is_due_for_erasure_and_leaves_a_tombstone() {
    let house = House::open().await;
    let anna = Person::new("anna");
    anna.register(&house).await.unwrap();
    house.code(&anna.email).await;
    house.clock.advance(Duration::from_secs(25 * 3600));
    let due = async || {
        let facts = stored(&house, Family::State).await;
        let closing = facts.iter().find(|it| it.subject.kind() == "closing")?;
        match events::Envelope::decode(closing.bytes.clone())
            .unwrap()
            .payload?
        {
            envelope::Payload::AccountsFact(fact) => match fact.fact? {
                accounts_fact::Fact::Closing(closing) => Some(closing),
                _ => None,
            },
            _ => None,
        }
    };
    let closing = house.until("the lapse", due).await;
    assert!(closing.due);
    assert_eq!(
        (closing.receipt_id.len(), closing.receipt_secret_hash.len()),
        (16, 32)
    );
    assert!(closing.closed_at.is_some() && closing.closed_at == closing.grace_ends_at);

    order(&house, &closing).await;
    answered(&house).await;
    let left = stored(&house, Family::Rec).await;
    assert!(
        left.iter().all(|it| !holds(it, &closing.account_id)),
        "no record of her"
    );
    let hers = |it: &&Stored| it.subject.kind() == "account";
    let history = stored(&house, Family::Evt).await;
    let history: Vec<_> = history.iter().filter(hers).collect();
    assert_eq!(history.len(), 1);
    let last = hearth_engine::Commit::read(&history[0].bytes).unwrap();
    assert!(last.is_tombstone());
}

/// The closings that are due.
async fn all_due(house: &House) -> Vec<events::ClosingFact> {
    let facts = stored(house, Family::State).await;
    let closing = |message: &Stored| match events::Envelope::decode(message.bytes.clone())
        .unwrap()
        .payload?
    {
        envelope::Payload::AccountsFact(fact) => match fact.fact? {
            accounts_fact::Fact::Closing(closing) if closing.due => Some(closing),
            _ => None,
        },
        _ => None,
    };
    facts.iter().filter_map(closing).collect()
}

#[tokio::test]
async fn of_registrations_that_came_to_nothing_nothing_is_left() {
    const TIMES: usize = 5;
    let house = House::open().await;
    let anna = house.person("anna").await;
    let owner = kernel::Owner::Account(anna.account_id.parse().unwrap());
    for _ in 0..TIMES {
        Person::new("anna").register(&house).await.unwrap();
    }
    house.clock.advance(Duration::from_secs(25 * 3600));
    // Each had a ring before anybody looked whether the address is known; each is named to retention.
    let due = async || Some(all_due(&house).await).filter(|due| due.len() == TIMES);
    let due = house.until("what was dropped to be due", due).await;
    for (n, closing) in (1..).zip(&due) {
        let account = AccountId::from_slice(&closing.account_id).unwrap();
        let ring = kernel::Owner::Account(account);
        assert!(
            !house.vault.key_ids(ring).await.unwrap().is_empty(),
            "the control"
        );
        let keys = house.vault.key_ids(ring).await.unwrap();
        let history = stored(&house, Family::Evt).await;
        let found = |key: &kernel::KeyId| history.iter().any(|it| holds(it, key.as_bytes()));
        assert!(
            keys.iter().any(|(_, key)| found(key)),
            "what retention's control asks for"
        );
        house.vault.shred(ring).await.unwrap();
        let erasure = ErasureId::from_bytes([n; 16]);
        order_as(&house, erasure, closing).await;
        answered_as(&house, erasure).await;
        assert!(house.vault.key_ids(ring).await.unwrap().is_empty());
    }
    let none = async || {
        let records = stored(&house, Family::Rec).await;
        let left = records.iter().any(|it| it.subject.kind() == "registration");
        let timers = house.memory.documents.range(
            Table("engine_timers"),
            Service::Accounts.name().as_bytes(),
            Range::all(100),
        );
        (!left && timers.await.unwrap().is_empty()).then_some(())
    };
    house.until("the day of each to be over", none).await;

    let drill = Drill::new(&*house.memory.log, &*house.memory.custody)
        .await
        .unwrap();
    let services = Service::ALL.map(kernel::Owner::Service);
    let of_services: usize = services.iter().map(|it| drill.keys_of(*it)).sum();
    assert!(drill.keys_of(owner) > 0 && of_services > 0);
    assert_eq!(
        drill.keys(),
        drill.keys_of(owner) + of_services,
        "no other ring"
    );
    for closing in &due {
        let named = |it: &&Stored| holds(it, &closing.account_id);
        let records = stored(&house, Family::Rec).await;
        assert_eq!(records.iter().filter(named).count(), 0);
        let history = stored(&house, Family::Evt).await;
        let of_it: Vec<_> = history.iter().filter(named).collect();
        assert_eq!(of_it.len(), 1);
        let last = hearth_engine::Commit::read(&of_it[0].bytes).unwrap();
        assert!(last.is_tombstone());
    }
    assert!(anna.account(&house).await.is_err(), "her token is old, and");
    let mut anna = anna;
    anna.sign_in(&house).await.unwrap();
}
