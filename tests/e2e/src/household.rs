//! A home with everything in it, and one person of each kind that may ask for it: every role, those who were members,
//! and a stranger.

use std::time::Duration;

use bytes::Bytes;
use hearth_api::accounts::v1 as accounts;
use hearth_api::accounts::v1::accounts_service_client::AccountsServiceClient;
use hearth_api::accounts::v1::homes_service_client::HomesServiceClient;
use hearth_api::ingest::v1 as ingest;
use hearth_api::ingest::v1::reading::Value;
use hearth_api::notifications::v1 as notifications;
use hearth_api::notifications::v1::notifications_service_client::NotificationsServiceClient;
use hearth_api::types::v1::{Capability, CommitToken, Role};
use hearth_kernel::Timestamp;
use hearth_testkit::hub::{self, columns, id_bytes, wire_time};
use hearth_testkit::person::{code_in, request_id};
use hearth_testkit::{Hub, Person, Sandbox};
use prost::Message;
use prost_reflect::MethodDescriptor;

use crate::bodies::{Things, body};
use crate::dynamic::{call, methods};

/// The name of the area that the guest may not see.
pub const SECRET_AREA: &str = "Secret room";
/// How long the guest stays who was let in for a while.
const STAY: Duration = Duration::from_secs(60);

/// Who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Nobody signed in.
    Nobody,
    /// Somebody with a home of her own.
    Stranger,
    /// A member who was removed.
    Removed,
    /// A guest whose time is over.
    Expired,
    /// A guest who is limited to one area.
    Guest,
    /// An adult.
    Adult,
    /// An admin.
    Admin,
    /// The owner.
    Owner,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Nobody,
        Self::Stranger,
        Self::Removed,
        Self::Expired,
        Self::Guest,
        Self::Adult,
        Self::Admin,
        Self::Owner,
    ];

    /// Her role, if she has one.
    #[must_use]
    pub const fn role(self) -> Option<hearth_kernel::Role> {
        match self {
            Self::Nobody | Self::Stranger | Self::Removed | Self::Expired => None,
            Self::Guest => Some(hearth_kernel::Role::Guest),
            Self::Adult => Some(hearth_kernel::Role::Adult),
            Self::Admin => Some(hearth_kernel::Role::Admin),
            Self::Owner => Some(hearth_kernel::Role::Owner),
        }
    }
}

/// A home and its people.
pub struct Household {
    /// Where it is.
    pub sandbox: Sandbox,
    /// By [`Kind`], in its order.
    people: Vec<Option<Person>>,
    /// What lies where the guest may see it.
    pub seen: Things,
    /// What lies where she may not.
    pub hidden: Things,
    /// The stranger's own.
    pub strange: Things,
    /// The admin's membership.
    admin: String,
}

impl Household {
    /// Builds it.
    pub async fn build() -> Self {
        let sandbox = Sandbox::start().await;
        let owner = sandbox.person("olga").await;
        let home = owner.home("House of Olga").await;
        let mut seen = Things {
            home: home.clone(),
            session: owner.session_id.clone(),
            area: area(&owner, &home, "Hall").await,
            ..Things::default()
        };
        let hall = vec![seen.area.clone()];
        let guest = sandbox.person("gita").await;
        join(&sandbox, &owner, &guest, &home, (Role::Guest, hall, None)).await;
        let admin = sandbox.person("ada").await;
        let whole = |role| (role, vec![], None);
        let (of_admin, _) = join(&sandbox, &owner, &admin, &home, whole(Role::Admin)).await;
        let adult = sandbox.person("adam").await;
        join(&sandbox, &owner, &adult, &home, whole(Role::Adult)).await;
        // Whoever is named where a member is, and never asks for anything herself.
        let named = sandbox.person("nina").await;
        (seen.membership, _) = join(&sandbox, &owner, &named, &home, whole(Role::Adult)).await;
        let (expired, removed) = former(&sandbox, &owner, &home).await;
        let stranger = sandbox.person("sara").await;
        let mut strange = Things {
            home: stranger.home("House of Sara").await,
            ..Things::default()
        };
        strange.area = area(&stranger, &strange.home, "Attic").await;
        let people = vec![
            None,
            Some(stranger),
            Some(removed),
            Some(expired),
            Some(guest),
            Some(adult),
            Some(admin),
            Some(owner),
        ];
        let mut household = Self {
            sandbox,
            people,
            hidden: seen.clone(),
            seen,
            strange,
            admin: of_admin,
        };
        household.furnish().await;
        household
    }

