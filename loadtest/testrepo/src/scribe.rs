//! Who commits, when, and with which words. Time is a counter: it begins at a fixed moment and moves with each commit.

use std::io;

use gix_hash::ObjectId;

use crate::object::{Commit, Kind, Signature, Tag};
use crate::objects::Objects;
use crate::rng::Rng;
use crate::spec::Spec;
use crate::text;

/// What a history takes, short or long: eight years.
const SPAN_SECONDS: u64 = 8 * 365 * 86_400;
const STEP_SECONDS_MAX: u64 = 3 * 86_400;
const SKEW_SECONDS_MAX: usize = 30 * 86_400;
const AUTHORED_BEFORE_SECONDS_MAX: usize = 7_200;
const MOST_WORK_DONE_BY: usize = 12;
const PEOPLE: [&str; 40] = [
    "Ada Lund",
    "Bo Berg",
    "Chidi Okafor",
    "Dana Weiss",
    "Elif Kaya",
    "Fumi Sato",
    "Goran Ilic",
    "Hana Novak",
    "Imre Toth",
    "Jun Park",
    "Kofi Mensah",
    "Lea Martin",
    "Mateo Cruz",
    "Nadia Haddad",
    "Oskar Nilsen",
    "Priya Nair",
    "Quentin Roux",
    "Rosa Silva",
    "Søren Holm",
    "Tala Reyes",
    "Uma Joshi",
    "Viktor Petrov",
    "Wanjiru Kamau",
    "Xin Li",
    "Yara Costa",
    "Zoltán Nagy",
    "Aoife Byrne",
    "Björn Ek",
    "Camille Petit",
    "Dmitri Volkov",
    "Esra Demir",
    "Farah Aziz",
    "Gita Rao",
    "Hugo Blanc",
    "Ines Duarte",
    "Jonas Wolf",
    "Keiko Mori",
    "Luka Horvat",
    "Mira Popescu",
    "Noor Bakker",
];
const ZONES_MINUTES: [i16; 8] = [0, 0, 60, 120, -300, -480, 330, 540];

/// Makes commits and tags.
pub(crate) struct Scribe {
    rng: Rng,
    seconds: u64,
    step_seconds: u64,
    skew_percent: u8,
    signed_percent: u8,
    encoded_percent: u8,
    long_message_percent: u8,
}

impl Scribe {
    /// 2015-01-01.
    pub(crate) const BEGINNING_SECONDS: u64 = 1_420_070_400;

    pub(crate) fn for_history(spec: &Spec) -> Self {
        Scribe {
            rng: Rng::for_purpose(spec.seed, "scribe"),
            seconds: Self::BEGINNING_SECONDS,
            step_seconds: (SPAN_SECONDS / u64::from(spec.commits.max(1))).clamp(60, STEP_SECONDS_MAX),
            skew_percent: spec.skew_percent,
            signed_percent: spec.signed_percent,
            encoded_percent: spec.encoded_percent,
            long_message_percent: spec.long_message_percent,
        }
    }

    /// One that goes on after `seconds`, as plainly as can be.
    pub(crate) fn going_on(rng: Rng, seconds: u64) -> Self {
        Scribe {
            rng,
            seconds,
            step_seconds: 3_600,
            skew_percent: 0,
            signed_percent: 0,
            encoded_percent: 0,
            long_message_percent: 0,
        }
    }

    /// The time of the last commit.
    pub(crate) fn seconds(&self) -> u64 {
        self.seconds
    }

    fn step(&mut self) -> u64 {
        self.seconds += self.rng.between(1, 2 * self.step_seconds as usize) as u64;
        self.seconds
    }

    /// A few people do most of the work.
    fn somebody(&mut self, seconds: u64) -> Signature {
        let among = if self.rng.percent(80) { MOST_WORK_DONE_BY } else { PEOPLE.len() };
        let at = self.rng.below(among);
        let name = PEOPLE[at];
        Signature {
            who: format!("{name} <dev{at}@example.org>"),
            seconds,
            zone_minutes: ZONES_MINUTES[at % ZONES_MINUTES.len()],
        }
    }

