//! Messages of homes to what the use cases take, and back.

use std::collections::BTreeMap;

use hearth_accounts_domain::home::{DataFamily, HomeKind, Member};
use hearth_accounts_domain::limits::{LONGEST_INVITATION, SHORTEST_INVITATION};
use hearth_api::accounts::v1 as api;
use hearth_api::types::v1 as types;
use hearth_kernel::{AreaId, Failure, HomeId, InvitationId, MembershipId, RetentionClass};

use crate::app::homes::{AreaChange, HomeChange, HomeRow, HomeView, NewHome};
use crate::app::mail::wire_time;
use crate::app::members::{Grant, MemberRow, NewInvitation};
use crate::codec::choice_out;
use crate::grpc::fields::Fields;

pub(super) fn after(tokens: &[types::CommitToken]) -> Result<(), Failure> {
    let mut fields = Fields::default();
    fields.after(tokens);
    fields.finish(Some(()))
}

pub(super) fn seen_home(home_id: &str, tokens: &[types::CommitToken]) -> Result<HomeId, Failure> {
    let mut fields = Fields::default();
    fields.after(tokens);
    let home = fields.id("home_id", home_id);
    fields.finish(home)
}

pub(super) fn new_home(it: api::CreateHomeRequest) -> Result<(String, NewHome), Failure> {
    let mut fields = Fields::default();
    let kind = match it.kind() {
        api::HomeKind::Unspecified => None,
        api::HomeKind::Household => Some(HomeKind::Household),
        api::HomeKind::Office => Some(HomeKind::Office),
    };
    let request_id = fields.request_id(it.request_id);
    let name = fields.name("name", &it.name);
    let time_zone = fields.time_zone(&it.time_zone);
    fields.require(kind.is_some(), "kind", "household or office");
    let read = (|| {
        let new = NewHome {
            name: name?,
            kind: kind?,
            time_zone: time_zone?,
        };
        Some((request_id?, new))
    })();
    fields.finish(read)
}

pub(super) fn home_change(it: api::UpdateHomeRequest) -> Result<(String, HomeChange), Failure> {
    let mut fields = Fields::default();
    let request_id = fields.request_id(it.request_id);
    let home = fields.id("home_id", &it.home_id);
    let name = it.name.map(|text| fields.name("name", &text));
    let time_zone = it.time_zone.map(|text| fields.time_zone(&text));
    let retention = choices(&it.retention);
    let why = "known families, each once, with one of the classes";
    fields.require(retention.is_some(), "retention", why);
    let read = (|| {
        let change = HomeChange {
            home: home?,
            // What was malformed is noted: `finish` refuses.
            name: name.flatten(),
            time_zone: time_zone.flatten(),
            retention: retention?,
        };
        Some((request_id?, change))
    })();
    fields.finish(read)
}

fn choices(list: &[types::RetentionChoice]) -> Option<BTreeMap<DataFamily, RetentionClass>> {
    let mut choices = BTreeMap::new();
    for choice in list {
        let family = match choice.family() {
            types::DataFamily::Unspecified => return None,
            types::DataFamily::Readings => DataFamily::Readings,
            types::DataFamily::Water => DataFamily::Water,
        };
        let class = u8::try_from(choice.class).ok();
        let class = class.and_then(RetentionClass::from_number)?;
        if choices.insert(family, class).is_some() {
            return None;
        }
    }
    Some(choices)
}

pub(super) fn new_area(it: api::CreateAreaRequest) -> Result<(String, HomeId, String), Failure> {
    let mut fields = Fields::default();
    let request_id = fields.request_id(it.request_id);
    let home = fields.id("home_id", &it.home_id);
    let name = fields.name("name", &it.name);
    fields.finish((|| Some((request_id?, home?, name?)))())
}

pub(super) fn renamed_area(
    it: api::RenameAreaRequest,
) -> Result<(String, HomeId, AreaChange), Failure> {
    let mut fields = Fields::default();
    let request_id = fields.request_id(it.request_id);
    let home = fields.id("home_id", &it.home_id);
    let area: Option<AreaId> = fields.id("area_id", &it.area_id);
    let name = fields.name("name", &it.name);
    fields.finish((|| {
        Some((request_id?, home?, AreaChange::Rename(area?, name?)))
    })())
}

