//! What a reply of the processor says.

use bytes::Bytes;
use extproc_proto::processing_response::Response as Answer;
use extproc_proto::streamed_immediate_response::Response as Part;
use extproc_proto::{
    BodyMutation, CommonResponse, HeaderMap, HeaderMutation, ProcessingResponse, body_mutation, common_response,
};

use super::case::{Kind, Mark, Say};

impl Mark {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::ClearBody => "clear_body",
            Self::ContinueAndReplace => "continue_and_replace",
            Self::ClearRouteCache => "clear_route_cache",
            Self::ModeOverride => "mode_override",
        }
    }

    pub(super) fn holds(self, reply: &ProcessingResponse) -> bool {
        let common = common(reply);
        match self {
            Self::ClearBody => {
                matches!(
                    body(reply).and_then(|it| it.mutation.as_ref()),
                    Some(body_mutation::Mutation::ClearBody(true))
                )
            }
            Self::ContinueAndReplace => {
                let replace = i32::from(common_response::ResponseStatus::ContinueAndReplace);
                common.is_some_and(|common| common.status == replace)
            }
            Self::ClearRouteCache => common.is_some_and(|common| common.clear_route_cache),
            Self::ModeOverride => reply.mode_override.is_some(),
        }
    }
}

impl Say {
    pub(super) fn values(&self, reply: &ProcessingResponse) -> Vec<Bytes> {
        if let Some(Answer::StreamedImmediateResponse(part)) = &reply.response {
            return self.values_of_part(part.response.as_ref());
        }
        let mutation = headers(reply);
        let written = |name: &str, append: bool| {
            let options = mutation.into_iter().flat_map(|mutation| &mutation.set_headers);
            let options = options.filter(|option| option.append.unwrap_or_default() == append);
            let fields = options.filter_map(|option| option.header.as_ref());
            fields
                .filter(|field| field.key.eq_ignore_ascii_case(name.as_bytes()))
                .map(|it| it.raw_value.clone())
                .collect()
        };
        let immediate = match &reply.response {
            Some(Answer::ImmediateResponse(immediate)) => Some(immediate),
            _ => None,
        };
        match self {
            Self::Set(name) => written(name, false),
            Self::Append(name) => written(name, true),
            Self::Remove => {
                mutation.into_iter().flat_map(|it| &it.remove_headers).map(|name| name.clone().into()).collect()
            }
            Self::Body => match (immediate, body(reply).and_then(|it| it.mutation.as_ref())) {
                (Some(immediate), _) => vec![immediate.body.clone()],
                (None, Some(body_mutation::Mutation::Body(bytes))) => vec![bytes.clone()],
                (None, Some(body_mutation::Mutation::StreamedResponse(piece))) => vec![piece.body.clone()],
                (None, _) => Vec::new(),
            },
            Self::Status => {
                let code = immediate.map(|it| it.status.as_ref().map_or(200, |status| status.code));
                code.map(|code| code.to_string().into()).into_iter().collect()
            }
            Self::Details => immediate.map(|it| it.details.clone().into()).into_iter().collect(),
            Self::GrpcStatus => {
                let status = immediate.and_then(|it| it.grpc_status.as_ref());
                status.map(|it| it.status.to_string().into()).into_iter().collect()
            }
        }
    }

    /// What a part of a streamed reply says.
    fn values_of_part(&self, part: Option<&Part>) -> Vec<Bytes> {
        let (map, body) = match part {
            Some(Part::HeadersResponse(head)) => (head.headers.as_ref(), None),
            Some(Part::BodyResponse(piece)) => (None, Some(&piece.body)),
            Some(Part::TrailersResponse(trailers)) => (Some(trailers), None),
            None => (None, None),
        };
        let named = |name: &str, map: &HeaderMap| {
            let fields = map.headers.iter().filter(|field| field.key.eq_ignore_ascii_case(name.as_bytes()));
            fields.map(|field| field.raw_value.clone()).collect::<Vec<_>>()
        };
        match self {
            Self::Set(name) => map.map(|map| named(name, map)).unwrap_or_default(),
            Self::Status => map.map(|map| named(":status", map)).unwrap_or_default(),
            Self::Body => body.cloned().into_iter().collect(),
            Self::Append(_) | Self::Remove | Self::Details | Self::GrpcStatus => Vec::new(),
        }
    }

