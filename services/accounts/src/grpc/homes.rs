//! `hearth.accounts.v1.HomesService`.

mod convert;

use hearth_api::accounts::v1 as api;
use hearth_api::accounts::v1::homes_service_server::HomesService;
use hearth_kernel::Failure;
use tonic::{Request, Response, Status};

use super::{Caller, answer, paged, wire_token};
use crate::app::App;
use crate::app::homes::AreaChange;

/// The handlers.
#[derive(Clone)]
pub(crate) struct Homes {
    pub(crate) app: App,
}

/// A handler that hands over to a method of the same work.
macro_rules! handlers {
    ($($name:ident($request:ident) -> $response:ident => $does:ident;)+) => {
        #[tonic::async_trait]
        impl HomesService for Homes {
            $(async fn $name(
                &self,
                request: Request<api::$request>,
            ) -> Result<Response<api::$response>, Status> {
                let (caller, message) = Caller::of(request);
                answer(self.$does(&caller, message).await)
            })+
        }
    };
}

handlers! {
    create_home(CreateHomeRequest) -> CreateHomeResponse => do_create;
    update_home(UpdateHomeRequest) -> UpdateHomeResponse => do_update;
    get_home(GetHomeRequest) -> GetHomeResponse => do_get;
    list_homes(ListHomesRequest) -> ListHomesResponse => do_list;
    create_area(CreateAreaRequest) -> CreateAreaResponse => do_create_area;
    rename_area(RenameAreaRequest) -> RenameAreaResponse => do_rename_area;
    remove_area(RemoveAreaRequest) -> RemoveAreaResponse => do_remove_area;
    invite_member(InviteMemberRequest) -> InviteMemberResponse => do_invite;
    accept_invitation(AcceptInvitationRequest) -> AcceptInvitationResponse => do_accept;
    list_members(ListMembersRequest) -> ListMembersResponse => do_list_members;
    change_role(ChangeRoleRequest) -> ChangeRoleResponse => do_change_role;
    remove_member(RemoveMemberRequest) -> RemoveMemberResponse => do_remove_member;
    transfer_home(TransferHomeRequest) -> TransferHomeResponse => do_transfer;
}

impl Homes {
    async fn do_create(
        &self,
        caller: &Caller,
        message: api::CreateHomeRequest,
    ) -> Result<api::CreateHomeResponse, Failure> {
        let account = caller.account()?;
        let (request_id, new) = convert::new_home(message)?;
        let request = caller.request("CreateHome", request_id);
        let joined = self.app.create_home(&request, account, new).await?;
        Ok(api::CreateHomeResponse {
            token: wire_token(joined.token),
            home_id: joined.home.to_string(),
            membership_id: joined.membership.to_string(),
        })
    }

    async fn do_update(
        &self,
        caller: &Caller,
        message: api::UpdateHomeRequest,
    ) -> Result<api::UpdateHomeResponse, Failure> {
        let account = caller.account()?;
        let (request_id, change) = convert::home_change(message)?;
        let request = caller.request("UpdateHome", request_id);
        let token = self.app.update_home(&request, account, change).await?;
        let token = wire_token(token);
        Ok(api::UpdateHomeResponse { token })
    }

    async fn do_get(
        &self,
        caller: &Caller,
        message: api::GetHomeRequest,
    ) -> Result<api::GetHomeResponse, Failure> {
        let account = caller.account()?;
        let home = convert::seen_home(&message.home_id, &message.after)?;
        let home = Some(convert::home(self.app.home(account, home).await?));
        Ok(api::GetHomeResponse { home })
    }

    async fn do_list(
        &self,
        caller: &Caller,
        message: api::ListHomesRequest,
    ) -> Result<api::ListHomesResponse, Failure> {
        let account = caller.account()?;
        convert::after(&message.after)?;
        let rows = self.app.list_homes(account).await?;
        let (shown, next) = paged(rows, message.page.as_ref())?;
        let homes = shown.into_iter().map(convert::row).collect();
        Ok(api::ListHomesResponse { homes, next })
    }

    async fn do_create_area(
        &self,
        caller: &Caller,
        message: api::CreateAreaRequest,
    ) -> Result<api::CreateAreaResponse, Failure> {
        let account = caller.account()?;
        let (request_id, home, name) = convert::new_area(message)?;
        let request = caller.request("CreateArea", request_id);
        let change = AreaChange::Add(name);
        let (area, token) = self
            .app
            .change_area(&request, account, home, change)
            .await?;
        Ok(api::CreateAreaResponse {
            token: wire_token(token),
            area_id: area.to_string(),
        })
    }

