//! Playing cases.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use extproc_core::{BodyMode, Config, Options, Profile};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::case::{Case, Golden, Modes};
use super::check::{Difference, differences};
use super::load::{File, Loaded};
use super::transcript;
use crate::dialogue::{self, Log, Processor, story};

/// How cases are played.
#[derive(Clone, Copy, Debug)]
pub(super) struct Settings {
    /// For cases that say nothing.
    pub(super) timeout: Duration,
    /// Write the transcripts instead of comparing them.
    pub(super) update: bool,
    pub(super) parallel: usize,
    /// Times the number that the case wants.
    pub(super) repeat: u32,
}

/// What came of one run of a case.
#[derive(Debug)]
pub(super) struct Ran {
    pub(super) file: PathBuf,
    pub(super) line: usize,
    pub(super) case: String,
    pub(super) mode: String,
    /// The number of the run, when there are several.
    pub(super) run: Option<u32>,
    pub(super) took: Duration,
    pub(super) verdict: Verdict,
}

#[derive(Debug)]
pub(super) enum Verdict {
    Passed,
    /// It passed, and its transcript was written anew.
    Updated(PathBuf),
    Skipped(String),
    Failed {
        differences: Vec<Difference>,
        /// The exchange, told.
        story: String,
    },
    /// It could not be played.
    Broken(String),
}

/// Plays the chosen cases, each in all of its modes, as often as it wants; results are in the order of the files.
pub(super) async fn run(
    files: Vec<File>,
    chosen: impl Fn(&Case) -> bool,
    processor: Arc<Processor>,
    settings: Settings,
) -> Vec<Ran> {
    let places = Arc::new(Semaphore::new(settings.parallel));
    let mut all = Vec::new();
    let mut tasks = JoinSet::new();
    for file in files {
        for loaded in file.cases.into_iter().filter(|loaded| chosen(&loaded.case)) {
            let loaded = Arc::new(loaded);
            for ran in planned(&file.path, &loaded.case, settings) {
                let index = all.len();
                all.push(None);
                if let Verdict::Skipped(_) = ran.verdict {
                    all[index] = Some(ran);
                    continue;
                }
                let (loaded, processor, places) = (Arc::clone(&loaded), Arc::clone(&processor), Arc::clone(&places));
                let (modes, ran) = (loaded.case.modes.clone(), ran);
                tasks.spawn(async move {
                    // It is never closed.
                    let _place = places.acquire_owned().await;
                    let mode = modes.into_iter().find(|mode| mode.to_string() == ran.mode);
                    (index, one(&loaded, mode, ran, &processor, settings).await)
                });
            }
        }
    }
    while let Some(done) = tasks.join_next().await {
        match done {
            Ok((index, ran)) => all[index] = Some(ran),
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        }
    }
    all.into_iter().flatten().collect()
}

/// The runs of a case, before they are played.
fn planned(file: &std::path::Path, case: &Case, settings: Settings) -> Vec<Ran> {
    let ran = |mode: &Modes, run, verdict| Ran {
        file: file.to_owned(),
        line: case.at.line,
        case: case.name.clone(),
        mode: mode.to_string(),
        run,
        took: Duration::ZERO,
        verdict,
    };
    if let Some(reason) = &case.skip {
        return case.modes.first().map(|mode| ran(mode, None, Verdict::Skipped(reason.clone()))).into_iter().collect();
    }
    let times = case.repeat.saturating_mul(settings.repeat);
    let runs = |mode| (1..=times).map(move |run| (mode, (times > 1).then_some(run)));
    case.modes.iter().flat_map(runs).map(|(mode, run)| ran(mode, run, Verdict::Passed)).collect()
}

