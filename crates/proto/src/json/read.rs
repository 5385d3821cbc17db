//! From JSON to the wire.

use base64::Engine as _;
use base64::alphabet::{STANDARD, URL_SAFE};
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use prost::Message as _;
use prost::encoding::{WireType, encode_key, encode_varint};
use prost_types::value::Kind as Any;

use super::JsonError;
use super::schema::{Field, Kind, SCHEMA};
use super::value::Json;

const EITHER: GeneralPurposeConfig = GeneralPurposeConfig::new()
    .with_decode_padding_mode(DecodePaddingMode::Indifferent)
    .with_decode_allow_trailing_bits(true);
const BASE64: GeneralPurpose = GeneralPurpose::new(&STANDARD, EITHER);
const BASE64_URL: GeneralPurpose = GeneralPurpose::new(&URL_SAFE, EITHER);

type Wire = Vec<u8>;

/// A message of this name.
pub(super) fn message(name: &str, json: &Json) -> Result<Wire, JsonError> {
    match (name, json) {
        ("google.protobuf.Struct", Json::Object(members)) => Ok(object(members)?.encode_to_vec()),
        ("google.protobuf.Duration", Json::String(text)) => match duration(text) {
            Some(duration) => Ok(duration.encode_to_vec()),
            None => Err(JsonError(format!("`{text}` is no duration"))),
        },
        ("google.protobuf.BoolValue", json) => match truth(json) {
            Some(value) => Ok(value.encode_to_vec()),
            None => Err(unfit("a truth value", json)),
        },
        ("google.protobuf.Struct" | "google.protobuf.Duration" | "google.protobuf.Any", json) => Err(unfit(name, json)),
        (_, Json::Object(members)) => fields(name, members),
        (_, json) => Err(unfit(name, json)),
    }
}

fn fields(name: &str, members: &[(String, Json)]) -> Result<Wire, JsonError> {
    let mut wire = Wire::new();
    let mut seen: Vec<&Field> = Vec::new();
    for (key, value) in members {
        let fields = SCHEMA.fields(name);
        let Some(field) = fields.iter().find(|it| it.name == *key || it.json_name == *key) else {
            return Err(JsonError(format!("{name} has no field `{key}`")));
        };
        if matches!(value, Json::Null) {
            continue;
        }
        let clash = |it: &&Field| it.number == field.number || (field.oneof.is_some() && it.oneof == field.oneof);
        if let Some(other) = seen.iter().find(|it| clash(it)) {
            return Err(JsonError(format!("{name}: `{key}` comes after `{}`", other.name)));
        }
        seen.push(field);
        let result = match (&field.kind, value) {
            (Kind::Map(entry), Json::Object(members)) => map(&mut wire, field, entry, members),
            (_, Json::Array(items)) if field.repeated => items.iter().try_for_each(|it| scalar(&mut wire, field, it)),
            (_, value) if field.repeated => Err(unfit("a list", value)),
            (_, value) => scalar(&mut wire, field, value),
        };
        result.map_err(|JsonError(error)| JsonError(format!("{key}: {error}")))?;
    }
    Ok(wire)
}

fn map(wire: &mut Wire, field: &Field, entry: &str, members: &[(String, Json)]) -> Result<(), JsonError> {
    let [key_field, value_field] = SCHEMA.fields(entry) else { return Err(JsonError(format!("no map {entry}"))) };
    for (index, (key, value)) in members.iter().enumerate() {
        if members[..index].iter().any(|(it, _)| it == key) {
            return Err(JsonError(format!("`{key}` comes twice")));
        }
        let mut inner = Wire::new();
        delimited(&mut inner, key_field, key.as_bytes());
        scalar(&mut inner, value_field, value)?;
        delimited(wire, field, &inner);
    }
    Ok(())
}

