//! Members and invitations.

use std::collections::BTreeSet;

use hearth_accounts_domain::account::{Command as AccountCommand, Status};
use hearth_accounts_domain::home::{Command, Member, Scope, State};
use hearth_accounts_domain::limits::INVITATION;
use hearth_api::events::v1::InvitationMail;
use hearth_engine::{Actor, Call};
use hearth_kernel::{
    AccountId, AreaId, Failure, HomeId, InvitationId, Kind, MembershipId, Reason, Role, Timestamp,
};

use super::caller::Request;
use super::homes::Joined;
use super::mail::{Recipient, wire_time};
use super::text::Address;
use super::{App, Token};
use crate::aggregates::{Account, Home, Membership};

/// What a member may do.
#[derive(Clone, Debug)]
pub(crate) struct Grant {
    pub(crate) role: Role,
    pub(crate) areas: BTreeSet<AreaId>,
    pub(crate) expires_at: Option<Timestamp>,
}

impl Grant {
    fn scope(&self) -> Scope {
        Scope {
            role: self.role,
            areas: self.areas.clone(),
            expires_at: self.expires_at,
        }
    }

    fn bytes(&self) -> Vec<u8> {
        let mut bytes = vec![self.role.number()];
        let end = self.expires_at.map_or(0, Timestamp::micros);
        bytes.extend_from_slice(&end.to_be_bytes());
        bytes.extend(self.areas.iter().flat_map(|area| *area.as_bytes()));
        bytes
    }
}

/// An invitation that is to be sent.
#[derive(Clone, Debug)]
pub(crate) struct NewInvitation {
    pub(crate) home: HomeId,
    pub(crate) email: Address,
    pub(crate) grant: Grant,
    pub(crate) valid_for: Option<std::time::Duration>,
}

/// An invitation on its way.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sent {
    pub(crate) invitation: InvitationId,
    pub(crate) expires_at: Timestamp,
    pub(crate) token: Token,
}

/// A member in a list.
#[derive(Clone, Debug)]
pub(crate) struct MemberRow {
    pub(crate) membership: MembershipId,
    pub(crate) username: String,
    pub(crate) member: Member,
}

impl App {
    /// Invites by mail. The same whether or not the address has an account: nobody looks.
    pub(crate) async fn invite(
        &self,
        request: &Request,
        account: AccountId,
        new: NewInvitation,
    ) -> Result<Sent, Failure> {
        let home = new.home;
        let by = self.membership_in(account, home).await?;
        let (email, grant) = (new.email.typed.as_bytes(), new.grant.bytes());
        let valid_for = new.valid_for.unwrap_or(INVITATION);
        let seconds = valid_for.as_secs().to_be_bytes();
        let content: [&[u8]; 4] = [home.as_bytes(), email, &grant, &seconds];
        let call = self.call(request, account.as_bytes(), Actor::Member(by), &content);
        let invitation: InvitationId = self
            .engine
            .hasher()
            .id("invitation", &[call.commit.as_bytes()])
            .into();
        let command = Command::Invite {
            by,
            invitation,
            scope: new.grant.scope(),
            expires_at: self.now().plus(valid_for),
        };
        let outcome = self.of_home(&call, home, &command).await?;
        // Of a repeat: when the first one said, while it stands.
        let standing = outcome.state.invitations.get(&invitation);
        let expires_at = standing.map_or_else(|| self.now(), |it| it.expires_at);
        let name = self.home_name(&outcome.state).await?;
        self.send_invitation(
            &call,
            account,
            (home, name),
            &new.email,
            (invitation, expires_at),
        )
        .await?;
        Ok(Sent {
            invitation,
            expires_at,
            token: outcome.position,
        })
    }

    /// The mail is asked for in the inviter's log and sealed under her key: the invited one may have none.
    async fn send_invitation(
        &self,
        call: &Call,
        account: AccountId,
        (home, name): (HomeId, String),
        email: &Address,
        (invitation, expires_at): (InvitationId, Timestamp),
    ) -> Result<(), Failure> {
        let inviter = self.account(account).await?;
        let recipient = Recipient {
            to: email.typed.clone(),
            // What language the invited one reads is not known; the inviter's is the best guess.
            locale: inviter.locale,
        };
        let body = InvitationMail {
            inviter: inviter.username,
            home: name,
            invitation_id: invitation.to_string(),
            code: self.secrets.invitation_code(home, invitation),
            expires_at: Some(wire_time(expires_at)),
        };
        let mail = self.invitation_mail(&recipient, invitation, body, expires_at);
        let step = self.also(call, "mail", Actor::Account(account));
        let facts = self.account_facts(account);
        let command = AccountCommand::RequestMail(mail);
        self.engine
            .execute::<Account, _>(&step, account, &command, async move |_| Ok(facts))
            .await?;
        Ok(())
    }

    /// Takes an invitation.
    pub(crate) async fn accept(
        &self,
        request: &Request,
        account: AccountId,
        invitation: InvitationId,
        code: &str,
    ) -> Result<Joined, Failure> {
        let invalid = || Failure::new(Reason::INVITATION_NOT_VALID);
        let home = self
            .secrets
            .invited_home(invitation, code)
            .ok_or_else(invalid)?;
        self.active(account).await?;
        let content: [&[u8]; 1] = [invitation.as_bytes()];
        let call = self.call(request, account.as_bytes(), Actor::Nobody, &content);
        let membership: MembershipId = self
            .engine
            .hasher()
            .id("membership", &[call.commit.as_bytes()])
            .into();
        let over = self.begin_join(&call, account, home, membership).await?;
        if over && self.is_open(home, invitation).await? {
            // Refused before; an invitation that could be taken now would be taken by a membership that is over.
            return Err(invalid());
        }
        let command = Command::Accept {
            invitation,
            membership,
        };
        let call = Call {
            actor: Actor::Member(membership),
            ..call
        };
        let outcome = match self.of_home(&call, home, &command).await {
            Ok(outcome) => outcome,
            Err(failure) if matches!(failure.kind(), Kind::Rejected | Kind::NotFound) => {
                self.give_up_join(account, home, membership).await?;
                return Err(invalid());
            }
            Err(failure) => return Err(failure),
        };
        let step = self.also(&call, "note", Actor::Member(membership));
        let token = self.mirror(&step, home, &outcome.state, membership).await?;
        Ok(Joined {
            home,
            membership,
            token,
        })
    }

