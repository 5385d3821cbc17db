//! Values of `google.protobuf` as JSON, and back.

use extproc_proto::prost_types::value::Kind;
use extproc_proto::prost_types::{ListValue, NullValue, Struct, Value};
use serde_json::{Number, Value as Json};

/// A value as JSON.
pub(crate) fn of_proto(value: &Value) -> Json {
    match &value.kind {
        Some(Kind::BoolValue(truth)) => Json::Bool(*truth),
        Some(Kind::NumberValue(number)) => of_number(*number),
        Some(Kind::StringValue(text)) => Json::String(text.clone()),
        Some(Kind::ListValue(list)) => list.values.iter().map(of_proto).collect(),
        Some(Kind::StructValue(fields)) => {
            Json::Object(fields.fields.iter().map(|(name, value)| (name.clone(), of_proto(value))).collect())
        }
        Some(Kind::NullValue(_)) | None => Json::Null,
    }
}

/// JSON as a value, which knows one kind of number.
pub(crate) fn to_proto(json: Json) -> Value {
    let kind = match json {
        Json::Null => Kind::NullValue(NullValue::NullValue.into()),
        Json::Bool(truth) => Kind::BoolValue(truth),
        Json::Number(number) => Kind::NumberValue(number.as_f64().unwrap_or_default()),
        Json::String(text) => Kind::StringValue(text),
        Json::Array(items) => Kind::ListValue(ListValue { values: items.into_iter().map(to_proto).collect() }),
        Json::Object(fields) => {
            let fields = fields.into_iter().map(|(name, value)| (name, to_proto(value))).collect();
            Kind::StructValue(Struct { fields })
        }
    };
    Value { kind: Some(kind) }
}

/// What a person wrote: JSON when it is valid, else text.
pub(crate) fn json_or_text(text: &str) -> Json {
    serde_json::from_str(text).unwrap_or_else(|_| Json::String(text.to_owned()))
}

/// The wire knows only floating point; whole numbers are written as such.
fn of_number(number: f64) -> Json {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    if number.fract() == 0.0 && number.abs() < EXACT {
        #[expect(clippy::cast_possible_truncation, reason = "it is whole and fits")]
        return Json::from(number as i64);
    }
    Number::from_f64(number).map_or(Json::Null, Json::Number)
}
