//! One file of the tree, and which of its bytes are code.
//!
//! A scanner, not a parser: it knows comments, strings, raw strings, characters and lifetimes, and
//! where an inline `#[cfg(test)] mod` begins and ends in formatted code. Macros that build code out
//! of strings are beyond it.

use std::collections::BTreeMap;

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

    /// Shipped code as one text: the lines of tests are empty in it.
    fn shipped(&self) -> String {
        let mut text = String::new();
        for (line, code) in self.code_lines() {
            text += if self.test[line - 1] { "" } else { code };
            text.push('\n');
        }
        text
    }

    /// What the `use` declarations of shipped code import, each as its whole path, with the line it ends on.
    pub fn imports(&self) -> Vec<(usize, String)> {
        let code = self.shipped();
        let mut imports = Vec::new();
        // `impl Trait + use<'a>` is none.
        for word in words(&code).filter(|word| word.text == "use" && !word.after.trim_start().starts_with('<')) {
            let (mut line, mut groups, mut prefix) = (word.line, Vec::new(), String::new());
            for c in word.after.chars() {
                match c {
                    '{' => groups.push(std::mem::take(&mut prefix)),
                    ',' | '}' | ';' => {
                        let path = std::mem::take(&mut prefix);
                        if !path.trim().is_empty() {
                            imports.push((line, groups.concat() + path.trim()));
                        }
                        if c == '}' {
                            groups.pop();
                        }
                    }
                    c if c.is_whitespace() => {
                        line += usize::from(c == '\n');
                        if !prefix.is_empty() && !prefix.ends_with([' ', ':']) {
                            prefix.push(' ');
                        }
                    }
                    c => prefix.push(c),
                }
                if c == ';' {
                    break;
                }
            }
        }
        imports
    }

    /// Each path of shipped code, imported or said where it is used, that begins with one of `heads` once what the file's
    /// imports call otherwise is called by its own name.
    pub fn paths(&self, heads: &[&str]) -> Vec<(usize, String)> {
        let mut names = BTreeMap::new();
        let mut paths = Vec::new();
        for (line, import) in self.imports() {
            let (path, name) = match import.split_once(" as ") {
                Some((path, name)) => (path, Some(name.trim().to_owned())),
                None => (&*import, None),
            };
            let path = path.trim().trim_start_matches("::");
            let path = path.strip_suffix("::self").unwrap_or(path).to_owned();
            let name = name.unwrap_or_else(|| path.rsplit("::").next().unwrap_or_default().to_owned());
            paths.push((line, path.clone()));
            names.insert(name, path);
        }
        let code = self.shipped();
        let mut parts: Vec<&str> = Vec::new();
        for word in words(&code) {
            if !word.goes_on() {
                parts.clear();
            }
            parts.push(word.text);
            if !word.leads_on() && parts.len() > 1 {
                paths.push((word.line, parts.join("::")));
            }
        }
        for (_, path) in &mut paths {
            // A bound, as names may be imported in a circle.
            for _ in 0..names.len() {
                let (head, rest) = path.split_at(path.find("::").unwrap_or(path.len()));
                match names.get(head).filter(|whole| *whole != head && !whole.starts_with(&format!("{head}::"))) {
                    Some(whole) => *path = whole.clone() + rest,
                    None => break,
                }
            }
        }
        paths.retain(|(_, path)| heads.contains(&path.split("::").next().unwrap_or_default()));
        paths.sort();
        paths.dedup();
        paths
    }

    /// The words of shipped code.
    pub fn each_word(&self, mut act: impl FnMut(&Word<'_>)) {
        let code = self.shipped();
        words(&code).for_each(|word| act(&word));
    }

    /// Lines of text, numbered from one.
    pub fn text_lines(&self) -> impl Iterator<Item = (usize, &str)> {
        (1..).zip(self.text.lines())
    }
}

/// An identifier or keyword, and the code around it.
pub struct Word<'a> {
    pub line: usize,
    pub text: &'a str,
    before: &'a str,
    after: &'a str,
}

impl Word<'_> {
    /// `a.word(`, `A::word`.
    pub fn is_method(&self) -> bool {
        let before = self.before.trim_end();
        before.ends_with("::") || before.ends_with('.') && self.after.starts_with(['(', ':'])
    }

    /// `word!(`.
    pub fn is_macro(&self) -> bool {
        self.after.starts_with('!') && !self.after.starts_with("!=")
    }

    /// Does a further part of its path come behind it?
    fn leads_on(&self) -> bool {
        let after = self.after.trim_start().strip_prefix("::");
        after.is_some_and(|after| after.trim_start().starts_with(|c: char| c.is_alphabetic() || c == '_'))
    }

    /// Is it part of a path that began before it?
    fn goes_on(&self) -> bool {
        let before = self.before.trim_end().strip_suffix("::");
        before.is_some_and(|before| before.trim_end().ends_with(|c: char| c.is_alphanumeric() || "_>".contains(c)))
    }
}

fn words(code: &str) -> impl Iterator<Item = Word<'_>> {
    let is_part = |c: char| c.is_alphanumeric() || c == '_';
    let (mut at, mut line) = (0, 1);
    std::iter::from_fn(move || {
        let start = at + code[at..].find(|c: char| is_part(c) && !c.is_numeric())?;
        let end = code[start..].find(|c| !is_part(c)).map_or(code.len(), |length| start + length);
        line += code[at..start].matches('\n').count();
        at = end;
        Some(Word { line, text: &code[start..end], before: &code[..start], after: &code[end..] })
    })
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
        let text = "fn a() -> impl A + use<'a> {}\nmod b {\n    pub(in crate::b) use c::d as e;\n    fn f() { use g::*; }\n}\n";
        let imports: Vec<_> = Source::new("core/src/a.rs", text).imports();
        assert_eq!(imports, [(3, "c::d as e".to_owned()), (4, "g::*".to_owned())]);
    }

    #[test]
    fn paths_are_called_by_their_own_names() {
        let text = "use std::io::{self as x, Read as _};\nuse x::stdin as y;\nfn a() { y::b(); x\n    ::c(); ::std::d::<e>(); f.x::<g>(); h::std::i(); }\n";
        let paths = Source::new("core/src/a.rs", text).paths(&["std"]);
        let expected = [
            (1, "std::io"),
            (1, "std::io::Read"),
            (2, "std::io::stdin"),
            (3, "std::io::stdin::b"),
            (4, "std::d"),
            (4, "std::io::c"),
        ];
        assert_eq!(paths, expected.map(|(line, path)| (line, path.to_owned())));
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
