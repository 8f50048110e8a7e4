//! Content that looks like source code to a compressor: words in lines, edited a few lines at a time.

use crate::rng::Rng;

const WORDS: [&str; 96] = [
    "let", "mut", "self", "return", "match", "while", "struct", "impl", "where", "async", "await", "static", "const",
    "break", "continue", "value", "index", "buffer", "length", "offset", "result", "error", "config", "option",
    "stream", "reader", "writer", "parser", "token", "node", "tree", "commit", "branch", "remote", "server", "client",
    "request", "response", "header", "socket", "packet", "session", "handler", "worker", "queue", "cache", "entry",
    "record", "table", "column", "query", "filter", "number", "string", "vector", "matrix", "color", "pixel", "frame",
    "window", "event", "signal", "timer", "clock", "thread", "channel", "message", "payload", "checksum", "digest",
    "cipher", "secret", "public", "private", "module", "crate", "import", "export", "encode", "decode", "insert",
    "remove", "update", "delete", "create", "build", "check", "verify", "render", "layout", "widget", "button",
    "schema", "policy", "metric", "report",
];
const JOINTS: [&str; 8] = [" ", " ", " ", "_", ".", "(", " = ", ", "];
const LINE_ENDS: [&str; 8] = ["\n", "\n", ";\n", ";\n", ");\n", " {\n    ", "\n\n", ",\n"];

/// One word.
pub(crate) fn word(rng: &mut Rng) -> &'static str {
    WORDS[rng.below(WORDS.len())]
}

/// Whole lines, `len` bytes or a line more.
pub(crate) fn lines(rng: &mut Rng, len: usize) -> Vec<u8> {
    let mut text = Vec::with_capacity(len + 96);
    while text.len() < len {
        // One draw gives a line: up to six words of seven bits, and the pieces between them.
        let mut drawn = rng.draw();
        let words = 3 + (drawn & 3);
        drawn >>= 2;
        for _ in 0..words {
            text.extend_from_slice(WORDS[(drawn & 0x7f) as usize * WORDS.len() / 128].as_bytes());
            text.extend_from_slice(JOINTS[(drawn >> 7 & 7) as usize].as_bytes());
            drawn = drawn.rotate_right(10);
        }
        text.extend_from_slice(LINE_ENDS[(drawn & 7) as usize].as_bytes());
    }
    text
}

/// A next version: one to three places changed, by some lines that go, come or are replaced.
pub(crate) fn edited(rng: &mut Rng, text: &[u8]) -> Vec<u8> {
    let mut text = text.to_vec();
    for _ in 0..rng.between(1, 3) {
        let from = line_start(&text, rng.below(text.len()));
        let removed = rng.below(160).min(text.len() - from);
        let to = if removed == 0 { from } else { line_start(&text, from + removed) };
        let added = rng.below(160);
        let new = lines(rng, added.max(1));
        text.splice(from..to.max(from), new);
    }
    text
}

/// Where the line that holds `at` begins.
fn line_start(text: &[u8], at: usize) -> usize {
    let before = &text[..at.min(text.len())];
    before.iter().rposition(|byte| *byte == b'\n').map_or(0, |newline| newline + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_grows_to_its_size_and_changes_a_little() {
        let mut rng = Rng::new(1);
        let text = lines(&mut rng, 4_000);
        assert!((4_000..4_200).contains(&text.len()));
        let next = edited(&mut rng, &text);
        assert_ne!(next, text);
        assert!(next.len().abs_diff(text.len()) < 900);
        assert!(!edited(&mut rng, b"").is_empty());
    }
}
