//! What an answer has to do with what the upstream has now: in its header, in the log, and to the user.

use heliostat_core::store::Stale;
use std::{borrow::Cow, time::Duration};

/// `Heliostat-Freshness`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Freshness {
    /// The upstream has confirmed it since the request arrived.
    Confirmed,
    /// The upstream was not asked, and has answered when it was: how long ago, if it has been since the process started.
    Unasked(Option<Duration>),
    /// The upstream was asked in vain, now or when it was asked last: no answer, or none that could be used.
    Stale(Stale),
}

impl Freshness {
    /// In one word, for the log.
    pub fn word(self) -> &'static str {
        match self {
            Self::Confirmed => "confirmed",
            Self::Unasked(_) => "unasked",
            Self::Stale(_) => "stale",
        }
    }

    /// The value of the header: a word, and `; age=SECONDS` where there is an age and it is known.
    pub fn header(self) -> Cow<'static, str> {
        match self {
            Self::Stale(Stale { age: Some(age) }) | Self::Unasked(Some(age)) => {
                format!("{}; age={}", self.word(), age.as_secs()).into()
            }
            other => other.word().into(),
        }
    }

    /// The line that a user reads beside the progress of a fetch.
    pub fn notice(self) -> Option<String> {
        let Self::Stale(Stale { age }) = self else { return None };
        let state = age.map_or("when it answered last".into(), |age| format!("{} ago", rough(age)));
        Some(format!("This mirror can't tell what its upstream has now: this is what it had {state}.\n"))
    }
}

/// A time as people say it.
fn rough(time: Duration) -> String {
    match time.as_secs() {
        seconds @ ..120 => format!("{seconds} s"),
        seconds @ ..7_200 => format!("{} min", seconds / 60),
        seconds @ ..172_800 => format!("{} h", seconds / 3_600),
        seconds => format!("{} days", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_stale_says_how_old_it_is() {
        let stale = |seconds| Freshness::Stale(Stale { age: Some(Duration::from_secs(seconds)) });
        assert_eq!(stale(61).header(), "stale; age=61");
        let unknown = Freshness::Stale(Stale { age: None });
        assert_eq!(unknown.header(), "stale");
        assert!(unknown.notice().is_some_and(|line| line.ends_with("what it had when it answered last.\n")));
        for (seconds, words) in [(0, "0 s"), (119, "119 s"), (120, "2 min"), (7_200, "2 h"), (900_000, "10 days")] {
            let line = stale(seconds).notice().unwrap();
            assert!(line.ends_with(&format!("what it had {words} ago.\n")), "{line}");
        }
        let unasked = Freshness::Unasked(Some(Duration::from_secs(5)));
        assert_eq!((&*unasked.header(), &*Freshness::Unasked(None).header()), ("unasked; age=5", "unasked"));
        assert_eq!((Freshness::Confirmed.notice(), unasked.notice()), (None, None));
    }
}
