//! What the messages consist of, as their descriptors say.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use prost::Message as _;
use prost_types::field_descriptor_proto::{Label, Type};
use prost_types::{DescriptorProto, FieldDescriptorProto, FileDescriptorSet};

use super::status::STATUS_CODES;

/// The type of a status in Envoy's own files.
const STATUS_CODE: &str = "envoy.type.v3.StatusCode";

/// Every message and enum of the service, by full name.
pub(super) static SCHEMA: LazyLock<Schema> = LazyLock::new(Schema::load);

#[derive(Default)]
pub(super) struct Schema {
    messages: BTreeMap<String, Vec<Field>>,
    enums: BTreeMap<String, Vec<(String, i32)>>,
}

pub(super) struct Field {
    pub(super) number: u32,
    pub(super) name: String,
    pub(super) json_name: String,
    pub(super) kind: Kind,
    pub(super) repeated: bool,
    /// The index of the `oneof` it belongs to.
    pub(super) oneof: Option<i32>,
}

pub(super) enum Kind {
    Bool,
    Double,
    Signed,
    Unsigned,
    Enum(String),
    String,
    Bytes,
    Message(String),
    /// A map: the name of its entries.
    Map(String),
    /// Nothing in these messages.
    Other,
}

impl Schema {
    fn load() -> Self {
        let mut schema = Self::default();
        // A test reads everything in it.
        let set = FileDescriptorSet::decode(crate::FILE_DESCRIPTOR_SET).unwrap_or_default();
        for file in &set.file {
            file.message_type.iter().for_each(|it| schema.add(file.package(), it));
            file.enum_type.iter().for_each(|it| schema.add_enum(file.package(), it));
        }
        schema.enums.insert(STATUS_CODE.to_owned(), STATUS_CODES.map(|(name, code)| (name.to_owned(), code)).into());
        for field in schema.messages.get_mut("envoy.type.v3.HttpStatus").into_iter().flatten() {
            field.kind = Kind::Enum(STATUS_CODE.to_owned());
        }
        schema
    }

    fn add(&mut self, scope: &str, message: &DescriptorProto) {
        let name = format!("{scope}.{}", message.name());
        let is_entry = |field: &FieldDescriptorProto| {
            message.nested_type.iter().any(|it| {
                it.options.as_ref().is_some_and(|it| it.map_entry())
                    && field.type_name().trim_start_matches('.') == format!("{name}.{}", it.name())
            })
        };
        let fields = message.field.iter().map(|field| Field {
            number: field.number().cast_unsigned(),
            name: field.name().to_owned(),
            json_name: field.json_name().to_owned(),
            kind: Kind::of(field, is_entry(field)),
            repeated: field.label() == Label::Repeated,
            oneof: field.oneof_index.filter(|_| !field.proto3_optional()),
        });
        let fields = fields.collect();
        message.nested_type.iter().for_each(|it| self.add(&name, it));
        message.enum_type.iter().for_each(|it| self.add_enum(&name, it));
        self.messages.insert(name, fields);
    }

    fn add_enum(&mut self, scope: &str, of: &prost_types::EnumDescriptorProto) {
        let values = of.value.iter().map(|it| (it.name().to_owned(), it.number())).collect();
        self.enums.insert(format!("{scope}.{}", of.name()), values);
    }

    pub(super) fn fields(&self, message: &str) -> &[Field] {
        self.messages.get(message).map_or(&[], Vec::as_slice)
    }

    pub(super) fn enum_value(&self, of: &str, name: &str) -> Option<i32> {
        self.enums.get(of)?.iter().find(|(it, _)| it == name).map(|(_, number)| *number)
    }

    pub(super) fn enum_name(&self, of: &str, number: i32) -> Option<&str> {
        self.enums.get(of)?.iter().find(|(_, it)| *it == number).map(|(name, _)| name.as_str())
    }
}

impl Kind {
    fn of(field: &FieldDescriptorProto, is_entry: bool) -> Self {
        let name = || field.type_name().trim_start_matches('.').to_owned();
        match field.r#type() {
            Type::Bool => Self::Bool,
            Type::Double => Self::Double,
            Type::Int32 | Type::Int64 => Self::Signed,
            Type::Uint32 | Type::Uint64 => Self::Unsigned,
            Type::Enum => Self::Enum(name()),
            Type::String => Self::String,
            Type::Bytes => Self::Bytes,
            Type::Message if is_entry => Self::Map(name()),
            Type::Message => Self::Message(name()),
            Type::Float
            | Type::Fixed32
            | Type::Fixed64
            | Type::Sfixed32
            | Type::Sfixed64
            | Type::Sint32
            | Type::Sint64
            | Type::Group => Self::Other,
        }
    }
}