    /// The devices, hubs, rules, notices and what else has an id.
    async fn furnish(&mut self) {
        let owner = self.person(Kind::Owner).unwrap().clone();
        let (home, now) = (self.seen.home.clone(), sandbox_now(&self.sandbox));
        let hub = Hub::pair(&owner, &home, "hearth", now).await;
        self.hidden.area = area(&owner, &home, SECRET_AREA).await;
        let (_, begun) = Hub::begin(owner.channel.clone(), "hearth", now).await;
        let invitation = invite(
            &owner,
            &home,
            "nobody@example.org",
            (Role::Adult, vec![], None),
        );
        let invitation = invitation.await.invitation_id;
        let closed = self.close().await;
        for (name, things) in [
            ("Hall sensor", &mut self.seen),
            (SECRET_AREA, &mut self.hidden),
        ] {
            things.now = now;
            things.hub = hex::encode(hub.hub_id);
            things.claim = hex::encode(hub.claim_id);
            things.pairing_code.clone_from(&begun.code);
            things.pairing.clone_from(&begun.pairing_id);
            things.invitation.clone_from(&invitation);
            things.closing.clone_from(&closed.closing);
            things.closing_email.clone_from(&closed.closing_email);
            things.receipt.clone_from(&closed.receipt);
            things.registration.clone_from(&closed.registration);
            things.device = hub::device(&owner, &home, name, &[Capability::Motion]).await;
            place(&owner, things).await;
            things.rule = rule(&owner, things).await;
        }
        let arm = notifications::ArmHomeRequest {
            request_id: request_id(),
            home_id: home.clone(),
            area_ids: vec![self.hidden.area.clone()],
        };
        let mut notices = NotificationsServiceClient::new(owner.channel.clone());
        notices.arm_home(owner.with(arm)).await.unwrap();
        let mut stream = hub.open(self.sandbox.channel().await).await.unwrap();
        let at = sandbox_now(&self.sandbox).micros();
        let moved = |things: &Things| {
            (
                id_bytes(&things.device),
                Capability::Motion,
                at,
                Value::Flag(true),
            )
        };
        let readings = [moved(&self.seen), moved(&self.hidden)];
        stream
            .send(columns(hub.stream_id, 1, &readings))
            .await
            .unwrap();
        stream.durable_through(1).await.unwrap();
        drop(stream);
        let notice = self
            .sandbox
            .until("a notice", async || {
                let list = notifications::ListInboxRequest::default();
                let mut client = notices.clone();
                let inbox = client.list_inbox(owner.with(list)).await.unwrap();
                let inbox = inbox.into_inner().notices;
                Some(inbox.first()?.notice_id.clone())
            })
            .await;
        self.seen.notice.clone_from(&notice);
        self.hidden.notice = notice;
    }

    /// Somebody who closed her account, and somebody who has not yet verified hers.
    async fn close(&self) -> Things {
        let carl = self.sandbox.person("carl").await;
        let mut client = AccountsServiceClient::new(carl.channel.clone());
        let close = accounts::CloseAccountRequest {
            request_id: request_id(),
            password: carl.password.clone(),
            grace: None,
        };
        let closed = client.close_account(carl.with(close)).await.unwrap();
        let register = body("Register", &Things::default());
        let register = accounts::RegisterRequest::decode(register).unwrap();
        let registered = client.register(register).await.unwrap().into_inner();
        Things {
            closing: carl.account_id.clone(),
            closing_email: carl.email.clone(),
            receipt: closed.into_inner().receipt_id,
            registration: registered.registration_id,
            ..Things::default()
        }
    }

    /// The person of that kind.
    #[must_use]
    pub fn person(&self, kind: Kind) -> Option<&Person> {
        let at = Kind::ALL.iter().position(|it| *it == kind).unwrap();
        self.people[at].as_ref()
    }

