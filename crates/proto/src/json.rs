//! The messages as JSON, as Envoy's `http_service` exchanges them: names as in the `.proto` files, bytes as base64,
//! durations as `1.5s`, fields without a value left out.
//!
//! What is read may have names in camel case as well. A name that the message does not have, a name that comes twice, two
//! members of one `oneof`, and a value of another type are errors, as they are for Envoy 1.40. That it also reads single
//! quotes and commas before a closing brace is not followed: this reads JSON.

mod read;
mod schema;
mod status;
mod value;
mod write;

use prost::Message;

use crate::{ProcessingRequest, ProcessingResponse};

/// Text that is no message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JsonError(String);

impl std::fmt::Display for JsonError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for JsonError {}

/// Writes a request. `typed_filter_metadata`, which needs descriptors of the types in it, is left out.
#[must_use]
pub fn write_request(request: &ProcessingRequest) -> Vec<u8> {
    write::message("envoy.service.ext_proc.v3.ProcessingRequest", &request.encode_to_vec()).to_string().into_bytes()
}

/// Writes a response, as processors do.
#[must_use]
pub fn write_response(response: &ProcessingResponse) -> Vec<u8> {
    write::message("envoy.service.ext_proc.v3.ProcessingResponse", &response.encode_to_vec()).to_string().into_bytes()
}

/// Reads a request, as processors do.
///
/// # Errors
/// [`JsonError`] says where the text is no request.
pub fn read_request(text: &[u8]) -> Result<ProcessingRequest, JsonError> {
    read("envoy.service.ext_proc.v3.ProcessingRequest", text)
}

/// Reads a response.
///
/// # Errors
/// [`JsonError`] says where the text is no response.
pub fn read_response(text: &[u8]) -> Result<ProcessingResponse, JsonError> {
    read("envoy.service.ext_proc.v3.ProcessingResponse", text)
}

fn read<M: Message + Default>(name: &str, text: &[u8]) -> Result<M, JsonError> {
    let value = serde_json::from_slice(text).map_err(|error| JsonError(error.to_string()))?;
    let wire = read::message(name, &value)?;
    M::decode(wire.as_slice()).map_err(|error| JsonError(error.to_string()))
}
