//! A caller's credential: what stands behind `Authorization:`, if it can be shown to the upstream.
//!
//! Basic and Bearer can be replayed; others prove something about one connection or one request, and nothing to anybody
//! else. Such a line counts as none: the upstream is asked what an anonymous caller may, and its challenge says what to
//! come back with.

use crate::secret::Secret;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use std::fmt;
use zeroize::Zeroizing;

/// Basic or Bearer, well formed.
#[derive(Clone, PartialEq, Eq)]
pub struct Credential {
    scheme: Scheme,
    /// The whole line in one form: `Basic …` or `Bearer …`.
    line: Secret,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Scheme {
    Basic,
    Bearer,
}

/// What a credential holds, for a judge that wants it taken apart.
pub enum Parts {
    /// Basic: user and password.
    Password(Zeroizing<Vec<u8>>, Zeroizing<Vec<u8>>),
    /// Bearer.
    Token(Zeroizing<Vec<u8>>),
}

/// A line that is none of those of RFC 7617 and RFC 6750, though it says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

impl Credential {
    /// Reads a line; `None` if it is of a kind that can't be replayed.
    pub fn parse(line: &Secret) -> Result<Option<Self>, Malformed> {
        let line = line.expose().trim_ascii();
        let (scheme, rest) = line.split_at(line.iter().position(|byte| *byte == b' ').unwrap_or(line.len()));
        let rest = rest.trim_ascii();
        let scheme = match () {
            () if scheme.eq_ignore_ascii_case(b"basic") => Scheme::Basic,
            () if scheme.eq_ignore_ascii_case(b"bearer") => Scheme::Bearer,
            () => return Ok(None),
        };
        // A token of visible characters: nothing that could end a header line, or begin a second value.
        if rest.is_empty() || !rest.iter().all(|byte| byte.is_ascii_graphic() && *byte != b',') {
            return Err(Malformed);
        }
        let word: &[u8] = match scheme {
            Scheme::Basic => b"Basic ",
            Scheme::Bearer => b"Bearer ",
        };
        let credential = Self { scheme, line: Secret::new([word, rest].concat()) };
        if let Parts::Password(user, password) = credential.parts()?
            // RFC 7617, section 2: neither holds control characters.
            && user.iter().chain(password.iter()).any(u8::is_ascii_control)
        {
            return Err(Malformed);
        }
        Ok(Some(credential))
    }

    /// The line as it is sent on, and as it is hashed.
    pub fn line(&self) -> &Secret {
        &self.line
    }

    /// Taken apart.
    pub fn parts(&self) -> Result<Parts, Malformed> {
        let line = self.line.expose();
        let rest = &line[line.iter().position(|byte| *byte == b' ').map_or(0, |at| at + 1)..];
        match self.scheme {
            Scheme::Bearer => Ok(Parts::Token(Zeroizing::new(rest.to_vec()))),
            Scheme::Basic => {
                let decoded = Zeroizing::new(STANDARD.decode(rest).map_err(|_| Malformed)?);
                let colon = decoded.iter().position(|byte| *byte == b':').ok_or(Malformed)?;
                let part = |bytes: &[u8]| Zeroizing::new(bytes.to_vec());
                Ok(Parts::Password(part(&decoded[..colon]), part(&decoded[colon + 1..])))
            }
        }
    }
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.scheme {
            Scheme::Basic => "Basic(…)",
            Scheme::Bearer => "Bearer(…)",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parse(line: &[u8]) -> Result<Option<Credential>, Malformed> {
        Credential::parse(&Secret::new(line.to_vec()))
    }

    #[test]
    fn what_can_be_replayed() {
        for (line, expected) in [
            ("Basic YWxpY2U6czpjcmV0", "Basic YWxpY2U6czpjcmV0"),
            ("basic   YWxpY2U6czpjcmV0 ", "Basic YWxpY2U6czpjcmV0"),
            ("BEARER a.b-c_d~e+f/g==", "Bearer a.b-c_d~e+f/g=="),
            ("bearer glpat-XyZ:1", "Bearer glpat-XyZ:1"),
            ("Basic Og==", "Basic Og=="),
        ] {
            let credential = parse(line.as_bytes()).unwrap().expect(line);
            assert_eq!(credential.line().expose(), expected.as_bytes());
            assert!(!format!("{credential:?}").contains("YW"), "{credential:?}");
        }
        let Ok(Parts::Password(user, password)) = parse(b"Basic YWxpY2U6czpjcmV0").unwrap().unwrap().parts() else {
            panic!("a password");
        };
        assert_eq!((&user[..], &password[..]), (&b"alice"[..], &b"s:cret"[..]));
    }

    #[test]
    fn what_can_not() {
        for line in ["", "Negotiate YII=", "Digest username=\"a\"", "AWS4-HMAC-SHA256 x", "Basicx YWxpY2U6"] {
            assert_eq!(parse(line.as_bytes()), Ok(None), "{line}");
        }
        for line in [
            &b"Basic"[..],
            b"Basic ",
            b"Basic !!!!",
            b"Basic YWxpY2U=",
            b"Basic YWxpY2U6c, Bearer x",
            b"Basic YTph YTph",
            b"Bearer",
            b"Bearer a b",
            b"Bearer a,b",
            b"Bearer a\tb",
            b"Bearer \xff",
            // alice:\nhost=evil
            b"Basic YWxpY2U6Cmhvc3Q9ZXZpbA==",
            b"Basic YQA6Yg==",
        ] {
            assert_eq!(parse(line), Err(Malformed), "{:?}", String::from_utf8_lossy(line));
        }
    }

    proptest! {
        #[test]
        fn no_line_panics_and_none_smuggles(line in proptest::collection::vec(any::<u8>(), 0..40), basic: bool) {
            let line = [if basic { &b"Basic "[..] } else { b"Bearer " }, &line].concat();
            if let Ok(Some(credential)) = parse(&line) {
                prop_assert!(credential.line().expose().iter().all(|byte| (b' '..=b'~').contains(byte)));
                prop_assert!(credential.parts().is_ok());
            }
        }
    }
}
