//! The rules, each a function from one file to what is wrong in it, and their exceptions. What layers may name is in
//! `layers`.

use crate::source::Source;
use std::collections::BTreeSet;

/// The line it is on and the words for it.
pub type Finding = (usize, String);
/// What a rule is.
pub type Rule = fn(&Source) -> Vec<Finding>;

/// A file or folder (ending in `/`) that a rule lets through, and why.
pub type Exception = (&'static str, &'static str);

const LINES_MAX: usize = 600;

/// Files longer than `LINES_MAX`.
const LONG: &[Exception] = &[];

/// Where `server` names the runtime.
const GLOMMIO: &[Exception] =
    &[("server/src/shard/", "the executors, their queues and timers"), ("server/src/http/", "sockets")];

/// Where a child process may be started outside tests.
const SUBPROCESS: &[Exception] =
    &[("server/src/cli/demo", "clones through the mirror with the machine's git"), ("perf/", "measures stock Git")];

/// Where `unsafe` may be written.
const UNSAFE: &[Exception] = &[
    ("server/src/shard/listener.rs", "sockets change owners by number: glommio offers no other way"),
    ("server/src/main.rs", "an option of the allocator, which has no other door"),
    ("fuzz/allocations.rs", "an allocator that counts"),
    ("server/src/lost_pages.rs", "a signal handler, and the page that it puts under a fault"),
];

/// Targets of the fuzzer: one call each into `fuzz/entries.rs`, which says what they are and which they share.
const FUZZ_TARGETS: &str = "fuzz/fuzz_targets/";

/// What no shipped code says, and what it says instead.
const BANNED_CODE: &[(&str, &str)] = &[
    (".unwrap()", "return the error, or `expect` with the invariant that holds"),
    ("todo!(", "finish it or leave it out"),
    ("unimplemented!(", "finish it or leave it out"),
    ("dbg!(", "tracing::debug!"),
    ("allow(dead_code", "remove what nothing uses"),
    ("allow(unused", "remove what nothing uses"),
    ("allow(warnings", "mend them"),
    ("allow(clippy::all", "name the lint and the reason"),
    ("allow(clippy::unwrap_used", "return the error, or `expect` with the invariant that holds"),
];

/// What no code says, tests included.
const BANNED_EVERYWHERE: &[(&str, &str)] =
    &[("#[ignore", "assert what happens now, with a note, or remove the test"), ("thread::sleep_ms", "thread::sleep")];

/// Words that identifiers and file names are not made of, and what to say instead.
const BANNED_WORDS: &[(&str, &str)] = &[
    ("utils", "the noun it is about"),
    ("util", "the noun it is about"),
    ("helper", "the noun it is about"),
    ("helpers", "the noun it is about"),
    ("manager", "what it does: schedule, store, pool"),
    ("slave", "mirror, node or replica"),
    ("whitelist", "allowed"),
    ("blacklist", "refused"),
];

/// Those of them that documents do without too; the rest are plain English there.
const BANNED_PROSE: &[&str] = &["slave", "whitelist", "blacklist"];

/// Identifiers that are others' names.
const FOREIGN_NAMES: &[&str] = &["gix_utils", "crossbeam_utils"];

/// Names that a file or folder may not have, besides the banned words.
const BANNED_FILE_NAMES: &[&str] = &["common", "misc", "stuff", "shared", "lib2"];

/// Folders of one machine, written in two pieces, so that this file does not break its own rule.
const FOREIGN: &[(&str, &str, &str)] = &[
    ("/wo", "rk/", "a path of one machine"),
    ("/ro", "ot/", "a path of one machine"),
    ("/ho", "me/", "a path of one machine"),
];

/// What is found in the lines of shipped code, and in its imports spelled out, each once.
pub fn said(source: &Source, find: impl Fn(&str) -> Vec<String>) -> Vec<Finding> {
    let lines = source.shipped_lines().flat_map(|(line, code)| find(code).into_iter().map(move |words| (line, words)));
    let imports = source.imports();
    let imports = imports.iter().flat_map(|(line, path)| find(path).into_iter().map(|words| (*line, words)));
    lines.chain(imports).collect::<BTreeSet<Finding>>().into_iter().collect()
}