    async fn do_rename_area(
        &self,
        caller: &Caller,
        message: api::RenameAreaRequest,
    ) -> Result<api::RenameAreaResponse, Failure> {
        let account = caller.account()?;
        let (request_id, home, change) = convert::renamed_area(message)?;
        let request = caller.request("RenameArea", request_id);
        let (_, token) = self
            .app
            .change_area(&request, account, home, change)
            .await?;
        let token = wire_token(token);
        Ok(api::RenameAreaResponse { token })
    }

    async fn do_remove_area(
        &self,
        caller: &Caller,
        message: api::RemoveAreaRequest,
    ) -> Result<api::RemoveAreaResponse, Failure> {
        let account = caller.account()?;
        let (request_id, home, change) = convert::removed_area(message)?;
        let request = caller.request("RemoveArea", request_id);
        let (_, token) = self
            .app
            .change_area(&request, account, home, change)
            .await?;
        let token = wire_token(token);
        Ok(api::RemoveAreaResponse { token })
    }

    async fn do_invite(
        &self,
        caller: &Caller,
        message: api::InviteMemberRequest,
    ) -> Result<api::InviteMemberResponse, Failure> {
        let account = caller.account()?;
        let (request_id, new) = convert::new_invitation(message)?;
        let request = caller.request("InviteMember", request_id);
        let sent = self.app.invite(&request, account, new).await?;
        Ok(api::InviteMemberResponse {
            token: wire_token(sent.token),
            invitation_id: sent.invitation.to_string(),
            expires_at: Some(crate::app::mail::wire_time(sent.expires_at)),
        })
    }

    async fn do_accept(
        &self,
        caller: &Caller,
        message: api::AcceptInvitationRequest,
    ) -> Result<api::AcceptInvitationResponse, Failure> {
        let account = caller.account()?;
        let (request_id, invitation, code) = convert::acceptance(message)?;
        let request = caller.request("AcceptInvitation", request_id);
        let joined = self
            .app
            .accept(&request, account, invitation, &code)
            .await?;
        Ok(api::AcceptInvitationResponse {
            token: wire_token(joined.token),
            home_id: joined.home.to_string(),
            membership_id: joined.membership.to_string(),
        })
    }

    async fn do_list_members(
        &self,
        caller: &Caller,
        message: api::ListMembersRequest,
    ) -> Result<api::ListMembersResponse, Failure> {
        let account = caller.account()?;
        let home = convert::seen_home(&message.home_id, &message.after)?;
        let rows = self.app.list_members(account, home).await?;
        let (shown, next) = paged(rows, message.page.as_ref())?;
        let members = shown.into_iter().map(convert::member).collect();
        Ok(api::ListMembersResponse { members, next })
    }

    async fn do_change_role(
        &self,
        caller: &Caller,
        message: api::ChangeRoleRequest,
    ) -> Result<api::ChangeRoleResponse, Failure> {
        let account = caller.account()?;
        let (request_id, member, grant) = convert::new_role(message)?;
        let request = caller.request("ChangeRole", request_id);
        let changed = self
            .app
            .change_role(&request, account, member, &grant)
            .await;
        let token = wire_token(changed?);
        Ok(api::ChangeRoleResponse { token })
    }

    async fn do_remove_member(
        &self,
        caller: &Caller,
        message: api::RemoveMemberRequest,
    ) -> Result<api::RemoveMemberResponse, Failure> {
        let account = caller.account()?;
        let ids = (&*message.home_id, &*message.membership_id);
        let (request_id, home, member) = convert::named_member(message.request_id, ids)?;
        let request = caller.request("RemoveMember", request_id);
        let token = self
            .app
            .remove_member(&request, account, home, member)
            .await?;
        let token = wire_token(token);
        Ok(api::RemoveMemberResponse { token })
    }

    async fn do_transfer(
        &self,
        caller: &Caller,
        message: api::TransferHomeRequest,
    ) -> Result<api::TransferHomeResponse, Failure> {
        let account = caller.account()?;
        let ids = (&*message.home_id, &*message.membership_id);
        let (request_id, home, to) = convert::named_member(message.request_id, ids)?;
        let request = caller.request("TransferHome", request_id);
        let token = wire_token(self.app.transfer(&request, account, home, to).await?);
        Ok(api::TransferHomeResponse { token })
    }
}
