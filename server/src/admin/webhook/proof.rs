//! Whether a body was signed with the secret: HMAC-SHA256 over its bytes, computed as they come, compared in a time that
//! does not depend on where a wrong one differs.

use crate::http::signature::Signature;
use aws_lc_rs::{
    constant_time::verify_slices_are_equal,
    hmac::{Context, HMAC_SHA256, Key, Tag},
};

/// Bytes of HMAC-SHA256.
const TAG_BYTES: usize = 32;

/// A body on its way through.
pub(super) struct Check {
    context: Context,
    /// The secret under itself, for hosts that send the secret.
    of_secret: Tag,
    key: Key,
}

impl Check {
    pub(super) fn new(secret: &[u8]) -> Self {
        let key = Key::new(HMAC_SHA256, secret);
        Self { context: Context::with_key(&key), of_secret: aws_lc_rs::hmac::sign(&key, secret), key }
    }

    /// The next bytes of the body.
    pub(super) fn take(&mut self, bytes: &[u8]) {
        self.context.update(bytes);
    }

    /// Whether one of `lines` proves that whoever sent the body knows the secret.
    pub(super) fn proves(self, lines: &[(Signature, Vec<u8>)]) -> bool {
        let expected = self.context.sign();
        let equal = |given: &[u8]| verify_slices_are_equal(given, expected.as_ref()).is_ok();
        lines.iter().any(|(kind, value)| match kind {
            Signature::Hub => value.strip_prefix(b"sha256=").and_then(digits).is_some_and(|given| equal(&given)),
            Signature::Gitea => digits(value).is_some_and(|given| equal(&given)),
            // Under the key both have one length, and what differs tells nothing of where.
            Signature::Gitlab => {
                let given = aws_lc_rs::hmac::sign(&self.key, value);
                verify_slices_are_equal(given.as_ref(), self.of_secret.as_ref()).is_ok()
            }
        })
    }
}

/// Hexadecimal digits of a whole HMAC-SHA256.
fn digits(text: &[u8]) -> Option<[u8; TAG_BYTES]> {
    let mut bytes = [0; TAG_BYTES];
    if text.len() != 2 * TAG_BYTES {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(text.chunks_exact(2)) {
        let digit = |at: usize| char::from(pair[at]).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
        *byte = digit(0)? << 4 | digit(1)?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 4231, section 4.3: key `Jefe`, data `what do ya want for nothing?`.
    const TAG: &str = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843";

    fn is_signed(kind: Signature, value: &str) -> bool {
        let mut check = Check::new(b"Jefe");
        check.take(b"what do ya want ");
        check.take(b"for nothing?");
        check.proves(&[(kind, value.into())])
    }

    #[test]
    fn signatures_of_each_host() {
        assert!(is_signed(Signature::Hub, &format!("sha256={TAG}")));
        assert!(is_signed(Signature::Hub, &format!("sha256={}", TAG.to_uppercase())));
        assert!(is_signed(Signature::Gitea, TAG));
        assert!(is_signed(Signature::Gitlab, "Jefe"));
        for (kind, value) in [
            (Signature::Hub, TAG.to_owned()),
            (Signature::Hub, format!("sha1={TAG}")),
            (Signature::Hub, format!("sha256={}", TAG.replace("5b", "5c"))),
            (Signature::Hub, format!("sha256={}", &TAG[2..])),
            (Signature::Hub, format!("sha256={TAG}00")),
            (Signature::Hub, format!("sha256={}xy", &TAG[2..])),
            (Signature::Hub, "sha256=".into()),
            (Signature::Gitea, String::new()),
            (Signature::Gitea, format!("sha256={TAG}")),
            (Signature::Gitlab, TAG.to_owned()),
            (Signature::Gitlab, "Jef".into()),
            (Signature::Gitlab, "Jefee".into()),
            (Signature::Gitlab, String::new()),
        ] {
            assert!(!is_signed(kind, &value), "{kind:?} {value}");
        }
        let right = (Signature::Hub, format!("sha256={TAG}").into_bytes());
        let wrong = (Signature::Hub, b"sha1=00".to_vec());
        let mut check = Check::new(b"Jefe");
        check.take(b"what do ya want for nothing?");
        assert!(check.proves(&[wrong, right]), "GitHub sends an old one too");
    }
}
