//! The stored form of erasures.

use std::collections::BTreeSet;

use bytes::Bytes;
use hearth_api::stored::retention::v1 as stored;
use hearth_engine::{Aggregate, CodecError, EncodedEvent, Life, Stored};
use hearth_kernel::{Owner, Part, Sealed, Secret, Service};
use hearth_retention_domain::erasure::{
    Closing, Control, Event, Left, Pass, Receipt, Request, Residual, State, Store,
};
use prost::Message;

use super::{
    MAJOR, all_bytes, array, bytes, decoded, encoded, id, ids, optional_micros, optional_time,
    time, unknown,
};
use crate::aggregates::Erasure;

impl Aggregate for Erasure {
    const SERVICE: Service = Service::Retention;
    const KIND: &'static str = "erasure";
    const STORED: Stored = Stored::History;
    const LIFE: Life = Life::Episodic;
    const STATE_SCHEMA: u32 = 1;
    const REMEMBER: usize = 0;

    fn encode_event(event: &Event) -> EncodedEvent {
        match event {
            Event::Announced(closing) => encoded(
                "erasure_announced",
                &stored::ErasureAnnounced {
                    closing: Some(closing_out(closing)),
                },
            ),
            Event::Cancelled { at } => encoded(
                "erasure_cancelled",
                &stored::ErasureCancelled { at: at.micros() },
            ),
            Event::Requested(request) => encoded("erasure_requested", &request_out(request)),
            Event::Controlled(control) => encoded("erasure_controlled", &control_out(control)),
            Event::Fenced { owner, since } => {
                encoded("erasure_fenced", &fenced_out(*owner, since.micros()))
            }
            Event::AllFenced { at } => encoded(
                "erasure_all_fenced",
                &stored::ErasureAllFenced { at: at.micros() },
            ),
            Event::LeasesEnded { at } => encoded(
                "erasure_leases_ended",
                &stored::ErasureLeasesEnded { at: at.micros() },
            ),
            Event::Answered { service, stores } => {
                encoded("erasure_answered", &answered_out(*service, stores))
            }
            Event::Purged { residuals, at } => {
                encoded("erasure_purged", &purged_out(residuals, at.micros()))
            }
            Event::Verified { pass, at } => {
                encoded("erasure_verified", &verified_out(pass, at.micros()))
            }
            Event::KeysGone { receipt, at } => {
                encoded("erasure_keys_gone", &keys_gone_out(receipt, at.micros()))
            }
            Event::BytesGone { receipt, at } => {
                encoded("erasure_bytes_gone", &bytes_gone_out(receipt, at.micros()))
            }
        }
    }

    fn decode_event(name: &str, major: u32, public: &[u8]) -> Result<Event, CodecError> {
        if major != MAJOR {
            return Err(unknown(name, major));
        }
        match name {
            "erasure_announced"
            | "erasure_cancelled"
            | "erasure_requested"
            | "erasure_controlled"
            | "erasure_fenced"
            | "erasure_all_fenced"
            | "erasure_leases_ended" => beginning(name, public),
            _ => ending(name, public),
        }
    }

    fn encode_state(state: &State) -> Vec<u8> {
        state_out(state).encode_to_vec()
    }

    fn decode_state(schema: u32, bytes: &[u8]) -> Result<State, CodecError> {
        if schema != Self::STATE_SCHEMA {
            return Err(CodecError::Malformed("erasure state of another schema"));
        }
        let state = stored::ErasureState::decode(bytes);
        state_in(&state.map_err(|_| CodecError::Malformed("erasure state"))?)
    }
}

fn beginning(name: &str, public: &[u8]) -> Result<Event, CodecError> {
    Ok(match name {
        "erasure_announced" => {
            let it: stored::ErasureAnnounced = decoded(public)?;
            let closing = it.closing.ok_or(CodecError::Malformed("closing"))?;
            Event::Announced(closing_in(&closing)?)
        }
        "erasure_cancelled" => {
            let it: stored::ErasureCancelled = decoded(public)?;
            Event::Cancelled { at: time(it.at) }
        }
        "erasure_requested" => Event::Requested(request_in(&decoded(public)?)?),
        "erasure_controlled" => {
            // The engine fills the part in from where it is stored.
            Event::Controlled(control_in(
                &decoded(public)?,
                Part::Clear(Secret::default()),
            ))
        }
        "erasure_fenced" => {
            let it: stored::ErasureFenced = decoded(public)?;
            Event::Fenced {
                owner: owner_in(&it)?,
                since: time(it.since),
            }
        }
        "erasure_all_fenced" => {
            let it: stored::ErasureAllFenced = decoded(public)?;
            Event::AllFenced { at: time(it.at) }
        }
        _ => {
            let it: stored::ErasureLeasesEnded = decoded(public)?;
            Event::LeasesEnded { at: time(it.at) }
        }
    })
}

