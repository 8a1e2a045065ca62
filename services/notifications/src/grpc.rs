//! The handlers of `hearth.notifications.v1.NotificationsService`: convert, ask the use case, convert back.

mod convert;
mod stream;

use std::sync::Arc;

use futures::stream::BoxStream;
use hearth_api::notifications::v1 as api;
use hearth_api::notifications::v1::notifications_service_server::NotificationsService;
use hearth_kernel::{Failure, Violations};
use hearth_notifications_domain::preferences;
use hearth_rpc::{Principal, fail};
use tonic::{Request, Response, Status};

use crate::app::commands::{App, signed_in};
use crate::app::inbox::Inbox;
use crate::wire;

/// The service.
#[derive(Clone)]
pub(crate) struct Notifications {
    pub(crate) app: Arc<App>,
    pub(crate) inbox: Inbox,
}

/// The edge: a failure is logged here, once.
fn answer<T>(result: Result<T, Failure>) -> Result<Response<T>, Status> {
    result
        .map(Response::new)
        .map_err(|failure| fail(&failure, None))
}

fn of<T>(request: Request<T>) -> (Principal, T) {
    (Principal::of_request(&request), request.into_inner())
}

#[tonic::async_trait]
impl NotificationsService for Notifications {
    async fn put_rule(
        &self,
        request: Request<api::PutRuleRequest>,
    ) -> Result<Response<api::PutRuleResponse>, Status> {
        let (principal, message) = of(request);
        answer(self.do_put_rule(&principal, &message).await)
    }

    async fn list_rules(
        &self,
        request: Request<api::ListRulesRequest>,
    ) -> Result<Response<api::ListRulesResponse>, Status> {
        let (principal, message) = of(request);
        answer(self.do_list_rules(&principal, &message).await)
    }

    async fn remove_rule(
        &self,
        request: Request<api::RemoveRuleRequest>,
    ) -> Result<Response<api::RemoveRuleResponse>, Status> {
        let (principal, message) = of(request);
        answer(self.do_remove_rule(&principal, &message).await)
    }

    async fn arm_home(
        &self,
        request: Request<api::ArmHomeRequest>,
    ) -> Result<Response<api::ArmHomeResponse>, Status> {
        let (principal, message) = of(request);
        answer(self.do_arm(&principal, &message).await)
    }

    async fn disarm_home(
        &self,
        request: Request<api::DisarmHomeRequest>,
    ) -> Result<Response<api::DisarmHomeResponse>, Status> {
        let (principal, message) = of(request);
        answer(self.do_disarm(&principal, &message).await)
    }

    async fn get_arming(
        &self,
        request: Request<api::GetArmingRequest>,
    ) -> Result<Response<api::GetArmingResponse>, Status> {
        let (principal, message) = of(request);
        answer(self.do_get_arming(&principal, &message).await)
    }

    async fn get_preferences(
        &self,
        request: Request<api::GetPreferencesRequest>,
    ) -> Result<Response<api::GetPreferencesResponse>, Status> {
        let (principal, message) = of(request);
        answer(self.do_get_preferences(&principal, &message).await)
    }

    async fn set_preference(
        &self,
        request: Request<api::SetPreferenceRequest>,
    ) -> Result<Response<api::SetPreferenceResponse>, Status> {
        let (principal, message) = of(request);
        answer(self.do_set_preference(&principal, &message).await)
    }

    async fn mute_all(
        &self,
        request: Request<api::MuteAllRequest>,
    ) -> Result<Response<api::MuteAllResponse>, Status> {
        let (principal, message) = of(request);
        answer(self.do_mute_all(&principal, &message).await)
    }

    async fn unmute_all(
        &self,
        request: Request<api::UnmuteAllRequest>,
    ) -> Result<Response<api::UnmuteAllResponse>, Status> {
        let (principal, message) = of(request);
        answer(self.do_unmute_all(&principal, &message).await)
    }

    async fn list_inbox(
        &self,
        request: Request<api::ListInboxRequest>,
    ) -> Result<Response<api::ListInboxResponse>, Status> {
        let (principal, message) = of(request);
        answer(self.do_list_inbox(&principal, &message).await)
    }

    type StreamInboxStream = BoxStream<'static, Result<api::StreamInboxResponse, Status>>;

    async fn stream_inbox(
        &self,
        request: Request<api::StreamInboxRequest>,
    ) -> Result<Response<Self::StreamInboxStream>, Status> {
        let (principal, message) = of(request);
        let account = signed_in(&principal);
        let opened = match account {
            Ok(account) => stream::open(self.inbox.clone(), account, &message.cursor).await,
            Err(failure) => Err(failure),
        };
        answer(opened)
    }

    async fn mark_read(
        &self,
        request: Request<api::MarkReadRequest>,
    ) -> Result<Response<api::MarkReadResponse>, Status> {
        let (principal, message) = of(request);
        answer(self.do_mark_read(&principal, &message).await)
    }
}

/// What each handler does, with the failure still typed.
impl Notifications {
    async fn do_put_rule(
        &self,
        principal: &Principal,
        message: &api::PutRuleRequest,
    ) -> Result<api::PutRuleResponse, Failure> {
        let put = convert::put_rule(message)?;
        let (home, rule) = (put.home, put.rule);
        let put = self.app.put_rule(
            principal,
            &put.request,
            home,
            rule,
            put.enabled,
            put.condition,
        );
        let (position, rule) = put.await?;
        Ok(api::PutRuleResponse {
            token: Some(wire::token(position)),
            rule_id: rule.to_string(),
        })
    }