/// The runtime is named in few files, and nothing that serves starts a process.
pub fn server_layering(source: &Source) -> Vec<Finding> {
    said(source, |code| {
        let runtime = code.contains("glommio") && !excepted(GLOMMIO, source);
        let process = code.contains("process::Command") && !excepted(SUBPROCESS, source);
        let words = [
            runtime.then(|| format!("glommio is named only in {}", names(GLOMMIO))),
            process.then(|| format!("a subprocess outside {}", names(SUBPROCESS))),
        ];
        words.into_iter().flatten().collect()
    })
}

/// Calls and attributes that shipped code, or any code, does without.
pub fn banned_code(source: &Source) -> Vec<Finding> {
    let says = |words: &[(&str, &str)], line: usize, code: &str| -> Vec<Finding> {
        words
            .iter()
            .filter(|(word, _)| code.contains(word))
            .map(|(word, instead)| (line, format!("`{word}`: {instead}")))
            .collect()
    };
    let shipped = source
        .shipped_lines()
        .filter(|(_, code)| !(covers(FUZZ_TARGETS, source) && code.contains("allow(dead_code)")))
        .flat_map(|(line, code)| says(BANNED_CODE, line, code));
    let all = source.code_lines().flat_map(|(line, code)| says(BANNED_EVERYWHERE, line, code));
    shipped.chain(all).collect()
}

/// Words inside identifiers, whether `snake_case` or `CamelCase`.
pub fn banned_words(source: &Source) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (line, code) in source.code_lines() {
        for name in code.split(|c: char| !c.is_alphanumeric() && c != '_') {
            if !FOREIGN_NAMES.contains(&name) {
                findings.extend(banned_in(name).map(|words| (line, words)));
            }
        }
    }
    if source.path.ends_with(".md") {
        for (line, text) in source.text_lines() {
            let words = text.split(|c: char| !c.is_alphabetic()).map(str::to_lowercase);
            let banned = words.filter(|word| BANNED_PROSE.contains(&word.as_str()));
            findings.extend(banned.flat_map(|word| banned_in(&word).collect::<Vec<_>>()).map(|words| (line, words)));
        }
    }
    findings
}

/// File and folder names say what is inside.
pub fn banned_file_names(source: &Source) -> Vec<Finding> {
    if !source.is_rust() {
        return Vec::new();
    }
    let mut findings = Vec::new();
    for part in source.path.trim_end_matches(".rs").split('/') {
        findings.extend(banned_in(part).map(|words| (1, words)));
        if BANNED_FILE_NAMES.contains(&part) {
            findings.push((1, format!("a file or folder called `{part}`: the noun it is about")));
        }
    }
    findings
}

/// A file is one noun; over `LINES_MAX` lines there is a second one in it.
pub fn length(source: &Source) -> Vec<Finding> {
    let lines = source.text.lines().count();
    if !source.is_rust() || lines <= LINES_MAX || excepted(LONG, source) {
        return Vec::new();
    }
    vec![(lines, format!("{lines} lines, {LINES_MAX} allowed: look for the second noun"))]
}

/// `unsafe` in the named files only, each under a comment that says why it holds.
pub fn unsafe_code(source: &Source) -> Vec<Finding> {
    let text: Vec<&str> = source.text.lines().collect();
    let mut findings = Vec::new();
    for (line, code) in source.code_lines() {
        let written = code.split(|c: char| !c.is_alphanumeric() && c != '_').any(|word| word == "unsafe");
        if !written {
            continue;
        }
        if !excepted(UNSAFE, source) {
            findings.push((line, format!("unsafe outside {}", names(UNSAFE))));
        }
        if !under_safety_comment(&text[..line - 1]) {
            findings.push((line, "no `// SAFETY:` above".into()));
        }
    }
    findings
}

