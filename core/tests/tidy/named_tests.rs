//! `docs/threats.md` names tests: each has to exist, and no attack may stand there without one.
//!
//! A test has the name by which nextest knows it, `package::target module::test`, read from the tree; those that macros
//! make are not seen, and can't be named. A fuzz target is named `fuzz target`.

use crate::source::Source;
use std::collections::BTreeSet;

/// The document whose tables these are.
const DOCUMENT: &str = "docs/threats.md";

/// Folders of packages, those within others first.
const PACKAGES: [(&str, &str); 4] = [
    ("loadtest/testrepo/", "heliostat-testrepo"),
    ("loadtest/", "heliostat-loadtest"),
    ("core/", "heliostat-core"),
    ("server/", "heliostat"),
];

/// What is wrong with the names.
pub fn unknown_tests(tree: &[Source]) -> Vec<String> {
    let known: BTreeSet<String> = tree.iter().flat_map(tests_of).collect();
    let Some(document) = tree.iter().find(|source| source.path == DOCUMENT) else {
        return vec![format!("{DOCUMENT} is not there")];
    };
    let mut findings = Vec::new();
    for (line, text) in document.text_lines().filter(|(_, text)| is_row(text)) {
        // What stands between backquotes, if it is more than one word.
        let names: Vec<&str> = text.split('`').skip(1).step_by(2).filter(|name| is_name(name)).collect();
        if names.is_empty() {
            findings.push(format!("{DOCUMENT}:{line}: an attack without a test"));
        }
        let unknown = names.into_iter().filter(|name| !known.contains(*name));
        findings.extend(unknown.map(|name| format!("{DOCUMENT}:{line}: there is no test `{name}`")));
    }
    if findings.is_empty() && !document.text_lines().any(|(_, text)| is_row(text)) {
        findings.push(format!("{DOCUMENT} has no table"));
    }
    findings
}

/// A row of a table, but for its head and the line below that.
fn is_row(text: &str) -> bool {
    text.starts_with("| ") && !text.starts_with("| attack |") && !text.starts_with("|-")
}

fn is_name(text: &str) -> bool {
    text.starts_with("heliostat") && text.contains(' ') || text.starts_with("fuzz ")
}

/// The tests in a file.
fn tests_of(source: &Source) -> Vec<String> {
    if let Some(target) = source.path.strip_prefix("fuzz/fuzz_targets/").and_then(|name| name.strip_suffix(".rs")) {
        return vec![format!("fuzz {target}")];
    }
    let Some((target, modules)) = place_of(&source.path) else { return Vec::new() };
    tests_in(&source.code).into_iter().map(|test| format!("{target} {modules}{test}")).collect()
}

/// The target that a file belongs to, and the module that it is there, with `::` behind it.
fn place_of(path: &str) -> Option<(String, String)> {
    let path = path.strip_suffix(".rs")?;
    let (rest, package) = PACKAGES.iter().find_map(|(folder, package)| Some((path.strip_prefix(folder)?, package)))?;
    let (target, file) = match rest.strip_prefix("src/") {
        Some(file) => ((*package).to_owned(), file),
        None => {
            let (name, file) =
                rest.strip_prefix("tests/").map(|rest| rest.split_once('/').unwrap_or((rest, "main")))?;
            (format!("{package}::{name}"), file)
        }
    };
    let modules = file.split('/').filter(|part| !["main", "lib", "mod"].contains(part));
    Some((target, modules.map(|module| format!("{module}::")).collect()))
}

/// The tests in formatted code, each behind the modules that are written out there.
fn tests_in(code: &str) -> Vec<String> {
    let (mut modules, mut tests) = (Vec::new(), Vec::new());
    let (mut depth, mut is_test) = (0_usize, false);
    for line in code.lines().map(str::trim) {
        let opened = line.strip_suffix(" {").and_then(|line| line.rsplit_once("mod "));
        if let Some((_, name)) = opened.filter(|(before, _)| before.is_empty() || before.starts_with("pub")) {
            modules.push((name, depth));
        }
        is_test |= line.starts_with("#[test]");
        if let Some((_, rest)) = line.split_once("fn ").filter(|_| is_test) {
            let name = rest.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap_or_default();
            let within: String = modules.iter().map(|(module, _)| format!("{module}::")).collect();
            tests.push(within + name);
            is_test = false;
        }
        depth = (depth + line.matches('{').count()).saturating_sub(line.matches('}').count());
        modules.retain(|(_, opened)| *opened < depth);
    }
    tests
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_nextest() {
        let text = "#[test]\nfn a() {\n    if b { c() }\n}\nmod d {\n    proptest! {\n        /// E.\n        #[test]\n        \
                    fn f(g: u8) {}\n    }\n    fn h() {}\n}\n#[test]\n#[should_panic]\nfn i() {}\n";
        let named = |path: &str| tests_of(&Source::new(path, text)).join(", ");
        for (path, expected) in [
            ("core/tests/x.rs", "heliostat-core::x a, heliostat-core::x d::f, heliostat-core::x i"),
            ("server/tests/x/main.rs", "heliostat::x a, heliostat::x d::f, heliostat::x i"),
            ("server/tests/x/y/mod.rs", "heliostat::x y::a, heliostat::x y::d::f, heliostat::x y::i"),
            ("server/tests/x/y/z.rs", "heliostat::x y::z::a, heliostat::x y::z::d::f, heliostat::x y::z::i"),
            ("core/src/lib.rs", "heliostat-core a, heliostat-core d::f, heliostat-core i"),
            ("core/src/y/z.rs", "heliostat-core y::z::a, heliostat-core y::z::d::f, heliostat-core y::z::i"),
            (
                "loadtest/testrepo/src/y.rs",
                "heliostat-testrepo y::a, heliostat-testrepo y::d::f, heliostat-testrepo y::i",
            ),
            ("fuzz/fuzz_targets/y.rs", "fuzz y"),
            ("perf/src/y.rs", ""),
        ] {
            assert_eq!(named(path), expected, "{path}");
        }
        assert_eq!(tests_in("// #[test]\nfn a() {}\n#[test]\nfn b() {}\n"), ["b"]);
    }

    #[test]
    fn what_is_wrong_is_found() {
        let check = |document: &str, expected: &[&str]| {
            let tree = [
                Source::new("core/tests/x.rs", "#[test]\nfn a() {}\n"),
                Source::new("fuzz/fuzz_targets/y.rs", ""),
                Source::new(DOCUMENT, format!("# T\n\n| attack | answer | tests |\n|---|---|---|\n{document}")),
            ];
            assert_eq!(unknown_tests(&tree), expected, "{document}");
        };
        check("| b | `c d` | `heliostat-core::x a`, `fuzz y` |\n", &[]);
        check("| b | c | `heliostat-core::x b` |\n", &["docs/threats.md:5: there is no test `heliostat-core::x b`"]);
        check("| b | c | `fuzz z` |\n", &["docs/threats.md:5: there is no test `fuzz z`"]);
        check("| b | `c` | `a` |\n", &["docs/threats.md:5: an attack without a test"]);
        check("", &["docs/threats.md has no table"]);
        assert_eq!(unknown_tests(&[]), ["docs/threats.md is not there"]);
    }
}
