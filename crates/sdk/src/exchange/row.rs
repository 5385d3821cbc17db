//! The row of stages on one exchange: which still take part, and what their failures mean.

use std::sync::Arc;

use extproc_core::{BodyMode, Direction};

use super::Expects;
use super::way::Way;
use super::{Failure, Outcome};
use crate::blocked::{Blocked, Mismatch, MismatchKind, OnMismatch, Phase, Reason, Settings, Write};
use crate::body::Want;
use crate::head::{Asked, Reach};
use crate::stages::Run;
use crate::stop::Halted;
use crate::telemetry::{FailureKind, Limit, Need, Record};
use crate::{Difference, DifferenceKind, End, Facts, Fields, OnError, RequestHead};

/// The stages, and what they share.
pub(super) struct Row<R> {
    pub(super) run: R,
    states: Vec<State>,
    /// What the header phases may say besides their edits.
    pub(super) reach: Reach,
    pub(super) settings: Arc<Settings>,
    /// What the data plane told so far.
    pub(super) facts: Arc<Facts>,
    /// The phase that gave metadata last.
    pub(super) annotated: Option<(usize, Phase)>,
    /// The request's head once it has been forwarded, and how many stages have seen it.
    request: Option<Arc<RequestHead>>,
    seen: usize,
    pub(super) record: Record,
}

/// Whether a stage takes part.
#[derive(Clone, Copy, Debug, Default)]
struct State {
    /// Detached, or skipped after an error.
    off: bool,
    /// Asked for no body of a direction.
    declines: [bool; 2],
}

impl<R: Run> Row<R> {
    pub(super) fn new(run: R, settings: Arc<Settings>, facts: Arc<Facts>, record: Record) -> Self {
        let states = vec![State::default(); run.len()];
        let reach = Reach::default();
        Self { states, run, reach, settings, facts, annotated: None, request: None, seen: 0, record }
    }

    pub(super) fn len(&self) -> usize {
        self.states.len()
    }

    pub(super) fn is_on(&self, stage: usize) -> bool {
        !self.states[stage].off
    }

    pub(super) fn is_all_off(&self) -> bool {
        self.states.iter().all(|state| state.off)
    }

    pub(super) fn detach(&mut self, stage: usize) {
        self.states[stage].off = true;
    }

    /// The stage asked for modes: NONE means that it does not want the body.
    pub(super) fn asked(&mut self, stage: usize, asked: Asked) {
        for direction in Direction::BOTH {
            match asked.of(direction) {
                None => {}
                Some(BodyMode::None) => self.states[stage].declines[direction as usize] = true,
                Some(mode) => {
                    self.states[stage].declines[direction as usize] = false;
                    match direction {
                        Direction::Request => self.reach.asked.request = Some(mode),
                        Direction::Response => self.reach.asked.response = Some(mode),
                    }
                }
            }
        }
    }

    /// What the next header phase may say.
    pub(super) fn lend_reach(&mut self) -> Reach {
        Reach { outbox: self.reach.outbox.take(), may_ask: self.reach.may_ask, ..Reach::default() }
    }

    /// Whether a stage that has a body handler asked for no body.
    pub(super) fn declined(&self, direction: Direction) -> bool {
        self.states.iter().any(|state| state.declines[direction as usize])
    }

    /// What the stage takes of a body.
    pub(super) fn want(&self, stage: usize, direction: Direction) -> Want {
        let state = self.states[stage];
        if state.off || state.declines[direction as usize] { Want::Nothing } else { self.run.want(stage, direction) }
    }

    /// Whether the stage takes whole bodies.
    pub(super) fn collects(&self, stage: usize, direction: Direction) -> bool {
        matches!(self.want(stage, direction), Want::Whole(_))
    }

    /// Whether any stage takes whole bodies.
    pub(super) fn collects_any(&self, direction: Direction) -> bool {
        (0..self.len()).any(|stage| self.collects(stage, direction))
    }

    pub(super) fn wants(&self, direction: Direction) -> bool {
        (0..self.len()).any(|stage| self.want(stage, direction) != Want::Nothing)
    }

    pub(super) fn share(&mut self, request: Arc<RequestHead>, seen: usize) {
        self.request = Some(request);
        self.seen = seen;
    }

    pub(super) fn is_shared(&self) -> bool {
        self.request.is_some()
    }

    /// The request as this stage may see it.
    pub(super) fn request(&self, stage: usize) -> Option<Arc<RequestHead>> {
        if stage < self.seen { self.request.clone() } else { None }
    }

    /// Whether a failure of the stage is to be undone.
    pub(super) fn is_tolerant(&self, stage: usize) -> bool {
        matches!(self.run.on_error(stage), OnError::Skip)
    }

