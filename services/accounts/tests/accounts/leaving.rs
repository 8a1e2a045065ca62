//! Closing an account: its grace, the way back, and the end.

use std::time::Duration;

use hearth_api::accounts::v1 as api;
use hearth_api::events::v1::{self as events, accounts_fact, envelope, mail_content::Body};
use hearth_kernel::{AccountId, Failure, Reason, Service};
use hearth_ports::{Log, Read, Subject};
use prost::Message;

use crate::house::{House, Person, outcome, request_id};

async fn close(house: &House, who: &Person) -> Result<api::CloseAccountResponse, Failure> {
    let request = api::CloseAccountRequest {
        request_id: request_id(),
        password: who.password.clone(),
        grace: None,
    };
    outcome(house.accounts().close_account(who.with(request)).await)
}

async fn closing_fact(house: &House, who: &Person) -> Option<events::ClosingFact> {
    let account: AccountId = who.account_id.parse().unwrap();
    let subject = Subject::fact(Service::Accounts, "closing", account);
    let message = house
        .memory
        .log
        .last(&subject, Read::Leader)
        .await
        .unwrap()?;
    match events::Envelope::decode(message.bytes).unwrap().payload? {
        envelope::Payload::AccountsFact(fact) => match fact.fact? {
            accounts_fact::Fact::Closing(closing) => Some(closing),
            _ => None,
        },
        _ => None,
    }
}

#[tokio::test]
async fn closing_asks_for_the_password_and_names_what_ends_with_it() {
    let house = House::open().await;
    let anna = house.person("anna").await;
    let made = anna.home(&house, "Cottage").await;
    let mut wrong = anna.clone();
    wrong.password = "this is not her password".to_owned();
    let refused = close(&house, &wrong).await.unwrap_err();
    assert_eq!(refused.reason, Reason::INVALID_CREDENTIALS);

    let closed = close(&house, &anna).await.unwrap();
    assert_eq!(closed.ending_home_ids, [made.home_id]);
    assert_eq!(closed.receipt_secret.len(), 32);
    assert_eq!(closed.receipt_id.len(), 32);
    let grace = closed.grace_ends_at.unwrap().seconds - closed.closed_at.unwrap().seconds;
    assert_eq!(grace, 72 * 3600);
    let account = anna.account(&house).await.unwrap();
    assert_eq!(account.state(), api::AccountState::Closing);
    assert!(account.closing.is_some());
    let fact = house
        .until("the fact", async || closing_fact(&house, &anna).await)
        .await;
    assert!(!fact.due);
    assert_eq!(fact.receipt_id.len(), 16);
    let hash = ring::digest::digest(&ring::digest::SHA256, &closed.receipt_secret);
    assert_eq!(fact.receipt_secret_hash, hash.as_ref());
}

#[tokio::test]
async fn in_its_grace_it_is_read_and_reopened_and_nothing_else() {
    let house = House::open().await;
    let anna = house.person("anna").await;
    close(&house, &anna).await.unwrap();
    let request = api::CreateHomeRequest {
        request_id: request_id(),
        name: "Another".to_owned(),
        kind: api::HomeKind::Office.into(),
        time_zone: "UTC".to_owned(),
    };
    let refused = outcome(house.homes().create_home(anna.with(request)).await).unwrap_err();
    assert_eq!(refused.reason, Reason::ACCOUNT_CLOSING);
    let request = api::ReopenAccountRequest {
        request_id: request_id(),
        ..api::ReopenAccountRequest::default()
    };
    outcome(
        house
            .accounts()
            .reopen_account(anna.with(request.clone()))
            .await,
    )
    .unwrap();
    assert_eq!(
        anna.account(&house).await.unwrap().state(),
        api::AccountState::Active
    );
    let again = api::ReopenAccountRequest {
        request_id: request_id(),
        ..request
    };
    let refused = outcome(house.accounts().reopen_account(anna.with(again)).await).unwrap_err();
    assert_eq!(refused.reason, Reason::ACCOUNT_NOT_CLOSING);
}

#[tokio::test]
async fn the_mail_takes_it_back_without_a_sign_in_once() {
    let house = House::open().await;
    let anna = house.person("anna").await;
    close(&house, &anna).await.unwrap();
    let closing = |body: &Body| match body {
        Body::Closing(mail) => Some(mail.clone()),
        _ => None,
    };
    let mail = house.mail(&anna.email, closing).await;
    let request = |token: &str| api::ReopenAccountRequest {
        request_id: request_id(),
        account_id: mail.account_id.clone(),
        undo_token: token.to_owned(),
    };
    let wrong = outcome(house.accounts().reopen_account(request("wrong")).await);
    assert_eq!(wrong.unwrap_err().reason, Reason::ACCOUNT_NOT_CLOSING);
    outcome(
        house
            .accounts()
            .reopen_account(request(&mail.undo_token))
            .await,
    )
    .unwrap();
    let again = outcome(
        house
            .accounts()
            .reopen_account(request(&mail.undo_token))
            .await,
    );
    assert_eq!(again.unwrap_err().reason, Reason::ACCOUNT_NOT_CLOSING);
}

#[tokio::test]
async fn when_the_grace_is_over_the_homes_are_left_and_the_erasure_is_due() {
    let house = House::open().await;
    let mut anna = house.person("anna").await;
    let made = anna.home(&house, "Cottage").await;
    close(&house, &anna).await.unwrap();
    house.clock.advance(Duration::from_secs(72 * 3600 + 1));
    let due = async || closing_fact(&house, &anna).await.filter(|fact| fact.due);
    let fact = house.until("the closing to be due", due).await;
    let home: hearth_kernel::HomeId = made.home_id.parse().unwrap();
    assert_eq!(fact.ending_home_ids, [home.as_bytes().to_vec()]);
    assert!(fact.membership_ids.is_empty());
    let refused = anna.sign_in(&house).await.unwrap_err();
    assert_eq!(refused.reason, Reason::INVALID_CREDENTIALS);
}

#[tokio::test]
async fn the_password_is_the_fresh_sign_in_however_old_the_session_is() {
    let house = House::open().await;
    let mut anna = house.person("anna").await;
    house.clock.advance(Duration::from_secs(16 * 60));
    let request = api::RefreshSessionRequest {
        request_id: request_id(),
        refresh_token: anna.tokens.refresh_token.clone(),
    };
    let refreshed = outcome(house.accounts().refresh_session(request).await).unwrap();
    anna.tokens = refreshed.tokens.unwrap();
    let mut thief = anna.clone();
    thief.password = "this is not her password".to_owned();
    let refused = close(&house, &thief).await.unwrap_err();
    assert_eq!(refused.reason, Reason::INVALID_CREDENTIALS);
    close(&house, &anna).await.unwrap();
}

#[tokio::test]
async fn guessing_at_the_password_by_closing_counts_as_guessing_by_sign_in() {
    let house = House::open().await;
    let anna = house.person("anna").await;
    let mut thief = anna.clone();
    thief.password = "this is not her password".to_owned();
    for _ in 0..5 {
        let refused = close(&house, &thief).await.unwrap_err();
        assert_eq!(refused.reason, Reason::INVALID_CREDENTIALS);
    }
    let refused = thief.sign_in(&house).await.unwrap_err();
    assert_eq!(refused.reason, Reason::TOO_MANY_REQUESTS);
}