    pub(super) fn describe(&self) -> String {
        match self {
            Self::Set(name) => format!("header {name}"),
            Self::Append(name) => format!("appended header {name}"),
            Self::Remove => "removed headers".to_owned(),
            Self::Body => "body".to_owned(),
            Self::Status => "status".to_owned(),
            Self::Details => "details".to_owned(),
            Self::GrpcStatus => "grpc_status".to_owned(),
        }
    }
}

/// The kind of a reply.
pub(super) fn kind(reply: &ProcessingResponse) -> Kind {
    match &reply.response {
        Some(Answer::RequestHeaders(_)) => Kind::RequestHeaders,
        Some(Answer::RequestBody(_)) => Kind::RequestBody,
        Some(Answer::RequestTrailers(_)) => Kind::RequestTrailers,
        Some(Answer::ResponseHeaders(_)) => Kind::ResponseHeaders,
        Some(Answer::ResponseBody(_)) => Kind::ResponseBody,
        Some(Answer::ResponseTrailers(_)) => Kind::ResponseTrailers,
        Some(Answer::ImmediateResponse(_)) => Kind::Immediate,
        Some(Answer::StreamedImmediateResponse(_)) => Kind::StreamedImmediate,
        None if reply.override_message_timeout.is_some() => Kind::Timeout,
        None => Kind::Empty,
    }
}

fn common(reply: &ProcessingResponse) -> Option<&CommonResponse> {
    match reply.response.as_ref()? {
        Answer::RequestHeaders(it) | Answer::ResponseHeaders(it) => it.response.as_ref(),
        Answer::RequestBody(it) | Answer::ResponseBody(it) => it.response.as_ref(),
        _ => None,
    }
}

fn headers(reply: &ProcessingResponse) -> Option<&HeaderMutation> {
    match reply.response.as_ref()? {
        Answer::RequestTrailers(it) | Answer::ResponseTrailers(it) => it.header_mutation.as_ref(),
        Answer::ImmediateResponse(it) => it.headers.as_ref(),
        _ => common(reply)?.header_mutation.as_ref(),
    }
}

fn body(reply: &ProcessingResponse) -> Option<&BodyMutation> {
    common(reply)?.body_mutation.as_ref()
}

#[cfg(test)]
mod tests {
    use extproc_proto::{HeaderValue, HttpHeaders, StreamedBodyResponse, StreamedImmediateResponse};

    use super::*;

    #[test]
    fn parts_of_a_streamed_reply() {
        let said = |part: Option<Part>, say: &Say| {
            let reply = StreamedImmediateResponse { response: part };
            let response = Some(Answer::StreamedImmediateResponse(reply));
            say.values(&ProcessingResponse { response, ..ProcessingResponse::default() })
        };
        let field = |key: &'static str, value: &'static str| HeaderValue {
            key: key.into(),
            raw_value: value.into(),
            ..HeaderValue::default()
        };
        let map = HeaderMap { headers: vec![field(":status", "200"), field("X-A", "1")] };
        let head = || Some(Part::HeadersResponse(HttpHeaders { headers: Some(map.clone()), ..HttpHeaders::default() }));
        let piece = StreamedBodyResponse { body: "xy".into(), ..StreamedBodyResponse::default() };
        let set = Say::Set("x-a".to_owned());
        assert_eq!(said(head(), &Say::Status), ["200"]);
        assert_eq!(said(head(), &set), ["1"]);
        assert_eq!(said(Some(Part::TrailersResponse(map.clone())), &set), ["1"]);
        assert_eq!(said(Some(Part::BodyResponse(piece)), &Say::Body), ["xy"]);
        assert_eq!(said(None, &set), Vec::<Bytes>::new());
    }
}