    async fn is_open(&self, home: HomeId, invitation: InvitationId) -> Result<bool, Failure> {
        let loaded = self.load::<Home>(home).await?;
        Ok(loaded.state.invitations.contains_key(&invitation))
    }

    async fn give_up_join(
        &self,
        account: AccountId,
        home: HomeId,
        membership: MembershipId,
    ) -> Result<(), Failure> {
        self.of_account(account, &AccountCommand::EndAccess { home, membership })
            .await?;
        self.remove::<Membership>(membership).await?;
        Ok(())
    }

    /// The members of a home, oldest first.
    pub(crate) async fn list_members(
        &self,
        account: AccountId,
        home: HomeId,
    ) -> Result<Vec<MemberRow>, Failure> {
        let (state, _, _) = self.seen_by(account, home).await?;
        let now = self.now();
        let mut rows = Vec::new();
        for membership in state.members.keys() {
            let Some(member) = state.member(*membership, now) else {
                continue;
            };
            let username = match self.account_of(*membership).await? {
                Some(account) => self.username(account).await?,
                None => String::new(),
            };
            rows.push(MemberRow {
                membership: *membership,
                username,
                member: member.clone(),
            });
        }
        rows.sort_by_key(|row| (row.member.joined_at, row.membership));
        Ok(rows)
    }

    /// Changes what a member may do.
    pub(crate) async fn change_role(
        &self,
        request: &Request,
        account: AccountId,
        (home, membership): (HomeId, MembershipId),
        grant: &Grant,
    ) -> Result<Token, Failure> {
        let by = self.membership_in(account, home).await?;
        let grant_bytes = grant.bytes();
        let content: [&[u8]; 3] = [home.as_bytes(), membership.as_bytes(), &grant_bytes];
        let call = self.call(request, account.as_bytes(), Actor::Member(by), &content);
        let command = Command::ChangeRole {
            by,
            membership,
            scope: grant.scope(),
        };
        let heir = (grant.role == Role::Owner).then_some(membership);
        self.change_members(&call, home, (&command, heir), &[membership])
            .await
    }

    /// Removes a member. What she may do ends with the home's own commit; the account is told in the same call.
    pub(crate) async fn remove_member(
        &self,
        request: &Request,
        account: AccountId,
        home: HomeId,
        membership: MembershipId,
    ) -> Result<Token, Failure> {
        let by = self.membership_in(account, home).await?;
        let content: [&[u8]; 2] = [home.as_bytes(), membership.as_bytes()];
        let call = self.call(request, account.as_bytes(), Actor::Member(by), &content);
        let command = Command::Remove { by, membership };
        self.change_members(&call, home, (&command, None), &[membership])
            .await
    }

    /// Hands a home over.
    pub(crate) async fn transfer(
        &self,
        request: &Request,
        account: AccountId,
        home: HomeId,
        to: MembershipId,
    ) -> Result<Token, Failure> {
        let by = self.membership_in(account, home).await?;
        let content: [&[u8]; 2] = [home.as_bytes(), to.as_bytes()];
        let call = self.call(request, account.as_bytes(), Actor::Member(by), &content);
        let command = Command::Transfer { by, to };
        self.change_members(&call, home, (&command, Some(to)), &[to, by])
            .await
    }

    /// Refuses an owner whose account is closing: the home would end with it, whoever else lives there.
    async fn stays(&self, heir: MembershipId) -> Result<(), Failure> {
        let Some(account) = self.account_of(heir).await? else {
            return Ok(());
        };
        match self.load::<Account>(account).await?.state.status {
            Status::Active => Ok(()),
            _ => Err(Reason::MEMBER_CLOSING.into()),
        }
    }

    /// A change of members, of whom one may become owner by it, noted in their accounts. The answer's token is the last commit that the caller may wait for.
    async fn change_members(
        &self,
        call: &Call,
        home: HomeId,
        (command, heir): (&Command, Option<MembershipId>),
        memberships: &[MembershipId],
    ) -> Result<Token, Failure> {
        let (facts, app) = (self.home_facts(home), self.clone());
        // Asked with the facts and not before: a repeat gets the first answer, whatever she does meanwhile.
        let stays = async move |_: &State| {
            if let Some(heir) = heir {
                app.stays(heir).await?;
            }
            Ok(facts.clone())
        };
        let outcome = self.engine.execute::<Home, _>(call, home, command, stays);
        let outcome = outcome.await?;
        let mut token = outcome.position;
        for membership in memberships {
            let step = self.fresh_call();
            let step = Call {
                causation: Some(call.commit),
                ..step
            };
            match self.mirror(&step, home, &outcome.state, *membership).await {
                Ok(noted) => token = token.max(noted),
                // The home has decided; what an account says to it is for the process manager to settle.
                Err(failure) if matches!(failure.kind(), Kind::Unavailable | Kind::Conflict) => {
                    tracing::warn!(%failure, "membership noted later");
                }
                Err(failure) => tracing::debug!(%failure, "membership not noted"),
            }
        }
        Ok(token)
    }
}
