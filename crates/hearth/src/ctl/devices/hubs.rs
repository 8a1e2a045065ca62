//! Hubs: their pairing, as an admin and, for development, as the hub itself with a key in a file.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use hearth_api::ingest::v1 as wire;
use hearth_host::Exit;
use serde_json::{Value, json};

use super::hub_key::HubKey;
use crate::ctl::connection::{Connection, now, request_id};
use crate::ctl::output::{Shown, Table};
use crate::ctl::{resolve, values};

#[derive(Subcommand, Clone, Debug)]
pub(crate) enum HubsCommand {
    /// List the hubs of a home
    Hubs {
        /// The home, by id or name; your only one unless given
        #[arg(long)]
        home: Option<String>,
    },
    /// Play a hub that asks to be paired (for development); answers the code for `claim`
    Pair {
        #[command(flatten)]
        key: KeyArgs,
        /// Its model
        #[arg(long, default_value = "simulated")]
        model: String,
    },
    /// Play a hub that asks what became of its pairing (for development)
    Pairing {
        /// The pairing, from `pair`
        pairing: String,
        #[command(flatten)]
        key: KeyArgs,
    },
    /// Take the hub that shows this code into a home
    Claim {
        /// The code
        code: String,
        /// What to call it
        name: String,
        /// The home, by id or name; your only one unless given
        #[arg(long)]
        home: Option<String>,
    },
    /// End the claim of a hub
    Unclaim {
        /// The hub, from `hubs`
        hub: String,
        /// The home, by id or name; your only one unless given
        #[arg(long)]
        home: Option<String>,
    },
}

/// The key of a hub that is played.
#[derive(Args, Clone, Debug)]
pub(crate) struct KeyArgs {
    /// The hub's private key; made if it is not there
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    /// The server's name that the hub was set up with
    #[arg(long, default_value = "hearth")]
    audience: String,
}

pub(super) async fn run(command: HubsCommand, to: &Connection) -> Result<Shown, Exit> {
    match command {
        HubsCommand::Hubs { home } => {
            let home = resolve::home(to, home.as_deref()).await?;
            hubs(to, home).await
        }
        HubsCommand::Pair { key, model } => pair(to, &key, model).await,
        HubsCommand::Pairing { pairing, key } => pairing_state(to, pairing, &key).await,
        HubsCommand::Claim { code, name, home } => {
            let request = wire::ClaimHubRequest {
                request_id: request_id()?,
                home_id: resolve::home(to, home.as_deref()).await?,
                code,
                name,
            };
            let answer = to.client.hubs().claim_hub(request).await;
            let answer = answer.map_err(|it| to.refused(&it))?.into_inner();
            to.changed(answer.token).await?;
            Ok(Shown::One(vec![
                ("hub_id", json!(answer.hub_id)),
                ("claim_id", json!(answer.claim_id)),
            ]))
        }
        HubsCommand::Unclaim { hub, home } => {
            let request = wire::RevokeHubRequest {
                request_id: request_id()?,
                home_id: resolve::home(to, home.as_deref()).await?,
                hub_id: hub,
            };
            let answer = to.client.hubs().revoke_hub(request).await;
            to.changed(answer.map_err(|it| to.refused(&it))?.into_inner().token)
                .await?;
            Ok(Shown::Line("the hub's claim is ended".to_owned()))
        }
    }
}

async fn hubs(to: &Connection, home_id: String) -> Result<Shown, Exit> {
    let request = wire::ListHubsRequest {
        home_id,
        after: to.client.after().await,
    };
    let answer = to.client.hubs().list_hubs(request).await;
    let rows = answer
        .map_err(|it| to.refused(&it))?
        .into_inner()
        .hubs
        .into_iter()
        .map(|it| {
            vec![
                json!(it.hub_id),
                json!(it.name),
                json!(it.model),
                json!(it.claim_id),
                values::wire_time(it.claimed_at),
                values::wire_time(it.last_seen_at),
            ]
        });
    let columns = &[
        "hub_id",
        "name",
        "model",
        "claim_id",
        "claimed_at",
        "last_seen_at",
    ];
    Ok(Table::of(columns, rows).into())
}

async fn pair(to: &Connection, key: &KeyArgs, model: String) -> Result<Shown, Exit> {
    let hub = HubKey::load_or_make(&key.key)?;
    let (request_id, signed_at) = (request_id()?, now());
    let signature = hub.pairing(&key.audience, &request_id, &model, signed_at);
    let request = wire::BeginPairingRequest {
        request_id,
        public_key: hub.public_key(),
        model,
        signed_at: Some(values::to_wire(signed_at)),
        signature,
    };
    let answer = to.client.anonymous_hubs().begin_pairing(request).await;
    let answer = answer.map_err(|it| to.refused(&it))?.into_inner();
    Ok(Shown::One(vec![
        ("code", json!(answer.code)),
        ("pairing_id", json!(answer.pairing_id)),
        ("hub_id", json!(answer.hub_id)),
        ("expires_at", values::wire_time(answer.expires_at)),
    ]))
}

async fn pairing_state(to: &Connection, pairing_id: String, key: &KeyArgs) -> Result<Shown, Exit> {
    let hub = HubKey::load_or_make(&key.key)?;
    let signed_at = now();
    let request = wire::GetPairingRequest {
        signature: hub.pairing_state(&key.audience, &pairing_id, signed_at),
        signed_at: Some(values::to_wire(signed_at)),
        pairing_id,
    };
    let answer = to.client.anonymous_hubs().get_pairing(request).await;
    let answer = answer.map_err(|it| to.refused(&it))?.into_inner();
    let state: Value = values::enum_name(answer.state().as_str_name(), "PAIRING_STATE_");
    Ok(Shown::One(vec![
        ("state", state),
        ("claim_id", json!(answer.claim_id)),
    ]))
}
