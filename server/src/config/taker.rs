//! Settings of one section, taken out one by one, each checked for what it is.

use super::{
    Mistake, Origin, Overrides,
    file::{Raw, Section, Setting},
    parse_duration, parse_size,
};
use crate::{
    tls::{Files, Identity, Part},
    upstream::transport::{Proxies, Proxy},
};
use heliostat_core::refs::Shown;
use std::{net::SocketAddr, time::Duration};

/// What kind an upstream is read as.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Git,
    Directory,
}

/// Takes settings out of one section, and notes what is wrong with them.
pub(super) struct Taker<'a> {
    pub(super) section: Section,
    pub(super) mistakes: &'a mut Vec<Mistake>,
}

impl Taker<'_> {
    pub(super) fn wrong(&mut self, origin: Origin, text: impl Into<String>) {
        self.mistakes.push(Mistake::new(origin, text));
    }

    pub(super) fn text(&mut self, key: &str) -> Option<(Origin, String)> {
        let Setting { origin, value } = self.section.remove(key)?;
        match value {
            Raw::Text(text) if !text.is_empty() => Some((origin, text)),
            Raw::Text(_) => {
                self.wrong(origin, format!("`{key}` must not be empty"));
                None
            }
            _ => {
                self.wrong(origin, format!("`{key}` is written as text, in quotes"));
                None
            }
        }
    }

    /// What the flag `name` says, or else the file. What is wrong with the file shows all the same.
    pub(super) fn overridden(
        &mut self,
        flag: Option<&String>,
        name: &'static str,
        key: &str,
    ) -> Option<(Origin, String)> {
        let file = self.text(key);
        let Some(text) = flag else { return file };
        if text.is_empty() {
            self.wrong(Origin::Flag(name), "must not be empty");
            return None;
        }
        Some((Origin::Flag(name), text.clone()))
    }

    pub(super) fn texts(&mut self, key: &str) -> Vec<(Origin, String)> {
        match self.section.remove(key) {
            None => Vec::new(),
            Some(Setting { origin, value: Raw::Texts(list) }) => list.into_iter().map(|t| (origin, t)).collect(),
            Some(Setting { origin, value: Raw::Text(one) }) => vec![(origin, one)],
            Some(Setting { origin, .. }) => {
                self.wrong(origin, format!("`{key}` is a list of texts"));
                Vec::new()
            }
        }
    }

    pub(super) fn refs(&mut self) -> Shown {
        let patterns = self.texts("refs");
        Shown::new(patterns.iter().map(|(_, text)| text.as_str())).unwrap_or_else(|why| {
            let origin = patterns.first().map_or(Origin::Nowhere, |(origin, _)| *origin);
            self.wrong(origin, why);
            Shown::default()
        })
    }

    pub(super) fn duration(
        &mut self,
        key: &str,
        default: Duration,
        range: std::ops::RangeInclusive<Duration>,
    ) -> Duration {
        let Some((origin, text)) = self.text(key) else { return default };
        match parse_duration(&text) {
            Ok(duration) if range.contains(&duration) => duration,
            Ok(_) => {
                self.wrong(origin, format!("`{key}` must lie between {:?} and {:?}", range.start(), range.end()));
                default
            }
            Err(text) => {
                self.wrong(origin, text);
                default
            }
        }
    }

    pub(super) fn size(&mut self, key: &str, min: u64) -> Option<(Origin, u64)> {
        let (origin, text) = self.text(key)?;
        match parse_size(&text) {
            Ok(size) if size >= min => return Some((origin, size)),
            Ok(_) => self.wrong(origin, format!("`{key}` is at least {min} bytes")),
            Err(text) => self.wrong(origin, text),
        }
        None
    }

    /// The same where 0, with no unit, turns something off.
    pub(super) fn size_or_nothing(&mut self, key: &str, min: u64) -> Option<u64> {
        let off = |setting: &Setting| match &setting.value {
            Raw::Number(number) => *number == 0,
            Raw::Text(text) => text == "0",
            _ => false,
        };
        if self.section.get(key).is_some_and(off) {
            self.section.remove(key);
            return Some(0);
        }
        self.size(key, min).map(|(_, size)| size)
    }

    pub(super) fn count(&mut self, key: &str, range: std::ops::RangeInclusive<usize>) -> Option<usize> {
        let Setting { origin, value } = self.section.remove(key)?;
        if let Raw::Number(number) = value
            && let Ok(count) = usize::try_from(number)
            && range.contains(&count)
        {
            return Some(count);
        }
        self.wrong(origin, format!("`{key}` is a whole number from {} to {}", range.start(), range.end()));
        None
    }

    /// A number of connections or the like.
    pub(super) fn bound(&mut self, key: &str, max: u32) -> Option<u32> {
        self.count(key, 1..=usize::try_from(max).unwrap_or(usize::MAX)).and_then(|count| u32::try_from(count).ok())
    }

    pub(super) fn truth(&mut self, key: &str) -> Option<bool> {
        let Setting { origin, value } = self.section.remove(key)?;
        if let Raw::Truth(truth) = value {
            return Some(truth);
        }
        self.wrong(origin, format!("`{key}` is true or false, without quotes"));
        None
    }

    pub(super) fn address(&mut self, given: Option<(Origin, String)>, default: SocketAddr) -> (Origin, SocketAddr) {
        let Some((origin, text)) = given else { return (Origin::Nowhere, default) };
        match text.parse() {
            Ok(address) => (origin, address),
            Err(_) => {
                self.wrong(
                    origin,
                    format!("`{text}` is not an address: write IP:PORT, as in 0.0.0.0:8080 or [::]:8080"),
                );
                (origin, default)
            }
        }
    }
}

