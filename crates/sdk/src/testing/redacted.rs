//! Messages as they may be printed.

use std::fmt;

use bytes::Bytes;
use extproc_proto::processing_request::Request;
use extproc_proto::processing_response::Response;
use extproc_proto::{HeaderMutation, HeaderValue, ProcessingRequest, ProcessingResponse};

use super::{Script, Transcript, print};
use crate::telemetry::{REDACTED, hides};

impl fmt::Debug for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.messages().into_iter().map(|message| print::request(&request(message)))).finish()
    }
}

impl fmt::Debug for Transcript {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let replies: Vec<_> = self.replies.iter().map(|reply| print::line(&response(reply.clone()))).collect();
        let mut transcript = f.debug_struct("Transcript");
        transcript.field("replies", &replies).field("status", &self.status);
        transcript.field("blocked", &self.blocked).field("mismatches", &self.mismatches);
        transcript.field("differences", &self.differences).finish()
    }
}

fn request(mut message: ProcessingRequest) -> ProcessingRequest {
    let map = match &mut message.request {
        Some(Request::RequestHeaders(it) | Request::ResponseHeaders(it)) => it.headers.as_mut(),
        Some(Request::RequestTrailers(it) | Request::ResponseTrailers(it)) => it.trailers.as_mut(),
        Some(Request::RequestBody(_) | Request::ResponseBody(_)) | None => None,
    };
    map.into_iter().flat_map(|map| &mut map.headers).for_each(hide);
    message
}

fn response(mut message: ProcessingResponse) -> ProcessingResponse {
    let mutation = match &mut message.response {
        Some(Response::RequestHeaders(it) | Response::ResponseHeaders(it)) => of(&mut it.response),
        Some(Response::RequestBody(it) | Response::ResponseBody(it)) => of(&mut it.response),
        Some(Response::RequestTrailers(it) | Response::ResponseTrailers(it)) => it.header_mutation.as_mut(),
        Some(Response::ImmediateResponse(it)) => it.headers.as_mut(),
        Some(_) | None => None,
    };
    let options = mutation.into_iter().flat_map(|mutation| &mut mutation.set_headers);
    options.filter_map(|option| option.header.as_mut()).for_each(hide);
    message
}

fn of(response: &mut Option<extproc_proto::CommonResponse>) -> Option<&mut HeaderMutation> {
    response.as_mut()?.header_mutation.as_mut()
}

fn hide(header: &mut HeaderValue) {
    let name = String::from_utf8_lossy(&header.key).to_ascii_lowercase();
    if hides(&name) {
        header.value = Bytes::new();
        header.raw_value = Bytes::from_static(REDACTED.as_bytes());
    }
}
