//! One file of the tree, and which of its bytes are code.
//!
//! A scanner, not a parser: it knows comments, strings, raw strings, characters and lifetimes, and
//! where an inline `#[cfg(test)] mod` begins and ends in formatted code. Macros that build code out
//! of strings are beyond it.

/// A text file, with three views of it that agree line by line.
pub struct Source {
    /// Path from the workspace root, with `/`.
    pub path: String,
    /// As it is on disk.
    pub text: String,
    /// Rust only: comments and the insides of strings blanked out. Empty for other files.
    pub code: String,
    /// Per line: does it belong to a test?
    pub test: Vec<bool>,
}

impl Source {
    pub fn new(path: impl Into<String>, text: impl Into<String>) -> Self {
        let (path, text) = (path.into(), text.into());
        let code = if path.ends_with(".rs") { blank(&text) } else { String::new() };
        let test = test_lines(&path, &code, text.lines().count());
        Source { path, text, code, test }
    }

    pub fn is_rust(&self) -> bool {
        self.path.ends_with(".rs")
    }

    /// Lines of code, numbered from one, tests included.
    pub fn code_lines(&self) -> impl Iterator<Item = (usize, &str)> {
        (1..).zip(self.code.lines())
    }

    /// Lines of code that are not test code.
    pub fn shipped_lines(&self) -> impl Iterator<Item = (usize, &str)> {
        self.code_lines().filter(|(line, _)| !self.test[line - 1])
    }

    /// What the `use` declarations of shipped code import, each as its whole path, with the line it ends on.
    pub fn imports(&self) -> Vec<(usize, String)> {
        let mut imports = Vec::new();
        let mut open: Option<Vec<String>> = None;
        let mut prefix: Vec<String> = Vec::new();
        for (line, code) in self.shipped_lines() {
            let mut rest = code;
            if open.is_none() {
                let bare = code.trim_start();
                let bare =
                    bare.strip_prefix("pub").map_or(bare, |after| after.trim_start_matches("(crate)").trim_start());
                let Some(after) = bare.strip_prefix("use ") else { continue };
                rest = after;
                open = Some(Vec::new());
                prefix.clear();
            }
            let groups = open.as_mut().expect("opened above");
            for c in rest.chars() {
                match c {
                    '{' => groups.push(std::mem::take(&mut prefix).concat()),
                    ',' | '}' | ';' => {
                        if !prefix.is_empty() {
                            imports.push((line, groups.concat() + &prefix.concat()));
                            prefix.clear();
                        }
                        if c == '}' {
                            groups.pop();
                        }
                    }
                    c if c.is_whitespace() && prefix.last().is_none_or(|last| last == " ") => {}
                    c => prefix.push(c.to_string()),
                }
                if c == ';' {
                    open = None;
                    break;
                }
            }
        }
        imports
    }

    /// Lines of text, numbered from one.
    pub fn text_lines(&self) -> impl Iterator<Item = (usize, &str)> {
        (1..).zip(self.text.lines())
    }
}

/// Whole files of tests, and from `#[cfg(test)]` + `mod x {` to the brace that closes it.
fn test_lines(path: &str, code: &str, count: usize) -> Vec<bool> {
    let file = path.contains("/tests/") || path.ends_with("/tests.rs") || path.contains("/benches/");
    let mut test = vec![file; count];
    let lines: Vec<&str> = code.lines().collect();
    let mut at = 0;
    while at + 1 < lines.len() {
        let opens = lines[at].trim() == "#[cfg(test)]"
            && lines[at + 1].trim_start().starts_with("mod ")
            && lines[at + 1].trim_end().ends_with('{');
        if opens {
            let indent = lines[at].len() - lines[at].trim_start().len();
            let close = format!("{}}}", &lines[at][..indent]);
            let end = (at..lines.len()).find(|&line| lines[line] == close).unwrap_or(lines.len() - 1);
            test[at..=end].fill(true);
            at = end;
        }
        at += 1;
    }
    test
}

/// The same text with comments and the insides of literals as spaces; line breaks stay.
fn blank(text: &str) -> String {
    let from: Vec<char> = text.chars().collect();
    let mut to = String::with_capacity(text.len());
    let mut at = 0;
    while at < from.len() {
        let end = literal_end(&from, at);
        if end > at {
            to.extend(from[at..end].iter().map(|&c| if c == '\n' { '\n' } else { ' ' }));
            at = end;
        } else {
            to.push(from[at]);
            at += 1;
        }
    }
    to
}

