//! The ways in which a processor can break the protocol.

/// One way to break the protocol. Each has the text that Envoy writes to RESPONSE_CODE_DETAILS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[error("{}", self.details())]
#[non_exhaustive]
pub enum Violation {
    /// A headers response that no headers message waits for: wrong direction, duplicate, or too early.
    UnexpectedHeaders,
    /// A body response that no body message waits for.
    UnexpectedBody,
    /// A trailers response that no trailers message waits for.
    UnexpectedTrailers,
    /// No member of the oneof is set.
    Unhandled,
    /// An immediate response although the configuration disables it.
    ImmediateDisabled,
    /// A `streamed_response` body outside FULL_DUPLEX_STREAMED.
    StreamedOutsideDuplex,
    /// A body response without `streamed_response` in FULL_DUPLEX_STREAMED.
    PlainInDuplex,
    /// CONTINUE_AND_REPLACE without a body, when the original has been sent and is not here any more.
    BodyLost,
    /// A `streamed_immediate_response`, which gRPC knows not ([`Profile::Grpc`](crate::Profile)).
    StreamedReplyUnsupported,
    /// A streamed reply with a body, where the mode of the request's body allows only one without.
    ReplyBodyUnsupported,
    /// Body of a streamed reply without headers before it.
    ReplyBodyFirst,
    /// Trailers of a streamed reply without headers before them.
    ReplyTrailersFirst,
    /// A `streamed_immediate_response` without any part.
    EmptyStreamedReply,
    /// A body response without `streamed_response` in GRPC.
    PlainInGrpc,
    /// A message marked as compressed, where the headers name no `grpc-encoding`.
    CompressedMessage,
    /// The end of a GRPC response body, which only the trailers' answer has.
    EndInResponse,
    /// A message next to `end_of_stream_without_message`.
    MessageBesideItsAbsence,
    /// `drain_complete` without a drain, or with a message.
    UnexpectedDrainComplete,
    /// A window larger than can be.
    WindowOverflow,
    /// A message for which there was no window ([`Profile::Strict`](crate::Profile)).
    WindowExceeded,
    /// A `server_window_update` on a stream without windows ([`Profile::Strict`](crate::Profile)).
    UnexpectedWindowUpdate,
    /// More set or remove operations than a header map may have entries.
    TooManyOperations,
    /// A header map larger than the limits after a mutation.
    MutationTooLarge,
    /// A name or value to set that HTTP does not allow.
    SetInvalidCharacter,
    /// A name to remove that HTTP does not allow.
    RemoveInvalidCharacter,
    /// A header to set that the rules refuse, with `disallow_is_error`.
    SetRefused,
    /// A header to remove that the rules refuse, with `disallow_is_error`.
    RemoveRefused,
    /// A header with both `value` and `raw_value` ([`Profile::Strict`](crate::Profile)).
    TwoValues,
    /// An `append_action` that the API does not define (not in [`Profile::Envoy`](crate::Profile), which ignores it).
    UnknownAppendAction,
    /// A name or value that is no gRPC metadata of an application ([`Profile::Grpc`](crate::Profile)).
    NoMetadata,
    /// A body in a headers response without CONTINUE_AND_REPLACE ([`Profile::Strict`](crate::Profile)).
    BodyInHeadersResponse,
    /// CONTINUE_AND_REPLACE where the profile has no such thing.
    UnexpectedReplace,
    /// More dynamic metadata than an exchange may have.
    MetadataTooLarge,
    /// A body whose length is not the `content-length` that goes with it.
    LengthMismatch,
}

