//! Header lines by which a Git host proves that a webhook is its own.

/// Whose line it is, and in what form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signature {
    /// `X-Hub-Signature` (Bitbucket) and `X-Hub-Signature-256` (GitHub): `sha256=` and hexadecimal digits.
    Hub,
    /// `X-Gitea-Signature`: hexadecimal digits.
    Gitea,
    /// `X-Gitlab-Token`: the secret itself.
    Gitlab,
}

/// Lines of one request that are looked at.
pub const SIGNATURES_MAX: usize = 4;

impl Signature {
    /// What the line called `name` is.
    pub fn of(name: &str) -> Option<Self> {
        const NAMES: [(&str, Signature); 4] = [
            ("x-hub-signature", Signature::Hub),
            ("x-hub-signature-256", Signature::Hub),
            ("x-gitea-signature", Signature::Gitea),
            ("x-gitlab-token", Signature::Gitlab),
        ];
        NAMES.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, signature)| *signature)
    }
}
