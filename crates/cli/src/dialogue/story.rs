//! An exchange told to people: the conversation, then what upstream and client got, with what changed.

use std::fmt::Write as _;
use std::time::Duration;

use bytes::Bytes;
use extproc::testing::{Ending, Event, Seen};
use extproc_core::filter::{GrpcStatus, HttpEvent};
use extproc_core::{Direction, Headers};

use super::Log;
use super::words::{self, Phase};
use crate::text::{BOLD, DIM, Fields, RED, Table, changes, preview};

/// The phase table, then the request and the response with what changed.
pub(crate) fn render(log: &Log) -> String {
    let mut out = String::new();
    // Writing to a String cannot fail.
    let _ = writeln!(out, "{BOLD}Conversation{BOLD:#}");
    let table = table(log);
    match &table {
        None => out.push_str("  nothing was sent: the mode asks for nothing\n"),
        Some(table) => out.push_str(&table.render("  ")),
    }
    if let Some(end) = log.ended() {
        let text = match end {
            Ok(()) => "the processor ended the stream: OK".to_owned(),
            Err(status) => format!("the stream failed: {}", status_text(status)),
        };
        let _ = writeln!(out, "  {text}");
    }
    let effective = &log.effective;
    match log.is_upstream_asked() {
        true => section(&mut out, "Request to the upstream", &came(log, Direction::Request), &effective.request),
        false => {
            let _ = writeln!(out, "\n{BOLD}Request to the upstream{BOLD:#}\n  none");
        }
    }
    // A response made in place of the upstream's has nothing to be compared with.
    let before = if log.is_local() { Whole::default() } else { came(log, Direction::Response) };
    section(&mut out, "Response to the client", &before, &effective.response);
    match effective.ending {
        Ending::Cut => {
            let _ = writeln!(out, "  {RED}cut: the client sees an incomplete response{RED:#}");
        }
        Ending::Stuck if !log.quit => {
            let _ = writeln!(out, "  {RED}the exchange stood still: nothing was owed, and nothing came{RED:#}");
        }
        Ending::ClientGaveUp => out.push_str("  the client gave up\n"),
        _ => {}
    }
    let _ = write!(out, "\n{DIM}{} in all", millis(effective.took()));
    if let Some(details) = &effective.details {
        let _ = write!(out, "; {details}");
    }
    let _ = writeln!(out, "{DIM:#}");
    out
}

/// A gRPC status for people.
pub(crate) fn status_text(status: &GrpcStatus) -> String {
    let code = tonic::Code::from(i32::from(status.code));
    format!("gRPC status {} ({code:?}): {:?}", status.code, status.message)
}

/// Headers as people write them.
pub(crate) fn readable(headers: &Headers) -> Fields {
    headers.iter().map(|(name, value)| (name.as_str().to_owned(), preview(value.as_bytes()))).collect()
}

pub(crate) fn millis(duration: Duration) -> String {
    format!("{:.1} ms", duration.as_secs_f64() * 1000.0)
}

/// A message as it was before the processor.
#[derive(Debug, Default)]
pub(crate) struct Whole {
    pub(crate) headers: Headers,
    pub(crate) body: Bytes,
    pub(crate) trailers: Headers,
}

/// What client or upstream sent, as far as they did.
pub(crate) fn came(log: &Log, direction: Direction) -> Whole {
    let mut whole = Whole::default();
    let mut body = Vec::new();
    for entry in &log.effective.entries {
        match &entry.event {
            Event::Came(of, part) if *of == direction => match part {
                HttpEvent::Headers(headers, _) => whole.headers = headers.clone(),
                HttpEvent::Data(data, _) => body.extend_from_slice(data),
                HttpEvent::Trailers(trailers) => whole.trailers = trailers.clone(),
            },
            _ => {}
        }
    }
    whole.body = body.into();
    whole
}

fn table(log: &Log) -> Option<Table> {
    let mut table = Table::new(&["at", "phase", "sent", "received", "time"]);
    let turns = log.turns();
    for turn in &turns {
        let (took, received) = match turn.answer {
            Some((took, reply)) if turn.sent.is_some() => (millis(took), words::received(reply)),
            Some((_, reply)) => (String::new(), words::received(reply)),
            None => (String::new(), vec!["(no answer)".to_owned()]),
        };
        let phase = turn.phase.map_or("any", Phase::name);
        let sent = turn.sent.map_or_else(|| vec!["-".to_owned()], words::sent);
        table.row(vec![vec![millis(turn.at)], vec![phase.to_owned()], sent, received, vec![took]]);
    }
    (!turns.is_empty()).then_some(table)
}

fn section(out: &mut String, title: &str, before: &Whole, after: &Seen) {
    let _ = writeln!(out, "\n{BOLD}{title}{BOLD:#}");
    let none = Headers::new();
    fields(out, &before.headers, after.headers.as_ref().unwrap_or(&none));
    let body = after.body();
    if !body.is_empty() || !before.body.is_empty() {
        let mark = if before.body == body || before.headers.is_empty() { ' ' } else { '~' };
        let _ = writeln!(out, "\n{mark} {}", preview(&body));
    }
    let trailers = after.trailers.as_ref().unwrap_or(&none);
    if !trailers.is_empty() || !before.trailers.is_empty() {
        let _ = writeln!(out, "\n  trailers");
        fields(out, &before.trailers, trailers);
    }
}

fn fields(out: &mut String, before: &Headers, after: &Headers) {
    let (before, after) = (readable(before), readable(after));
    let compare = if before.is_empty() { &after } else { &before };
    for line in changes(compare, &after) {
        let style = line.style();
        let _ = writeln!(out, "{style}{} {}: {}{style:#}", line.mark(), line.name, line.value);
    }
}
