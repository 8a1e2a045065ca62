//! Registration and sign-in: the way in, and what it does not tell.

use hearth_api::accounts::v1 as api;
use hearth_api::events::v1::mail_content::Body;
use hearth_kernel::Reason;

use crate::house::{House, Person, outcome};

#[tokio::test]
async fn somebody_registers_proves_her_address_and_reads_her_account() {
    let house = House::open().await;
    let anna = house.person("anna").await;
    let account = anna.account(&house).await.unwrap();
    assert_eq!(account.email, "anna@example.org");
    assert_eq!(account.username, "anna");
    assert_eq!(account.locale, "mk");
    assert_eq!(account.state(), api::AccountState::Active);
    assert_eq!(account.account_id, anna.account_id);
}

#[tokio::test]
async fn only_the_client_that_registered_with_the_code_from_the_mail_gets_in() {
    let house = House::open().await;
    let anna = Person::new("anna");
    let registration = anna.register(&house).await.unwrap();
    let code = house.code(&anna.email).await;
    let mut thief = anna.clone();
    thief.client_secret = [9; 32];
    let refused = house
        .verify(&thief, &registration, &code)
        .await
        .unwrap_err();
    assert_eq!(refused.reason, Reason::VERIFICATION_FAILED);
    let wrong = if code == "00000000" {
        "00000001"
    } else {
        "00000000"
    };
    let refused = house.verify(&anna, &registration, wrong).await.unwrap_err();
    assert_eq!(refused.reason, Reason::VERIFICATION_FAILED);
    assert!(house.verify(&anna, &registration, &code).await.is_ok());
    let again = house.verify(&anna, &registration, &code).await.unwrap_err();
    assert_eq!(
        again.reason,
        Reason::VERIFICATION_FAILED,
        "a code works once"
    );
}

#[tokio::test]
async fn five_wrong_codes_are_enough() {
    let house = House::open().await;
    let anna = Person::new("anna");
    let registration = anna.register(&house).await.unwrap();
    let code = house.code(&anna.email).await;
    let wrong = if code == "00000000" {
        "00000001"
    } else {
        "00000000"
    };
    for _ in 0..5 {
        assert!(house.verify(&anna, &registration, wrong).await.is_err());
    }
    assert!(house.verify(&anna, &registration, &code).await.is_err());
}

#[tokio::test]
async fn a_known_address_gets_the_same_answer_and_its_person_a_mail() {
    let house = House::open().await;
    let anna = house.person("anna").await;
    let mut other = Person::new("boris");
    other.email = "ANNA@example.org".to_owned();
    let registration = other.register(&house).await.unwrap();
    assert_eq!(registration.len(), 32);
    let told = |body: &Body| matches!(body, Body::AlreadyRegistered(_)).then_some(());
    house.mail("anna@example.org", told).await;
    let refused = house
        .verify(&other, &registration, "12345678")
        .await
        .unwrap_err();
    assert_eq!(refused.reason, Reason::VERIFICATION_FAILED);
    assert!(anna.account(&house).await.is_ok());
}

#[tokio::test]
async fn a_newer_registration_takes_the_place_of_one_that_nobody_proved() {
    let house = House::open().await;
    let mallory = Person::new("mallory");
    let mut squatter = mallory.clone();
    squatter.email = "anna@example.org".to_owned();
    let squatted = squatter.register(&house).await.unwrap();
    let squatted_code = house.code("anna@example.org").await;
    house.clock.advance(std::time::Duration::from_secs(120));
    let anna = Person::new("anna");
    let registration = anna.register(&house).await.unwrap();
    let code = house.code_after("anna@example.org", &squatted_code).await;
    assert!(
        house
            .verify(&squatter, &squatted, &squatted_code)
            .await
            .is_err()
    );
    assert!(house.verify(&anna, &registration, &code).await.is_ok());
}

#[tokio::test]
async fn a_registration_lapses_after_a_day() {
    let house = House::open().await;
    let anna = Person::new("anna");
    let registration = anna.register(&house).await.unwrap();
    let code = house.code(&anna.email).await;
    house
        .clock
        .advance(std::time::Duration::from_secs(25 * 3600));
    let lapsed = async || {
        use hearth_api::events::v1::accounts_event::Event;
        let events = house.events().await;
        events
            .iter()
            .any(|it| matches!(it, Event::AccountLapsed(_)))
            .then_some(())
    };
    house.until("the lapse", lapsed).await;
    assert!(house.verify(&anna, &registration, &code).await.is_err());
    // The address is free again.
    let registration = anna.register(&house).await.unwrap();
    let code = house.code_after(&anna.email, &code).await;
    assert!(house.verify(&anna, &registration, &code).await.is_ok());
}