/// Where the comment or literal that starts at `at` ends; `at` itself when none starts there.
fn literal_end(from: &[char], at: usize) -> usize {
    let next = |ahead: usize| from.get(at + ahead).copied().unwrap_or('\0');
    let in_word = at > 0 && (from[at - 1].is_alphanumeric() || from[at - 1] == '_');
    match from[at] {
        '/' if next(1) == '/' => find(from, at, |i| from[i] == '\n'),
        '/' if next(1) == '*' => block_comment_end(from, at),
        '"' => string_end(from, at + 1),
        'r' if !in_word || from[at - 1] == 'b' || from[at - 1] == 'c' => raw_string_end(from, at),
        '\'' if next(1) == '\\' => find(from, at + 3, |i| from[i] == '\'') + 1,
        '\'' if next(2) == '\'' => at + 3,
        _ => at,
    }
    .min(from.len())
}

fn find(from: &[char], start: usize, matches: impl Fn(usize) -> bool) -> usize {
    (start..from.len()).find(|&i| matches(i)).unwrap_or(from.len())
}

fn block_comment_end(from: &[char], start: usize) -> usize {
    let (mut depth, mut at) = (0, start);
    while at + 1 < from.len() {
        match (from[at], from[at + 1]) {
            ('/', '*') => (depth, at) = (depth + 1, at + 2),
            ('*', '/') => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            return at;
        }
    }
    from.len()
}

fn string_end(from: &[char], mut at: usize) -> usize {
    while at < from.len() && from[at] != '"' {
        at += if from[at] == '\\' { 2 } else { 1 };
    }
    at + 1
}

fn raw_string_end(from: &[char], start: usize) -> usize {
    let open = find(from, start + 1, |i| from[i] != '#');
    if from.get(open) != Some(&'"') {
        return start;
    }
    let hashes = open - start - 1;
    let closes = |i: usize| from[i] == '"' && from[i + 1..].iter().take_while(|&&c| c == '#').count() >= hashes;
    find(from, open + 1, closes) + 1 + hashes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_blank(text: &str, code: &str) {
        assert_eq!(blank(text), code);
        assert_eq!(blank(text).lines().count(), text.lines().count());
    }

    #[test]
    fn literals_are_blanked() {
        check_blank("a // b\nc", "a     \nc");
        check_blank("a /* b /* c */ d */ e", "a                   e");
        check_blank(r#"f("x \" y", z)"#, "f(        , z)");
        check_blank("f(r#\"x \" y\"#, z)", "f(          , z)");
        check_blank("f(br\"x\\\", z)", "f(b     , z)");
        check_blank("f('\"', '\\'', 'a)", "f(   ,     , 'a)");
        check_blank("for r in 0..4 {}", "for r in 0..4 {}");
        check_blank("\"never closed", "             ");
    }

    #[test]
    fn grouped_imports_are_spelled_out() {
        let text = "use std::{\n    fs, io::{self, Read as _},\n    net::TcpStream,\n};\npub(crate) use a::b;\nuse c;\nfn use_it() {}\n";
        let source = Source::new("core/src/a.rs", text);
        let imports: Vec<_> = source.imports().into_iter().map(|(line, path)| format!("{line} {path}")).collect();
        let paths = ["2 std::fs", "2 std::io::self", "2 std::io::Read as _", "3 std::net::TcpStream", "5 a::b", "6 c"];
        assert_eq!(imports, paths);
        assert!(Source::new("core/tests/a.rs", text).imports().is_empty());
    }

    #[test]
    fn tests_are_told_from_code() {
        let text = "fn a() {}\n#[cfg(test)]\nmod tests {\n    fn b() {}\n}\nfn c() {}\n";
        let source = Source::new("core/src/a.rs", text);
        let shipped: Vec<_> = source.shipped_lines().map(|(line, _)| line).collect();
        assert_eq!(shipped, [1, 6]);
        assert_eq!(Source::new("core/tests/a.rs", text).shipped_lines().count(), 0);
    }
}
