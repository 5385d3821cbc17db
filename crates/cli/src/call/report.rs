//! The conversation as text, and whether the processor kept the rules.

use std::fmt::Write as _;
use std::time::Duration;

use super::dialogue::Log;
use super::exchange::{Message, readable};
use crate::text::{BOLD, DIM, Fields, RED, Table, changes, preview};

/// The phase table, then the request and the response with what changed.
pub(super) fn render(log: &Log, request: &Message, response: &Message) -> String {
    let mut out = String::new();
    // Writing to a String cannot fail.
    let _ = writeln!(out, "{BOLD}Conversation{BOLD:#}");
    if log.turns.is_empty() {
        out.push_str("  nothing was sent: the mode asks for nothing\n");
    } else {
        out.push_str(&table(log).render("  "));
    }
    if let Some(end) = &log.closed {
        let text = match end {
            Ok(()) => "the processor ended the stream: OK".to_owned(),
            Err(status) => format!("the stream failed: {}", status_text(status)),
        };
        let _ = writeln!(out, "  {text}");
    }
    match &log.request {
        Some(effective) => section(&mut out, "Request to the upstream", request, effective),
        None => {
            let _ = writeln!(out, "\n{BOLD}Request to the upstream{BOLD:#}\n  none");
        }
    }
    // A response made in place of the upstream's has nothing to be compared with.
    let local = log.request.is_none() || log.details.is_some();
    let nothing = Message::default();
    section(&mut out, "Response to the client", if local { &nothing } else { response }, &log.response);
    if log.reset {
        let _ = writeln!(out, "  {RED}cut: the client sees an incomplete response{RED:#}");
    }
    let _ = write!(out, "\n{DIM}{} in all", millis(log.elapsed));
    if let Some(details) = &log.details {
        let _ = write!(out, "; {details}");
    }
    let _ = writeln!(out, "{DIM:#}");
    out
}

impl Log {
    /// The rule that the processor broke, if it broke one.
    pub(super) fn verdict(&self) -> Option<String> {
        let stats = &self.stats;
        if stats.message_timeouts > 0 {
            let phase = self.turns.iter().find(|turn| turn.answer.is_none()).and_then(|turn| turn.phase);
            let phase = phase.map_or("a message", super::words::Phase::name);
            return Some(format!(
                "the processor did not answer {phase} in time; every message needs its answer (--timeout waits longer)"
            ));
        }
        if let Some(Err(status)) = &self.closed {
            // HTTP/2 itself failed before any answer: CANCELLED, INTERNAL, UNAVAILABLE, or what the client makes of it.
            let failed = matches!(status.code, 1 | 13 | 14) || status.message == "transport error";
            let mute = failed && self.turns.iter().all(|turn| turn.answer.is_none());
            let hint = if mute { "; is it a gRPC server that listens there?" } else { "" };
            return Some(format!("the processor ended the stream with {}{hint}", status_text(status)));
        }
        if let Some(turn) = self.turns.iter().find(|turn| turn.sent.is_empty()) {
            let phase = turn.phase.map_or("nothing", super::words::Phase::name);
            return Some(format!(
                "the processor answered {phase}, which was not asked; each message is answered once, by the answer of its \
                 own phase"
            ));
        }
        match self.details.as_deref() {
            Some("request_payload_too_large" | "response_payload_too_large") => {
                return Some(
                    "the body is larger than the data plane's buffer of 1 MiB; --mode streamed has no limit".to_owned(),
                );
            }
            Some(details) if !self.immediate => {
                let rule = details.replace('_', " ");
                return Some(format!("the processor broke a rule of the protocol: {rule}"));
            }
            _ => {}
        }
        if stats.failure_mode_allowed > 0 {
            return Some(
                "the processor sent a message that has no place in its phase; see the conversation".to_owned(),
            );
        }
        (stats.rejected_header_mutations > 0).then(|| {
            format!(
                "{} header change(s) refused: Envoy's default rules protect host, :authority, :scheme, :method and \
                 x-envoy-*, and names and values must be valid",
                stats.rejected_header_mutations
            )
        })
    }
}

fn table(log: &Log) -> Table {
    let mut table = Table::new(&["at", "phase", "sent", "received", "time"]);
    for turn in &log.turns {
        let (took, received) = match &turn.answer {
            Some((took, lines)) if !turn.sent.is_empty() => (millis(*took), lines.clone()),
            Some((_, lines)) => (String::new(), lines.clone()),
            None => (String::new(), vec!["(no answer)".to_owned()]),
        };
        let phase = turn.phase.map_or("any", super::words::Phase::name);
        let sent = if turn.sent.is_empty() { vec!["(not asked)".to_owned()] } else { turn.sent.clone() };
        table.row(vec![vec![millis(turn.at - log.began)], vec![phase.to_owned()], sent, received, vec![took]]);
    }
    table
}

fn section(out: &mut String, title: &str, before: &Message, after: &Message) {
    let _ = writeln!(out, "\n{BOLD}{title}{BOLD:#}");
    fields(out, &readable(&before.headers), &readable(&after.headers));
    if !after.body.is_empty() || !before.body.is_empty() {
        let mark = if before.body == after.body || before.headers.is_empty() { ' ' } else { '~' };
        let _ = writeln!(out, "\n{mark} {}", preview(&after.body));
    }
    if !after.trailers.is_empty() || !before.trailers.is_empty() {
        let _ = writeln!(out, "\n  trailers");
        fields(out, &readable(&before.trailers), &readable(&after.trailers));
    }
}

fn fields(out: &mut String, before: &Fields, after: &Fields) {
    let compare = if before.is_empty() { after } else { before };
    for line in changes(compare, after) {
        let style = line.style();
        let _ = writeln!(out, "{style}{} {}: {}{style:#}", line.mark(), line.name, line.value);
    }
}

fn status_text(status: &extproc_core::filter::GrpcStatus) -> String {
    let code = tonic::Code::from(i32::from(status.code));
    format!("gRPC status {} ({code:?}): {:?}", status.code, status.message)
}

fn millis(duration: Duration) -> String {
    format!("{:.1} ms", duration.as_secs_f64() * 1000.0)
}
