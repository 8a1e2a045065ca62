//! What is answered does not tell which addresses are known: the same bytes, but for what the request itself decides.

use hearth_api::accounts::v1 as api;
use hearth_api::events::v1::mail_content::Body;
use hearth_kernel::{Failure, Reason};
use prost::Message;

use crate::house::{House, Person, outcome, request_id};

async fn register(house: &House, email: &str, id: &str) -> Result<api::RegisterResponse, Failure> {
    let person = Person::new("anna");
    let request = api::RegisterRequest {
        request_id: id.to_owned(),
        email: email.to_owned(),
        username: "anna".to_owned(),
        password: person.password.clone(),
        locale: "en".to_owned(),
        client_secret_hash: person.secret_hash().into(),
    };
    outcome(house.accounts().register(request).await)
}

#[tokio::test]
async fn registering_a_known_and_an_unknown_address_is_one_answer() {
    let house = House::open().await;
    house.person("anna").await;
    let known = register(&house, "anna@example.org", &request_id())
        .await
        .unwrap();
    let unknown = register(&house, "clara@example.org", &request_id())
        .await
        .unwrap();
    assert_eq!(known.encoded_len(), unknown.encoded_len());
    let hexadecimal = |id: &str| id.len() == 32 && id.bytes().all(|it| it.is_ascii_hexdigit());
    assert!(hexadecimal(&known.registration_id) && hexadecimal(&unknown.registration_id));
    // The id is the request's alone: another address under the same request id is refused, known or not.
    let id = request_id();
    register(&house, "clara@example.org", &id).await.unwrap();
    let known = register(&house, "anna@example.org", &id).await.unwrap_err();
    let unknown = register(&house, "doris@example.org", &id)
        .await
        .unwrap_err();
    assert_eq!(known, unknown);
}

#[tokio::test]
async fn a_mail_is_asked_for_at_most_once_an_hour_where_the_address_is_known() {
    let house = House::open().await;
    house.person("anna").await;
    for _ in 0..5 {
        register(&house, "anna@example.org", &request_id())
            .await
            .unwrap();
    }
    // Behind a later registration everything before it is done: the process manager goes in order.
    register(&house, "clara@example.org", &request_id())
        .await
        .unwrap();
    house.code("clara@example.org").await;
    let mails = house.mails("anna@example.org").await;
    assert_eq!(mails.len(), 2, "the first code, and one word of warning");
}

#[tokio::test]
async fn an_address_that_nobody_proves_gets_mails_farther_and_farther_apart() {
    let house = House::open().await;
    for _ in 0..10 {
        register(&house, "anna@example.org", &request_id())
            .await
            .unwrap();
        house.clock.advance(std::time::Duration::from_secs(61));
    }
    // Behind a later registration everything before it is done: the process manager goes in order.
    register(&house, "clara@example.org", &request_id())
        .await
        .unwrap();
    house.code("clara@example.org").await;
    let mails = house.mails("anna@example.org").await;
    assert_eq!(mails.len(), 4, "at once, after 1, 3 and 7 minutes");
}

#[tokio::test]
async fn a_wrong_password_leaves_its_mark_only_where_there_is_an_account() {
    use hearth_kernel::Service;
    use hearth_ports::{Family, Log, Position, Stream};
    let house = House::open().await;
    house.person("anna").await;
    let records = async || {
        let stream = Stream::new(Family::Rec, Service::Accounts);
        house
            .memory
            .log
            .page(stream, Position::START, 1000)
            .await
            .unwrap()
            .len()
    };
    let before = records().await;
    let mut nobody = Person::new("nobody");
    nobody.password = "this is not her password".to_owned();
    assert!(nobody.sign_in(&house).await.is_err());
    assert_eq!(
        records().await,
        before,
        "nothing is stored for an address that nobody has"
    );
}

#[tokio::test]
async fn a_wrong_password_is_the_same_reads_whether_somebody_has_the_address_or_not() {
    let house = House::open().await;
    house.person("anna").await;
    // Another process: neither of the two is in its memory. Then both are.
    let house = house.reopen().await;
    for round in ["cold", "warm"] {
        let mut costs = Vec::new();
        for name in ["nobody", "anna"] {
            let mut person = Person::new(name);
            person.password = "this is not her password".to_owned();
            house.reads.take();
            let refused = person.sign_in(&house).await.unwrap_err();
            assert_eq!(refused.reason, Reason::INVALID_CREDENTIALS);
            let mut read = house.reads.take();
            // What tasks of the process read by themselves is of other kinds.
            let kinds = [
                "email",
                "account",
                "credentials",
                "ring",
                "engine_snapshots",
            ];
            read.retain(|it| kinds.iter().any(|kind| it.ends_with(kind)));
            read.sort();
            costs.push(read);
        }
        assert_eq!(costs[0], costs[1], "{round}");
        assert!(
            costs[0].iter().any(|it| it.ends_with("credentials")),
            "the control"
        );
        let ring = costs[0]
            .iter()
            .filter(|it| it.ends_with("ring-account"))
            .count();
        assert_eq!(ring > 0, round == "cold", "{costs:?}");
    }
}

#[tokio::test]
async fn who_has_the_address_is_told_where_she_proved_it_and_not_where_somebody_else_spelt_it() {
    let house = House::open().await;
    house.person("anna").await;
    register(&house, "ANNA@Example.org", &request_id())
        .await
        .unwrap();
    let known = |body: &Body| matches!(body, Body::AlreadyRegistered(_)).then_some(());
    house.mail("anna@example.org", known).await;
    assert_eq!(house.mails("ANNA@Example.org").await.len(), 0);
}
