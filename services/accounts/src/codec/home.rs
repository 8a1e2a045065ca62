//! The stored form of homes.

use hearth_accounts_domain::home::{
    DataFamily, Event, HomeKind, Invitation, Member, Scope, State, Status,
};
use hearth_api::stored::accounts::v1 as stored;
use hearth_api::types::v1 as types;
use hearth_engine::{Aggregate, CodecError, EncodedEvent, Life, Stored};
use hearth_kernel::{AreaId, InvitationId, MembershipId, Part, RetentionClass, Service, Timestamp};
use prost::Message;

use super::{
    all_bytes, bytes, decoded, empty_part, encoded, id, ids, optional_id, optional_micros,
    optional_part, optional_part_bytes, optional_time, part, part_bytes, role, role_number, time,
    unknown,
};
use crate::aggregates::Home;

impl Aggregate for Home {
    const SERVICE: Service = Service::Accounts;
    const KIND: &'static str = "home";
    const STORED: Stored = Stored::History;
    const LIFE: Life = Life::Lasting;
    const STATE_SCHEMA: u32 = 1;

    fn encode_event(event: &Event) -> EncodedEvent {
        encode(event)
    }

    fn decode_event(name: &str, major: u32, public: &[u8]) -> Result<Event, CodecError> {
        if major != super::MAJOR {
            return Err(unknown(name, major));
        }
        match name {
            "created" | "renamed" | "time_zone_changed" | "retention_chosen" | "ended" => {
                settings(name, public)
            }
            "area_added" | "area_renamed" | "area_removed" => areas(name, public),
            _ => members(name, public),
        }
    }

    fn encode_state(state: &State) -> Vec<u8> {
        state_out(state).encode_to_vec()
    }

    fn decode_state(schema: u32, bytes: &[u8]) -> Result<State, CodecError> {
        if schema != Self::STATE_SCHEMA {
            return Err(CodecError::Malformed("home state of another schema"));
        }
        let state = stored::HomeState::decode(bytes);
        state_in(&state.map_err(|_| CodecError::Malformed("home state"))?)
    }
}

fn encode(event: &Event) -> EncodedEvent {
    match event {
        Event::Created {
            home,
            kind,
            time_zone,
            at,
            name: _,
        } => encoded(
            "created",
            &stored::HomeCreated {
                home: bytes(*home),
                kind: kind_out(*kind).into(),
                time_zone: time_zone.clone(),
                at: at.micros(),
            },
        ),
        Event::Renamed { home, .. } => {
            encoded("renamed", &stored::HomeRenamed { home: bytes(*home) })
        }
        Event::TimeZoneChanged { time_zone } => encoded(
            "time_zone_changed",
            &stored::TimeZoneChanged {
                time_zone: time_zone.clone(),
            },
        ),
        Event::RetentionChosen { family, class } => encoded(
            "retention_chosen",
            &stored::RetentionChosen {
                choice: Some(choice_out(*family, *class)),
            },
        ),
        Event::AreaAdded { home, area, .. } => encoded(
            "area_added",
            &stored::AreaAdded {
                home: bytes(*home),
                area: bytes(*area),
            },
        ),
        Event::AreaRenamed { home, area, .. } => encoded(
            "area_renamed",
            &stored::AreaRenamed {
                home: bytes(*home),
                area: bytes(*area),
            },
        ),
        Event::AreaRemoved { area } => {
            encoded("area_removed", &stored::AreaRemoved { area: bytes(*area) })
        }
        Event::Invited {
            invitation,
            invited,
        } => encoded("invited", &invited_out(*invitation, invited)),
        Event::InvitationLapsed { invitation } => encoded(
            "invitation_lapsed",
            &stored::InvitationLapsed {
                invitation: bytes(*invitation),
            },
        ),
        Event::MemberJoined {
            membership,
            scope,
            invitation,
            at,
        } => encoded(
            "member_joined",
            &joined_out(*membership, scope, *invitation, *at),
        ),
        Event::MemberChanged { membership, scope } => {
            encoded("member_changed", &changed_out(*membership, scope))
        }
        Event::MemberLeft { membership } => encoded(
            "member_left",
            &stored::MemberLeft {
                membership: bytes(*membership),
            },
        ),
        Event::Ended => encoded("ended", &stored::HomeEnded {}),
    }
}