fn ending(name: &str, public: &[u8]) -> Result<Event, CodecError> {
    Ok(match name {
        "erasure_answered" => {
            let it: stored::ErasureAnswered = decoded(public)?;
            Event::Answered {
                service: service_in(it.service)?,
                stores: it.stores.iter().map(store_in).collect(),
            }
        }
        "erasure_purged" => {
            let it: stored::ErasurePurged = decoded(public)?;
            Event::Purged {
                residuals: it.residuals.iter().map(residual_in).collect(),
                at: time(it.at),
            }
        }
        "erasure_verified" => {
            let it: stored::ErasureVerified = decoded(public)?;
            Event::Verified {
                pass: pass_in(it.pass.unwrap_or_default()),
                at: time(it.at),
            }
        }
        "erasure_keys_gone" => {
            let it: stored::ErasureKeysGone = decoded(public)?;
            Event::KeysGone {
                receipt: receipt_in(it.receipt)?,
                at: time(it.at),
            }
        }
        "erasure_bytes_gone" => {
            let it: stored::ErasureBytesGone = decoded(public)?;
            Event::BytesGone {
                receipt: receipt_in(it.receipt)?,
                at: time(it.at),
            }
        }
        _ => return Err(unknown(name, MAJOR)),
    })
}

fn closing_out(closing: &Closing) -> stored::Closing {
    stored::Closing {
        account: bytes(closing.account),
        receipt: bytes(closing.receipt),
        secret_hash: Bytes::copy_from_slice(&closing.secret_hash),
        closed_at: closing.closed_at.micros(),
        grace_ends_at: closing.grace_ends_at.micros(),
    }
}

fn closing_in(it: &stored::Closing) -> Result<Closing, CodecError> {
    Ok(Closing {
        account: id(&it.account)?,
        receipt: id(&it.receipt)?,
        secret_hash: array(&it.secret_hash)?,
        closed_at: time(it.closed_at),
        grace_ends_at: time(it.grace_ends_at),
    })
}

fn request_out(request: &Request) -> stored::ErasureRequested {
    let services = request.services.iter();
    stored::ErasureRequested {
        account: bytes(request.account),
        homes: all_bytes(&request.homes),
        memberships: all_bytes(&request.memberships),
        services: services.map(|it| u32::from(it.number())).collect(),
        policy: request.policy,
        at: request.at.micros(),
    }
}

fn request_in(it: &stored::ErasureRequested) -> Result<Request, CodecError> {
    let services = it.services.iter();
    Ok(Request {
        account: id(&it.account)?,
        homes: ids(&it.homes)?,
        memberships: ids(&it.memberships)?,
        services: services
            .map(|it| service_in(*it))
            .collect::<Result<_, _>>()?,
        policy: it.policy,
        at: time(it.at),
    })
}

fn service_in(number: u32) -> Result<Service, CodecError> {
    let service = u8::try_from(number).ok().and_then(Service::from_number);
    service.ok_or(CodecError::Malformed("service"))
}

fn control_out(control: &Control) -> stored::ErasureControlled {
    stored::ErasureControlled {
        markers: control.markers,
        found: control.found,
        at: control.at.micros(),
    }
}

fn control_in(it: &stored::ErasureControlled, key_ids: Part) -> Control {
    Control {
        markers: it.markers,
        found: it.found,
        key_ids,
        at: time(it.at),
    }
}

fn fenced_out(owner: Owner, since: i64) -> stored::ErasureFenced {
    stored::ErasureFenced {
        owner: Bytes::copy_from_slice(&owner.to_bytes()),
        since,
    }
}

fn owner_in(it: &stored::ErasureFenced) -> Result<Owner, CodecError> {
    Owner::from_bytes(&it.owner).ok_or(CodecError::Malformed("owner"))
}

fn answered_out(service: Service, stores: &[Store]) -> stored::ErasureAnswered {
    stored::ErasureAnswered {
        service: u32::from(service.number()),
        stores: stores.iter().map(store_out).collect(),
    }
}

fn store_out(store: &Store) -> stored::Store {
    let left = |left: &Left| stored::Residual {
        what: left.what.clone(),
        store: String::new(),
        ends_at: optional_micros(left.ends_at),
    };
    stored::Store {
        name: store.name.clone(),
        removed: store.removed,
        residuals: store.residuals.iter().map(left).collect(),
    }
}

fn store_in(it: &stored::Store) -> Store {
    let left = |it: &stored::Residual| Left {
        what: it.what.clone(),
        ends_at: optional_time(it.ends_at),
    };
    Store {
        name: it.name.clone(),
        removed: it.removed,
        residuals: it.residuals.iter().map(left).collect(),
    }
}

fn purged_out(residuals: &BTreeSet<Residual>, at: i64) -> stored::ErasurePurged {
    let line = |it: &Residual| stored::Residual {
        what: it.what.clone(),
        store: it.store.clone(),
        ends_at: optional_micros(it.ends_at),
    };
    stored::ErasurePurged {
        residuals: residuals.iter().map(line).collect(),
        at,
    }
}

fn residual_in(it: &stored::Residual) -> Residual {
    Residual {
        what: it.what.clone(),
        store: it.store.clone(),
        ends_at: optional_time(it.ends_at),
    }
}