    /// Stores a commit of `tree` on `parents`.
    pub(crate) fn commit(
        &mut self,
        objects: &mut Objects,
        tree: ObjectId,
        parents: &[ObjectId],
    ) -> io::Result<ObjectId> {
        let now = self.step();
        let written = now - self.rng.below(AUTHORED_BEFORE_SECONDS_MAX) as u64;
        let author = self.somebody(written);
        let mut committer =
            if self.rng.percent(70) { Signature { seconds: now, ..author.clone() } } else { self.somebody(now) };
        if self.rng.percent(self.skew_percent) {
            let skew = self.rng.below(2 * SKEW_SECONDS_MAX) as u64;
            committer.seconds = now + skew - SKEW_SECONDS_MAX as u64;
        }
        let (encoding, message) = self.message(parents.len());
        let commit = Commit {
            tree,
            parents: parents.to_vec(),
            author,
            committer,
            encoding,
            signature: self.signature(),
            message,
        };
        objects.put_whole(Kind::Commit, &commit.encode())
    }

    /// Stores an annotated tag; `name` without `refs/tags/`.
    pub(crate) fn tag(
        &mut self,
        objects: &mut Objects,
        name: &str,
        target: ObjectId,
        target_kind: Kind,
    ) -> io::Result<ObjectId> {
        let now = self.seconds;
        let mut message = format!("Release {name}\n\n{}\n", self.sentence());
        if let Some(signature) = self.signature() {
            message.push_str(&signature);
        }
        let tag = Tag { target, target_kind, name: name.to_owned(), tagger: self.somebody(now), message };
        objects.put_whole(Kind::Tag, &tag.encode())
    }

    fn sentence(&mut self) -> String {
        let mut sentence = String::new();
        for at in 0..self.rng.between(3, 9) {
            if at > 0 {
                sentence.push(' ');
            }
            sentence.push_str(text::word(&mut self.rng));
        }
        sentence
    }

    fn message(&mut self, parents: usize) -> (Option<&'static str>, Vec<u8>) {
        let verb = *self.rng.pick(&["Add", "Fix", "Move", "Rework", "Drop", "Speed up", "Document"]);
        let mut message = match parents {
            0 => "Begin".to_owned(),
            1 => format!("{verb} {}", self.sentence()),
            _ => format!("Merge {} branches: {}", parents, self.sentence()),
        };
        message.push('\n');
        if self.rng.percent(40) {
            message.push('\n');
            for _ in 0..self.rng.between(1, 5) {
                message.push_str(&self.sentence());
                message.push('\n');
            }
        }
        if self.rng.percent(self.long_message_percent) {
            message.push('\n');
            let len = self.rng.between(20_000, 60_000);
            while message.len() < len {
                message.push_str(&self.sentence());
                message.push('\n');
            }
        }
        let mut message = message.into_bytes();
        if !self.rng.percent(self.encoded_percent) {
            return (None, message);
        }
        if self.rng.percent(50) {
            message.extend_from_slice(b"\nGr\xfc\xdfe aus K\xf6ln\n");
            (Some("ISO-8859-1"), message)
        } else {
            message.extend_from_slice(b"\n\x83\x65\x83\x58\x83\x67\n");
            (Some("Shift-JIS"), message)
        }
    }

    /// Armour around noise.
    fn signature(&mut self) -> Option<String> {
        const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        if !self.rng.percent(self.signed_percent) {
            return None;
        }
        let mut armour = String::from("-----BEGIN PGP SIGNATURE-----\n\n");
        for _ in 0..7 {
            for byte in self.rng.bytes(64) {
                armour.push(char::from(ALPHABET[usize::from(byte & 63)]));
            }
            armour.push('\n');
        }
        armour.push_str("-----END PGP SIGNATURE-----\n");
        Some(armour)
    }
}