fn settings(name: &str, public: &[u8]) -> Result<Event, CodecError> {
    Ok(match name {
        "created" => {
            let it: stored::HomeCreated = decoded(public)?;
            Event::Created {
                home: id(&it.home)?,
                name: empty_part(),
                kind: kind_in(it.kind())?,
                time_zone: it.time_zone,
                at: time(it.at),
            }
        }
        "renamed" => Event::Renamed {
            home: id(&decoded::<stored::HomeRenamed>(public)?.home)?,
            name: empty_part(),
        },
        "time_zone_changed" => Event::TimeZoneChanged {
            time_zone: decoded::<stored::TimeZoneChanged>(public)?.time_zone,
        },
        "retention_chosen" => {
            let choice = decoded::<stored::RetentionChosen>(public)?.choice;
            let (family, class) = choice_in(&choice.ok_or(CodecError::Malformed("choice"))?)?;
            Event::RetentionChosen { family, class }
        }
        "ended" => Event::Ended,
        _ => return Err(unknown(name, super::MAJOR)),
    })
}

fn areas(name: &str, public: &[u8]) -> Result<Event, CodecError> {
    Ok(match name {
        "area_added" => {
            let it: stored::AreaAdded = decoded(public)?;
            Event::AreaAdded {
                home: id(&it.home)?,
                area: id(&it.area)?,
                name: empty_part(),
            }
        }
        "area_renamed" => {
            let it: stored::AreaRenamed = decoded(public)?;
            Event::AreaRenamed {
                home: id(&it.home)?,
                area: id(&it.area)?,
                name: empty_part(),
            }
        }
        "area_removed" => Event::AreaRemoved {
            area: id(&decoded::<stored::AreaRemoved>(public)?.area)?,
        },
        _ => return Err(unknown(name, super::MAJOR)),
    })
}

fn members(name: &str, public: &[u8]) -> Result<Event, CodecError> {
    Ok(match name {
        "invited" => {
            let (invitation, invited) = invited_in(&decoded(public)?)?;
            Event::Invited {
                invitation,
                invited,
            }
        }
        "invitation_lapsed" => Event::InvitationLapsed {
            invitation: id(&decoded::<stored::InvitationLapsed>(public)?.invitation)?,
        },
        "member_joined" => {
            let it: stored::MemberJoined = decoded(public)?;
            Event::MemberJoined {
                membership: id(&it.membership)?,
                scope: scope_in(it.scope.as_ref())?,
                invitation: optional_id(&it.invitation)?,
                at: time(it.at),
            }
        }
        "member_changed" => {
            let it: stored::MemberChanged = decoded(public)?;
            Event::MemberChanged {
                membership: id(&it.membership)?,
                scope: scope_in(it.scope.as_ref())?,
            }
        }
        "member_left" => Event::MemberLeft {
            membership: id(&decoded::<stored::MemberLeft>(public)?.membership)?,
        },
        _ => return Err(unknown(name, super::MAJOR)),
    })
}

const fn kind_out(kind: HomeKind) -> stored::HomeKind {
    match kind {
        HomeKind::Household => stored::HomeKind::Household,
        HomeKind::Office => stored::HomeKind::Office,
    }
}

const fn kind_in(kind: stored::HomeKind) -> Result<HomeKind, CodecError> {
    match kind {
        stored::HomeKind::Unspecified => Err(CodecError::Malformed("home kind")),
        stored::HomeKind::Household => Ok(HomeKind::Household),
        stored::HomeKind::Office => Ok(HomeKind::Office),
    }
}

/// A choice as the contract has it: its class numbers are the kernel's.
pub(crate) fn choice_out(family: DataFamily, class: RetentionClass) -> types::RetentionChoice {
    let family = match family {
        DataFamily::Readings => types::DataFamily::Readings,
        DataFamily::Water => types::DataFamily::Water,
    };
    types::RetentionChoice {
        family: family.into(),
        class: i32::from(class.number()),
    }
}

fn choice_in(it: &types::RetentionChoice) -> Result<(DataFamily, RetentionClass), CodecError> {
    let family = match it.family() {
        types::DataFamily::Unspecified => return Err(CodecError::Malformed("data family")),
        types::DataFamily::Readings => DataFamily::Readings,
        types::DataFamily::Water => DataFamily::Water,
    };
    let class = u8::try_from(it.class).ok();
    let class = class.and_then(RetentionClass::from_number);
    Ok((family, class.ok_or(CodecError::Malformed("class"))?))
}

