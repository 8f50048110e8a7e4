//! What packages are built from, as `cargo metadata` tells it: no C under one, nor a package that it must not know.
//!
//! Followed are normal dependencies and those of build scripts, on the platform of this machine;
//! dev-dependencies are not shipped and not followed. It can't see a build script that starts a
//! compiler by itself; nothing in the tree may have reason to.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use serde_json::Value;

/// Crates whose only use in a build is to compile, generate for or find C.
const C_BUILDERS: &[&str] = &[
    "cc",
    "cmake",
    "bindgen",
    "pkg-config",
    "autotools",
    "vcpkg",
    "system-deps",
    "nasm-rs",
    "metadeps",
    "link-cplusplus",
    "cxx-build",
    "prost-build",
    "protobuf-src",
];

/// `links` keys that name no library but keep two versions of a Rust crate from one program.
const RUST_ONLY_LINKS: &[(&str, &str)] = &[
    ("rayon-core", "one thread pool per process; pure Rust"),
    ("defmt", "one symbol table per firmware; pure Rust"),
    ("prettyplease", "version handshake of a formatter; pure Rust"),
];

/// What cargo knows of the workspace, for the platform that runs the test.
pub fn cargo_metadata(root: &Path) -> Value {
    let rustc = std::env::var("RUSTC").unwrap_or_else(|_| "rustc".into());
    let version = Command::new(rustc).arg("-vV").output().expect("rustc runs").stdout;
    let version = String::from_utf8(version).expect("rustc speaks UTF-8");
    let host = version.lines().find_map(|line| line.strip_prefix("host: ")).expect("a host triple");
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".into());
    let output = Command::new(cargo)
        .args(["metadata", "--format-version", "1", "--locked", "--filter-platform", host])
        .current_dir(root)
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("cargo metadata is JSON")
}

/// Each package that `package` is built from and that compiles or links C, with the reason.
pub fn c_under(package: &str, metadata: &Value) -> Vec<String> {
    let mut findings = Vec::new();
    for found in built_from(package, metadata) {
        let name = text(&found["name"]);
        if C_BUILDERS.contains(&name) {
            findings.push(format!("{name}: builds or finds C"));
        }
        if let Some(links) = found["links"].as_str()
            && !RUST_ONLY_LINKS.iter().any(|(pure, _)| *pure == name)
        {
            findings.push(format!("{name}: links the native library {links}"));
        }
    }
    findings.sort();
    findings
}

/// Those of `others` that `package` is built from.
pub fn known_to<'a>(package: &str, others: &[&'a str], metadata: &Value) -> Vec<&'a str> {
    let names: Vec<&str> = built_from(package, metadata).iter().map(|found| text(&found["name"])).collect();
    others.iter().copied().filter(|other| names.contains(other)).collect()
}

/// What `package` itself says that it is built from, as its code names it.
pub fn declared(package: &str, metadata: &Value) -> Vec<String> {
    let found = list(&metadata["packages"]).find(|found| found["name"] == package).expect("a package of the workspace");
    let shipped = list(&found["dependencies"]).filter(|dependency| dependency["kind"] != "dev");
    shipped.map(|dependency| text(&dependency["name"]).replace('-', "_")).collect()
}

/// The packages that cargo takes if none is named, and what `cargo run` runs then.
pub fn defaults(metadata: &Value) -> (Vec<String>, Vec<String>) {
    let is_default = |package: &&Value| list(&metadata["workspace_default_members"]).any(|id| *id == package["id"]);
    let packages: Vec<&Value> = list(&metadata["packages"]).filter(is_default).collect();
    let names = packages.iter().map(|package| text(&package["name"]).to_owned()).collect();
    let runs = packages.iter().filter_map(|package| package["default_run"].as_str().map(str::to_owned)).collect();
    (names, runs)
}

/// Everything that `package` is built from, itself too.
fn built_from<'a>(package: &str, metadata: &'a Value) -> Vec<&'a Value> {
    let packages: BTreeMap<&str, &Value> =
        list(&metadata["packages"]).map(|package| (text(&package["id"]), package)).collect();
    let nodes: BTreeMap<&str, &Value> =
        list(&metadata["resolve"]["nodes"]).map(|node| (text(&node["id"]), node)).collect();
    let start = packages
        .iter()
        .find(|(_, found)| found["name"] == package)
        .map(|(id, _)| *id)
        .unwrap_or_else(|| panic!("cargo metadata does not know {package}"));

    let mut seen = BTreeSet::from([start]);
    let mut queue = vec![start];
    while let Some(id) = queue.pop() {
        let shipped = list(&nodes[id]["deps"])
            .filter(|dependency| list(&dependency["dep_kinds"]).any(|kind| kind["kind"] != "dev"));
        for dependency in shipped {
            let next = text(&dependency["pkg"]);
            if seen.insert(next) {
                queue.push(next);
            }
        }
    }
    seen.into_iter().map(|id| packages[id]).collect()
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().expect("a list in cargo metadata").iter()
}

fn text(value: &Value) -> &str {
    value.as_str().expect("a string in cargo metadata")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// `core` depends on `a` as `kind`; `a` has `links` and is called `name`.
    fn check(name: &str, kind: Value, links: Value, findings: &[&str]) {
        let metadata = json!({
            "packages": [
                {"id": "core#1", "name": "heliostat-core", "links": null},
                {"id": "a#1", "name": "a", "links": null},
                {"id": "b#1", "name": name, "links": links},
            ],
            "resolve": {"nodes": [
                {"id": "core#1", "deps": [{"pkg": "a#1", "dep_kinds": [{"kind": null}]}]},
                {"id": "a#1", "deps": [{"pkg": "b#1", "dep_kinds": [{"kind": kind}]}]},
                {"id": "b#1", "deps": []},
            ]},
        });
        assert_eq!(c_under("heliostat-core", &metadata), findings);
    }

    #[test]
    fn fires_on_c() {
        check("zlib-sys", Value::Null, json!("z"), &["zlib-sys: links the native library z"]);
        check("cc", json!("build"), Value::Null, &["cc: builds or finds C"]);
        check("bindgen", json!("build"), Value::Null, &["bindgen: builds or finds C"]);
    }

    #[test]
    fn finds_who_is_known() {
        let metadata = json!({
            "packages": [{"id": "a#1", "name": "a"}, {"id": "b#1", "name": "b"}, {"id": "c#1", "name": "c"}],
            "resolve": {"nodes": [
                {"id": "a#1", "deps": [{"pkg": "b#1", "dep_kinds": [{"kind": null}]}, {"pkg": "c#1", "dep_kinds": [{"kind": "dev"}]}]},
                {"id": "b#1", "deps": []},
                {"id": "c#1", "deps": []},
            ]},
        });
        assert_eq!(known_to("a", &["c", "b"], &metadata), ["b"]);
    }

    #[test]
    fn silent_on_rust() {
        check("serde", Value::Null, Value::Null, &[]);
        check("cc", json!("dev"), Value::Null, &[]);
        check("rayon-core", Value::Null, json!("rayon-core"), &[]);
    }
}
