//! Wire types of Envoy external processing (`envoy.service.ext_proc.v3`) and of the filter's configuration.
//!
//! The types are generated from this crate's own minimal `.proto` files and committed; building needs neither
//! `protoc` nor a build script. All `bytes` fields, and the names and values of headers, are [`bytes::Bytes`], so
//! decoding from a shared buffer copies nothing. Fields that Envoy 1.40 defines but does not implement (GRPC body
//! mode, drain, flow control) are present.
//!
//! The modules mirror the protobuf packages; the messages of the service are re-exported at the root.
//!
//! With the feature `grpc` the service modules have the tonic clients and servers; with `json`, the module `json`
//! writes and reads the messages as JSON.

#![allow(
    missing_docs,
    missing_debug_implementations,
    unreachable_pub,
    unused_qualifications,
    rustdoc::invalid_html_tags,
    rustdoc::broken_intra_doc_links,
    rustdoc::bare_urls,
    clippy::all,
    clippy::too_many_lines,
    reason = "generated code"
)]

/// The `envoy.*` protobuf packages.
pub mod envoy {
    /// `envoy.config`
    pub mod config {
        /// `envoy.config.common.mutation_rules`
        pub mod common {
            pub mod mutation_rules {
                pub mod v3 {
                    include!("generated/envoy.config.common.mutation_rules.v3.rs");
                }
            }
        }
        pub mod core {
            pub mod v3 {
                include!("generated/envoy.config.core.v3.rs");
            }
        }
    }
    pub mod extensions {
        pub mod filters {
            pub mod http {
                pub mod ext_proc {
                    pub mod v3 {
                        include!("generated/envoy.extensions.filters.http.ext_proc.v3.rs");
                    }
                }
            }
        }
    }
    pub mod service {
        pub mod ext_proc {
            pub mod v3 {
                include!("generated/envoy.service.ext_proc.v3.rs");
            }
        }
    }
    pub mod r#type {
        pub mod matcher {
            pub mod v3 {
                include!("generated/envoy.r#type.matcher.v3.rs");
            }
        }
        pub mod v3 {
            include!("generated/envoy.r#type.v3.rs");
        }
    }
}

/// The `grpc.*` protobuf packages.
pub mod grpc {
    pub mod health {
        /// The health of a server and its services.
        pub mod v1 {
            include!("generated/grpc.health.v1.rs");
        }
    }
}

pub use envoy::config::common::mutation_rules::v3::HeaderMutationRules;
pub use envoy::config::core::v3::header_value_option::HeaderAppendAction;
pub use envoy::config::core::v3::{HeaderMap, HeaderValue, HeaderValueOption, Metadata};
pub use envoy::extensions::filters::http::ext_proc::v3::processing_mode::{BodySendMode, HeaderSendMode};
pub use envoy::extensions::filters::http::ext_proc::v3::{ExternalProcessor, ProcessingMode};
pub use envoy::service::ext_proc::v3::*;
pub use envoy::r#type::v3::HttpStatus;
pub use prost;
pub use prost_types;

#[cfg(feature = "json")]
pub mod json;

/// The path of the one RPC: `/envoy.service.ext_proc.v3.ExternalProcessor/Process`.
pub const PROCESS_PATH: &str = "/envoy.service.ext_proc.v3.ExternalProcessor/Process";

/// The services `envoy.service.ext_proc.v3.ExternalProcessor` and `grpc.health.v1.Health` with everything they name, as
/// an encoded `google.protobuf.FileDescriptorSet`, for gRPC reflection.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!("descriptors.bin");
