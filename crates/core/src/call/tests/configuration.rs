//! What configurations are refused (grpc-a93.md 9.1).

use std::time::Duration;

use regex::Regex;

use super::script::options;
use crate::call::{Config, ConfigError, Options};
use crate::rules::{NameMatcher, NamePattern};
use crate::{BodyMode, Direction};

fn refused(config: &str, change: impl FnOnce(&mut Options)) -> Option<String> {
    let mut options = options(config);
    change(&mut options);
    Config::new(options).err().map(|error| error.to_string())
}

#[test]
fn a93_001_002_011_012_modes() {
    assert_eq!(refused("SNSNK", |_| ()), None);
    let defaults = Options::default();
    assert_eq!(defaults.deferred_close_timeout, Duration::from_secs(5));
    assert!(!defaults.failure_mode_allow && !defaults.observability_mode);
    let mode = &defaults.processing_mode;
    assert!(mode.request_headers && mode.response_headers && !mode.response_trailers);
    assert_eq!((mode.request_body, mode.response_body), (BodyMode::None, BodyMode::None));
    assert_eq!(refused("SGSGS", |_| ()), None);
    assert_eq!(
        refused("SNSGK", |_| ()).unwrap(),
        "processing_mode.response_trailer_mode is not SEND; response_body_mode GRPC needs it"
    );
    assert_eq!(refused("SGSGS", |options| options.processing_mode.request_trailers = true), None);
}

#[test]
fn a93_008_009_bodies_are_none_or_grpc() {
    for mode in [BodyMode::Streamed, BodyMode::Buffered, BodyMode::BufferedPartial, BodyMode::FullDuplexStreamed] {
        assert_eq!(
            refused("SNSNK", |options| options.processing_mode.request_body = mode).unwrap(),
            format!("processing_mode.request_body_mode is {mode}; gRPC calls have NONE or GRPC")
        );
        let mut options = options("SNSNS");
        options.processing_mode.response_body = mode;
        let direction = Direction::Response;
        assert_eq!(Config::new(options).err(), Some(ConfigError::BodyMode { direction, got: mode }));
    }
}

#[test]
fn a93_013_014_rules() {
    // An expression that is one by itself, but not inside of another.
    let bad = || Some(Regex::new("(?x) a # ").unwrap());
    let error = refused("SNSNK", |options| options.mutation_rules.allow_expression = bad()).unwrap();
    assert!(error.starts_with("mutation_rules.allow_expression cannot match a whole name: "), "{error}");
    let error = refused("SNSNK", |options| options.mutation_rules.disallow_expression = bad()).unwrap();
    assert!(error.starts_with("mutation_rules.disallow_expression cannot match a whole name: "), "{error}");
    for pattern in
        [NamePattern::Prefix(String::new()), NamePattern::Suffix(String::new()), NamePattern::Contains(String::new())]
    {
        let matcher = || NameMatcher { pattern: pattern.clone(), ignore_case: false };
        assert_eq!(
            refused("SNSNK", |options| options.forward_rules.allowed = Some(vec![matcher()])).unwrap(),
            "forward_rules.allowed_headers has an empty prefix, suffix or contains; leave it out, or write what it must match"
        );
        assert!(refused("SNSNK", |options| options.forward_rules.disallowed = vec![matcher()]).is_some());
    }
}

#[test]
fn a93_016_017_time_spans() {
    assert_eq!(
        refused("SNSNK", |options| options.deferred_close_timeout = Duration::ZERO).unwrap(),
        "deferred_close_timeout is zero; it must be positive"
    );
    assert_eq!(
        refused("SNSNK", |options| options.stream_timeout = Some(Duration::ZERO)).unwrap(),
        "grpc_service.timeout is zero; it must be positive"
    );
    assert!(refused("SNSNK", |options| options.window = 0).is_some());
}