    /// Judges what a handler returned. `true` when its edits stand.
    pub(super) fn judge(
        &mut self,
        stage: usize,
        phase: Phase,
        result: Result<(), Halted>,
        fields: &mut Fields,
    ) -> Result<bool, Outcome> {
        if fields.has_metadata() {
            self.annotated = Some((stage, phase));
        }
        let refused = fields.take_refused();
        if let Some(refused) = refused {
            self.block(stage, phase, Write::Header, refused.into());
        }
        let halted = match (result, refused) {
            (Ok(()), None) => {
                fields.commit();
                return Ok(true);
            }
            (Ok(()), Some(refused)) => Halted::Fail(refused.into()),
            (Err(halted), _) => halted,
        };
        let end = match &halted {
            Halted::Reply(_) | Halted::Reset | Halted::Fail(_) => End::Failed,
            Halted::Panic(_) => End::Panicked,
        };
        match halted {
            Halted::Reply(reply) => return Err(Outcome::Reply { by: stage, reply }),
            Halted::Reset => return Err(Outcome::Cut),
            Halted::Fail(error) => self.record.handler_failed(stage, &error),
            Halted::Panic(text) => self.record.failed(stage, FailureKind::Panic, &text),
        }
        let failure = Failure::Stage(self.run.name(stage).to_owned());
        let policy = self.run.on_error(stage);
        self.states[stage].off = true;
        self.run.close(stage, end);
        match policy {
            OnError::Fail => Err(Outcome::Fail(failure)),
            OnError::Reply(reply) => Err(Outcome::Reply { by: stage, reply }),
            OnError::Skip => {
                fields.undo();
                Ok(false)
            }
        }
    }

    /// A write of the stage was not carried.
    pub(super) fn block(&self, stage: usize, phase: Phase, what: Write, reason: Reason) {
        self.record.blocked(stage, &reason);
        self.settings.blocked(&Blocked { processor: self.run.name(stage).to_owned(), phase, what, reason });
    }

    /// The data plane is not configured as a stage, or all of them, need it.
    pub(super) fn differs(&self, stage: Option<usize>, what: DifferenceKind) {
        let first = self.record.differs(stage, what);
        let names = || self.record.names(stage).to_owned();
        self.settings.differs(first, || Difference { processor: names(), what });
    }

    pub(super) fn expects(&self) -> Expects {
        self.record.expects()
    }

    pub(super) fn on_mismatch(&self, stage: usize) -> OnMismatch {
        self.run.on_mismatch(stage).unwrap_or(self.settings.on_mismatch)
    }

    /// The stage's kind does not go with the body mode.
    pub(super) fn mismatch(
        &mut self,
        stage: usize,
        direction: Direction,
        mode: BodyMode,
        what: MismatchKind,
    ) -> Result<(), Outcome> {
        let need = match self.want(stage, direction) {
            Want::Nothing => return Ok(()),
            Want::Whole(_) => Need::Whole,
            Want::Chunks => Need::Chunks,
            Want::Messages => Need::Messages,
        };
        let action = self.on_mismatch(stage);
        let processor = self.run.name(stage).to_owned();
        self.record.mismatch(stage, need, mode);
        self.settings.mismatch(&Mismatch { processor, direction, mode, what, action });
        match action {
            OnMismatch::Fail => {
                let processor = self.run.name(stage).to_owned();
                return Err(Outcome::Fail(Failure::Mismatch { processor, mode }));
            }
            OnMismatch::Pass => self.states[stage].declines[direction as usize] = true,
            OnMismatch::Serve if what == MismatchKind::NotSent => {
                self.states[stage].declines[direction as usize] = true;
            }
            OnMismatch::Serve => {}
        }
        Ok(())
    }

    /// The stages that want the body of this direction will not get it.
    pub(super) fn not_sent(&mut self, direction: Direction) -> Result<(), Outcome> {
        (0..self.len())
            .filter(|stage| self.want(*stage, direction) != Want::Nothing)
            .collect::<Vec<_>>()
            .into_iter()
            .try_for_each(|stage| self.mismatch(stage, direction, BodyMode::None, MismatchKind::NotSent))
    }

    pub(super) fn close(&mut self, end: End) {
        for stage in 0..self.len() {
            self.run.close(stage, end);
        }
    }
}

impl<R: Run> Row<R> {
    /// A body is longer than the stage takes.
    pub(super) fn overflow<W: Way>(&self, stage: usize, limit: usize) -> Outcome {
        self.record.limit(stage, Limit::Body);
        W::overflow(stage, limit).unwrap_or_else(|error| {
            self.record.failed(stage, FailureKind::BodyTooLong, &error);
            Outcome::Fail(Failure::Stage(self.run.name(stage).to_owned()))
        })
    }

    /// The stage that puts a body out last.
    pub(super) fn last_wanting<W: Way>(&self) -> usize {
        let stages = (0..self.len()).map(|position| W::stage(position, self.len()));
        stages.filter(|stage| self.want(*stage, W::DIRECTION) != Want::Nothing).last().unwrap_or_default()
    }

    /// The body mode cannot carry what the stage wants of the body.
    pub(super) fn fail_body<W: Way>(&self, stage: usize, reason: Reason) -> Outcome {
        self.block(stage, W::BODY, Write::Output, reason);
        self.record.failed(stage, FailureKind::BodyMode, &reason);
        Outcome::Fail(Failure::Stage(self.run.name(stage).to_owned()))
    }

    /// A copy of the head that was shared with the response, for a late body phase of the request.
    pub(super) fn copy_head<W: Way>(&self) -> Option<W::Head> {
        self.request.as_deref().and_then(W::copy)
    }
}
