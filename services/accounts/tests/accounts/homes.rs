//! Homes, areas and members.

use hearth_api::accounts::v1 as api;
use hearth_api::events::v1::InvitationMail;
use hearth_api::events::v1::mail_content::Body;
use hearth_api::types::v1::Role;
use hearth_kernel::{Failure, Reason, Service};
use hearth_ports::{Clock, Family, Log, Position, Stream};

use crate::house::{House, Person, outcome, request_id};

async fn home(house: &House, who: &Person, home_id: &str) -> Result<api::Home, Failure> {
    let request = api::GetHomeRequest {
        home_id: home_id.to_owned(),
        ..api::GetHomeRequest::default()
    };
    let answered = outcome(house.homes().get_home(who.with(request)).await)?;
    Ok(answered.home.expect("a home"))
}

async fn area(house: &House, who: &Person, home_id: &str, name: &str) -> Result<String, Failure> {
    let request = api::CreateAreaRequest {
        request_id: request_id(),
        home_id: home_id.to_owned(),
        name: name.to_owned(),
    };
    let made = outcome(house.homes().create_area(who.with(request)).await)?;
    Ok(made.area_id)
}

async fn invite(
    house: &House,
    who: &Person,
    home_id: &str,
    email: &str,
    role: Role,
    areas: &[String],
) -> Result<InvitationMail, Failure> {
    let request = api::InviteMemberRequest {
        request_id: request_id(),
        home_id: home_id.to_owned(),
        email: email.to_owned(),
        role: role.into(),
        area_ids: areas.to_vec(),
        ..api::InviteMemberRequest::default()
    };
    let sent = outcome(house.homes().invite_member(who.with(request)).await)?;
    let mail = |body: &Body| match body {
        Body::Invitation(mail) if mail.invitation_id == sent.invitation_id => Some(mail.clone()),
        _ => None,
    };
    Ok(house.mail(email, mail).await)
}

async fn accept(
    house: &House,
    who: &Person,
    mail: &InvitationMail,
) -> Result<api::AcceptInvitationResponse, Failure> {
    let request = api::AcceptInvitationRequest {
        request_id: request_id(),
        invitation_id: mail.invitation_id.clone(),
        code: mail.code.clone(),
    };
    outcome(house.homes().accept_invitation(who.with(request)).await)
}

async fn members(house: &House, who: &Person, home_id: &str) -> Vec<api::Member> {
    let request = api::ListMembersRequest {
        home_id: home_id.to_owned(),
        ..api::ListMembersRequest::default()
    };
    outcome(house.homes().list_members(who.with(request)).await)
        .unwrap()
        .members
}

#[tokio::test]
async fn a_home_has_its_maker_as_owner_and_areas_with_names() {
    let house = House::open().await;
    let anna = house.person("anna").await;
    let made = anna.home(&house, "Cottage").await;
    let hall = area(&house, &anna, &made.home_id, "Hall").await.unwrap();
    area(&house, &anna, &made.home_id, "Attic").await.unwrap();
    let taken = area(&house, &anna, &made.home_id, "HALL")
        .await
        .unwrap_err();
    assert_eq!(taken.reason, Reason::AREA_NAME_TAKEN);

    let rename = api::RenameAreaRequest {
        request_id: request_id(),
        home_id: made.home_id.clone(),
        area_id: hall,
        name: "Зала".to_owned(),
    };
    outcome(house.homes().rename_area(anna.with(rename)).await).unwrap();
    let seen = home(&house, &anna, &made.home_id).await.unwrap();
    let names: Vec<&str> = seen.areas.iter().map(|it| it.name.as_str()).collect();
    assert_eq!(names, ["Attic", "Зала"]);
    assert_eq!(seen.name, "Cottage");
    assert_eq!(seen.time_zone, "Europe/Skopje");
    assert_eq!(seen.retention.len(), 2);
    let self_ = seen.self_.unwrap();
    assert_eq!(self_.role(), Role::Owner);
    assert_eq!(self_.membership_id, made.membership_id);
    assert_eq!(self_.username, "anna");
}