fn scalar(wire: &mut Wire, field: &Field, json: &Json) -> Result<(), JsonError> {
    match (&field.kind, json) {
        (Kind::Bool, json) => {
            let value = truth(json).ok_or_else(|| unfit("a truth value", json))?;
            varint(wire, field, value.into());
        }
        (Kind::Signed | Kind::Unsigned, json) => {
            let value = integer(json).ok_or_else(|| unfit("a number", json))?;
            let fits = match field.kind {
                Kind::Signed => i64::try_from(value).map(i64::cast_unsigned).ok(),
                _ => u64::try_from(value).ok(),
            };
            varint(wire, field, fits.ok_or_else(|| JsonError(format!("{value} is too large")))?);
        }
        (Kind::Enum(of), Json::String(name)) => {
            let number = SCHEMA.enum_value(of, name).or_else(|| name.parse().ok());
            let number = number.ok_or_else(|| JsonError(format!("{of} has no value `{name}`")))?;
            varint(wire, field, i64::from(number).cast_unsigned());
        }
        (Kind::Enum(_), Json::Integer(number)) => {
            let number = i32::try_from(*number).map_err(|_| JsonError(format!("{number} is too large")))?;
            varint(wire, field, i64::from(number).cast_unsigned());
        }
        (Kind::String, Json::String(text)) => delimited(wire, field, text.as_bytes()),
        (Kind::Bytes, Json::String(text)) => {
            let bytes = BASE64.decode(text).or_else(|_| BASE64_URL.decode(text));
            delimited(wire, field, &bytes.map_err(|_| JsonError(format!("`{text}` is no base64")))?);
        }
        (Kind::Message(name), json) => delimited(wire, field, &message(name, json)?),
        (_, json) => return Err(unfit("of another type", json)),
    }
    Ok(())
}

fn varint(wire: &mut Wire, field: &Field, value: u64) {
    encode_key(field.number, WireType::Varint, wire);
    encode_varint(value, wire);
}

fn delimited(wire: &mut Wire, field: &Field, bytes: &[u8]) {
    encode_key(field.number, WireType::LengthDelimited, wire);
    encode_varint(bytes.len() as u64, wire);
    wire.extend_from_slice(bytes);
}

fn truth(json: &Json) -> Option<bool> {
    match json {
        Json::Bool(value) => Some(*value),
        Json::String(text) => text.parse().ok(),
        _ => None,
    }
}

fn integer(json: &Json) -> Option<i128> {
    match json {
        Json::Integer(value) => Some(*value),
        // `1e3` and `5.0` are whole numbers.
        Json::Number(value) if value.fract() == 0.0 && value.abs() < 1.0e18 => Some(*value as i128),
        Json::String(text) => text.parse().ok(),
        _ => None,
    }
}

fn object(members: &[(String, Json)]) -> Result<prost_types::Struct, JsonError> {
    let mut object = prost_types::Struct::default();
    for (name, value) in members {
        if object.fields.insert(name.clone(), any(value)?).is_some() {
            return Err(JsonError(format!("`{name}` comes twice")));
        }
    }
    Ok(object)
}

fn any(json: &Json) -> Result<prost_types::Value, JsonError> {
    let kind = match json {
        Json::Null => Any::NullValue(0),
        Json::Bool(value) => Any::BoolValue(*value),
        Json::Integer(value) => Any::NumberValue(*value as f64),
        Json::Number(value) => Any::NumberValue(*value),
        Json::String(text) => Any::StringValue(text.clone()),
        Json::Array(items) => {
            Any::ListValue(prost_types::ListValue { values: items.iter().map(any).collect::<Result<_, _>>()? })
        }
        Json::Object(members) => Any::StructValue(object(members)?),
    };
    Ok(prost_types::Value { kind: Some(kind) })
}

/// `1.5s`, with up to nine digits behind the point.
fn duration(text: &str) -> Option<prost_types::Duration> {
    let number = text.strip_suffix('s')?;
    let (negative, number) = number.strip_prefix('-').map_or((false, number), |rest| (true, rest));
    let (whole, part) = number.split_once('.').unwrap_or((number, "0"));
    let digits = |it: &str| !it.is_empty() && it.bytes().all(|it| it.is_ascii_digit());
    if !digits(whole) || !digits(part) || part.len() > 9 {
        return None;
    }
    let (seconds, nanos): (i64, i32) = (whole.parse().ok()?, format!("{part:0<9}").parse().ok()?);
    let sign = if negative { -1 } else { 1 };
    Some(prost_types::Duration { seconds: seconds * sign, nanos: nanos * sign as i32 })
}

fn unfit(expected: &str, json: &Json) -> JsonError {
    let got = match json {
        Json::Null => "null",
        Json::Bool(_) => "a truth value",
        Json::Number(_) | Json::Integer(_) => "a number",
        Json::String(_) => "a text",
        Json::Array(_) => "a list",
        Json::Object(_) => "an object",
    };
    JsonError(format!("{got} is not {expected}"))
}
