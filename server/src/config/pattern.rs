//! Patterns on repository paths: `*` matches any run of characters, `/` included, `?` exactly one.

use heliostat_core::RepositoryPath;

/// A pattern of `[[mirror]]` or `--mirror`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern(String);

impl Pattern {
    /// Checks and takes a pattern.
    pub fn new(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Err("a pattern must not be empty".into());
        }
        if text.starts_with('/') {
            return Err(format!("`{text}`: write the path without its leading `/`"));
        }
        if text.chars().any(char::is_control) {
            return Err("a pattern must not hold control characters".into());
        }
        // What stands for itself in it must be able to stand in a path; a `*` or `?` can be any character.
        let example: String = text.chars().map(|c| if matches!(c, '*' | '?') { 'x' } else { c }).collect();
        if let Err(why) = example.parse::<RepositoryPath>() {
            return Err(format!("`{text}` matches no repository: {why}"));
        }
        Ok(Self(text.to_owned()))
    }

    /// Whether it matches `path`, with or without the path's `.git`.
    pub fn matches(&self, path: &str) -> bool {
        let pattern = self.0.as_bytes();
        glob(pattern, path.as_bytes()) || path.strip_suffix(".git").is_some_and(|bare| glob(pattern, bare.as_bytes()))
    }

    /// Whether it matches every path.
    pub fn is_everything(&self) -> bool {
        self.0.bytes().all(|b| b == b'*')
    }

    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Linear-space greedy matching: on a mismatch only the last `*` takes one more character, which is enough, so the
/// cost is at most `pattern * text` and no recursion runs on the caller's text.
fn glob(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p + 1, t));
                p += 1;
            }
            Some(&c) if c == b'?' || c == text[t] => {
                p += 1;
                t += 1;
            }
            _ => match star {
                Some((after, from)) => {
                    star = Some((after, from + 1));
                    p = after;
                    t = from + 1;
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|&c| c == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns() {
        for (pattern, path, expected) in [
            ("*", "team/app.git", true),
            ("team/*", "team/app.git", true),
            ("team/*", "team/sub/app.git", true),
            ("team/app", "team/app.git", true),
            ("team/app.git", "team/app.git", true),
            ("team/app.git", "team/app", false),
            ("team/*", "teams/app.git", false),
            ("*/app", "team/app.git", true),
            ("a*b*c", "axxbyybzc", true),
            ("a*b*c", "axxbyybz", false),
            ("te?m/x", "team/x", true),
            ("te?m/x", "tem/x", false),
        ] {
            assert_eq!(Pattern::new(pattern).unwrap().matches(path), expected, "{pattern} {path}");
        }
        assert!(Pattern::new("").is_err());
        for bad in ["/team/*", "../x", "a//b", "-x", "~u/*", "a/../b", "team/", r"a\b"] {
            assert!(Pattern::new(bad).is_err(), "{bad}");
        }
        assert!(Pattern::new("**").unwrap().is_everything());
    }
}