#[tokio::test]
async fn an_invited_person_joins_by_the_mail_and_sees_what_she_may() {
    let house = House::open().await;
    let (anna, boris) = (house.person("anna").await, house.person("boris").await);
    let made = anna.home(&house, "Cottage").await;
    let hall = area(&house, &anna, &made.home_id, "Hall").await.unwrap();
    area(&house, &anna, &made.home_id, "Attic").await.unwrap();
    let only = [hall.clone()];
    let mail = invite(
        &house,
        &anna,
        &made.home_id,
        &boris.email,
        Role::Guest,
        &only,
    )
    .await;
    let mail = mail.unwrap();
    assert_eq!(
        (mail.inviter.as_str(), mail.home.as_str()),
        ("anna", "Cottage")
    );

    let strange = home(&house, &boris, &made.home_id).await.unwrap_err();
    assert_eq!(strange.reason, Reason::NOT_FOUND);
    let joined = accept(&house, &boris, &mail).await.unwrap();
    assert_eq!(joined.home_id, made.home_id);
    let seen = home(&house, &boris, &made.home_id).await.unwrap();
    assert_eq!(seen.areas.len(), 1);
    assert_eq!(seen.areas[0].area_id, hall);
    let refused = area(&house, &boris, &made.home_id, "Shed")
        .await
        .unwrap_err();
    assert_eq!(refused.reason, Reason::NOT_ALLOWED);

    let listed = members(&house, &anna, &made.home_id).await;
    let names: Vec<&str> = listed.iter().map(|it| it.username.as_str()).collect();
    assert_eq!(names, ["anna", "boris"]);
    let again = accept(&house, &boris, &mail).await.unwrap_err();
    assert_eq!(again.reason, Reason::ALREADY_MEMBER);
    let clara = house.person("clara").await;
    let used = accept(&house, &clara, &mail).await.unwrap_err();
    assert_eq!(used.reason, Reason::INVITATION_NOT_VALID);
    // A refused invitation leaves no trace in her list.
    let request = clara.with(api::ListHomesRequest::default());
    assert!(
        outcome(house.homes().list_homes(request).await)
            .unwrap()
            .homes
            .is_empty()
    );
}

#[tokio::test]
async fn a_removed_member_is_a_stranger_at_once() {
    let house = House::open().await;
    let (anna, boris) = (house.person("anna").await, house.person("boris").await);
    let made = anna.home(&house, "Cottage").await;
    let mail = invite(&house, &anna, &made.home_id, &boris.email, Role::Admin, &[]).await;
    let joined = accept(&house, &boris, &mail.unwrap()).await.unwrap();
    assert!(area(&house, &boris, &made.home_id, "Shed").await.is_ok());
    let remove = |by: &Person, membership: &str| {
        by.with(api::RemoveMemberRequest {
            request_id: request_id(),
            home_id: made.home_id.clone(),
            membership_id: membership.to_owned(),
        })
    };
    let last = outcome(
        house
            .homes()
            .remove_member(remove(&anna, &made.membership_id))
            .await,
    );
    assert_eq!(last.unwrap_err().reason, Reason::LAST_OWNER);
    let above = outcome(
        house
            .homes()
            .remove_member(remove(&boris, &made.membership_id))
            .await,
    );
    assert_eq!(above.unwrap_err().reason, Reason::ROLE_ABOVE_OWN);
    outcome(
        house
            .homes()
            .remove_member(remove(&anna, &joined.membership_id))
            .await,
    )
    .unwrap();
    let gone = home(&house, &boris, &made.home_id).await.unwrap_err();
    assert_eq!(gone.reason, Reason::NOT_FOUND);
    assert_eq!(members(&house, &anna, &made.home_id).await.len(), 1);
}

#[tokio::test]
async fn a_home_is_not_given_to_a_member_whose_account_is_closing() {
    let house = House::open().await;
    let (anna, boris) = (house.person("anna").await, house.person("boris").await);
    let made = anna.home(&house, "Cottage").await;
    let mail = invite(&house, &anna, &made.home_id, &boris.email, Role::Adult, &[]).await;
    let joined = accept(&house, &boris, &mail.unwrap()).await.unwrap();
    let request = api::CloseAccountRequest {
        request_id: request_id(),
        password: boris.password.clone(),
        grace: None,
    };
    outcome(house.accounts().close_account(boris.with(request)).await).unwrap();
    let transfer = || api::TransferHomeRequest {
        request_id: request_id(),
        home_id: made.home_id.clone(),
        membership_id: joined.membership_id.clone(),
    };
    let refused = outcome(house.homes().transfer_home(anna.with(transfer())).await);
    assert_eq!(refused.unwrap_err().reason, Reason::MEMBER_CLOSING);
    let request = |role: Role| api::ChangeRoleRequest {
        request_id: request_id(),
        home_id: made.home_id.clone(),
        membership_id: joined.membership_id.clone(),
        role: role.into(),
        ..api::ChangeRoleRequest::default()
    };
    let owner = anna.with(request(Role::Owner));
    let refused = outcome(house.homes().change_role(owner).await);
    assert_eq!(refused.unwrap_err().reason, Reason::MEMBER_CLOSING);
    let admin = anna.with(request(Role::Admin));
    outcome(house.homes().change_role(admin).await).unwrap();
    let request = api::ReopenAccountRequest {
        request_id: request_id(),
        ..api::ReopenAccountRequest::default()
    };
    outcome(house.accounts().reopen_account(boris.with(request)).await).unwrap();
    let given = anna.with(transfer());
    outcome(house.homes().transfer_home(given).await).unwrap();
}

