//! What syncs are doing, on a terminal: one line each, redrawn. Elsewhere nothing: results are lines of their own.

use crate::sync::Activity;
use indicatif::{HumanBytes, HumanCount, MultiProgress, ProgressBar, ProgressStyle};
use std::{
    collections::BTreeMap,
    io::IsTerminal,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    thread::JoinHandle,
    time::Duration,
};

/// How often lines are redrawn.
const REDRAW: Duration = Duration::from_millis(100);
/// Lines on the screen at once.
const LINES_MAX: usize = 16;

/// The lines, drawn by a thread of their own until [`Display::end`].
pub(super) struct Display {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Display {
    /// Shows what `activities` gives.
    pub(super) fn start(activities: impl Fn() -> Vec<Activity> + Send + 'static) -> Self {
        Self::draw(move |lines| {
            let activities = activities();
            lines
                .show(activities.iter().take(LINES_MAX).map(|activity| (activity.path.to_string(), text_of(activity))));
        })
    }

    /// Shows one line while somebody else works.
    pub(super) fn waiting(text: &str) -> Self {
        let text = text.to_owned();
        Self::draw(move |lines| lines.show([(String::new(), text.clone())].into_iter()))
    }

    fn draw(mut frame: impl FnMut(&mut Lines) + Send + 'static) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        if !std::io::stderr().is_terminal() {
            return Self { stop, thread: None };
        }
        let stopped = stop.clone();
        let thread = std::thread::spawn(move || {
            let mut lines = Lines::default();
            while !stopped.load(Relaxed) {
                frame(&mut lines);
                std::thread::sleep(REDRAW);
            }
            lines.show(std::iter::empty());
            let _ = lines.screen.clear();
        });
        Self { stop, thread: Some(thread) }
    }

    /// Clears the lines.
    pub(super) fn end(mut self) {
        self.stop.store(true, Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

#[derive(Default)]
struct Lines {
    screen: MultiProgress,
    bars: BTreeMap<String, ProgressBar>,
}

impl Lines {
    fn show(&mut self, wanted: impl Iterator<Item = (String, String)>) {
        let wanted: BTreeMap<String, String> = wanted.collect();
        self.bars.retain(|name, bar| {
            let stays = wanted.contains_key(name);
            if !stays {
                bar.finish_and_clear();
            }
            stays
        });
        for (name, text) in wanted {
            let bar = self.bars.entry(name.clone()).or_insert_with(|| {
                let bar = self.screen.add(ProgressBar::new_spinner());
                if let Ok(style) = ProgressStyle::with_template("{spinner} {prefix} {wide_msg}") {
                    bar.set_style(style);
                }
                bar.set_prefix(name);
                bar
            });
            bar.set_message(text);
            bar.tick();
        }
    }
}

fn text_of(activity: &Activity) -> String {
    let progress = &activity.progress;
    let mut text = progress.phase().as_str().to_owned();
    if progress.bytes() > 0 {
        text += &format!(", {}", HumanBytes(progress.bytes()));
    }
    if progress.objects() > 0 {
        text += &format!(", {} objects", HumanCount(progress.objects().into()));
    }
    let said = progress.message();
    if !said.is_empty() {
        text += &format!(" ({said})");
    }
    text
}