    /// What the owner can read of it all: what nobody else's refused call changes.
    pub async fn state(&self) -> Vec<(String, Vec<Bytes>)> {
        let owner = self.person(Kind::Owner).unwrap();
        let reads = [
            "GetHome",
            "ListMembers",
            "ListDevices",
            "ListHubs",
            "ListRules",
            "GetArming",
            "ListInbox",
            "ListSessions",
            "GetAccount",
            "GetPreferences",
            "LatestReadings",
        ];
        let mut state = Vec::new();
        for name in reads {
            let method = method(name);
            let token = Some(owner.tokens.access_token.as_str());
            let answer = call(&owner.channel, &method, token, vec![body(name, &self.seen)]).await;
            let mut answer = answer.unwrap_or_else(|status| panic!("{name}: {status:?}"));
            if name == "ListInbox" {
                // Its cursor goes on by itself; the notices are what counts.
                let inbox = notifications::ListInboxResponse::decode(answer.remove(0)).unwrap();
                let notices = inbox.notices.iter().map(Message::encode_to_vec);
                answer = notices.map(Bytes::from).collect();
            }
            state.push((name.to_owned(), answer));
        }
        state
    }

    /// The things for one call that is to succeed: what it uses up is made for it.
    pub async fn fresh(&self, method: &str, kind: Kind) -> Things {
        let owner = self.person(Kind::Owner).unwrap();
        let now = sandbox_now(&self.sandbox);
        let mut things = Things {
            now,
            ..self.seen.clone()
        };
        match method {
            "RemoveArea" => things.area = area(owner, &things.home, &request_id()[..12]).await,
            "RemoveDevice" => {
                things.device =
                    hub::device(owner, &things.home, "Lamp", &[Capability::Motion]).await;
            }
            "RemoveRule" => things.rule = rule(owner, &things).await,
            "RevokeHub" => {
                let hub = Hub::pair(owner, &things.home, "hearth", now).await;
                things.hub = hex::encode(hub.hub_id);
            }
            "ClaimHub" => {
                let (_, begun) = Hub::begin(owner.channel.clone(), "hearth", now).await;
                things.pairing_code = begun.code;
            }
            "RemoveMember" | "ChangeRole" => {
                let name = format!("spare-{}-{kind:?}", method.to_lowercase()).to_lowercase();
                let spare = self.sandbox.person(&name).await;
                let grant = (Role::Adult, vec![], None);
                (things.membership, _) =
                    join(&self.sandbox, owner, &spare, &things.home, grant).await;
            }
            "TransferHome" => things.membership.clone_from(&self.admin),
            _ => {}
        }
        things
    }
}

/// A method by its name.
#[must_use]
pub fn method(name: &str) -> MethodDescriptor {
    let found = methods().into_iter().find(|it| it.name() == name);
    found.unwrap_or_else(|| panic!("the contract has no {name}"))
}

fn sandbox_now(sandbox: &Sandbox) -> Timestamp {
    hearth_ports::Clock::now(&sandbox.clock)
}

fn micros_after(now: Timestamp, by: Duration) -> i64 {
    now.micros() + i64::try_from(by.as_micros()).unwrap()
}

/// A guest whose time is over, and a member who was removed.
async fn former(sandbox: &Sandbox, owner: &Person, home: &str) -> (Person, Person) {
    let expired = sandbox.person("edo").await;
    let end = Timestamp::from_micros(micros_after(sandbox_now(sandbox), STAY));
    let for_a_while = (Role::Guest, vec![], Some(end));
    join(sandbox, owner, &expired, home, for_a_while).await;
    let removed = sandbox.person("rita").await;
    let (gone, _) = join(sandbox, owner, &removed, home, (Role::Adult, vec![], None)).await;
    let token = remove(owner, home, &gone).await;
    sandbox.clock.advance(STAY);
    knows(owner, home, token).await;
    (expired, removed)
}