pub(super) fn removed_area(
    it: api::RemoveAreaRequest,
) -> Result<(String, HomeId, AreaChange), Failure> {
    let mut fields = Fields::default();
    let request_id = fields.request_id(it.request_id);
    let home = fields.id("home_id", &it.home_id);
    let area: Option<AreaId> = fields.id("area_id", &it.area_id);
    fields.finish((|| Some((request_id?, home?, AreaChange::Remove(area?))))())
}

pub(super) fn new_invitation(
    it: api::InviteMemberRequest,
) -> Result<(String, NewInvitation), Failure> {
    let mut fields = Fields::default();
    let request_id = fields.request_id(it.request_id);
    let home = fields.id("home_id", &it.home_id);
    let email = fields.email(&it.email);
    let role = fields.role(it.role);
    let areas = fields.areas(&it.area_ids);
    let expires_at = fields.time("member_expires_at", it.member_expires_at);
    let bounds = (SHORTEST_INVITATION, LONGEST_INVITATION);
    let why = "from 1 hour to 30 days";
    let valid_for = fields.span("valid_for", it.valid_for, bounds, why);
    let read = (|| {
        let new = NewInvitation {
            home: home?,
            email: email?,
            grant: Grant {
                role: role?,
                areas: areas?,
                expires_at: expires_at?,
            },
            valid_for: valid_for?,
        };
        Some((request_id?, new))
    })();
    fields.finish(read)
}

pub(super) fn acceptance(
    it: api::AcceptInvitationRequest,
) -> Result<(String, InvitationId, String), Failure> {
    let mut fields = Fields::default();
    let request_id = fields.request_id(it.request_id);
    let invitation = fields.id("invitation_id", &it.invitation_id);
    let code = fields.secret_text("code", it.code);
    fields.finish((|| Some((request_id?, invitation?, code?)))())
}

pub(super) fn new_role(
    it: api::ChangeRoleRequest,
) -> Result<(String, (HomeId, MembershipId), Grant), Failure> {
    let mut fields = Fields::default();
    let request_id = fields.request_id(it.request_id);
    let home = fields.id("home_id", &it.home_id);
    let member = fields.id("membership_id", &it.membership_id);
    let role = fields.role(it.role);
    let areas = fields.areas(&it.area_ids);
    let expires_at = fields.time("expires_at", it.expires_at);
    let read = (|| {
        let grant = Grant {
            role: role?,
            areas: areas?,
            expires_at: expires_at?,
        };
        Some((request_id?, (home?, member?), grant))
    })();
    fields.finish(read)
}

pub(super) fn named_member(
    request_id: String,
    (home_id, membership_id): (&str, &str),
) -> Result<(String, HomeId, MembershipId), Failure> {
    let mut fields = Fields::default();
    let request_id = fields.request_id(request_id);
    let home = fields.id("home_id", home_id);
    let member = fields.id("membership_id", membership_id);
    fields.finish((|| Some((request_id?, home?, member?)))())
}

fn kind(kind: HomeKind) -> i32 {
    match kind {
        HomeKind::Household => api::HomeKind::Household.into(),
        HomeKind::Office => api::HomeKind::Office.into(),
    }
}

pub(super) fn home(it: HomeView) -> api::Home {
    let area = |(id, name): (AreaId, String)| api::Area {
        area_id: id.to_string(),
        name,
    };
    let choices = it.retention.iter();
    api::Home {
        home_id: it.home.to_string(),
        name: it.name,
        kind: kind(it.kind),
        time_zone: it.time_zone,
        areas: it.areas.into_iter().map(area).collect(),
        retention: choices
            .map(|(family, class)| choice_out(*family, *class))
            .collect(),
        self_: Some(wire_member(it.membership, it.username, &it.member)),
        created_at: Some(wire_time(it.created_at)),
    }
}

pub(super) fn row(it: HomeRow) -> api::HomeSummary {
    api::HomeSummary {
        home_id: it.home.to_string(),
        name: it.name,
        kind: kind(it.kind),
        role: i32::from(it.role.number()),
        membership_id: it.membership.to_string(),
    }
}

pub(super) fn member(it: MemberRow) -> api::Member {
    wire_member(it.membership, it.username, &it.member)
}

fn wire_member(membership: MembershipId, username: String, member: &Member) -> api::Member {
    let scope = &member.scope;
    api::Member {
        membership_id: membership.to_string(),
        username,
        role: i32::from(scope.role.number()),
        area_ids: scope.areas.iter().map(ToString::to_string).collect(),
        expires_at: scope.expires_at.map(wire_time),
        joined_at: Some(wire_time(member.joined_at)),
    }
}
