//! `hearth.accounts.v1.AccountsService`.

mod convert;

use hearth_accounts_domain::account::Cause;
use hearth_api::accounts::v1 as api;
use hearth_api::accounts::v1::accounts_service_server::AccountsService;
use hearth_kernel::Failure;
use tonic::{Request, Response, Status};

use super::{Caller, answer, paged, wire_token};
use crate::app::App;

/// The handlers.
#[derive(Clone)]
pub(crate) struct Accounts {
    pub(crate) app: App,
}

#[tonic::async_trait]
impl AccountsService for Accounts {
    async fn register(
        &self,
        request: Request<api::RegisterRequest>,
    ) -> Result<Response<api::RegisterResponse>, Status> {
        let (caller, message) = Caller::of(request);
        answer(self.do_register(&caller, message).await)
    }

    async fn verify_email(
        &self,
        request: Request<api::VerifyEmailRequest>,
    ) -> Result<Response<api::VerifyEmailResponse>, Status> {
        let (caller, message) = Caller::of(request);
        answer(self.do_verify(&caller, message).await)
    }

    async fn sign_in(
        &self,
        request: Request<api::SignInRequest>,
    ) -> Result<Response<api::SignInResponse>, Status> {
        let (caller, message) = Caller::of(request);
        answer(self.do_sign_in(&caller, message).await)
    }

    async fn refresh_session(
        &self,
        request: Request<api::RefreshSessionRequest>,
    ) -> Result<Response<api::RefreshSessionResponse>, Status> {
        let (_, message) = Caller::of(request);
        answer(self.do_refresh(message).await)
    }

    async fn sign_out(
        &self,
        request: Request<api::SignOutRequest>,
    ) -> Result<Response<api::SignOutResponse>, Status> {
        let (caller, message) = Caller::of(request);
        answer(self.do_sign_out(&caller, message).await)
    }

    async fn list_sessions(
        &self,
        request: Request<api::ListSessionsRequest>,
    ) -> Result<Response<api::ListSessionsResponse>, Status> {
        let (caller, message) = Caller::of(request);
        answer(self.do_list_sessions(&caller, message).await)
    }

    async fn revoke_session(
        &self,
        request: Request<api::RevokeSessionRequest>,
    ) -> Result<Response<api::RevokeSessionResponse>, Status> {
        let (caller, message) = Caller::of(request);
        answer(self.do_revoke(&caller, message).await)
    }

    async fn get_account(
        &self,
        request: Request<api::GetAccountRequest>,
    ) -> Result<Response<api::GetAccountResponse>, Status> {
        let (caller, message) = Caller::of(request);
        answer(self.do_get(&caller, message).await)
    }

    async fn close_account(
        &self,
        request: Request<api::CloseAccountRequest>,
    ) -> Result<Response<api::CloseAccountResponse>, Status> {
        let (caller, message) = Caller::of(request);
        answer(self.do_close(&caller, message).await)
    }

    async fn reopen_account(
        &self,
        request: Request<api::ReopenAccountRequest>,
    ) -> Result<Response<api::ReopenAccountResponse>, Status> {
        let (caller, message) = Caller::of(request);
        answer(self.do_reopen(&caller, message).await)
    }
}

impl Accounts {
    async fn do_register(
        &self,
        caller: &Caller,
        message: api::RegisterRequest,
    ) -> Result<api::RegisterResponse, Failure> {
        let (request_id, new) = convert::new_account(message)?;
        let request = caller.request("Register", request_id);
        let registration = self.app.register(&request, new).await?;
        let registration_id = registration.to_string();
        Ok(api::RegisterResponse { registration_id })
    }

    async fn do_verify(
        &self,
        caller: &Caller,
        message: api::VerifyEmailRequest,
    ) -> Result<api::VerifyEmailResponse, Failure> {
        let (request_id, proof) = convert::proof(message)?;
        let request = caller.request("VerifyEmail", request_id);
        let signed_in = self.app.verify(&request, proof).await?;
        Ok(api::VerifyEmailResponse {
            token: wire_token(signed_in.token),
            account_id: signed_in.account.to_string(),
            session_id: signed_in.session.to_string(),
            tokens: Some(convert::tokens(&signed_in.tokens)),
        })
    }

