//! Whether the processor kept the rules, and what it did that does nothing.

use extproc_proto::processing_response::Response as Answer;
use extproc_proto::{HeaderMutation, ProcessingResponse};

use crate::dialogue::Log;
use crate::dialogue::story::status_text;
use crate::dialogue::words::Phase;

/// The rule that the processor broke, if it broke one.
pub(super) fn verdict(log: &Log) -> Option<String> {
    let stats = log.stats();
    let turns = log.turns();
    if stats.message_timeouts > 0 {
        let phase = turns.iter().find(|turn| turn.answer.is_none()).and_then(|turn| turn.phase);
        let phase = phase.map_or("a message", Phase::name);
        return Some(format!(
            "the processor did not answer {phase} in time; every message needs its answer (--timeout waits longer)"
        ));
    }
    if let Some(Err(status)) = log.ended() {
        // HTTP/2 itself failed before any answer: CANCELLED, INTERNAL, UNAVAILABLE, or what the client makes of it.
        let failed = matches!(status.code, 1 | 13 | 14) || status.message == "transport error";
        let mute = failed && turns.iter().all(|turn| turn.answer.is_none());
        let hint = if mute { "; is it a gRPC server that listens there?" } else { "" };
        return Some(format!("the processor ended the stream with {}{hint}", status_text(status)));
    }
    let unasked = turns.iter().find(|turn| turn.sent.is_none());
    if let (true, Some(turn)) = (log.spurious() > 0, unasked) {
        let phase = turn.phase.map_or("nothing", Phase::name);
        return Some(format!(
            "the processor answered {phase}, which was not asked; each message is answered once, by the answer of its \
             own phase"
        ));
    }
    match log.effective.details.as_deref() {
        Some("request_payload_too_large" | "response_payload_too_large") => {
            return Some(
                "the body is larger than the data plane's buffer of 1 MiB; --mode streamed has no limit".to_owned(),
            );
        }
        Some(details) if !log.is_immediate() => {
            let rule = details.replace('_', " ");
            return Some(format!("the processor broke a rule of the protocol: {rule}"));
        }
        _ => {}
    }
    if stats.failure_mode_allowed > 0 {
        return Some("the processor sent a message that has no place in its phase; see the conversation".to_owned());
    }
    (stats.rejected_header_mutations > 0).then(|| {
        format!(
            "{} header change(s) refused: Envoy's default rules protect host, :authority, :scheme, :method and \
             x-envoy-*, and names and values must be valid",
            stats.rejected_header_mutations
        )
    })
}

/// What breaks no rule and is a mistake all the same.
pub(super) fn warnings(log: &Log) -> Vec<String> {
    let mut warnings: Vec<String> = log.replies().flat_map(of_reply).collect();
    warnings.dedup();
    let stats = log.stats();
    if stats.clear_route_cache_ignored > 0 {
        warnings.push("clear_route_cache without a change of headers does nothing".to_owned());
    }
    if stats.override_message_timeout_ignored > 0 {
        warnings.push("override_message_timeout was refused; --max-timeout allows it".to_owned());
    }
    if log.replies().any(|reply| reply.mode_override.is_some()) && !log.mode_override_allowed {
        warnings.push("mode_override was ignored; --allow-mode-override allows it".to_owned());
    }
    if log.left_open {
        warnings.push("the processor did not end the stream within 1 s after the data plane had".to_owned());
    }
    warnings
}

fn of_reply(reply: &ProcessingResponse) -> Vec<String> {
    let mutation: Option<&HeaderMutation> = match &reply.response {
        Some(Answer::RequestHeaders(it) | Answer::ResponseHeaders(it)) => {
            it.response.as_ref().and_then(|common| common.header_mutation.as_ref())
        }
        Some(Answer::RequestBody(it) | Answer::ResponseBody(it)) => {
            it.response.as_ref().and_then(|common| common.header_mutation.as_ref())
        }
        Some(Answer::RequestTrailers(it) | Answer::ResponseTrailers(it)) => it.header_mutation.as_ref(),
        Some(Answer::ImmediateResponse(it)) => it.headers.as_ref(),
        Some(Answer::StreamedImmediateResponse(_)) | None => None,
    };
    let options = mutation.into_iter().flat_map(|mutation| &mutation.set_headers);
    let fields = options.filter_map(|option| option.header.as_ref());
    let only_value = fields.filter(|field| field.raw_value.is_empty() && !field.value.is_empty());
    only_value
        .map(|field| {
            let name = String::from_utf8_lossy(&field.key);
            format!("{name} has only `value`, which Envoy ignores: the header becomes empty; set `raw_value`")
        })
        .collect()
}
