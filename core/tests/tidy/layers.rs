//! What each layer may name. Lists of what is allowed, not of what is refused: a way out that nobody has thought of is
//! refused too.
//!
//! Paths are followed through the file's `use` declarations (groups, renames, modules that are imported to be gone through),
//! so that `use std::io as x; x::stdin()` is `std::io::stdin`. What can be done without naming a module, by a method or by
//! a macro, has lists of its own.

use crate::{
    rules::{Exception, Finding, covers, excepted, names, said, stale},
    source::{Source, Word},
};

/// Where `core` reads and writes files.
const CORE_DISK: &[Exception] = &[
    ("core/src/store/", "the store is files"),
    ("core/src/pack/", "sealed packs and their sidecars are opened here"),
    ("core/src/repository/", "any bare repository on disk, for upload-pack"),
    ("core/src/objects/", "loose objects are files"),
];

/// Crates of which `core` may name only what is listed.
const SYSTEM: [&str; 4] = ["std", "core", "alloc", "rustix"];

/// What `core` may name of the standard library: a module (`::` at its end) with all that is in it, or one thing, with what
/// belongs to it. No clock, no environment, no process, no socket, no thread, no standard stream, no randomness.
const PURE: &[&str] = &[
    "std::borrow::Cow",
    "std::cell::",
    "std::cmp::",
    "std::collections::BTreeMap",
    "std::collections::BTreeSet",
    "std::collections::BinaryHeap",
    "std::collections::HashMap",
    "std::collections::HashSet",
    "std::collections::VecDeque",
    "std::collections::btree_map::Entry",
    "std::collections::hash_map::Entry",
    "std::convert::",
    "std::error::Error",
    "std::fmt::",
    // Its keys are always the same.
    "std::hash::DefaultHasher",
    "std::hash::Hash",
    "std::hash::Hasher",
    "std::io::Write",
    "std::iter::",
    "std::marker::",
    "std::mem::",
    "std::num::",
    "std::ops::",
    "std::rc::",
    "std::slice::",
    "std::str::",
    "std::sync::Arc",
    "std::sync::atomic::",
    "std::time::Duration",
];

/// What it may name besides where files are.
const DISK: &[&str] = &[
    "rustix::fs::",
    "rustix::io::Errno",
    "std::ffi::OsStr",
    "std::ffi::OsString",
    "std::fs::",
    "std::io::BufRead",
    "std::io::BufReader",
    "std::io::BufWriter",
    "std::io::Cursor",
    "std::io::Error",
    "std::io::ErrorKind",
    "std::io::Read",
    "std::io::Result",
    "std::io::Seek",
    "std::io::SeekFrom",
    "std::os::unix::ffi::",
    "std::os::unix::fs::",
    // A defect of the indexer is the pack's end, not the process's.
    "std::panic::AssertUnwindSafe",
    "std::panic::catch_unwind",
    "std::path::",
    // In the name of a temporary file.
    "std::process::id",
    "std::sync::Mutex",
    "std::sync::MutexGuard",
    "std::sync::OnceLock",
    "std::sync::PoisonError",
    "std::sync::Weak",
    // Threads that end with the call.
    "std::thread::available_parallelism",
    "std::thread::scope",
    // Of a time that was given; `now` is refused below.
    "std::time::Instant",
    "std::time::SystemTime",
];

/// Crates that open files, or may: named where files are.
const DISK_CRATES: &[&str] = &["gix_config", "gix_pack", "rustix"];
/// The others that `core` is built from.
const PURE_CRATES: &[&str] = &[
    "arc_swap",
    "bstr",
    "crc32fast",
    "flate2",
    "gix_error",
    "gix_glob",
    "gix_hash",
    "gix_object",
    "gix_utils",
    "gix_validate",
    "gix_zlib",
    "hmac",
    "sha1",
    "sha2",
];

/// What a path does besides being text.
const PATH_METHODS: &[&str] = &[
    "canonicalize",
    "exists",
    "is_dir",
    "is_file",
    "is_symlink",
    "metadata",
    "read_dir",
    "read_link",
    "symlink_metadata",
    "try_exists",
];