fn scope_out(scope: &Scope) -> stored::Scope {
    stored::Scope {
        role: role_number(scope.role),
        areas: all_bytes(&scope.areas),
        expires_at: optional_micros(scope.expires_at),
    }
}

fn scope_in(it: Option<&stored::Scope>) -> Result<Scope, CodecError> {
    let it = it.ok_or(CodecError::Malformed("scope"))?;
    Ok(Scope {
        role: role(it.role)?,
        areas: ids(&it.areas)?,
        expires_at: optional_time(it.expires_at),
    })
}

fn changed_out(membership: MembershipId, scope: &Scope) -> stored::MemberChanged {
    stored::MemberChanged {
        membership: bytes(membership),
        scope: Some(scope_out(scope)),
    }
}

fn invited_out(invitation: InvitationId, invited: &Invitation) -> stored::Invited {
    stored::Invited {
        invitation: bytes(invitation),
        scope: Some(scope_out(&invited.scope)),
        expires_at: invited.expires_at.micros(),
        by: bytes(invited.by),
    }
}

fn invited_in(it: &stored::Invited) -> Result<(InvitationId, Invitation), CodecError> {
    let invited = Invitation {
        scope: scope_in(it.scope.as_ref())?,
        expires_at: time(it.expires_at),
        by: id(&it.by)?,
    };
    Ok((id(&it.invitation)?, invited))
}

fn joined_out(
    membership: MembershipId,
    scope: &Scope,
    invitation: Option<InvitationId>,
    at: Timestamp,
) -> stored::MemberJoined {
    stored::MemberJoined {
        membership: bytes(membership),
        scope: Some(scope_out(scope)),
        invitation: invitation.map(bytes).unwrap_or_default(),
        at: at.micros(),
    }
}

fn state_out(state: &State) -> stored::HomeState {
    let status = match state.status {
        Status::Absent => stored::HomeStatus::Absent,
        Status::Active => stored::HomeStatus::Active,
        Status::Ended => stored::HomeStatus::Ended,
    };
    let area = |(id, name): (&AreaId, &Part)| stored::Area {
        area: bytes(*id),
        name: part_bytes(name),
    };
    let member =
        |(id, it): (&MembershipId, &Member)| joined_out(*id, &it.scope, None, it.joined_at);
    let choices = state.retention.iter();
    stored::HomeState {
        status: status.into(),
        home: bytes(state.home),
        name: optional_part_bytes(state.name.as_ref()),
        kind: kind_out(state.kind).into(),
        time_zone: state.time_zone.clone(),
        created_at: state.created_at.micros(),
        areas: state.areas.iter().map(area).collect(),
        members: state.members.iter().map(member).collect(),
        invitations: state
            .invitations
            .iter()
            .map(|(id, it)| invited_out(*id, it))
            .collect(),
        retention: choices
            .map(|(family, class)| choice_out(*family, *class))
            .collect(),
        revision: state.revision,
    }
}

fn state_in(it: &stored::HomeState) -> Result<State, CodecError> {
    let status = match it.status() {
        stored::HomeStatus::Unspecified => return Err(CodecError::Malformed("status")),
        stored::HomeStatus::Absent => Status::Absent,
        stored::HomeStatus::Active => Status::Active,
        stored::HomeStatus::Ended => Status::Ended,
    };
    let area = |it: &stored::Area| Ok::<_, CodecError>((id(&it.area)?, part(&it.name)?));
    let member = |it: &stored::MemberJoined| {
        let member = Member {
            scope: scope_in(it.scope.as_ref())?,
            joined_at: time(it.at),
        };
        Ok::<_, CodecError>((id(&it.membership)?, member))
    };
    Ok(State {
        status,
        home: id(&it.home)?,
        name: optional_part(&it.name)?,
        kind: kind_in(it.kind())?,
        time_zone: it.time_zone.clone(),
        created_at: time(it.created_at),
        areas: it.areas.iter().map(area).collect::<Result<_, _>>()?,
        members: it.members.iter().map(member).collect::<Result<_, _>>()?,
        invitations: it
            .invitations
            .iter()
            .map(invited_in)
            .collect::<Result<_, _>>()?,
        retention: it
            .retention
            .iter()
            .map(choice_in)
            .collect::<Result<_, _>>()?,
        revision: it.revision,
    })
}
