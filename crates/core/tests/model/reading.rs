//! What the profiles read differently, one row each.

use extproc_core::Profile;

/// What becomes of something that is not where it belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Odd {
    Ignored,
    Honoured,
    Refused,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Reading {
    /// An answer has a deadline.
    pub(crate) timer: bool,
    /// A body response without `streamed_response` in FULL_DUPLEX_STREAMED.
    pub(crate) plain_in_duplex: Odd,
    /// `streamed_response` for a body that was sent as a whole.
    pub(crate) streamed_for_whole: Odd,
    /// A body in a headers response with CONTINUE.
    pub(crate) body_in_headers: Odd,
    /// CONTINUE_AND_REPLACE in a headers response.
    pub(crate) replace: Odd,
    /// CONTINUE_AND_REPLACE in a body response.
    pub(crate) replace_in_body: Odd,
    /// A message without a response.
    pub(crate) empty: Odd,
    /// `override_message_timeout`, `clear_route_cache`, `mode_override` by itself.
    pub(crate) controls: bool,
    /// `mode_override` in headers responses.
    pub(crate) mode_override: bool,
    /// `allowed_override_modes`.
    pub(crate) override_list: bool,
    /// STREAMED and GRPC exist as modes to change to.
    pub(crate) overrides_to_streams: bool,
    /// The processor may not end the stream by itself.
    pub(crate) early_end_fails: bool,
    /// The last body message says that the body ends, although trailers follow that are not sent.
    pub(crate) ends_before_trailers: bool,
    /// Bad content fails open, too.
    pub(crate) opens_on_bad_content: bool,
    /// Failing open is over once the processor has had body, of any kind.
    pub(crate) body_closes: bool,
    /// Failing open is over once the response has begun.
    pub(crate) response_closes: bool,
    /// `status_on_error`.
    pub(crate) own_status: bool,
}

impl Reading {
    pub(crate) const fn of(profile: Profile) -> Self {
        let envoy = Self {
            timer: true,
            plain_in_duplex: Odd::Refused,
            streamed_for_whole: Odd::Ignored,
            body_in_headers: Odd::Ignored,
            replace: Odd::Honoured,
            replace_in_body: Odd::Ignored,
            empty: Odd::Refused,
            controls: true,
            mode_override: true,
            override_list: true,
            overrides_to_streams: true,
            early_end_fails: false,
            ends_before_trailers: false,
            opens_on_bad_content: false,
            body_closes: false,
            response_closes: false,
            own_status: true,
        };
        match profile {
            Profile::Agentgateway => Self {
                timer: false,
                plain_in_duplex: Odd::Honoured,
                streamed_for_whole: Odd::Honoured,
                body_in_headers: Odd::Honoured,
                replace: Odd::Ignored,
                empty: Odd::Ignored,
                controls: false,
                override_list: false,
                overrides_to_streams: false,
                early_end_fails: true,
                ends_before_trailers: true,
                body_closes: true,
                response_closes: true,
                own_status: false,
                ..envoy
            },
            Profile::Grpc => Self {
                timer: false,
                streamed_for_whole: Odd::Refused,
                replace: Odd::Refused,
                replace_in_body: Odd::Refused,
                empty: Odd::Ignored,
                controls: false,
                mode_override: false,
                opens_on_bad_content: true,
                body_closes: true,
                own_status: false,
                ..envoy
            },
            Profile::Strict => Self {
                streamed_for_whole: Odd::Refused,
                body_in_headers: Odd::Refused,
                replace_in_body: Odd::Refused,
                ..envoy
            },
            _ => envoy,
        }
    }
}