/// Methods that nobody in `core` calls, and why.
const IMPURE_METHODS: &[(&str, &str)] = &[("now", "time is an argument"), ("elapsed", "time is an argument")];

/// Words of the language that `core` does without, and why.
const IMPURE_WORDS: &[(&str, &str)] = &[
    ("async", "machines are synchronous: handle_* in, poll_* out"),
    ("await", "machines are synchronous: handle_* in, poll_* out"),
    ("extern", "no C, and no other name for a crate"),
];

/// Macros that `core` calls: they make values and text, and check. No standard stream, no environment, no file.
const MACROS: &[&str] = &[
    "assert",
    "assert_eq",
    "assert_ne",
    "concat",
    "debug_assert",
    "debug_assert_eq",
    "debug_assert_ne",
    "format",
    "format_args",
    "macro_rules",
    "matches",
    // An error of gix-error's.
    "message",
    "panic",
    "unreachable",
    "vec",
    "write",
    "writeln",
];

/// What `server` may name of `core` in `http/`, which carries bytes and knows nothing of what is in them.
const HTTP: &str = "server/src/http/";
const HTTP_KNOWS: &[&str] = &["heliostat_core::RepositoryPath", "heliostat_core::limits::", "heliostat_core::fault::"];
const HTTP_DOES_NOT_KNOW: &[&str] = &["crate::serve", "crate::sync", "crate::upstream"];
/// But for whom it hands each exchange to.
const HTTP_CALLS: &[&str] = &["crate::serve::answer"];

/// Where it is said whether `team/app` and `team/app.git` are one repository.
const SPELLINGS: &[Exception] = &[
    ("server/src/upstream/", "each kind of upstream has its own rule"),
    ("core/src/repository_path.rs", "what the other spelling is, not whether it means the same"),
    ("server/src/config/mod.rs", "a pattern on either spelling is one on both at an upstream of kind git"),
    ("server/src/cli/purge.rs", "without a node, what is dropped lies under either spelling"),
    ("server/src/auth/gate.rs", "a rule on either spelling is one on both: who may not read hears no difference"),
    ("server/src/admin/rights.rs", "what is remembered under either spelling is forgotten"),
    ("server/src/cli/sync.rs", "either spelling of a name on the command line is found in the node's list"),
];
const SPELLING: &str = "other_spelling";

/// `core` has no runtime, no socket, no clock; files only where they are its subject.
pub fn core_purity(source: &Source) -> Vec<Finding> {
    if !source.path.starts_with("core/src/") {
        return Vec::new();
    }
    let disk = excepted(CORE_DISK, source);
    let mut findings = Vec::new();
    for (line, path) in source.paths(&SYSTEM) {
        let allowed = allows(PURE, &path) || disk && allows(DISK, &path);
        if !allowed && allows(DISK, &path) {
            findings.push((line, format!("`{path}` outside {}", names(CORE_DISK))));
        } else if !allowed {
            findings.push((line, format!("core does not name `{path}`: what it may is in core/tests/tidy/layers.rs")));
        }
    }
    for (line, path) in source.paths(DISK_CRATES) {
        if !disk {
            findings.push((line, format!("`{path}` outside {}", names(CORE_DISK))));
        }
    }
    source.each_word(|word| {
        let Word { line, text, .. } = *word;
        if word.is_method() && !disk && PATH_METHODS.contains(&text) {
            findings.push((line, format!("`{text}` outside {}", names(CORE_DISK))));
        }
        let method = IMPURE_METHODS.iter().find(|(one, _)| *one == text && word.is_method());
        if let Some((_, why)) = method.or_else(|| IMPURE_WORDS.iter().find(|(one, _)| *one == text)) {
            findings.push((line, format!("core says `{text}`: {why}")));
        }
        let own = || source.code.contains(&format!("macro_rules! {text} "));
        if word.is_macro() && !MACROS.contains(&text) && !own() {
            findings.push((line, format!("core does not call `{text}!`: what it may is in core/tests/tidy/layers.rs")));
        }
    });
    findings.sort();
    findings.dedup();
    findings
}

