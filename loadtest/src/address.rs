//! Where a repository is served: `http://host:port/path`.

use std::fmt;
use std::str::FromStr;

/// An `http` URL of a repository. No user, no query, no TLS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// `host:port`, as in the `Host` header.
    pub(crate) authority: String,
    /// Begins with a slash and does not end in one.
    pub(crate) path: String,
}

/// Not an address that this client can use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddressError;

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(url: &str) -> Result<Self, AddressError> {
        let rest = url.strip_prefix("http://").ok_or(AddressError)?;
        let (host, path) = rest.split_once('/').ok_or(AddressError)?;
        let path = path.trim_end_matches('/');
        let is_plain = |text: &str| text.bytes().all(|byte| byte.is_ascii_graphic() && !b"@?#".contains(&byte));
        if host.is_empty() || path.is_empty() || !is_plain(host) || !is_plain(path) {
            return Err(AddressError);
        }
        let has_port = host.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
        let authority = if has_port { host.to_owned() } else { format!("{host}:80") };
        Ok(Self { authority, path: format!("/{path}") })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http://{}{}", self.authority, self.path)
    }
}

impl fmt::Display for AddressError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not of the form http://host:port/path/of/repository")
    }
}

impl std::error::Error for AddressError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms() {
        let check = |url: &str, said: Option<&str>| {
            assert_eq!(url.parse::<Address>().ok().map(|address| address.to_string()).as_deref(), said, "{url}");
        };
        check("http://127.0.0.1:8080/team/app.git", Some("http://127.0.0.1:8080/team/app.git"));
        check("http://mirror/app/", Some("http://mirror:80/app"));
        check("http://[::1]:8080/app", Some("http://[::1]:8080/app"));
        for url in ["https://mirror/app", "http://mirror", "http://mirror/", "http:///app", "http://u@mirror/app", ""] {
            check(url, None);
        }
        check("http://mirror/a b", None);
    }
}
