//! From the wire to JSON.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use prost::Message as _;
use prost::encoding::{WireType, decode_key, decode_varint};
use prost_types::value::Kind as Any;
use serde_json::{Map, Value, json};

use super::schema::{Field, Kind, SCHEMA};

/// A message that was encoded by this crate.
pub(super) fn message(name: &str, wire: &[u8]) -> Value {
    match name {
        "google.protobuf.Struct" => object(prost_types::Struct::decode(wire).unwrap_or_default()),
        "google.protobuf.Duration" => duration(prost_types::Duration::decode(wire).unwrap_or_default()).into(),
        "google.protobuf.BoolValue" => bool::decode(wire).unwrap_or_default().into(),
        _ => Value::Object(members(name, wire)),
    }
}

fn members(name: &str, mut wire: &[u8]) -> Map<String, Value> {
    let mut members = Map::new();
    while let Some((number, value)) = next(&mut wire) {
        let Some(field) = SCHEMA.fields(name).iter().find(|it| it.number == number) else { continue };
        match &field.kind {
            Kind::Map(entry) => {
                let of = members.entry(&field.name).or_insert_with(|| json!({}));
                if let (Value::Object(of), Some((key, value))) = (of, map_entry(entry, value)) {
                    of.insert(key, value);
                }
                if field.name == "typed_filter_metadata" {
                    members.remove(&field.name);
                }
            }
            _ if field.repeated => {
                let of = members.entry(&field.name).or_insert_with(|| json!([]));
                if let Value::Array(of) = of {
                    each(field, value, |it| of.push(it));
                }
            }
            _ => drop(members.insert(field.name.clone(), scalar(field, value))),
        }
    }
    members
}

/// The value of a field as it is on the wire.
#[derive(Clone, Copy)]
enum Raw<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

fn next<'a>(wire: &mut &'a [u8]) -> Option<(u32, Raw<'a>)> {
    let (number, kind) = decode_key(wire).ok()?;
    let raw = match kind {
        WireType::Varint => Raw::Number(decode_varint(wire).ok()?),
        WireType::SixtyFourBit => {
            let (bits, rest) = wire.split_first_chunk()?;
            *wire = rest;
            Raw::Number(u64::from_le_bytes(*bits))
        }
        WireType::LengthDelimited => {
            let len = usize::try_from(decode_varint(wire).ok()?).ok()?;
            let (bytes, rest) = wire.split_at_checked(len)?;
            *wire = rest;
            Raw::Bytes(bytes)
        }
        WireType::ThirtyTwoBit | WireType::StartGroup | WireType::EndGroup => return None,
    };
    Some((number, raw))
}

/// The values of a repeated field: one, or many numbers in one.
fn each(field: &Field, raw: Raw<'_>, mut take: impl FnMut(Value)) {
    match (&field.kind, raw) {
        (Kind::Enum(_) | Kind::Signed | Kind::Unsigned | Kind::Bool, Raw::Bytes(mut packed)) => {
            while let Ok(number) = decode_varint(&mut packed) {
                take(scalar(field, Raw::Number(number)));
            }
        }
        _ => take(scalar(field, raw)),
    }
}

fn scalar(field: &Field, raw: Raw<'_>) -> Value {
    match (&field.kind, raw) {
        (Kind::Bool, Raw::Number(number)) => (number != 0).into(),
        (Kind::Double, Raw::Number(bits)) => f64::from_bits(bits).into(),
        (Kind::Signed, Raw::Number(number)) => number.cast_signed().into(),
        (Kind::Unsigned, Raw::Number(number)) => number.into(),
        (Kind::Enum(of), Raw::Number(number)) => {
            let number = number as u32 as i32;
            SCHEMA.enum_name(of, number).map_or_else(|| number.into(), Into::into)
        }
        (Kind::String, Raw::Bytes(bytes)) => String::from_utf8_lossy(bytes).into(),
        (Kind::Bytes, Raw::Bytes(bytes)) => STANDARD.encode(bytes).into(),
        (Kind::Message(name), Raw::Bytes(bytes)) => message(name, bytes),
        _ => Value::Null,
    }
}

fn map_entry(entry: &str, raw: Raw<'_>) -> Option<(String, Value)> {
    let Raw::Bytes(mut wire) = raw else { return None };
    let [key_field, value_field] = SCHEMA.fields(entry) else { return None };
    let (mut key, mut value) = (String::new(), scalar(value_field, Raw::Bytes(&[])));
    while let Some((number, raw)) = next(&mut wire) {
        match scalar(if number == 1 { key_field } else { value_field }, raw) {
            Value::String(name) if number == 1 => key = name,
            other => value = other,
        }
    }
    Some((key, value))
}

fn object(object: prost_types::Struct) -> Value {
    Value::Object(object.fields.into_iter().map(|(name, value)| (name, any(value))).collect())
}

fn any(value: prost_types::Value) -> Value {
    match value.kind {
        None | Some(Any::NullValue(_)) => Value::Null,
        Some(Any::BoolValue(it)) => it.into(),
        // Whole numbers are written as such.
        Some(Any::NumberValue(it)) if it.fract() == 0.0 && it.abs() < 9.0e15 => (it as i64).into(),
        Some(Any::NumberValue(it)) => it.into(),
        Some(Any::StringValue(it)) => it.into(),
        Some(Any::ListValue(it)) => Value::Array(it.values.into_iter().map(any).collect()),
        Some(Any::StructValue(it)) => object(it),
    }
}

fn duration(duration: prost_types::Duration) -> String {
    let sign = if duration.seconds < 0 || duration.nanos < 0 { "-" } else { "" };
    let text = format!("{sign}{}.{:09}", duration.seconds.unsigned_abs(), duration.nanos.unsigned_abs());
    format!("{}s", text.trim_end_matches('0').trim_end_matches('.'))
}
