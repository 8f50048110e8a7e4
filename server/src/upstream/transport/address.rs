//! The upstream's address: scheme, host, port and a base path. Nothing else is ever connected to.

use std::fmt;

/// Where requests go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// Whether the connection is encrypted.
    pub tls: bool,
    /// Name or address, without brackets.
    pub host: String,
    /// Port.
    pub port: u16,
}

/// An origin and the path below which the repositories lie.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BaseUrl {
    /// Where requests go.
    pub origin: Origin,
    /// `""`, or `/scm`: no slash at its end.
    pub path: String,
}

/// Why an address can't be used. Never repeats the address: it may hold a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AddressError {
    /// Neither `http://` nor `https://`.
    Scheme,
    /// A user name or password in it.
    Credentials,
    /// No host, or a malformed one.
    Host,
    /// The port is not a number from 1 to 65535.
    Port,
    /// A space, control character, `?` or `#` in it.
    Character,
}

impl BaseUrl {
    /// Parses `http[s]://host[:port][/path]`.
    pub fn parse(url: &str) -> Result<Self, AddressError> {
        let (tls, rest) = match (url.strip_prefix("https://"), url.strip_prefix("http://")) {
            (Some(rest), _) => (true, rest),
            (_, Some(rest)) => (false, rest),
            (None, None) => return Err(AddressError::Scheme),
        };
        if rest.bytes().any(|byte| byte <= b' ' || byte == 0x7f || matches!(byte, b'?' | b'#' | b'\\')) {
            return Err(AddressError::Character);
        }
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        if authority.contains('@') {
            return Err(AddressError::Credentials);
        }
        let (host, port) = match authority.strip_prefix('[') {
            Some(bracketed) => {
                let (host, after) = bracketed.split_once(']').ok_or(AddressError::Host)?;
                host.parse::<std::net::Ipv6Addr>().map_err(|_| AddressError::Host)?;
                (host, if after.is_empty() { None } else { Some(after.strip_prefix(':').ok_or(AddressError::Host)?) })
            }
            None => match authority.split_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (authority, None),
            },
        };
        if host.is_empty() || !host.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_' | b':'))
        {
            return Err(AddressError::Host);
        }
        let port = match port {
            None => [80, 443][usize::from(tls)],
            Some(port) => port.parse().ok().filter(|port| *port != 0).ok_or(AddressError::Port)?,
        };
        let origin = Origin { tls, host: host.to_ascii_lowercase(), port };
        Ok(Self { origin, path: path.trim_end_matches('/').to_owned() })
    }
}

impl Origin {
    /// What belongs into `Host`: the port only where it is not the scheme's own.
    #[must_use]
    pub fn authority(&self) -> String {
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        if self.port == [80, 443][usize::from(self.tls)] { host } else { format!("{host}:{}", self.port) }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", if self.tls { "https" } else { "http" }, self.authority())
    }
}

impl fmt::Display for BaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.origin, self.path)
    }
}

impl fmt::Display for AddressError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Scheme => "the upstream's address does not begin with http:// or https://",
            Self::Credentials => "the upstream's address must not hold a user name or password",
            Self::Host => "the upstream's address names no valid host",
            Self::Port => "the port in the upstream's address is not a number from 1 to 65535",
            Self::Character => "the upstream's address holds a character that is not allowed",
        })
    }
}

impl std::error::Error for AddressError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        let good = [
            ("http://h", "http://h", "h"),
            ("https://H.example:443/scm/", "https://h.example/scm", "h.example"),
            ("http://127.0.0.1:8081/git", "http://127.0.0.1:8081/git", "127.0.0.1:8081"),
            ("https://[::1]:8443", "https://[::1]:8443", "[::1]:8443"),
            ("https://[::1]/x", "https://[::1]/x", "[::1]"),
            ("https://h/~user/", "https://h/~user", "h"),
        ];
        for (url, shown, authority) in good {
            let base = BaseUrl::parse(url).unwrap();
            assert_eq!((base.to_string(), base.origin.authority()), (shown.to_owned(), authority.to_owned()));
        }
        let bad = [
            ("ssh://h", AddressError::Scheme),
            ("https://user:secret@h/x", AddressError::Credentials),
            ("https://token@h/x", AddressError::Credentials),
            ("http://", AddressError::Host),
            ("http:///x", AddressError::Host),
            ("http://[x]/", AddressError::Host),
            ("http://[::1]x/", AddressError::Host),
            ("http://h:0/", AddressError::Port),
            ("http://h:70000", AddressError::Port),
            ("http://h/a b", AddressError::Character),
            ("http://h/?x", AddressError::Character),
            ("http://h\r\nX: y", AddressError::Character),
        ];
        for (url, error) in bad {
            assert_eq!(BaseUrl::parse(url), Err(error), "{url}");
            assert!(!error.to_string().contains("secret"));
        }
    }
}