/// Does the comment (and the attributes) that ends these lines hold `SAFETY:` or `# Safety`?
fn under_safety_comment(above: &[&str]) -> bool {
    above
        .iter()
        .rev()
        .map(|line| line.trim())
        .take_while(|line| line.starts_with("//") || line.starts_with("#["))
        .any(|line| line.starts_with("// SAFETY:") || line.starts_with("/// # Safety"))
}

/// The first line of a module begins to say what it is; `x/tests.rs` is said by `x`.
pub fn module_prose(source: &Source) -> Vec<Finding> {
    let says = source.text.lines().next().is_some_and(|line| line.len() > 8 && line.starts_with("//! "));
    if !source.is_rust() || says || source.path.ends_with("/tests.rs") || covers(FUZZ_TARGETS, source) {
        return Vec::new();
    }
    vec![(1, "a module begins with `//!`: what it is, what it promises, what it does not do".into())]
}

/// Nothing points out of the tree to one machine or to documents that a reader does not have.
pub fn foreign_places(source: &Source) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (line, text) in source.text_lines() {
        for (head, tail, instead) in FOREIGN {
            let word = format!("{head}{tail}");
            let at_word = text.match_indices(&word).any(|(at, _)| {
                !text[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == '-' || c == '}')
            });
            if at_word {
                findings.push((line, format!("`{word}`: {instead}")));
            }
        }
    }
    findings
}

/// Exceptions that let nothing through any more.
pub fn stale_exceptions(tree: &[Source]) -> Vec<String> {
    let ships = |words: &'static [&'static str]| {
        move |source: &Source| {
            !said(source, |code| {
                words.iter().filter(|word| code.contains(**word)).map(|word| word.to_string()).collect()
            })
            .is_empty()
        }
    };
    [
        stale(LONG, tree, |source| source.text.lines().count() > LINES_MAX),
        stale(UNSAFE, tree, |source| source.code.contains("unsafe")),
        stale(GLOMMIO, tree, ships(&["glommio"])),
        stale(SUBPROCESS, tree, ships(&["process::Command"])),
    ]
    .concat()
}

pub fn stale(exceptions: &[Exception], tree: &[Source], needs: impl Fn(&Source) -> bool) -> Vec<String> {
    let needed = |path| tree.iter().any(|source| covers(path, source) && needs(source));
    let unneeded = exceptions.iter().filter(|(path, _)| !needed(path));
    unneeded.map(|(path, _)| format!("{path}: the exception is no longer needed")).collect()
}

fn banned_in(name: &str) -> impl Iterator<Item = String> {
    let parts = words(name);
    BANNED_WORDS
        .iter()
        .filter(move |(word, _)| parts.iter().any(|part| part == word))
        .map(|(word, instead)| format!("the word `{word}`: {instead}"))
}

/// `fooBar_baz` is foo, bar and baz.
fn words(name: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    for c in name.chars() {
        let starts = c == '_' || c == '-' || c == '.' || c.is_uppercase();
        if starts && words.last().is_some_and(|word| !word.is_empty()) {
            words.push(String::new());
        }
        if c.is_alphanumeric() {
            words.last_mut().expect("never empty").extend(c.to_lowercase());
        }
    }
    words
}

pub fn covers(exception: &str, source: &Source) -> bool {
    source.path.starts_with(exception)
}

pub fn excepted(exceptions: &[Exception], source: &Source) -> bool {
    exceptions.iter().any(|(path, _)| covers(path, source))
}