/// Waits until the services that learn from accounts know what that commit decided, and all before it.
async fn knows(owner: &Person, home: &str, token: Option<CommitToken>) {
    let arming = notifications::GetArmingRequest {
        home_id: home.to_owned(),
        after: token.into_iter().collect(),
    };
    let mut notices = NotificationsServiceClient::new(owner.channel.clone());
    notices.get_arming(owner.with(arming)).await.unwrap();
}

async fn area(owner: &Person, home: &str, name: &str) -> String {
    let create = accounts::CreateAreaRequest {
        request_id: request_id(),
        home_id: home.to_owned(),
        name: name.to_owned(),
    };
    let mut homes = HomesServiceClient::new(owner.channel.clone());
    let created = homes
        .create_area(owner.with(create))
        .await
        .unwrap()
        .into_inner();
    knows(owner, home, created.token).await;
    created.area_id
}

async fn place(owner: &Person, things: &Things) {
    let update = ingest::UpdateDeviceRequest {
        request_id: request_id(),
        home_id: things.home.clone(),
        device_id: things.device.clone(),
        area_id: Some(things.area.clone()),
        ..ingest::UpdateDeviceRequest::default()
    };
    ingest::devices_service_client::DevicesServiceClient::new(owner.channel.clone())
        .update_device(owner.with(update))
        .await
        .unwrap();
}

async fn rule(owner: &Person, things: &Things) -> String {
    let motion = notifications::MotionWhileArmed {
        area_ids: vec![things.area.clone()],
        ..notifications::MotionWhileArmed::default()
    };
    let put = notifications::PutRuleRequest {
        request_id: request_id(),
        home_id: things.home.clone(),
        enabled: true,
        condition: Some(notifications::put_rule_request::Condition::MotionWhileArmed(motion)),
        ..notifications::PutRuleRequest::default()
    };
    let mut client = NotificationsServiceClient::new(owner.channel.clone());
    client
        .put_rule(owner.with(put))
        .await
        .unwrap()
        .into_inner()
        .rule_id
}

async fn remove(owner: &Person, home: &str, membership: &str) -> Option<CommitToken> {
    let remove = accounts::RemoveMemberRequest {
        request_id: request_id(),
        home_id: home.to_owned(),
        membership_id: membership.to_owned(),
    };
    let mut homes = HomesServiceClient::new(owner.channel.clone());
    homes
        .remove_member(owner.with(remove))
        .await
        .unwrap()
        .into_inner()
        .token
}

/// What a member may do: her role, her areas, the end of her stay.
pub type Grant = (Role, Vec<String>, Option<Timestamp>);

async fn invite(
    owner: &Person,
    home: &str,
    email: &str,
    (role, area_ids, end): Grant,
) -> accounts::InviteMemberResponse {
    let invite = accounts::InviteMemberRequest {
        request_id: request_id(),
        home_id: home.to_owned(),
        email: email.to_owned(),
        role: role.into(),
        area_ids,
        member_expires_at: end.map(wire_time),
        valid_for: None,
    };
    let mut homes = HomesServiceClient::new(owner.channel.clone());
    homes
        .invite_member(owner.with(invite))
        .await
        .unwrap()
        .into_inner()
}

/// The owner invites somebody, who accepts by the code in her mail. Answers her membership, and the token of its commit.
pub async fn join(
    sandbox: &Sandbox,
    owner: &Person,
    invited: &Person,
    home: &str,
    grant: Grant,
) -> (String, Option<CommitToken>) {
    let invitation = invite(owner, home, &invited.email, grant)
        .await
        .invitation_id;
    let code = sandbox
        .until("an invitation", async || {
            let sent = sandbox.mails.sent();
            let mut texts = sent.iter().rev().filter_map(|mail| mail.text.expose_text());
            code_in(texts.find(|text| text.contains(&invitation))?)
        })
        .await;
    let accept = accounts::AcceptInvitationRequest {
        request_id: request_id(),
        invitation_id: invitation,
        code,
    };
    let mut homes = HomesServiceClient::new(invited.channel.clone());
    let accepted = homes
        .accept_invitation(invited.with(accept))
        .await
        .unwrap()
        .into_inner();
    (accepted.membership_id, accepted.token)
}
