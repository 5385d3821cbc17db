//! Envoy's statistics of the ext_proc filter.

macro_rules! stats {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// Counters of one filter on one exchange, under the names of Envoy 1.40
        /// (`http.<prefix>.ext_proc.<stat_prefix><name>`). Only the core changes them.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct Stats {
            $($(#[$doc])* pub $name: u64,)*
        }

        impl Stats {
            /// Every counter's name, in the order of [`Stats::values`].
            pub const NAMES: [&'static str; [$(stringify!($name)),*].len()] = [$(stringify!($name)),*];

            /// Every counter's value, in the order of [`Stats::NAMES`].
            #[must_use]
            pub const fn values(&self) -> [u64; Self::NAMES.len()] {
                [$(self.$name),*]
            }

            /// What was counted since `earlier`, an older copy of the same counters.
            #[must_use]
            pub const fn since(&self, earlier: &Self) -> Self {
                Self { $($name: self.$name - earlier.$name,)* }
            }
        }
    };
}

stats! {
    /// A side stream was started.
    streams_started,
    /// A message was handed to the stream.
    stream_msgs_sent,
    /// A response was accepted in its state, or failed in mutation or content-length check.
    stream_msgs_received,
    /// A response that no message called for, or of no known kind. At most one a stream: processing ends.
    spurious_msgs_received,
    /// The stream was closed by the filter, ended OK by the processor, or failed while failing open.
    streams_closed,
    /// The stream ended with a status other than OK, or could not be created.
    streams_failed,
    /// The processor ended the stream: 1 when OK or failing closed, 2 when failing open.
    server_half_closed,
    /// Fail-open was used.
    failure_mode_allowed,
    /// A message timeout fired.
    message_timeouts,
    /// A header operation was refused by a rule or was invalid.
    rejected_header_mutations,
    /// `override_message_timeout` was accepted.
    override_message_timeout_received,
    /// `override_message_timeout` was refused.
    override_message_timeout_ignored,
    /// `clear_route_cache` without a header mutation.
    clear_route_cache_ignored,
    /// `clear_route_cache` while the configuration retains the route.
    clear_route_cache_disabled,
    /// A local reply of this filter: an immediate response, or an error reply.
    immediate_responses_sent,
    /// An `http_service` answered otherwise than with 200 and a response in JSON, or not at all.
    http_not_ok_resp_received,
}
