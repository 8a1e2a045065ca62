//! Any method of the contract, called with bytes or with messages made from its descriptor.

use std::time::Duration;

use bytes::{Buf, BufMut, Bytes};
use futures::StreamExt;
use http::uri::PathAndQuery;
use prost::Message;
use prost_reflect::{
    DescriptorPool, DynamicMessage, FieldDescriptor, Kind, MessageDescriptor, MethodDescriptor,
    ReflectMessage, Value,
};
use tonic::client::Grpc;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::metadata::MetadataValue;
use tonic::transport::Channel;
use tonic::{Request, Status};

use crate::random::Random;

/// How long a stream is read before it counts as open.
const STREAM_OPEN: Duration = Duration::from_millis(300);

/// Every method of Hearth's own services.
#[must_use]
pub fn methods() -> Vec<MethodDescriptor> {
    let pool = DescriptorPool::decode(hearth_api::FILE_DESCRIPTOR_SET).unwrap();
    let services = pool
        .services()
        .filter(|s| s.full_name().starts_with("hearth."));
    services
        .flat_map(|service| service.methods().collect::<Vec<_>>())
        .collect()
}

/// A method's path.
#[must_use]
pub fn path(method: &MethodDescriptor) -> String {
    format!("/{}/{}", method.parent_service().full_name(), method.name())
}

/// A codec that leaves bytes alone.
#[derive(Clone, Copy, Default)]
pub struct Raw;

impl Codec for Raw {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        *self
    }

    fn decoder(&mut self) -> Self {
        *self
    }
}

impl Encoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, item: Bytes, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.put(item);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(buffer.copy_to_bytes(buffer.remaining())))
    }
}

/// What a call came to.
pub type Answer = Result<Vec<Bytes>, Status>;

/// Calls a method with message bytes. A stream is read until it ends, fails, or stays silent for a moment.
///
/// # Errors
/// What the server answers instead.
pub async fn call(
    channel: &Channel,
    method: &MethodDescriptor,
    token: Option<&str>,
    messages: Vec<Bytes>,
) -> Answer {
    let mut client = Grpc::new(channel.clone()).max_decoding_message_size(64 << 20);
    client.ready().await.expect("the server is there");
    let path = PathAndQuery::from_maybe_shared(path(method)).unwrap();
    let mut request = Request::new(futures::stream::iter(messages));
    if let Some(token) = token {
        let bearer = MetadataValue::try_from(format!("Bearer {token}")).unwrap();
        request.metadata_mut().insert("authorization", bearer);
    }
    let mut stream = client.streaming(request, path, Raw).await?.into_inner();
    let mut answers = Vec::new();
    while let Ok(Some(next)) = tokio::time::timeout(STREAM_OPEN, stream.next()).await {
        answers.push(next?);
        if answers.len() > 1000 {
            break;
        }
    }
    Ok(answers)
}

/// What a random message is filled with.
pub struct Filler<'a> {
    /// Where the choices come from.
    pub random: &'a mut Random,
    /// Texts that mean something here: ids of real things.
    pub texts: &'a [String],
    /// How odd it is: 0 plausible, 10 anything.
    pub oddness: usize,
}

const ODD_TEXTS: [&str; 9] = [
    "",
    " ",
    "../../etc/passwd",
    "\u{0}\u{202e}abc\u{feff}",
    "'; DROP TABLE message; --",
    "ÅÄÖ\u{301}\u{301}\u{301}",
    "*.>",
    "%s%n{{7*7}}",
    "ffffffffffffffffffffffffffffffff",
];

impl Filler<'_> {
    /// A message of that kind.
    pub fn message(&mut self, kind: &MessageDescriptor, depth: usize) -> DynamicMessage {
        let mut message = DynamicMessage::new(kind.clone());
        for field in kind.fields() {
            if self.random.below(10) < 2 || depth > 4 {
                continue;
            }
            let value = if field.is_map() {
                continue;
            } else if field.is_list() {
                let count = self.random.below(if self.oddness > 5 { 40 } else { 4 });
                Value::List((0..count).map(|_| self.value(&field, depth)).collect())
            } else {
                self.value(&field, depth)
            };
            message.set_field(&field, value);
        }
        message
    }

    fn value(&mut self, field: &FieldDescriptor, depth: usize) -> Value {
        match field.kind() {
            Kind::Message(kind) => Value::Message(self.message(&kind, depth + 1)),
            Kind::Enum(kind) => {
                let values: Vec<i32> = kind.values().map(|value| value.number()).collect();
                let odd = self.is_odd();
                Value::EnumNumber(if odd {
                    self.int32()
                } else {
                    *self.random.of(&values)
                })
            }
            Kind::String => Value::String(self.text()),
            Kind::Bytes => Value::Bytes(self.random.bytes(64).into()),
            Kind::Bool => Value::Bool(self.random.below(2) == 0),
            Kind::Double => Value::F64(f64::from_bits(self.random.bits())),
            Kind::Float => Value::F32(1.5),
            Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => Value::I32(self.int32()),
            Kind::Uint32 | Kind::Fixed32 => Value::U32(self.int32().unsigned_abs()),
            Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => Value::I64(self.int64()),
            Kind::Uint64 | Kind::Fixed64 => Value::U64(self.int64().unsigned_abs()),
        }
    }

    fn is_odd(&mut self) -> bool {
        self.random.below(10) < self.oddness
    }

    fn int32(&mut self) -> i32 {
        *self
            .random
            .of(&[0, 1, -1, 7, 100, 65_536, i32::MAX, i32::MIN])
    }

    fn int64(&mut self) -> i64 {
        *self.random.of(&[
            0,
            1,
            -1,
            1_790_000_000,
            1_790_000_000_000_000,
            i64::MAX,
            i64::MIN,
        ])
    }

    fn text(&mut self) -> String {
        if self.is_odd() {
            match self.random.below(3) {
                0 => "x".repeat(self.random.below(5000)),
                _ => (*self.random.of(&ODD_TEXTS)).to_owned(),
            }
        } else if !self.texts.is_empty() && self.random.below(4) != 0 {
            self.random.of(self.texts).clone()
        } else {
            format!("text number {:020}", self.random.below(1000))
        }
    }
}

/// A message's bytes.
#[must_use]
pub fn encode(message: &DynamicMessage) -> Bytes {
    message.encode_to_vec().into()
}

/// Sets a text field if the message has it; answers whether it has.
pub fn set_text(message: &mut DynamicMessage, field: &str, text: &str) -> bool {
    let found = message.descriptor().get_field_by_name(field);
    let is_text =
        found.is_some_and(|field| matches!(field.kind(), Kind::String) && !field.is_list());
    if is_text {
        message.set_field_by_name(field, Value::String(text.to_owned()));
    }
    is_text
}