    async fn do_sign_in(
        &self,
        caller: &Caller,
        message: api::SignInRequest,
    ) -> Result<api::SignInResponse, Failure> {
        let (request_id, sign_in) = convert::sign_in(message)?;
        let request = caller.request("SignIn", request_id);
        let signed_in = self.app.sign_in(&request, sign_in).await?;
        Ok(api::SignInResponse {
            token: wire_token(signed_in.token),
            account_id: signed_in.account.to_string(),
            session_id: signed_in.session.to_string(),
            tokens: Some(convert::tokens(&signed_in.tokens)),
        })
    }

    async fn do_refresh(
        &self,
        message: api::RefreshSessionRequest,
    ) -> Result<api::RefreshSessionResponse, Failure> {
        let shown = convert::refresh(message)?;
        let (tokens, token) = self.app.refresh(&shown).await?;
        Ok(api::RefreshSessionResponse {
            token: wire_token(token),
            tokens: Some(convert::tokens(&tokens)),
        })
    }

    async fn do_sign_out(
        &self,
        caller: &Caller,
        message: api::SignOutRequest,
    ) -> Result<api::SignOutResponse, Failure> {
        let (account, session) = caller.session()?;
        let request = caller.request("SignOut", convert::only_id(message.request_id)?);
        let cause = Cause::SignedOut;
        let token = self
            .app
            .end_session(&request, account, session, cause)
            .await?;
        let token = wire_token(token);
        Ok(api::SignOutResponse { token })
    }

    async fn do_list_sessions(
        &self,
        caller: &Caller,
        message: api::ListSessionsRequest,
    ) -> Result<api::ListSessionsResponse, Failure> {
        let (account, current) = caller.session()?;
        convert::after(&message.after)?;
        let sessions = self.app.list_sessions(account).await?;
        let (shown, next) = paged(sessions, message.page.as_ref())?;
        let sessions = shown.into_iter().map(|it| convert::session(it, current));
        let sessions = sessions.collect();
        Ok(api::ListSessionsResponse { sessions, next })
    }

    async fn do_revoke(
        &self,
        caller: &Caller,
        message: api::RevokeSessionRequest,
    ) -> Result<api::RevokeSessionResponse, Failure> {
        let account = caller.account()?;
        let (request_id, session) = convert::revocation(message)?;
        let request = caller.request("RevokeSession", request_id);
        let cause = Cause::Revoked;
        let ended = self
            .app
            .end_session(&request, account, session, cause)
            .await;
        let token = wire_token(ended.map_err(|failure| convert::no_session(failure, session))?);
        Ok(api::RevokeSessionResponse { token })
    }

    async fn do_get(
        &self,
        caller: &Caller,
        message: api::GetAccountRequest,
    ) -> Result<api::GetAccountResponse, Failure> {
        let account = caller.account()?;
        convert::after(&message.after)?;
        let account = Some(convert::account(self.app.account(account).await?));
        Ok(api::GetAccountResponse { account })
    }

    async fn do_close(
        &self,
        caller: &Caller,
        message: api::CloseAccountRequest,
    ) -> Result<api::CloseAccountResponse, Failure> {
        let account = caller.account()?;
        let (request_id, password, grace) = convert::closing(message)?;
        let request = caller.request("CloseAccount", request_id);
        let closed = self.app.close(&request, account, &password, grace).await?;
        Ok(convert::closed(&closed))
    }

    async fn do_reopen(
        &self,
        caller: &Caller,
        message: api::ReopenAccountRequest,
    ) -> Result<api::ReopenAccountResponse, Failure> {
        let (request_id, who) = convert::reopening(message, &caller.principal)?;
        let request = caller.request("ReopenAccount", request_id);
        let token = wire_token(self.app.reopen(&request, who).await?);
        Ok(api::ReopenAccountResponse { token })
    }
}
