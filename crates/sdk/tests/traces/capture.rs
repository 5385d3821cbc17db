//! Keeps spans and events as text.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::DefaultGuard;
use tracing::{Event, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::{Context, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;

/// What was told, in order: `span NAME in PARENT field=value`, `record NAME field=value`, `LEVEL in SPAN field=value`.
#[derive(Clone, Default)]
pub(crate) struct Told(Arc<Mutex<Vec<String>>>);

/// Ends the listening when it is dropped.
pub(crate) struct Listening {
    _default: DefaultGuard,
    _turn: MutexGuard<'static, ()>,
}

impl Told {
    /// Listens to what this thread tells, at this level and above.
    ///
    /// One test at a time: whether anybody listens is remembered for the whole process.
    pub(crate) fn listen(level: LevelFilter) -> (Self, Listening) {
        static TURN: Mutex<()> = Mutex::new(());
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        let told = Self::default();
        let subscriber = tracing_subscriber::registry().with(told.clone().with_filter(level));
        (told, Listening { _default: tracing::subscriber::set_default(subscriber), _turn: turn })
    }

    pub(crate) fn lines(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }

    pub(crate) fn starting(&self, with: &str) -> Vec<String> {
        self.lines().into_iter().filter(|line| line.starts_with(with)).collect()
    }

    #[track_caller]
    pub(crate) fn one(&self, with: &str) -> String {
        let found = self.starting(with);
        assert_eq!(found.len(), 1, "{with}: {:#?}", self.lines());
        found[0].clone()
    }

    fn push(&self, line: String) {
        self.0.lock().unwrap().push(line);
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Told {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let span = context.span(id).unwrap();
        let parent = span.parent().map_or("nothing", |parent| parent.name());
        let mut line = format!("span {} in {parent}", span.name());
        attributes.record(&mut Line(&mut line));
        self.push(line);
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        let mut line = format!("record {}", context.span(id).unwrap().name());
        values.record(&mut Line(&mut line));
        self.push(line);
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let span = context.event_span(event).map_or("nothing", |span| span.name());
        let mut line = format!("{} in {span}", event.metadata().level());
        event.record(&mut Line(&mut line));
        self.push(line);
    }
}

struct Line<'a>(&'a mut String);

impl Visit for Line<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.0.push_str(&format!(" {}={value:?}", field.name()));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.push_str(&format!(" {}={value}", field.name()));
    }
}
