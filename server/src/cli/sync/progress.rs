//! What syncs are doing: on a terminal a line each, redrawn, with a bar where a total is known; elsewhere, every few
//! seconds, a line each. What is counted is what has been done, never what was announced.

use crate::sync::Activity;
use indicatif::{HumanBytes, HumanCount, MultiProgress, ProgressBar, ProgressStyle};
use std::{
    collections::BTreeMap,
    io::IsTerminal,
    sync::mpsc::{self, RecvTimeoutError, Sender},
    thread::JoinHandle,
    time::{Duration, Instant},
};

/// How often lines are redrawn on a terminal.
const REDRAW: Duration = Duration::from_millis(100);
/// How often they are written elsewhere.
const REPORT: Duration = Duration::from_secs(3);
/// Lines at once.
const LINES_MAX: usize = 16;

/// Where one sync stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::cli) struct Step {
    /// Of what: a repository, as a rule.
    pub(in crate::cli) name: String,
    pub(in crate::cli) phase: String,
    /// Objects dealt with in this phase, and of how many.
    pub(in crate::cli) objects: Option<(u64, u64)>,
    /// Bytes that have come from the upstream.
    pub(in crate::cli) bytes: u64,
    /// The upstream's last words.
    pub(in crate::cli) said: String,
}

/// The lines, drawn by a thread of their own until [`Display::end`].
pub(in crate::cli) struct Display {
    stop: Sender<()>,
    thread: JoinHandle<()>,
}

impl Display {
    /// Shows what `activities` gives.
    pub(in crate::cli) fn start(activities: impl Fn() -> Vec<Activity> + Send + 'static) -> Self {
        Self::draw(move || activities().iter().map(Step::of).collect())
    }

    /// Shows that somebody else, `whom`, works, for how long, and the `steps` that they tell of.
    pub(in crate::cli) fn waiting(whom: String, steps: impl Fn() -> Vec<Step> + Send + 'static) -> Self {
        let began = Instant::now();
        Self::draw(move || {
            let phase = format!("at work for {} s", began.elapsed().as_secs());
            let all = Step { name: whom.clone(), phase, ..Step::default() };
            std::iter::once(all).chain(steps()).collect()
        })
    }

    fn draw(steps: impl Fn() -> Vec<Step> + Send + 'static) -> Self {
        let (stop, stopped) = mpsc::channel();
        let thread = std::thread::spawn(move || {
            let is_terminal = std::io::stderr().is_terminal();
            let mut lines = Lines::default();
            let pause = if is_terminal { REDRAW } else { REPORT };
            while stopped.recv_timeout(pause) == Err(RecvTimeoutError::Timeout) {
                let steps: Vec<Step> = steps().into_iter().take(LINES_MAX).collect();
                if is_terminal {
                    lines.show(steps);
                } else {
                    steps.iter().for_each(|step| crate::cli::complain(format_args!("{}", step.line())));
                }
            }
            lines.show(Vec::new());
            let _ = lines.screen.clear();
        });
        Self { stop, thread }
    }

    /// Clears the lines.
    pub(in crate::cli) fn end(self) {
        drop(self.stop);
        let _ = self.thread.join();
    }
}

impl Step {
    fn of(activity: &Activity) -> Self {
        let progress = &activity.progress;
        Self {
            name: activity.path.to_string(),
            phase: progress.phase().as_str().to_owned(),
            objects: progress.objects(),
            bytes: progress.bytes(),
            said: progress.message(),
        }
    }

    /// All of it but what the bar shows.
    fn text(&self) -> String {
        let mut text = self.phase.clone();
        if self.bytes > 0 {
            text += &format!(", {}", HumanBytes(self.bytes));
        }
        if !self.said.is_empty() {
            text += &format!(" ({})", self.said);
        }
        text
    }

    pub(in crate::cli) fn line(&self) -> String {
        let objects =
            self.objects.map(|(done, total)| format!(" {} of {} objects", HumanCount(done), HumanCount(total)));
        let Self { name, phase, .. } = self;
        let rest = self.text();
        format!(
            "{name}: {phase}{}{}",
            objects.unwrap_or_default(),
            rest.strip_prefix(phase.as_str()).unwrap_or_default()
        )
    }
}

#[derive(Default)]
struct Lines {
    screen: MultiProgress,
    bars: BTreeMap<String, ProgressBar>,
}

impl Lines {
    fn show(&mut self, steps: Vec<Step>) {
        self.bars.retain(|name, bar| {
            let stays = steps.iter().any(|step| step.name == *name);
            if !stays {
                bar.finish_and_clear();
            }
            stays
        });
        for step in steps {
            let bar = self.bars.entry(step.name.clone()).or_insert_with(|| {
                let bar = self.screen.add(ProgressBar::new_spinner());
                bar.set_prefix(step.name.clone());
                bar
            });
            let template = match step.objects {
                Some((done, total)) => {
                    bar.set_length(total);
                    bar.set_position(done);
                    "{spinner} {prefix} {msg} [{bar:24}] {human_pos}/{human_len} objects"
                }
                None => "{spinner} {prefix} {wide_msg}",
            };
            if let Ok(style) = ProgressStyle::with_template(template) {
                bar.set_style(style.progress_chars("=> "));
            }
            bar.set_message(step.text());
            bar.tick();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines() {
        let step = |phase: &str, objects, bytes, said: &str| Step {
            name: "team/app.git".into(),
            phase: phase.into(),
            objects,
            bytes,
            said: said.into(),
        };
        for (step, line) in [
            (step("asking the upstream", None, 0, ""), "team/app.git: asking the upstream"),
            (
                step("receiving", Some((12_345, 190_722)), 4 << 20, ""),
                "team/app.git: receiving 12,345 of 190,722 objects, 4.00 MiB",
            ),
            (step("negotiating", None, 2048, "Counting"), "team/app.git: negotiating, 2.00 KiB (Counting)"),
        ] {
            assert_eq!(step.line(), line);
        }
    }
}