async fn one(loaded: &Loaded, mode: Option<Modes>, ran: Ran, processor: &Processor, settings: Settings) -> Ran {
    let broken = |message: String| Verdict::Broken(message);
    let case = match loaded.numbered(ran.run.unwrap_or(1)) {
        Ok(case) => case,
        Err(message) => return Ran { verdict: broken(message), ..ran },
    };
    let Some(mode) = mode else { return Ran { verdict: broken("it has no such mode".to_owned()), ..ran } };
    let config = match config(&case, mode, settings.timeout) {
        Ok(config) => Arc::new(config),
        Err(error) => return Ran { verdict: broken(error.to_string()), ..ran },
    };
    match dialogue::play(&config, &case.exchange, processor, &case.grpc_metadata, None).await {
        Err(error) => Ran { verdict: broken(format!("{error:#}")), ..ran },
        Ok(log) => Ran { took: log.effective.took(), verdict: judge(&case, mode, &log, settings.update), ..ran },
    }
}

fn judge(case: &Case, mode: Modes, log: &Log, update: bool) -> Verdict {
    let mut differences = differences(&case.expect, log);
    let mut updated = None;
    if let Some(golden) = &case.expect.transcript {
        match compare(golden, case, mode, log, update) {
            Ok(written) => updated = written,
            Err(difference) => differences.push(difference),
        }
    }
    match (differences.is_empty(), updated) {
        (true, None) => Verdict::Passed,
        (true, Some(path)) => Verdict::Updated(path),
        (false, _) => Verdict::Failed { differences, story: story::render(log) },
    }
}

/// The file of a transcript: with several modes, each has its own.
fn golden_path(golden: &Golden, case: &Case, mode: Modes) -> PathBuf {
    if case.modes.len() < 2 {
        return golden.path.clone();
    }
    let mode = mode.to_string().replace('/', "-");
    match golden.path.extension().and_then(|it| it.to_str()) {
        Some(extension) => golden.path.with_extension(format!("{mode}.{extension}")),
        None => golden.path.with_extension(mode),
    }
}

fn compare(golden: &Golden, case: &Case, mode: Modes, log: &Log, update: bool) -> Result<Option<PathBuf>, Difference> {
    let path = golden_path(golden, case, mode);
    let actual = transcript::render(log, &golden.mask);
    let wrong = |expected: String, actual: String| Difference {
        what: format!("transcript {}", path.display()),
        expected,
        actual,
        at: golden.at,
    };
    let expected = std::fs::read_to_string(&path);
    if expected.as_ref().is_ok_and(|expected| *expected == actual) {
        return Ok(None);
    }
    if update {
        let parent = path.parent().map_or(Ok(()), std::fs::create_dir_all);
        let written = parent.and_then(|()| std::fs::write(&path, &actual));
        return match written {
            Ok(()) => Ok(Some(path)),
            Err(error) => Err(wrong("a file that can be written".to_owned(), error.to_string())),
        };
    }
    match expected {
        Ok(expected) => {
            let lines = transcript::difference(&expected, &actual);
            Err(wrong("the same".to_owned(), format!("differs (--update writes it anew)\n{lines}")))
        }
        Err(error) => Err(wrong("a file".to_owned(), format!("{error} (--update writes it)"))),
    }
}

/// The filter of a case in one of its modes.
fn config(case: &Case, mode: Modes, timeout: Duration) -> Result<Config, extproc_core::ConfigError> {
    let given = &case.data_plane;
    let mut options = Options { message_timeout: given.message_timeout.unwrap_or(timeout), ..given.options.clone() };
    let duplex = |mode| matches!(mode, BodyMode::FullDuplexStreamed);
    if given.profile.is_none() && [mode.request, mode.response].contains(&BodyMode::Grpc) {
        // Envoy does not have the mode.
        options.profile = Profile::Grpc;
    }
    let send = &mut options.processing_mode;
    (send.request_body, send.response_body) = (mode.request, mode.response);
    let there = case.exchange.request.has_trailers() || duplex(mode.request);
    send.request_trailers = given.request_trailers.unwrap_or(there);
    let there = case.exchange.response.has_trailers() || duplex(mode.response) || mode.response == BodyMode::Grpc;
    send.response_trailers = given.response_trailers.unwrap_or(there);
    Config::new(options)
}