/// Whether `path` is on the list, or a module on the way to something that is.
fn allows(list: &[&str], path: &str) -> bool {
    list.iter().any(|one| match one.strip_suffix("::") {
        Some(module) => path == module || path.starts_with(one) || module.starts_with(&format!("{path}::")),
        None => path == *one || path.starts_with(&format!("{one}::")) || one.starts_with(&format!("{path}::")),
    })
}

/// `http/` carries bytes, and whether two paths are one repository is the upstream's to say.
pub fn server_knowledge(source: &Source) -> Vec<Finding> {
    let mut findings = Vec::new();
    if covers(HTTP, source) {
        for (line, path) in source.paths(&["heliostat_core"]) {
            if !allows(HTTP_KNOWS, &path) {
                findings.push((line, format!("{HTTP} does not know `{path}`")));
            }
        }
        for (line, path) in source.paths(&["crate"]) {
            let other = path != "crate" && allows(HTTP_DOES_NOT_KNOW, &path);
            if other && !allows(HTTP_CALLS, &path) {
                findings.push((line, format!("{HTTP} does not know `{path}`")));
            }
        }
    }
    if !excepted(SPELLINGS, source) {
        findings.extend(said(source, |code| {
            code.contains(SPELLING).then(|| format!("`{SPELLING}` outside {}", names(SPELLINGS))).into_iter().collect()
        }));
    }
    findings
}

/// Dependencies of `core` (with `_`) that neither list of crates has, and names on the lists that are none.
pub fn unplaced_crates(dependencies: &[String]) -> Vec<String> {
    let placed = || PURE_CRATES.iter().chain(DISK_CRATES);
    let unplaced = dependencies.iter().filter(|name| !placed().any(|one| one == name));
    let gone = placed().filter(|one| !dependencies.iter().any(|name| name == **one));
    unplaced.cloned().chain(gone.map(|name| name.to_string())).collect()
}