#[tokio::test]
async fn a_home_is_handed_over_and_roles_are_changed() {
    let house = House::open().await;
    let (anna, boris) = (house.person("anna").await, house.person("boris").await);
    let made = anna.home(&house, "Cottage").await;
    let mail = invite(&house, &anna, &made.home_id, &boris.email, Role::Adult, &[]).await;
    let joined = accept(&house, &boris, &mail.unwrap()).await.unwrap();
    let request = api::TransferHomeRequest {
        request_id: request_id(),
        home_id: made.home_id.clone(),
        membership_id: joined.membership_id.clone(),
    };
    outcome(house.homes().transfer_home(anna.with(request)).await).unwrap();
    let request = api::ChangeRoleRequest {
        request_id: request_id(),
        home_id: made.home_id.clone(),
        membership_id: made.membership_id.clone(),
        role: Role::Guest.into(),
        ..api::ChangeRoleRequest::default()
    };
    outcome(house.homes().change_role(boris.with(request)).await).unwrap();
    let roles: Vec<Role> = members(&house, &boris, &made.home_id)
        .await
        .iter()
        .map(api::Member::role)
        .collect();
    assert_eq!(roles, [Role::Guest, Role::Owner]);
    let request = anna.with(api::ListHomesRequest::default());
    let rows = outcome(house.homes().list_homes(request).await)
        .unwrap()
        .homes;
    assert_eq!(
        (rows[0].name.as_str(), rows[0].role()),
        ("Cottage", Role::Guest)
    );
}

#[tokio::test]
async fn others_learn_ids_and_roles_and_no_names() {
    let house = House::open().await;
    let anna = house.person("anna").await;
    let made = anna.home(&house, "Cottage by the lake").await;
    area(&house, &anna, &made.home_id, "Secret cellar")
        .await
        .unwrap();
    let published = async || {
        use hearth_api::events::v1::accounts_event::Event;
        let events = house.events().await;
        events
            .iter()
            .any(|it| matches!(it, Event::HomeChanged(_)))
            .then_some(())
    };
    house.until("the events", published).await;
    use hearth_kernel::Service;
    use hearth_ports::{Family, Log, Position, Stream};
    let names = ["Cottage", "cellar", "anna", "example.org"];
    for family in [Family::Evt, Family::Rec, Family::Int, Family::State] {
        let stream = Stream::new(family, Service::Accounts);
        let page = house
            .memory
            .log
            .page(stream, Position::START, 1000)
            .await
            .unwrap();
        assert!(!page.is_empty());
        for message in page {
            for name in names {
                let found = message
                    .bytes
                    .windows(name.len())
                    .any(|it| it == name.as_bytes());
                assert!(!found, "{name} stands in {}", message.subject.tokens());
            }
        }
    }
}

#[tokio::test]
async fn a_guest_whose_time_is_over_is_a_member_no_more_and_may_be_invited_again() {
    let house = House::open().await;
    let (mut anna, mut boris) = (house.person("anna").await, house.person("boris").await);
    let made = anna.home(&house, "Cottage").await;
    let hour = 3600;
    let ends = house.clock.now().seconds() + hour;
    let request = api::InviteMemberRequest {
        request_id: request_id(),
        home_id: made.home_id.clone(),
        email: boris.email.clone(),
        role: Role::Guest.into(),
        member_expires_at: Some(prost_types::Timestamp {
            seconds: ends,
            nanos: 0,
        }),
        ..api::InviteMemberRequest::default()
    };
    let sent = outcome(house.homes().invite_member(anna.with(request)).await).unwrap();
    let mail = |body: &Body| match body {
        Body::Invitation(mail) if mail.invitation_id == sent.invitation_id => Some(mail.clone()),
        _ => None,
    };
    let mail = house.mail(&boris.email, mail).await;
    let joined = accept(&house, &boris, &mail).await.unwrap();
    let membership: hearth_kernel::MembershipId = joined.membership_id.parse().unwrap();
    assert_eq!(members(&house, &anna, &made.home_id).await.len(), 2);

    house.clock.advance(std::time::Duration::from_secs(3601));
    let gone = async || {
        let stream = Stream::new(Family::Rec, Service::Accounts);
        let page = house.memory.log.page(stream, Position::START, 1000);
        let mut records = page.await.unwrap().into_iter();
        let left = records.any(|it| it.subject.id() == Some(membership.into()));
        (!left).then_some(())
    };
    house
        .until("whose membership it was to be forgotten", gone)
        .await;
    anna.sign_in(&house).await.unwrap();
    boris.sign_in(&house).await.unwrap();
    let again = invite(&house, &anna, &made.home_id, &boris.email, Role::Guest, &[]).await;
    accept(&house, &boris, &again.unwrap()).await.unwrap();
    assert_eq!(members(&house, &anna, &made.home_id).await.len(), 2);
}
