//! The few parts of a `google.protobuf.FileDescriptorSet` that the rules are compared with.
//!
//! The messages are written out by hand because `prost_types` drops extensions on decoding, and the label of a method,
//! `hearth.options.v1.rule`, is one. Field numbers are those of `google/protobuf/descriptor.proto`.

use prost::Message;

/// A method as the contract describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Described {
    /// `/<package>.<Service>/<Method>`.
    pub path: String,
    /// Whether the request is a stream.
    pub client_streaming: bool,
    /// Whether the answer is a stream.
    pub server_streaming: bool,
    /// The number of its `Authorisation`; 0 without a label.
    pub authorisation: i32,
    /// The number of its `Idempotency`; 0 without a label.
    pub idempotency: i32,
}

impl Described {
    /// Whether either side is a stream.
    #[must_use]
    pub const fn is_stream(&self) -> bool {
        self.client_streaming || self.server_streaming
    }
}

/// Every method of every service of a descriptor set.
///
/// # Errors
/// When the bytes are not one.
pub fn methods(descriptor_set: &[u8]) -> Result<Vec<Described>, prost::DecodeError> {
    let set = wire::FileSet::decode(descriptor_set)?;
    let mut methods = Vec::new();
    for file in set.file {
        for service in file.service {
            for method in service.method {
                let rule = method
                    .options
                    .and_then(|options| options.rule)
                    .unwrap_or_default();
                methods.push(Described {
                    path: format!("/{}.{}/{}", file.package, service.name, method.name),
                    client_streaming: method.client_streaming,
                    server_streaming: method.server_streaming,
                    authorisation: rule.authorisation,
                    idempotency: rule.idempotency,
                });
            }
        }
    }
    Ok(methods)
}

/// The messages, as far as they are read.
pub(crate) mod wire {
    /// `FileDescriptorSet`.
    #[derive(Clone, PartialEq, prost::Message)]
    pub(crate) struct FileSet {
        #[prost(message, repeated, tag = "1")]
        pub(crate) file: Vec<File>,
    }

    /// `FileDescriptorProto`.
    #[derive(Clone, PartialEq, prost::Message)]
    pub(crate) struct File {
        #[prost(string, tag = "2")]
        pub(crate) package: String,
        #[prost(message, repeated, tag = "6")]
        pub(crate) service: Vec<Service>,
    }

    /// `ServiceDescriptorProto`.
    #[derive(Clone, PartialEq, prost::Message)]
    pub(crate) struct Service {
        #[prost(string, tag = "1")]
        pub(crate) name: String,
        #[prost(message, repeated, tag = "2")]
        pub(crate) method: Vec<Method>,
    }

    /// `MethodDescriptorProto`.
    #[derive(Clone, PartialEq, prost::Message)]
    pub(crate) struct Method {
        #[prost(string, tag = "1")]
        pub(crate) name: String,
        #[prost(message, optional, tag = "4")]
        pub(crate) options: Option<Options>,
        #[prost(bool, tag = "5")]
        pub(crate) client_streaming: bool,
        #[prost(bool, tag = "6")]
        pub(crate) server_streaming: bool,
    }

    /// `MethodOptions` with the extension of `hearth.options.v1`.
    #[derive(Clone, PartialEq, prost::Message)]
    pub(crate) struct Options {
        #[prost(message, optional, tag = "50003")]
        pub(crate) rule: Option<Rule>,
    }

    /// `hearth.options.v1.MethodRule`.
    #[derive(Clone, PartialEq, prost::Message)]
    pub(crate) struct Rule {
        #[prost(int32, tag = "1")]
        pub(crate) authorisation: i32,
        #[prost(int32, tag = "2")]
        pub(crate) idempotency: i32,
    }
}
