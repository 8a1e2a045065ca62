//! The gRPC services of ingest: each handler reads its request, asks who may, calls one use case, and writes the answer.

mod devices;
mod hubs;
mod ingest;
mod readings;

use hearth_kernel::{Failure, HomeId, Role};
use hearth_rpc::{Principal, TraceContext, fail};
use tonic::{Request, Status};

use crate::app::hubs::By;
use crate::app::{self, App};
use crate::knowledge::Member;

pub(crate) use devices::Devices;
pub(crate) use hubs::Hubs;
pub(crate) use ingest::Ingest;
pub(crate) use readings::Readings;

/// The status of a failure.
fn refused(failure: Failure) -> Status {
    fail(&failure, None)
}

/// What a request carries besides its message.
struct Around {
    principal: Principal,
    trace: String,
}

fn around<T>(request: &Request<T>) -> Around {
    let trace = request.extensions().get::<TraceContext>();
    Around {
        principal: Principal::of_request(request),
        trace: trace.map(ToString::to_string).unwrap_or_default(),
    }
}

impl Around {
    /// The caller's place in a home, if it has at least that role.
    async fn member(&self, app: &App, home: HomeId, role: Role) -> Result<Member, Failure> {
        app.core
            .knowledge
            .require(&self.principal, home, role)
            .await
    }

    /// The same, as who changes something.
    async fn by(&self, app: &App, home: HomeId, role: Role) -> Result<By, Failure> {
        let member = self.member(app, home, role).await?;
        let (account, _) = self.principal.signed_in()?;
        Ok(By {
            account,
            membership: member.membership,
        })
    }

    fn request(&self, rpc: &'static str, request_id: &str) -> app::Request {
        app::Request {
            rpc,
            request_id: request_id.to_owned(),
            trace: self.trace.clone(),
        }
    }
}
