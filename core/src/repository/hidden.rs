//! `transfer.hideRefs` and `uploadpack.hideRefs`: which references are kept from clients (`git-config`).

use super::configuration::{Configuration, ConfigurationError};
use bstr::{BString, ByteSlice};

/// The rules in the order in which they were given; the last that matches decides.
#[derive(Clone, Debug, Default)]
pub struct HiddenRefs {
    rules: Vec<Rule>,
}

#[derive(Clone, Debug)]
struct Rule {
    /// `!`: shows again what an earlier rule hides.
    shows: bool,
    /// `^`: matches the name before the namespace is taken off.
    full: bool,
    prefix: BString,
}

impl HiddenRefs {
    /// The rules for fetches.
    pub fn from_configuration(configuration: &Configuration) -> Result<Self, ConfigurationError> {
        let mut rules = Vec::new();
        for setting in configuration.iter() {
            if setting.is("transfer", "hiderefs") || setting.is("uploadpack", "hiderefs") {
                rules.push(Rule::parse(setting.text()?));
            }
        }
        Ok(Self { rules })
    }

    /// Whether there is no rule.
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// Whether the reference is hidden: `name` without its namespace, `full` with it.
    pub fn hides(&self, name: &[u8], full: &[u8]) -> bool {
        self.rules
            .iter()
            .rev()
            .find(|rule| rule.matches(if rule.full { full } else { name }))
            .is_some_and(|rule| !rule.shows)
    }
}

impl Rule {
    fn parse(text: &[u8]) -> Self {
        let text = text.trim_end_with(|c| c == '/');
        let (shows, text) = text.strip_prefix(b"!").map_or((false, text), |rest| (true, rest));
        let (full, text) = text.strip_prefix(b"^").map_or((false, text), |rest| (true, rest));
        Self { shows, full, prefix: text.into() }
    }

    fn matches(&self, name: &[u8]) -> bool {
        name.strip_prefix(self.prefix.as_slice()).is_some_and(|rest| rest.is_empty() || rest[0] == b'/')
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_matching_rule_decides() {
        let check = |rules: &[&str], name: &str, full: &str, hidden: bool| {
            let rules = HiddenRefs { rules: rules.iter().map(|rule| Rule::parse(rule.as_bytes())).collect() };
            assert_eq!(rules.hides(name.as_bytes(), full.as_bytes()), hidden, "{rules:?} {name}");
        };
        check(&[], "refs/heads/a", "refs/heads/a", false);
        check(&["refs/heads"], "refs/heads/a", "refs/heads/a", true);
        check(&["refs/heads/"], "refs/heads/a", "refs/heads/a", true);
        check(&["refs/he"], "refs/heads/a", "refs/heads/a", false);
        check(&["refs/heads", "!refs/heads/a"], "refs/heads/a", "refs/heads/a", false);
        check(&["!refs/heads/a", "refs/heads"], "refs/heads/a", "refs/heads/a", true);
        check(&["^refs/heads"], "refs/heads/a", "refs/namespaces/n/refs/heads/a", false);
        check(&["^refs/namespaces/n/refs/heads"], "refs/heads/a", "refs/namespaces/n/refs/heads/a", true);
        check(&["refs", "!^refs/namespaces/n"], "refs/heads/a", "refs/namespaces/n/refs/heads/a", false);
        check(&[""], "refs/heads/a", "refs/heads/a", false);
    }
}
