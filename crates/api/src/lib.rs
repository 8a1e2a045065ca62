//! The contract in Rust: messages, clients, servers and descriptors, generated from `proto/`.
//!
//! The module tree mirrors the packages: `hearth.accounts.v1` is [`accounts::v1`], and so on; the stored form of a
//! service, package `hearth.stored.<service>.v1`, is `stored::<service>::v1`. It knows no rule and no other crate of
//! Hearth: conversions to and from the types of a domain belong to that service.

/// The generated tree. Its documentation is the comments of the `.proto` files, and its shape is the generators'.
#[allow(
    missing_docs,
    unreachable_pub,
    unused_qualifications,
    rustdoc::all,
    clippy::all,
    clippy::allow_attributes_without_reason,
    clippy::cast_lossless,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::clone_on_ref_ptr,
    clippy::cognitive_complexity,
    clippy::large_futures,
    clippy::missing_errors_doc,
    clippy::or_fun_call,
    clippy::too_many_lines,
    reason = "generated code follows the generators' habits"
)]
mod generated {
    include!(concat!(env!("OUT_DIR"), "/hearth.rs"));
}

pub use generated::hearth::*;

/// Every file of the contract and what it imports, as an encoded `google.protobuf.FileDescriptorSet`, without comments
/// and with the options of `hearth.options.v1`. For gRPC reflection, and for the checks that read rules and labels.
pub const FILE_DESCRIPTOR_SET: &[u8] =
    include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.binpb"));

#[cfg(test)]
mod tests;