#[tokio::test]
async fn the_same_request_gets_the_first_answer_and_another_under_its_id_is_refused() {
    let house = House::open().await;
    let anna = house.person("anna").await;
    let request = anna.sign_in_request();
    let first = outcome(house.accounts().sign_in(request.clone()).await).unwrap();
    let second = outcome(house.accounts().sign_in(request.clone()).await).unwrap();
    assert_eq!(first.session_id, second.session_id);
    let refresh = |it: &api::SignInResponse| it.tokens.clone().unwrap().refresh_token;
    assert_eq!(refresh(&first), refresh(&second));
    let other = api::SignInRequest {
        device_label: "another".to_owned(),
        ..request
    };
    let refused = outcome(house.accounts().sign_in(other).await).unwrap_err();
    assert_eq!(refused.reason, Reason::REQUEST_ID_REUSED);
}

#[tokio::test]
async fn unknown_address_wrong_password_and_unproved_account_are_one_refusal() {
    let house = House::open().await;
    let anna = house.person("anna").await;
    let unproved = Person::new("boris");
    unproved.register(&house).await.unwrap();
    house.code(&unproved.email).await;
    let mut wrong = anna.sign_in_request();
    wrong.password = "this is not her password".to_owned();
    let unknown = Person::new("clara").sign_in_request();
    for request in [wrong, unknown, unproved.sign_in_request()] {
        let refused = outcome(house.accounts().sign_in(request).await).unwrap_err();
        assert_eq!(
            refused,
            hearth_kernel::Failure::new(Reason::INVALID_CREDENTIALS)
        );
    }
}

#[tokio::test]
async fn guessing_is_slowed_alike_for_known_and_unknown_addresses() {
    let house = House::open().await;
    house.person("anna").await;
    for name in ["anna", "nobody"] {
        let mut person = Person::new(name);
        person.password = "this is not her password".to_owned();
        let mut reasons = Vec::new();
        for _ in 0..7 {
            let request = person.sign_in_request();
            let refused = outcome(house.accounts().sign_in(request).await).unwrap_err();
            reasons.push(refused.reason);
        }
        assert_eq!(reasons[..5], [Reason::INVALID_CREDENTIALS; 5], "{name}");
        assert_eq!(reasons[5..], [Reason::TOO_MANY_REQUESTS; 2], "{name}");
    }
    house.clock.advance(std::time::Duration::from_secs(3600));
    assert!(Person::new("anna").sign_in(&house).await.is_ok());
}

#[tokio::test]
async fn who_was_guessed_at_a_hundred_times_and_more_still_gets_in() {
    let house = House::open().await;
    let mut anna = house.person("anna").await;
    let mut thief = anna.clone();
    thief.password = "this is not her password".to_owned();
    for _ in 0..105 {
        let refused = thief.sign_in(&house).await.unwrap_err();
        assert_eq!(refused.reason, Reason::INVALID_CREDENTIALS);
        house.clock.advance(std::time::Duration::from_secs(3600));
    }
    // Another process knows only what is in the credentials. The last of them were written behind the answers.
    let house = house.reopen().await;
    house.clock.advance(std::time::Duration::from_secs(3600));
    anna.sign_in(&house).await.unwrap();
}

#[tokio::test]
async fn everything_that_is_wrong_is_told_at_once() {
    let house = House::open().await;
    let request = api::RegisterRequest {
        request_id: "short".to_owned(),
        email: "nobody".to_owned(),
        password: "short".to_owned(),
        locale: "?".to_owned(),
        ..api::RegisterRequest::default()
    };
    let refused = outcome(house.accounts().register(request).await).unwrap_err();
    assert_eq!(refused.reason, Reason::INVALID_REQUEST);
    let fields: Vec<&str> = refused
        .violations
        .iter()
        .map(|it| it.field.as_str())
        .collect();
    let all = [
        "request_id",
        "email",
        "username",
        "locale",
        "password",
        "client_secret_hash",
    ];
    assert_eq!(fields, all);
}

#[tokio::test]
async fn a_process_that_ended_behind_the_answer_is_finished_by_the_next() {
    let house = House::open().await;
    let anna = Person::new("anna");
    let registration = anna.register(&house).await.unwrap();
    let house = house.reopen().await;
    let code = house.code(&anna.email).await;
    let verified = house.verify(&anna, &registration, &code).await.unwrap();
    assert_eq!(verified.account_id.len(), 32);
    let mut anna = anna;
    anna.signed_in(verified);
    assert!(anna.account(&house).await.is_ok());
}