/// Exceptions that let nothing through any more.
pub fn stale_layers(tree: &[Source]) -> Vec<String> {
    let opens = |source: &Source| {
        let paths = source.paths(&SYSTEM);
        paths.iter().any(|(_, path)| !allows(PURE, path) && allows(DISK, path))
    };
    [stale(CORE_DISK, tree, opens), stale(SPELLINGS, tree, |source| source.code.contains(SPELLING))].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::tests::check;

    const PURE_FILE: &str = "core/src/graph/filter.rs";
    const DISK_FILE: &str = "core/src/store/a.rs";

    #[test]
    fn ways_out_of_core_are_closed() {
        for text in [
            "fn a() { std::os::unix::net::UnixStream::connect(\"x\"); }",
            "use std::os::unix;\nfn a() { unix::net::UnixStream::connect(\"x\"); }",
            "use std::time::{Instant as Watch, SystemTime as Wall};",
            "fn a(watch: Watch) { Watch::now(); }",
            "fn a() -> u64 { let f = Watch::now; f() }",
            "fn a(b: Watch) { b.elapsed(); }",
            "use std::thread;\nfn a() { thread::Builder::new().spawn(b); }",
            "use std::thread as t;\nfn a() { t::park_timeout(b); }",
            "use std::{io as x, fmt};\nfn a() { x::stdin(); }",
            "use std::io;\nfn a() {\n    io\n        ::stdin();\n}",
            "use std as s;\nfn a() { s::process::abort(); }",
            "use std::io::*;",
            "pub use std::net::TcpStream;",
            "pub(in crate::graph) use std::net::TcpStream;",
            "fn a() { println!(\"x\"); }",
            "fn a() { eprintln! {\"x\"}; }",
            "fn a() { std::println!(\"x\"); }",
            "fn a() -> &str { include_str!(\"x\") }",
            "fn a() { env!(\"x\"); }",
            "fn a() { rustix::time::clock_gettime(b); }",
            "fn a() { ::rustix::net::socket(b); }",
            "fn a() { std::process::abort(); }",
            "fn a() { std::process::Command::new(\"x\"); }",
            "fn a() { std::env::var(\"x\"); }",
            "fn a() { core::hint::spin_loop(); }",
            "use std::collections::hash_map::RandomState;",
            "async fn a() {}",
            "fn a() { b.await; }",
            "extern crate libc;",
            "extern \"C\" {}",
        ] {
            for path in [PURE_FILE, DISK_FILE] {
                let found = core_purity(&Source::new(path, text));
                // A file's own business may be done where files are.
                let disk = path == DISK_FILE && text.contains("Instant as Watch");
                assert_eq!(found.is_empty(), disk, "{path}: {text}");
            }
            assert!(core_purity(&Source::new("server/src/a.rs", text)).is_empty());
            assert!(core_purity(&Source::new(PURE_FILE, format!("// {}", text.replace('\n', " ")))).is_empty());
        }
    }

    #[test]
    fn files_stay_where_they_are() {
        for text in [
            "fn a(b: &X) { b.path.exists(); }",
            "fn a(b: &X) { Path::read_dir(b); }",
            "fn a(b: &X) { b.path\n    .canonicalize(); }",
            "fn a(b: &X) { b.path.metadata(); }",
            "use std::fs;",
            "use std::{\n    fmt, fs,\n};",
            "use std::path::Path;",
            "use rustix::fs::open;",
            "use gix_pack as p;",
            "fn a() { gix_config::File::from_path(b); }",
            "fn a() { std::fs::read(b); }",
        ] {
            assert!(!core_purity(&Source::new(PURE_FILE, text)).is_empty(), "{text}");
            assert_eq!(core_purity(&Source::new(DISK_FILE, text)), [], "{text}");
        }
        check(core_purity, PURE_FILE, "use std::{\n    env, fs,\n    net::TcpStream,\n};\n", &[2, 2, 3]);
    }

    #[test]
    fn what_is_pure_is_let_through() {
        let text = "use std::{\n    collections::{BTreeMap, hash_map::Entry},\n    fmt::{self, Write as _},\n    sync::{Arc, atomic::Ordering},\n};\n\
                    fn a(f: &mut fmt::Formatter<'_>) -> fmt::Result {\n    let now = std::mem::take(&mut self.now);\n    write!(f, \"{now}\")?;\n    \
                    if a != b { Ordering::Relaxed }\n    std::io::Write::flush(f)\n}\nmacro_rules! own { () => {} }\nown!();\n\
                    #[cfg(test)]\nmod tests {\n    use std::fs;\n}\n";
        assert_eq!(core_purity(&Source::new(PURE_FILE, text)), []);
        assert_eq!(core_purity(&Source::new("core/src/graph/tests.rs", "use std::fs;")), []);
    }

    #[test]
    fn server_knowledge_fires() {
        for (text, lines) in [
            ("use heliostat_core::pack::Plan;", &[1][..]),
            ("use heliostat_core::{\n    limits::X,\n    store::{Snapshot},\n};", &[3]),
            ("use heliostat_core as c;\nfn a(b: c::graph::Query) {}", &[2]),
            ("use heliostat_core::{RepositoryPath, limits::X};", &[]),
            ("use crate::serve::job::Cache;", &[1]),
            ("use crate::serve;\nfn a() { serve::answer(b); }", &[]),
            ("use crate::serve;\nfn a() { serve::resolve(b); }", &[2]),
            ("use crate::{shard::task, upstream};", &[1]),
        ] {
            check(server_knowledge, "server/src/http/head.rs", text, lines);
            check(server_knowledge, "server/src/serve/a.rs", text, &[]);
        }
        let text = "let other = path.other_spelling();";
        check(server_knowledge, "server/src/sync/driver.rs", text, &[1]);
        check(server_knowledge, "core/src/store/a.rs", text, &[1]);
        check(server_knowledge, "server/src/upstream/git/mod.rs", text, &[]);
        check(server_knowledge, "server/tests/a.rs", text, &[]);
    }

    #[test]
    fn a_dependency_without_a_place_is_found() {
        let all: Vec<String> = PURE_CRATES.iter().chain(DISK_CRATES).map(|name| name.to_string()).collect();
        assert_eq!(unplaced_crates(&all), [""; 0]);
        assert_eq!(unplaced_crates(&[&all[1..], &["libc".into()]].concat()), ["libc", PURE_CRATES[0]]);
    }
}
