//! Runs every seed and every finding of the fuzzers as an ordinary test.

#[path = "../../fuzz/entries.rs"]
mod entries;

use std::{fs, path::Path};

#[test]
fn seeds_and_findings() {
    let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz");
    for (name, entry) in entries::ENTRIES {
        let target = fuzz.join("fuzz_targets").join(name).with_extension("rs");
        assert!(target.exists(), "{name} has no fuzz target");
        let mut inputs = 0;
        for folder in ["seeds", "findings"] {
            let Ok(files) = fs::read_dir(fuzz.join(folder).join(name)) else { continue };
            for file in files {
                let path = file.unwrap().path();
                println!("{}", path.display());
                entry(&fs::read(path).unwrap());
                inputs += 1;
            }
        }
        assert!(inputs > 0, "{name} has no seed");
        entry(b"");
    }
}

#[test]
fn every_target_is_replayed() {
    let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/fuzz_targets");
    for file in fs::read_dir(fuzz).unwrap() {
        let path = file.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        assert!(entries::ENTRIES.iter().any(|(entry, _)| *entry == name), "{name} is not in entries.rs");
    }
}
