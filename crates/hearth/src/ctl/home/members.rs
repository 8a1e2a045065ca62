//! Who belongs to a home, and as what.

use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};
use hearth_api::accounts::v1 as wire;
use hearth_api::types::v1::Role;
use hearth_host::Exit;
use serde_json::{Value, json};

use crate::ctl::connection::{Connection, now, request_id};
use crate::ctl::output::{Shown, Table};
use crate::ctl::{pages, resolve, values};

#[derive(Subcommand, Clone, Debug)]
pub(crate) enum MembersCommand {
    /// Invite somebody by mail
    Invite {
        /// Her address
        email: String,
        #[command(flatten)]
        scope: ScopeArgs,
        /// How long the invitation can be taken: 1h to 30d [default: 7d]
        #[arg(long, value_name = "SPAN", value_parser = values::span)]
        valid_for: Option<Duration>,
    },
    /// Take an invitation, with what the mail says
    Accept {
        /// The invitation
        invitation: String,
        /// Its code
        code: String,
    },
    /// List the members of a home
    Members {
        /// The home, by id or name; your only one unless given
        #[arg(long)]
        home: Option<String>,
    },
    /// Change what a member may do
    Role {
        /// The membership, from `members`
        membership: String,
        #[command(flatten)]
        scope: ScopeArgs,
    },
    /// Remove a member
    Remove {
        /// The membership, from `members`
        membership: String,
        /// The home, by id or name; your only one unless given
        #[arg(long)]
        home: Option<String>,
    },
    /// Make another member owner, and yourself admin
    Transfer {
        /// The membership, from `members`
        membership: String,
        /// The home, by id or name; your only one unless given
        #[arg(long)]
        home: Option<String>,
    },
}

/// What somebody may do, and where.
#[derive(Args, Clone, Debug)]
pub(crate) struct ScopeArgs {
    /// The home, by id or name; your only one unless given
    #[arg(long)]
    home: Option<String>,
    /// What she may do
    #[arg(long, value_enum)]
    role: Rank,
    /// An area that a guest is limited to, by id or name; may be repeated
    #[arg(long = "area", value_name = "AREA")]
    areas: Vec<String>,
    /// How long a guest stays a member
    #[arg(long, value_name = "SPAN", value_parser = values::span)]
    expires_in: Option<Duration>,
}

#[derive(ValueEnum, Clone, Copy, Debug)]
pub(crate) enum Rank {
    Guest,
    Adult,
    Admin,
    Owner,
}

impl Rank {
    const fn wire(self) -> Role {
        match self {
            Self::Guest => Role::Guest,
            Self::Adult => Role::Adult,
            Self::Admin => Role::Admin,
            Self::Owner => Role::Owner,
        }
    }
}

/// A role as it is shown.
pub(crate) fn role_name(role: Role) -> Value {
    values::enum_name(role.as_str_name(), "ROLE_")
}

pub(super) async fn run(command: MembersCommand, to: &Connection) -> Result<Shown, Exit> {
    match command {
        MembersCommand::Invite {
            email,
            scope,
            valid_for,
        } => invite(to, email, &scope, valid_for).await,
        MembersCommand::Accept { invitation, code } => {
            let request = wire::AcceptInvitationRequest {
                request_id: request_id()?,
                invitation_id: invitation,
                code,
            };
            let answer = to.client.homes().accept_invitation(request).await;
            let answer = answer.map_err(|it| to.refused(&it))?.into_inner();
            to.changed(answer.token).await?;
            Ok(Shown::One(vec![
                ("home_id", json!(answer.home_id)),
                ("membership_id", json!(answer.membership_id)),
            ]))
        }
        MembersCommand::Members { home } => {
            let home = resolve::home(to, home.as_deref()).await?;
            members(to, &home).await
        }
        MembersCommand::Role { membership, scope } => change_role(to, membership, &scope).await,
        MembersCommand::Remove { membership, home } => {
            let request = wire::RemoveMemberRequest {
                request_id: request_id()?,
                home_id: resolve::home(to, home.as_deref()).await?,
                membership_id: membership,
            };
            let answer = to.client.homes().remove_member(request).await;
            to.changed(answer.map_err(|it| to.refused(&it))?.into_inner().token)
                .await?;
            Ok(Shown::Line("the member is removed".to_owned()))
        }
        MembersCommand::Transfer { membership, home } => {
            let request = wire::TransferHomeRequest {
                request_id: request_id()?,
                home_id: resolve::home(to, home.as_deref()).await?,
                membership_id: membership,
            };
            let answer = to.client.homes().transfer_home(request).await;
            to.changed(answer.map_err(|it| to.refused(&it))?.into_inner().token)
                .await?;
            Ok(Shown::Line("the home is handed over".to_owned()))
        }
    }
}

async fn invite(
    to: &Connection,
    email: String,
    scope: &ScopeArgs,
    valid_for: Option<Duration>,
) -> Result<Shown, Exit> {
    let home_id = resolve::home(to, scope.home.as_deref()).await?;
    let request = wire::InviteMemberRequest {
        request_id: request_id()?,
        email,
        role: scope.role.wire().into(),
        area_ids: resolve::areas(to, &home_id, &scope.areas).await?,
        member_expires_at: scope.expires_at(),
        valid_for: valid_for.map(values::wire_span),
        home_id,
    };
    let answer = to.client.homes().invite_member(request).await;
    let answer = answer.map_err(|it| to.refused(&it))?.into_inner();
    to.changed(answer.token).await?;
    Ok(Shown::One(vec![
        ("invitation_id", json!(answer.invitation_id)),
        ("expires_at", values::wire_time(answer.expires_at)),
    ]))
}

async fn change_role(
    to: &Connection,
    membership_id: String,
    scope: &ScopeArgs,
) -> Result<Shown, Exit> {
    let home_id = resolve::home(to, scope.home.as_deref()).await?;
    let request = wire::ChangeRoleRequest {
        request_id: request_id()?,
        membership_id,
        role: scope.role.wire().into(),
        area_ids: resolve::areas(to, &home_id, &scope.areas).await?,
        expires_at: scope.expires_at(),
        home_id,
    };
    let answer = to.client.homes().change_role(request).await;
    to.changed(answer.map_err(|it| to.refused(&it))?.into_inner().token)
        .await?;
    Ok(Shown::Line("the role is changed".to_owned()))
}

async fn members(to: &Connection, home_id: &str) -> Result<Shown, Exit> {
    let after = to.client.after().await;
    let members = pages::all(|page| {
        let (home_id, after) = (home_id.to_owned(), after.clone());
        let request = wire::ListMembersRequest {
            home_id,
            after,
            page,
        };
        async move {
            let answer = to.client.homes().list_members(request).await?.into_inner();
            Ok((answer.members, answer.next))
        }
    });
    let rows = members
        .await
        .map_err(|it| to.refused(&it))?
        .into_iter()
        .map(|it| {
            vec![
                json!(it.membership_id),
                json!(it.username),
                role_name(it.role()),
                json!(it.area_ids),
                values::wire_time(it.expires_at),
                values::wire_time(it.joined_at),
            ]
        });
    let columns = &[
        "membership_id",
        "username",
        "role",
        "areas",
        "expires_at",
        "joined_at",
    ];
    Ok(Table::of(columns, rows).into())
}

impl ScopeArgs {
    fn expires_at(&self) -> Option<prost_types::Timestamp> {
        self.expires_in
            .map(|span| values::to_wire(now().plus(span)))
    }
}