    async fn do_list_rules(
        &self,
        principal: &Principal,
        message: &api::ListRulesRequest,
    ) -> Result<api::ListRulesResponse, Failure> {
        let (home, after) = convert::home_after(&message.home_id, &message.after)?;
        self.app.facts.after(&after).await?;
        let visible = self.app.visible(principal, home).await?;
        Ok(api::ListRulesResponse {
            rules: visible
                .rules
                .iter()
                .map(|(id, rule)| convert::rule(*id, rule))
                .collect(),
        })
    }

    async fn do_remove_rule(
        &self,
        principal: &Principal,
        message: &api::RemoveRuleRequest,
    ) -> Result<api::RemoveRuleResponse, Failure> {
        let (request, home, rule) = convert::remove_rule(message)?;
        let outcome = self
            .app
            .remove_rule(principal, &request, home, rule)
            .await?;
        let token = Some(wire::token_of(&outcome));
        Ok(api::RemoveRuleResponse { token })
    }

    async fn do_arm(
        &self,
        principal: &Principal,
        message: &api::ArmHomeRequest,
    ) -> Result<api::ArmHomeResponse, Failure> {
        let named = (&*message.home_id, &*message.area_ids);
        let (request, home, areas) = convert::areas("ArmHome", &message.request_id, named)?;
        let outcome = self.app.arm(principal, &request, home, areas).await?;
        let token = Some(wire::token_of(&outcome));
        Ok(api::ArmHomeResponse { token })
    }

    async fn do_disarm(
        &self,
        principal: &Principal,
        message: &api::DisarmHomeRequest,
    ) -> Result<api::DisarmHomeResponse, Failure> {
        let named = (&*message.home_id, &*message.area_ids);
        let (request, home, areas) = convert::areas("DisarmHome", &message.request_id, named)?;
        let outcome = self.app.disarm(principal, &request, home, areas).await?;
        let token = Some(wire::token_of(&outcome));
        Ok(api::DisarmHomeResponse { token })
    }

    async fn do_get_arming(
        &self,
        principal: &Principal,
        message: &api::GetArmingRequest,
    ) -> Result<api::GetArmingResponse, Failure> {
        let (home, after) = convert::home_after(&message.home_id, &message.after)?;
        self.app.facts.after(&after).await?;
        let arming = self.app.visible(principal, home).await?.arming;
        Ok(api::GetArmingResponse {
            whole_home: arming.whole_home.is_some(),
            area_ids: arming.areas.keys().map(ToString::to_string).collect(),
            armed_at: arming.first().map(wire::time),
        })
    }

    async fn do_get_preferences(
        &self,
        principal: &Principal,
        message: &api::GetPreferencesRequest,
    ) -> Result<api::GetPreferencesResponse, Failure> {
        let mut violations = Violations::new();
        let after = wire::tokens(&message.after, &mut violations);
        violations.finish(Some(()))?;
        self.app.facts.after(&after).await?;
        let state = self.app.preferences(principal).await?;
        Ok(convert::preferences(&state, self.app.engine.now()))
    }

    async fn do_set_preference(
        &self,
        principal: &Principal,
        message: &api::SetPreferenceRequest,
    ) -> Result<api::SetPreferenceResponse, Failure> {
        let (request, command) = convert::set_preference(message)?;
        let outcome = self.app.prefer(principal, &request, command).await?;
        let token = Some(wire::token_of(&outcome));
        Ok(api::SetPreferenceResponse { token })
    }

    async fn do_mute_all(
        &self,
        principal: &Principal,
        message: &api::MuteAllRequest,
    ) -> Result<api::MuteAllResponse, Failure> {
        let (request, command) = convert::mute_all(message, self.app.engine.now())?;
        let outcome = self.app.prefer(principal, &request, command).await?;
        let token = Some(wire::token_of(&outcome));
        Ok(api::MuteAllResponse { token })
    }

    async fn do_unmute_all(
        &self,
        principal: &Principal,
        message: &api::UnmuteAllRequest,
    ) -> Result<api::UnmuteAllResponse, Failure> {
        let request = convert::unmute_all(message)?;
        let command = preferences::Command::Unmute;
        let outcome = self.app.prefer(principal, &request, command).await?;
        let token = Some(wire::token_of(&outcome));
        Ok(api::UnmuteAllResponse { token })
    }

    async fn do_list_inbox(
        &self,
        principal: &Principal,
        message: &api::ListInboxRequest,
    ) -> Result<api::ListInboxResponse, Failure> {
        let account = signed_in(principal)?;
        let list = convert::list_inbox(message)?;
        self.app.facts.after(&list.after).await?;
        self.inbox.after(&list.after).await?;
        // Read before the rows: what changes meanwhile comes again in the stream.
        let progress = self.inbox.progress().map(|progress| *progress.borrow());
        let page = self
            .inbox
            .page(account, list.before, list.size, message.unread_only);
        let (items, next) = page.await?;
        Ok(api::ListInboxResponse {
            notices: items.iter().map(convert::notice).collect(),
            next: next.map(convert::next_page),
            stream_cursor: progress.unwrap_or_default().to_bytes().to_vec().into(),
        })
    }

    async fn do_mark_read(
        &self,
        principal: &Principal,
        message: &api::MarkReadRequest,
    ) -> Result<api::MarkReadResponse, Failure> {
        let (request, notices) = convert::mark_read(message)?;
        let position = self.app.mark_read(principal, &request, &notices).await?;
        let token = Some(wire::token(position));
        Ok(api::MarkReadResponse { token })
    }
}