fn verified_out(pass: &Pass, at: i64) -> stored::ErasureVerified {
    let pass = stored::Pass {
        files: pass.files,
        bytes: pass.bytes,
        markers: pass.markers,
        residual: pass.residual,
        outside: pass.outside,
    };
    stored::ErasureVerified {
        pass: Some(pass),
        at,
    }
}

const fn pass_in(it: stored::Pass) -> Pass {
    Pass {
        files: it.files,
        bytes: it.bytes,
        markers: it.markers,
        residual: it.residual,
        outside: it.outside,
    }
}

fn receipt_out(receipt: &Receipt) -> stored::Receipt {
    stored::Receipt {
        body: Bytes::copy_from_slice(&receipt.body),
        signature: Bytes::copy_from_slice(&receipt.signature),
        public_key: Bytes::copy_from_slice(&receipt.public_key),
    }
}

fn receipt_in(it: Option<stored::Receipt>) -> Result<Receipt, CodecError> {
    let it = it.ok_or(CodecError::Malformed("receipt"))?;
    Ok(Receipt {
        body: it.body.to_vec(),
        signature: array(&it.signature)?,
        public_key: array(&it.public_key)?,
    })
}

fn keys_gone_out(receipt: &Receipt, at: i64) -> stored::ErasureKeysGone {
    stored::ErasureKeysGone {
        receipt: Some(receipt_out(receipt)),
        at,
    }
}

fn bytes_gone_out(receipt: &Receipt, at: i64) -> stored::ErasureBytesGone {
    stored::ErasureBytesGone {
        receipt: Some(receipt_out(receipt)),
        at,
    }
}

fn state_out(state: &State) -> stored::ErasureState {
    let key_ids = state.control.as_ref().and_then(|it| it.key_ids.sealed());
    let fenced = state.fenced.iter();
    let answers = state.answers.iter();
    let signed = |it: &Option<(Receipt, hearth_kernel::Timestamp)>| it.clone();
    stored::ErasureState {
        closing: state.closing.as_ref().map(closing_out),
        cancelled_at: optional_micros(state.cancelled_at),
        request: state.request.as_ref().map(request_out),
        control: state.control.as_ref().map(control_out),
        key_ids: key_ids.map_or_else(Bytes::new, |it| it.encode().into()),
        fenced: fenced
            .map(|(owner, since)| fenced_out(*owner, since.micros()))
            .collect(),
        fenced_at: optional_micros(state.fenced_at),
        leases_ended_at: optional_micros(state.leases_ended_at),
        answers: answers
            .map(|(service, stores)| answered_out(*service, stores))
            .collect(),
        purged: state
            .purged_at
            .map(|at| purged_out(&state.residuals, at.micros())),
        verified: state
            .verified
            .map(|(pass, at)| verified_out(&pass, at.micros())),
        keys_gone: signed(&state.keys_gone).map(|(it, at)| keys_gone_out(&it, at.micros())),
        bytes_gone: signed(&state.bytes_gone).map(|(it, at)| bytes_gone_out(&it, at.micros())),
    }
}

fn state_in(it: &stored::ErasureState) -> Result<State, CodecError> {
    let control = it.control.as_ref().map(|control| {
        let sealed = Sealed::decode(&it.key_ids).ok_or(CodecError::Malformed("part"))?;
        Ok(control_in(control, Part::Sealed(sealed)))
    });
    let fenced = it.fenced.iter();
    let answers = it.answers.iter();
    let residuals = it.purged.iter().flat_map(|purged| purged.residuals.iter());
    let verified = it.verified.as_ref();
    let keys_gone = it.keys_gone.as_ref();
    let bytes_gone = it.bytes_gone.as_ref();
    Ok(State {
        closing: it.closing.as_ref().map(closing_in).transpose()?,
        cancelled_at: optional_time(it.cancelled_at),
        request: it.request.as_ref().map(request_in).transpose()?,
        control: control.transpose()?,
        fenced: fenced
            .map(|it| Ok((owner_in(it)?, time(it.since))))
            .collect::<Result<_, _>>()?,
        fenced_at: optional_time(it.fenced_at),
        leases_ended_at: optional_time(it.leases_ended_at),
        answers: answers
            .map(|it| {
                let stores = it.stores.iter().map(store_in).collect();
                Ok((service_in(it.service)?, stores))
            })
            .collect::<Result<_, _>>()?,
        purged_at: it.purged.as_ref().map(|purged| time(purged.at)),
        residuals: residuals.map(residual_in).collect(),
        verified: verified.map(|it| (pass_in(it.pass.unwrap_or_default()), time(it.at))),
        keys_gone: keys_gone
            .map(|it| Ok((receipt_in(it.receipt.clone())?, time(it.at))))
            .transpose()?,
        bytes_gone: bytes_gone
            .map(|it| Ok((receipt_in(it.receipt.clone())?, time(it.at))))
            .transpose()?,
    })
}