impl Violation {
    /// Envoy's text for it, without white space.
    #[must_use]
    pub const fn details(self) -> &'static str {
        match self {
            Self::UnexpectedHeaders | Self::UnexpectedBody | Self::UnexpectedTrailers => "spurious_message",
            Self::Unhandled => "unhandled_message",
            Self::ImmediateDisabled => "unhandled_immediate_response_due_to_config_disabled_it",
            Self::StreamedOutsideDuplex => {
                "spurious_message:_streamed_response_is_received_while_body_mode__is_not_FULL_DUPLEX_STREAMED"
            }
            Self::PlainInDuplex => {
                "spurious_message:_Normal_body_mutation_response_is_received_while_body_mode__is_FULL_DUPLEX_STREAMED"
            }
            Self::PlainInGrpc => "body_response_without_streamed_response_while_body_mode_is_GRPC",
            Self::CompressedMessage => "compressed_message_without_grpc-encoding",
            Self::EndInResponse => "end_of_stream_in_response_body_response",
            Self::MessageBesideItsAbsence => "message_with_end_of_stream_without_message",
            Self::UnexpectedDrainComplete => "unexpected_drain_complete",
            Self::WindowOverflow => "flow_control_window_overflow",
            Self::WindowExceeded => "message_exceeds_the_flow_control_window",
            Self::UnexpectedWindowUpdate => "server_window_update_without_flow_control_init",
            Self::BodyLost => "full_duplex_body_was_not_returned",
            Self::StreamedReplyUnsupported => "streamed_immediate_response_is_not_supported",
            Self::ReplyBodyUnsupported => {
                "streaming_local_response_body_is_only_supported_in_NONE_or_FULL_DUPLEX_STREAMED_modes"
            }
            Self::ReplyBodyFirst => "local_response_body_received_before_headers",
            Self::ReplyTrailersFirst => "local_response_trailers_received_before_headers",
            Self::EmptyStreamedReply => "Invalid_local_response_headers_continue",
            Self::TooManyOperations => "header_mutation_operation_count_exceeds_limit",
            Self::MutationTooLarge => "header_mutation_result_exceeds_limit",
            Self::SetInvalidCharacter => "header_mutation_set_contains_invalid_character",
            Self::RemoveInvalidCharacter => "header_mutation_remove_contains_invalid_character",
            Self::SetRefused => "header_mutation_set_headers_failed",
            Self::RemoveRefused => "header_mutation_remove_headers_failed",
            Self::TwoValues => "header_mutation_sets_both_value_and_raw_value",
            Self::UnknownAppendAction => "header_mutation_has_an_unknown_append_action",
            Self::NoMetadata => "header_mutation_is_no_grpc_metadata",
            Self::BodyInHeadersResponse => "body_in_headers_response_without_CONTINUE_AND_REPLACE",
            Self::UnexpectedReplace => "unexpected_status_CONTINUE_AND_REPLACE,_want_CONTINUE",
            Self::MetadataTooLarge => "dynamic_metadata_exceeds_limit",
            Self::LengthMismatch => "mismatch_between_content_length_and_the_length_of_the_mutated_body",
        }
    }

    /// Whether it counts as a spurious message, which fails open if the configuration says so. The others are
    /// expected messages with bad content, which never fail open.
    #[must_use]
    pub const fn is_spurious(self) -> bool {
        match self {
            Self::UnexpectedHeaders
            | Self::UnexpectedBody
            | Self::UnexpectedTrailers
            | Self::Unhandled
            | Self::ImmediateDisabled
            | Self::StreamedOutsideDuplex
            | Self::PlainInDuplex
            | Self::PlainInGrpc
            | Self::CompressedMessage
            | Self::EndInResponse
            | Self::MessageBesideItsAbsence
            | Self::UnexpectedDrainComplete
            | Self::WindowOverflow
            | Self::WindowExceeded
            | Self::UnexpectedWindowUpdate
            | Self::StreamedReplyUnsupported
            | Self::ReplyBodyUnsupported
            | Self::ReplyBodyFirst
            | Self::ReplyTrailersFirst => true,
            Self::BodyLost
            | Self::EmptyStreamedReply
            | Self::TooManyOperations
            | Self::MutationTooLarge
            | Self::SetInvalidCharacter
            | Self::RemoveInvalidCharacter
            | Self::SetRefused
            | Self::RemoveRefused
            | Self::TwoValues
            | Self::UnknownAppendAction
            | Self::NoMetadata
            | Self::BodyInHeadersResponse
            | Self::UnexpectedReplace
            | Self::MetadataTooLarge
            | Self::LengthMismatch => false,
        }
    }
}
