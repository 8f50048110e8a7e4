//! Settings without a meaning here that stock Git reads before it tells of the first reference, and ends at if they are
//! malformed (`repo-settings.c`, `refs/files-backend.c`).
//!
//! What only `git pack-objects` reads (`pack.window`, `core.compression`) is not looked at.

use super::configuration::{Configuration, ConfigurationError};

const BOOLEANS: [(&str, &str); 16] = [
    ("feature", "manyfiles"),
    ("feature", "experimental"),
    ("core", "commitgraph"),
    ("commitgraph", "readchangedpaths"),
    ("gc", "writecommitgraph"),
    ("fetch", "writecommitgraph"),
    ("pack", "usesparse"),
    ("core", "multipackindex"),
    ("index", "sparse"),
    ("index", "skiphash"),
    ("pack", "readreverseindex"),
    ("pack", "usebitmapboundarytraversal"),
    ("core", "usereplacerefs"),
    ("core", "prefersymlinkrefs"),
    ("core", "logallrefupdates"),
    ("core", "untrackedcache"),
];

const NUMBERS: [(&str, &str); 3] =
    [("commitgraph", "generationversion"), ("commitgraph", "changedpathsversion"), ("index", "version")];

const NEGOTIATIONS: [&str; 4] = ["skipping", "noop", "consecutive", "default"];

/// Says of the first that is malformed what Git says.
pub(super) fn check(configuration: &Configuration) -> Result<(), ConfigurationError> {
    let last = |section, name| configuration.last(|setting| setting.is(section, name));
    let is = |value: &[u8], word: &str| value.eq_ignore_ascii_case(word.as_bytes());
    for (section, name) in BOOLEANS {
        let Some(setting) = last(section, name) else { continue };
        match name {
            "logallrefupdates" if setting.value.as_ref().is_some_and(|value| is(value, "always")) => {}
            // Anything but a boolean is `keep`.
            "untrackedcache" => _ = setting.text()?,
            _ => _ = setting.boolean()?,
        }
    }
    for (section, name) in NUMBERS {
        if let Some(setting) = last(section, name) {
            let (key, value) = (setting.key(), setting.value.clone().unwrap_or_default());
            let reason = "out of range";
            i32::try_from(setting.number()?).map_err(|_| ConfigurationError::BadNumber { key, value, reason })?;
        }
    }
    if let Some(setting) = last("fetch", "negotiationalgorithm") {
        let value = setting.text()?;
        if !NEGOTIATIONS.iter().any(|word| is(value, word)) {
            return Err(ConfigurationError::BadValue(format!("unknown fetch negotiation algorithm '{value}'")));
        }
    }
    Ok(())
}
