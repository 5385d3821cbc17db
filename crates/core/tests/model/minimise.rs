//! Makes a failing script shorter as long as it fails.

use std::sync::Arc;

use extproc_core::{Config, Options, ProcessingMode};

use crate::script::{Script, Step};

pub(crate) fn minimise(mut script: Script, fails: &dyn Fn(&Script) -> bool) -> Script {
    if !fails(&script) {
        return script;
    }
    loop {
        let before = (script.steps.len(), format!("{script:?}").len());
        fewer_steps(&mut script, fails);
        smaller_steps(&mut script, fails);
        plainer_options(&mut script, fails);
        if before == (script.steps.len(), format!("{script:?}").len()) {
            return script;
        }
    }
}

fn keep(script: &mut Script, candidate: Script, fails: &dyn Fn(&Script) -> bool) -> bool {
    let better = fails(&candidate);
    if better {
        *script = candidate;
    }
    better
}

fn fewer_steps(script: &mut Script, fails: &dyn Fn(&Script) -> bool) {
    let mut index = script.steps.len();
    while index > 0 {
        index -= 1;
        let mut candidate = script.clone();
        candidate.steps.remove(index);
        keep(script, candidate, fails);
    }
}

fn smaller_steps(script: &mut Script, fails: &dyn Fn(&Script) -> bool) {
    for index in 0..script.steps.len() {
        match &script.steps[index] {
            Step::Headers(_, map, _) | Step::Trailers(_, map) => {
                for entry in (0..map.len()).rev() {
                    let mut candidate = script.clone();
                    if let Step::Headers(_, map, _) | Step::Trailers(_, map) = &mut candidate.steps[index] {
                        map.remove(entry);
                    }
                    keep(script, candidate, fails);
                }
            }
            Step::Data(_, data, _) if data.len() > 1 => {
                let mut candidate = script.clone();
                if let Step::Data(_, data, _) = &mut candidate.steps[index] {
                    data.truncate(1);
                }
                keep(script, candidate, fails);
            }
            Step::Reply(_) => smaller_reply(script, index, fails),
            _ => {}
        }
    }
}

fn smaller_reply(script: &mut Script, index: usize, fails: &dyn Fn(&Script) -> bool) {
    use extproc_proto::processing_response::Response;
    type Change = fn(&mut extproc_proto::ProcessingResponse);
    let changes: [Change; 7] = [
        |it| it.mode_override = None,
        |it| it.override_message_timeout = None,
        |it| {
            if let Some(common) = common(it) {
                common.header_mutation = None;
            }
        },
        |it| {
            if let Some(common) = common(it) {
                common.body_mutation = None;
            }
        },
        |it| {
            if let Some(common) = common(it) {
                (common.status, common.clear_route_cache) = (0, false);
            }
        },
        |it| {
            if let Some(mutation) = common(it).and_then(|common| common.header_mutation.as_mut()) {
                mutation.remove_headers.clear();
            }
        },
        |it| {
            if let Some(Response::RequestTrailers(trailers) | Response::ResponseTrailers(trailers)) = &mut it.response {
                trailers.header_mutation = None;
            }
        },
    ];
    for change in changes {
        let mut candidate = script.clone();
        if let Step::Reply(reply) = &mut candidate.steps[index] {
            change(reply);
        }
        keep(script, candidate, fails);
    }
}

fn common(reply: &mut extproc_proto::ProcessingResponse) -> Option<&mut extproc_proto::CommonResponse> {
    use extproc_proto::processing_response::Response;
    match &mut reply.response {
        Some(Response::RequestHeaders(it) | Response::ResponseHeaders(it)) => it.response.as_mut(),
        Some(Response::RequestBody(it) | Response::ResponseBody(it)) => it.response.as_mut(),
        _ => None,
    }
}

fn plainer_options(script: &mut Script, fails: &dyn Fn(&Script) -> bool) {
    type Change = fn(&mut Options);
    let changes: [Change; 18] = [
        |it| it.profile = extproc_core::Profile::Envoy,
        |it| it.allow_mode_override = false,
        |it| it.allowed_override_modes.clear(),
        |it| it.failure_mode_allow = false,
        |it| it.mutation_rules = <_>::default(),
        |it| it.forward_rules = <_>::default(),
        |it| it.buffer_limit = 1 << 20,
        |it| it.replay_buffer = 0,
        |it| it.max_headers = 100,
        |it| it.allow_content_length_header = false,
        |it| it.send_body_without_waiting_for_header_response = false,
        |it| it.disable_immediate_response = false,
        |it| it.route_cache_action = <_>::default(),
        |it| it.status_on_error = 500,
        |it| it.message_timeout = std::time::Duration::from_millis(200),
        |it| it.max_message_timeout = std::time::Duration::ZERO,
        |it| {
            let mode = it.processing_mode;
            let plain = ProcessingMode::default();
            it.processing_mode = ProcessingMode {
                request_headers: mode.request_headers,
                request_body: mode.request_body,
                request_trailers: mode.request_trailers,
                ..plain
            };
        },
        |it| {
            let mode = it.processing_mode;
            let plain = ProcessingMode::default();
            it.processing_mode = ProcessingMode {
                response_headers: mode.response_headers,
                response_body: mode.response_body,
                response_trailers: mode.response_trailers,
                ..plain
            };
        },
    ];
    for change in changes {
        let mut options = script.config.options().clone();
        change(&mut options);
        if let Ok(config) = Config::new(options) {
            let candidate = Script { config: Arc::new(config), steps: script.steps.clone() };
            keep(script, candidate, fails);
        }
    }
}