pub fn names(exceptions: &[Exception]) -> String {
    exceptions.iter().map(|(path, _)| *path).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
pub mod tests {
    use super::*;

    /// The rule finds something on exactly these lines of a file with this text.
    pub fn check(rule: Rule, path: &str, text: &str, lines: &[usize]) {
        let found: Vec<usize> = rule(&Source::new(path, text)).into_iter().map(|(line, _)| line).collect();
        assert_eq!(found, lines, "{path}: {text}");
    }

    #[test]
    fn server_layering_fires() {
        check(server_layering, "server/src/serve/a.rs", "use glommio::x;", &[1]);
        check(server_layering, "server/src/shard/a.rs", "use glommio::x;", &[]);
        check(server_layering, "server/src/serve/a.rs", "std::process::Command::new(git)", &[1]);
        check(server_layering, "server/src/serve/a.rs", "use std::process::{Command, Stdio};", &[1]);
        check(server_layering, "server/tests/a.rs", "std::process::Command::new(git)", &[]);
    }

    #[test]
    fn banned_code_fires() {
        for (word, _) in BANNED_CODE {
            check(banned_code, "core/src/a.rs", &format!("x{word}"), &[1]);
            check(banned_code, "core/src/a.rs", &format!("\"{word}\""), &[]);
            check(banned_code, "core/tests/a.rs", word, &[]);
        }
        for (word, _) in BANNED_EVERYWHERE {
            check(banned_code, "core/tests/a.rs", word, &[1]);
        }
    }

    #[test]
    fn banned_words_fire() {
        for (word, _) in BANNED_WORDS {
            check(banned_words, "core/src/a.rs", &format!("fn pack_{word}() {{}}"), &[1]);
            check(banned_file_names, &format!("core/src/{word}.rs"), "", &[1]);
            check(banned_file_names, &format!("core/src/pack_{word}/a.rs"), "", &[1]);
        }
        check(banned_words, "core/src/a.rs", "\nstruct PackManager;", &[2]);
        check(banned_words, "core/src/a.rs", "use gix_utils::x; // a helper of theirs", &[]);
        check(banned_words, "README.md", "one\nMaster and Slave\n", &[2]);
        for name in BANNED_FILE_NAMES {
            check(banned_file_names, &format!("core/src/{name}/mod.rs"), "", &[1]);
        }
        check(banned_file_names, "core/src/graph/commits.rs", "", &[]);
    }

    #[test]
    fn length_fires() {
        check(length, "core/src/a.rs", &"\n".repeat(LINES_MAX), &[]);
        check(length, "core/src/a.rs", &"\n".repeat(LINES_MAX + 1), &[LINES_MAX + 1]);
        check(length, "a.md", &"\n".repeat(LINES_MAX + 1), &[]);
    }

    #[test]
    fn unsafe_code_fires() {
        let bare = "fn a() {\n    unsafe { b() }\n}\n";
        check(unsafe_code, "core/src/nowhere.rs", bare, &[2, 2]);
        let reasoned = "// SAFETY: b has no precondition.\nunsafe { b() }\n";
        check(unsafe_code, "core/src/nowhere.rs", reasoned, &[2]);
        check(unsafe_code, "core/src/nowhere.rs", "#![allow(unsafe_code)] // unsafe\n", &[]);
        assert!(under_safety_comment(&["// SAFETY: it holds", "// for two reasons", "#[inline]"]));
        assert!(!under_safety_comment(&["// SAFETY: it holds", "let other = 1;"]));
    }

    #[test]
    fn module_prose_fires() {
        check(module_prose, "core/src/a.rs", "use a;\n", &[1]);
        check(module_prose, "core/src/a.rs", "//!\nuse a;\n", &[1]);
        check(module_prose, "core/src/a.rs", "", &[1]);
        check(module_prose, "core/src/a.rs", "//! A thing.\n", &[]);
        check(module_prose, "core/src/a/tests.rs", "use a;\n", &[]);
    }

    #[test]
    fn foreign_places_fire() {
        for (head, tail, _) in FOREIGN {
            check(foreign_places, "README.md", &format!("\nsee {head}{tail}x"), &[2]);
            check(foreign_places, "README.md", &format!("a{head}{tail}x"), &[]);
        }
    }

    #[test]
    fn a_stale_exception_is_found() {
        let exceptions = [("core/src/map.rs", "maps"), ("core/src/gone.rs", "was there once")];
        let tree = [Source::new("core/src/map.rs", "unsafe { a() }")];
        let found = stale(&exceptions, &tree, |source| source.code.contains("unsafe"));
        assert_eq!(found, ["core/src/gone.rs: the exception is no longer needed"]);
    }
}
