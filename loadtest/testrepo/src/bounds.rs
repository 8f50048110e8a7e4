//! What the sizes of a `Spec` may be: a size that would mean less than it says is refused before anything is written.

use std::io;
use std::ops::RangeInclusive;

use crate::files::DEEP_TREE_LEVELS_MAX;
use crate::history::OCTOPUS_PARENTS_MAX;
use crate::spec::Spec;

/// Git's longest chain.
const DELTA_DEPTH_MAX: u32 = 4_095;
const COMPRESSION_MAX: u32 = 9;

impl Spec {
    /// Names the first size that is out of its range.
    pub(crate) fn check(&self) -> io::Result<()> {
        let percent: RangeInclusive<u32> = 0..=100;
        let parents = if self.octopuses == 0 { 0..=u32::MAX } else { 3..=OCTOPUS_PARENTS_MAX };
        for (name, value, range) in [
            ("merge_percent", self.merge_percent.into(), percent.clone()),
            ("octopus_parents", self.octopus_parents, parents),
            ("skew_percent", self.skew_percent.into(), percent.clone()),
            ("signed_percent", self.signed_percent.into(), percent.clone()),
            ("encoded_percent", self.encoded_percent.into(), percent.clone()),
            ("long_message_percent", self.long_message_percent.into(), percent.clone()),
            ("rename_percent", self.rename_percent.into(), percent.clone()),
            ("executable_percent", self.executable_percent.into(), percent.clone()),
            ("pull_own_percent", self.pull_own_percent.into(), percent.clone()),
            ("loose_percent", self.loose_percent.into(), percent.clone()),
            ("ref_delta_percent", self.ref_delta_percent.into(), percent),
            ("deep_tree_levels", self.deep_tree_levels, 0..=DEEP_TREE_LEVELS_MAX),
            ("delta_depth", self.delta_depth.into(), 0..=DELTA_DEPTH_MAX),
            ("compression", self.compression.into(), 0..=COMPRESSION_MAX),
        ] {
            if !range.contains(&value) {
                let (first, last) = range.into_inner();
                return Err(refused(format!("{name} is {value}, and may be {first} to {last}")));
            }
        }
        if self.packs == 0 && self.loose_percent != 100 {
            return Err(refused("packs is 0, so loose_percent must be 100: objects have to lie somewhere".into()));
        }
        Ok(())
    }
}

fn refused(words: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, words)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(spec: Spec, words: &str) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("r.git");
        let refused = spec.write(&path).unwrap_err();
        assert_eq!((refused.kind(), refused.to_string().as_str()), (io::ErrorKind::InvalidInput, words));
        assert!(!path.exists(), "nothing is written");
    }

    #[test]
    fn sizes_out_of_range_are_refused() {
        let small = Spec::small(1);
        check(Spec { merge_percent: 200, ..small.clone() }, "merge_percent is 200, and may be 0 to 100");
        check(Spec { pull_own_percent: 101, ..small.clone() }, "pull_own_percent is 101, and may be 0 to 100");
        check(Spec { compression: 77, ..small.clone() }, "compression is 77, and may be 0 to 9");
        check(Spec { delta_depth: 4_096, ..small.clone() }, "delta_depth is 4096, and may be 0 to 4095");
        check(Spec { deep_tree_levels: 1_001, ..small.clone() }, "deep_tree_levels is 1001, and may be 0 to 1000");
        check(Spec { octopuses: 1, octopus_parents: 2, ..small.clone() }, "octopus_parents is 2, and may be 3 to 60");
        check(Spec { packs: 0, ..small }, "packs is 0, so loose_percent must be 100: objects have to lie somewhere");
    }

    #[test]
    fn presets_are_in_range() {
        let presets = Spec::presets(1).into_iter().map(|(_, spec)| spec);
        for spec in presets.chain([Spec::medium(1), Spec::million(1)]) {
            spec.check().unwrap();
        }
    }
}