impl Taker<'_> {
    /// The certificate and the key that two settings name, read for what is wrong with them. One is of no use without the
    /// other.
    pub(super) fn identity(&mut self, keys: (&'static str, &'static str), doubts: &mut Vec<Mistake>) -> Option<Files> {
        let given = (self.section.get(keys.0).map(|s| s.origin), self.section.get(keys.1).map(|s| s.origin));
        let (certificate, key) = (self.text(keys.0), self.text(keys.1));
        match given {
            (Some(origin), None) => self.wrong(origin, format!("`{}` needs `{}`, the file of its key", keys.0, keys.1)),
            (None, Some(origin)) => self.wrong(origin, format!("`{}` needs `{}`", keys.1, keys.0)),
            _ => {}
        }
        let ((certificate_origin, certificate), (key_origin, key)) = certificate.zip(key)?;
        let files = Files { certificate: certificate.into(), key: key.into() };
        let placed = |part, text| match part {
            Part::Certificate => Mistake::new(certificate_origin, format!("`{}`: {text}", keys.0)),
            Part::Key => Mistake::new(key_origin, format!("`{}`: {text}", keys.1)),
        };
        match Identity::read(&files) {
            Ok(identity) => doubts.extend(identity.doubts.into_iter().map(|doubt| placed(doubt.part, doubt.text))),
            Err(flaw) => self.mistakes.push(placed(flaw.part, flaw.text)),
        }
        Some(files)
    }
}

impl Taker<'_> {
    /// The proxies of `proxy`, or of the environment where there is none. (An empty one is for none at all.)
    pub(super) fn proxies(&mut self, flags: &Overrides, kind: Option<Kind>) -> Proxies {
        let written =
            matches!(self.section.get("proxy"), Some(Setting { value: Raw::Text(text), .. }) if text.is_empty());
        if written {
            self.section.remove("proxy");
            return Proxies::default();
        }
        let was_given = self.section.contains_key("proxy");
        if let Some((origin, text)) = self.text("proxy") {
            return Proxy::parse(&text, "`proxy` in [upstream]").map_or_else(
                |error| {
                    self.wrong(origin, format!("`proxy`: {error}"));
                    Proxies::default()
                },
                Proxies::only,
            );
        }
        if was_given || kind == Some(Kind::Directory) {
            return Proxies::default();
        }
        Proxies::of_environment(&|name| flags.proxies.get(name).cloned()).unwrap_or_else(|(name, error)| {
            let text =
                format!("{error}; `proxy` in [upstream] goes before the environment, and `proxy = \"\"` is for none");
            self.wrong(Origin::Flag(name), text);
            Proxies::default()
        })
    }
}
