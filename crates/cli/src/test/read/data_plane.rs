//! How the data plane of a case is configured: Envoy's names.

use extproc_core::config::RouteCacheAction;
use extproc_core::{Options, Profile};

use super::super::case::DataPlane;
use super::super::decode::{Keys, Problems, duration, number, truth, word};
use super::super::yaml::Node;
use super::http::nothing;

const SEND: [(&str, Option<bool>); 3] = [("default", None), ("send", Some(true)), ("skip", Some(false))];

const ROUTES: [(&str, RouteCacheAction); 3] =
    [("default", RouteCacheAction::Default), ("clear", RouteCacheAction::Clear), ("retain", RouteCacheAction::Retain)];

const PROFILES: [(&str, Profile); 4] = [
    ("envoy", Profile::Envoy),
    ("agentgateway", Profile::Agentgateway),
    ("grpc", Profile::Grpc),
    ("strict", Profile::Strict),
];

pub(super) fn read(node: Option<Node>, problems: &mut Problems) -> DataPlane {
    let mut keys = Keys::of(node.unwrap_or_else(nothing), "`data_plane`", problems);
    let profile = keys.read("profile", problems, |node| word(node, "profile", &PROFILES));
    let mut options = profile.map_or_else(Options::default, Options::of);
    let mut send = |key| keys.read(key, problems, |node| word(node, "choice", &SEND)).flatten();
    if let Some(send) = send("request_header_mode") {
        options.processing_mode.request_headers = send;
    }
    if let Some(send) = send("response_header_mode") {
        options.processing_mode.response_headers = send;
    }
    let (request_trailers, response_trailers) = (send("request_trailer_mode"), send("response_trailer_mode"));
    let message_timeout = keys.read("message_timeout", problems, duration);
    if let Some(timeout) = keys.read("max_message_timeout", problems, duration) {
        options.max_message_timeout = timeout;
    }
    for (key, switch) in [
        ("failure_mode_allow", &mut options.failure_mode_allow),
        ("allow_mode_override", &mut options.allow_mode_override),
        ("observability_mode", &mut options.observability_mode),
        ("disable_immediate_response", &mut options.disable_immediate_response),
        ("allow_content_length_header", &mut options.allow_content_length_header),
        ("send_body_without_waiting_for_header_response", &mut options.send_body_without_waiting_for_header_response),
    ] {
        if let Some(on) = keys.read(key, problems, truth) {
            *switch = on;
        }
    }
    if let Some(status) = keys.read("status_on_error", problems, number) {
        options.status_on_error = status;
    }
    if let Some(limit) = keys.read("buffer_limit", problems, number) {
        options.buffer_limit = limit;
    }
    if let Some(limit) = keys.read("replay_buffer", problems, number) {
        options.replay_buffer = limit;
    }
    if let Some(action) = keys.read("route_cache_action", problems, |node| word(node, "choice", &ROUTES)) {
        options.route_cache_action = action;
    }
    let at = keys.at();
    keys.finish(problems);
    if let Err(error) = extproc_core::Config::new(options.clone()) {
        problems.push(at, error.to_string());
    }
    DataPlane { options, profile, message_timeout, request_trailers, response_trailers }
}
