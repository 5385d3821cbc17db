//! The data plane's configuration against what the stages need: once for each stream, at its first message.

use extproc_core::session::Call;
use extproc_core::{BodyMode, Direction, Session};

use super::way::Way;
use super::{Outcome, Row};
use crate::body::Want;
use crate::stages::Run;
use crate::{DifferenceKind, MismatchKind, OnMismatch, Request};

/// What the stages of a server need besides bodies; read off their wishes when it is built.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Expects {
    pub(crate) mode_override: bool,
    pub(crate) request_attributes: bool,
}

/// Tells what differs, and fails the exchange where the policy says so and nothing can be done about it.
pub(super) fn compare<R: Run>(
    row: &mut Row<R>,
    session: &Session,
    call: &Call,
    attributes: bool,
) -> Result<(), Outcome> {
    // Data planes that do not declare their modes cannot be compared; observers are sent what there is to see.
    let Some(protocol) = session.protocol() else { return Ok(()) };
    for direction in Direction::BOTH {
        let mode = protocol.bodies.of(direction);
        if mode != BodyMode::None && !row.wants(direction) {
            row.differs(None, DifferenceKind::BodyUnread { direction, mode });
        }
        for stage in 0..row.len() {
            let want = row.want(stage, direction);
            let Some((what, mismatch)) = judge(want, direction, mode) else { continue };
            row.differs(Some(stage), what);
            let remedy = mode == BodyMode::None && session.may_ask();
            if !remedy && comes(call, direction) && row.on_mismatch(stage) == OnMismatch::Fail {
                row.mismatch(stage, direction, mode, mismatch)?;
            }
        }
    }
    let expects = row.expects();
    if expects.mode_override && !session.may_ask() {
        row.differs(None, DifferenceKind::ModeOverrideUnread);
    }
    if expects.request_attributes && !attributes && matches!(call, Call::Headers { direction: Direction::Request, .. })
    {
        row.differs(None, DifferenceKind::NoAttributes);
    }
    Ok(())
}

/// What is wrong with a mode, as far as it is certain before the body comes.
const fn judge(want: Want, direction: Direction, mode: BodyMode) -> Option<(DifferenceKind, MismatchKind)> {
    let best = match want {
        Want::Nothing => return None,
        Want::Whole(_) => BodyMode::Buffered,
        Want::Chunks | Want::Messages => BodyMode::FullDuplexStreamed,
    };
    let differs = DifferenceKind::BodyMode { direction, mode, best };
    match (want, mode) {
        (_, BodyMode::None) => Some((DifferenceKind::BodyNotSent { direction, best }, MismatchKind::NotSent)),
        (Want::Whole(_), BodyMode::Grpc) => Some((differs, MismatchKind::WholeOfMessages)),
        (Want::Chunks, BodyMode::Grpc) => Some((differs, MismatchKind::ChunksOfMessages)),
        _ => None,
    }
}

/// Whether a body of this direction may come at all.
fn comes(call: &Call, direction: Direction) -> bool {
    match call {
        Call::Headers { direction: Direction::Request, headers, end_stream } => {
            (direction == Direction::Response || !end_stream)
                && !Request::is_upgrade(&Request::head(headers.clone(), false))
        }
        _ => true,
    }
}
