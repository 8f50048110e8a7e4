//! The house rules, as tests: layering, words, file length, `unsafe`, prose, and no C under `core`.
//!
//! Each rule is a pure function from a file to its findings (`rules`, `layers`), told what is code and what is
//! a comment, a string or a test by a small scanner (`source`); `dependencies` reads `cargo metadata`.
//! `named_tests` looks up the tests that a document names.
//! Each has tests that it fires. Exceptions are lists beside the rule, each with its reason, and an
//! exception that is no longer needed is itself a failure.
//!
//! It does not format and it does not repeat what the compiler and clippy already refuse, except
//! where an `#[allow]` in a file would silence them.

mod dependencies;
mod layers;
mod named_tests;
mod rules;
mod source;

use std::path::{Path, PathBuf};

use rules::{Finding, Rule};
use source::Source;

/// Folders that are not ours to read: built, fetched or served.
const SKIPPED: &[&str] = &[".git", "target", "fuzz/target", "fuzz/corpus", "fuzz/artifacts", "heliostat-data"];

/// What a text file of ours ends in, or is called.
const TEXT: &[&str] =
    &["rs", "toml", "md", "sh", "py", "js", "mjs", "java", "html", "css", "json", "check", "run", ".gitignore"];

/// The workspace root.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("core lies in the workspace").into()
}

/// Every text file of the tree, by its path from the root.
fn tree() -> Vec<Source> {
    let root = root();
    let mut folders = vec![root.clone()];
    let mut sources = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("a folder of the tree") {
            let path = entry.expect("an entry of the tree").path();
            let name = path.strip_prefix(&root).expect("under the root").to_string_lossy().into_owned();
            if SKIPPED.contains(&name.as_str()) || path.is_symlink() {
                continue;
            }
            if path.is_dir() {
                folders.push(path);
            } else if TEXT.contains(&name.rsplit(['.', '/']).next().unwrap_or(&name)) || TEXT.contains(&name.as_str()) {
                let text = std::fs::read(&path).expect("a file of the tree");
                sources.push(Source::new(name, String::from_utf8_lossy(&text).into_owned()));
            }
        }
    }
    sources.sort_by(|a, b| a.path.cmp(&b.path));
    assert!(sources.len() > 5, "the tree was not found at {}", root.display());
    sources
}

/// One rule over the whole tree.
fn check(rule: Rule) {
    let findings: Vec<(String, Finding)> = tree()
        .iter()
        .flat_map(|source| rule(source).into_iter().map(|finding| (source.path.clone(), finding)))
        .collect();
    let report: String = findings.iter().map(|(path, (line, words))| format!("{path}:{line}: {words}\n")).collect();
    assert!(findings.is_empty(), "\n{report}");
}

#[test]
fn core_stays_pure() {
    check(layers::core_purity);
}

#[test]
fn each_part_of_the_server_knows_its_own() {
    check(layers::server_knowledge);
}

#[test]
fn glommio_and_subprocesses_stay_in_their_files() {
    check(rules::server_layering);
}

#[test]
fn banned_words() {
    check(rules::banned_code);
    check(rules::banned_words);
    check(rules::banned_file_names);
}

#[test]
fn file_length() {
    check(rules::length);
}

#[test]
fn unsafe_blocks() {
    check(rules::unsafe_code);
}

#[test]
fn each_module_says_what_it_is() {
    check(rules::module_prose);
}

#[test]
fn nothing_from_outside_the_tree() {
    check(rules::foreign_places);
}

#[test]
fn each_test_that_is_named_exists() {
    let findings = named_tests::unknown_tests(&tree());
    assert!(findings.is_empty(), "\n{}", findings.join("\n"));
}

#[test]
fn exceptions_are_still_needed() {
    let tree = tree();
    let stale = [rules::stale_exceptions(&tree), layers::stale_layers(&tree)].concat();
    assert!(stale.is_empty(), "\n{}", stale.join("\n"));
}

#[test]
fn no_c_under_core() {
    let metadata = dependencies::cargo_metadata(&root());
    let findings = dependencies::c_under("heliostat-core", &metadata);
    assert!(findings.is_empty(), "\n{}", findings.join("\n"));
}

/// The generator and the fleet of clients judge the engine, so they know nothing of it.
#[test]
fn who_judges_knows_nothing_of_the_engine() {
    let metadata = dependencies::cargo_metadata(&root());
    for (package, others) in [
        ("heliostat-testrepo", &["heliostat-core", "heliostat"][..]),
        ("heliostat-loadtest", &["heliostat-core", "heliostat"]),
        ("heliostat-core", &["heliostat", "glommio", "tokio", "futures-lite"]),
    ] {
        assert_eq!(dependencies::known_to(package, others, &metadata), [""; 0], "{package}");
    }
}

#[test]
fn each_dependency_of_core_has_its_place() {
    let metadata = dependencies::cargo_metadata(&root());
    let unplaced = layers::unplaced_crates(&dependencies::declared("heliostat-core", &metadata));
    assert_eq!(unplaced, [""; 0]);
}

/// The tool is `cargo test`, and `cargo run` means the program.
#[test]
fn cargo_by_itself_tests_the_core_and_runs_the_server() {
    let metadata = dependencies::cargo_metadata(&root());
    let (members, runs) = dependencies::defaults(&metadata);
    for package in ["heliostat-core", "heliostat"] {
        assert!(members.contains(&package.to_owned()), "{package} is not among the default members: {members:?}");
    }
    assert_eq!(runs, ["heliostat"]);
}
