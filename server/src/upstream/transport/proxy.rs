//! The HTTP proxy between us and an upstream: which one, and the way through it.
//!
//! `proxy` in `[upstream]` is for every request. Without it the environment decides, as it does for curl and so for `git`:
//! `https_proxy`, `HTTPS_PROXY`, `http_proxy`, `all_proxy`, `ALL_PROXY`, and `no_proxy`, `NO_PROXY`. `HTTP_PROXY` in capitals
//! is not looked at: a web server that runs programs puts the caller's header `Proxy` there.
//!
//! To an `https` upstream a tunnel is asked for (CONNECT; RFC 9110, section 9.3.6), and TLS is spoken with the upstream
//! itself: the proxy sees its name and port. To an `http` upstream the proxy is asked for the whole address (RFC 9112,
//! section 3.2.2). Proxies that speak TLS themselves, and SOCKS, are refused in words.

use super::{
    address::{BaseUrl, Origin},
    connection::{Patience, Stream, read, send},
    head::Head,
};
use crate::{secret::Secret, upstream::UpstreamError};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use std::{fmt, net::IpAddr};
use zeroize::{Zeroize as _, Zeroizing};

/// The port where curl looks for a proxy that names none.
const PORT_DEFAULT: u16 = 1080;
/// What the proxy may say before it is through.
const INTERIM_MAX: usize = 4;

/// A proxy.
#[derive(Clone, PartialEq, Eq)]
pub struct Proxy {
    /// Where it is.
    pub(super) origin: Origin,
    /// `Basic …`.
    authorization: Option<Secret>,
    /// What names it: a setting or a variable.
    named_by: &'static str,
}

/// Which proxy leads where.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Proxies {
    https: Option<Proxy>,
    http: Option<Proxy>,
    except: Exceptions,
}

/// Why an address is none of a proxy. Never repeats the address: it may hold a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProxyError {
    /// Another scheme than `http`.
    Scheme,
    /// No host, a malformed one, or something behind the port.
    Address,
    /// Something in the user name or password that is no percent-encoding, or can't be sent.
    Credentials,
}

impl Proxy {
    /// Parses `[http://][user[:password]@]host[:port]`; what is percent-encoded in user name and password is decoded.
    pub fn parse(text: &str, named_by: &'static str) -> Result<Self, ProxyError> {
        let rest = match text.split_once("://") {
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("http") => rest,
            Some(_) => return Err(ProxyError::Scheme),
            None => text,
        };
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        let (credentials, authority) = match rest.rsplit_once('@') {
            Some((credentials, authority)) => (Some(credentials), authority),
            None => (None, rest),
        };
        let base = BaseUrl::parse(&format!("http://{authority}")).map_err(|_| ProxyError::Address)?;
        if !base.path.is_empty() || authority.contains('/') {
            return Err(ProxyError::Address);
        }
        let mut origin = base.origin;
        let names_port = authority.rsplit(']').next().is_some_and(|after_host| after_host.contains(':'));
        if !names_port {
            origin.port = PORT_DEFAULT;
        }
        let authorization = credentials.map(authorization).transpose()?;
        Ok(Self { origin, authorization, named_by })
    }

    /// These parts, and between them the header line that shows who we are, if the proxy wants that.
    fn with_authorization(&self, before: &[&[u8]], after: &[u8]) -> Zeroizing<Vec<u8>> {
        let line = match &self.authorization {
            Some(value) => [&b"Proxy-Authorization: "[..], value.expose(), b"\r\n"],
            None => [&b""[..]; 3],
        };
        let parts = || before.iter().copied().chain(line).chain([after]);
        // Made with room for all: growing would leave a copy behind.
        let mut bytes = Zeroizing::new(Vec::with_capacity(parts().map(<[u8]>::len).sum()));
        parts().for_each(|part| bytes.extend_from_slice(part));
        bytes
    }

    /// A request for `origin` in the form that a proxy takes: with the whole address.
    pub(super) fn forwarded(&self, origin: &Origin, request: &[u8]) -> Zeroizing<Vec<u8>> {
        let method_end = request.iter().position(|&byte| byte == b' ').map_or(0, |at| at + 1);
        let line_end = request.windows(2).position(|two| two == b"\r\n").map_or(request.len(), |at| at + 2);
        let authority = format!("http://{}", origin.authority());
        let line = [&request[..method_end], authority.as_bytes(), &request[method_end..line_end]];
        self.with_authorization(&line, &request[line_end..])
    }

    /// Asks for a tunnel to `origin` on a new connection to the proxy.
    pub(super) fn tunnel(
        &self,
        stream: &mut Stream,
        origin: &Origin,
        patience: &Patience,
    ) -> Result<(), UpstreamError> {
        // Here the port always stands.
        let host = if origin.host.contains(':') { format!("[{}]", origin.host) } else { origin.host.clone() };
        let target = format!("{host}:{}", origin.port);
        let head = format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n");
        send(stream, &self.with_authorization(&[head.as_bytes()], b"\r\n"), patience)?;
        let mut answer = Vec::new();
        let mut interim = 0;
        loop {
            match Head::parse(&answer) {
                Ok(Some((head, length))) if (100..200).contains(&head.status) && interim < INTERIM_MAX => {
                    interim += 1;
                    answer.drain(..length);
                }
                Ok(Some((head, length))) if (200..300).contains(&head.status) => {
                    // The upstream speaks second: what comes before that is not the upstream's.
                    return if answer.len() == length {
                        Ok(())
                    } else {
                        Err(self.broken("it goes on speaking where the tunnel begins"))
                    };
                }
                Ok(Some((head, _))) => return Err(self.refuses(head.status)),
                Err(error) => return Err(self.broken(&error.to_string())),
                Ok(None) => {
                    let filled = answer.len();
                    answer.resize(filled + (4 << 10), 0);
                    let count = read(stream, &mut answer[filled..], patience)?;
                    answer.truncate(filled + count);
                    if count == 0 {
                        return Err(self.broken("it closed the connection"));
                    }
                }
            }
        }
    }

    /// What a status of the proxy's own means.
    pub(super) fn refuses(&self, status: u16) -> UpstreamError {
        let why = match status {
            // 401 is what Tinyproxy answers to a wrong password.
            401 | 407 if self.authorization.is_some() => {
                format!(
                    "it does not take our user name and password ({status}), or wants them in another way than Basic"
                )
            }
            401 | 407 => format!("it wants a user name and a password ({status}): http://USER:PASSWORD@HOST:PORT"),
            403 => "it does not let us through to the upstream (403)".to_owned(),
            500..=599 => format!("it can't reach the upstream ({status})"),
            status => format!("it does not open a tunnel ({status})"),
        };
        self.broken(&why)
    }

    /// An error on the way to the proxy, or of it.
    pub(super) fn blame(&self, error: UpstreamError) -> UpstreamError {
        match error {
            UpstreamError::Unreachable(why) => self.broken(&why),
            UpstreamError::Timeout(what) => self.broken(&format!("it took too long: {what}")),
            error => error,
        }
    }

    fn broken(&self, why: &str) -> UpstreamError {
        UpstreamError::Proxy(format!("{self}: {why}"))
    }
}

/// `Basic …` for what stands before the `@`.
fn authorization(credentials: &str) -> Result<Secret, ProxyError> {
    let (user, password) = credentials.split_once(':').unwrap_or((credentials, ""));
    let (user, password) = (decoded(user)?, decoded(password)?);
    // RFC 7617, section 2.
    if user.contains(&b':') || user.iter().chain(password.iter()).any(u8::is_ascii_control) {
        return Err(ProxyError::Credentials);
    }
    let mut encoded = STANDARD.encode(Zeroizing::new([&user[..], b":", &password].concat()));
    let line = [b"Basic ", encoded.as_bytes()].concat();
    encoded.zeroize();
    Ok(Secret::new(line))
}

fn decoded(text: &str) -> Result<Zeroizing<Vec<u8>>, ProxyError> {
    let mut bytes = text.bytes();
    let mut decoded = Zeroizing::new(Vec::with_capacity(text.len()));
    while let Some(byte) = bytes.next() {
        let digit = |byte: Option<u8>| char::from(byte?).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
        decoded.push(match byte {
            b'%' => match (digit(bytes.next()), digit(bytes.next())) {
                (Some(high), Some(low)) => high << 4 | low,
                _ => return Err(ProxyError::Credentials),
            },
            byte => byte,
        });
    }
    Ok(decoded)
}

impl Proxies {
    /// This one for everything.
    #[must_use]
    pub fn only(proxy: Proxy) -> Self {
        Self { https: Some(proxy.clone()), http: Some(proxy), except: Exceptions::default() }
    }

    /// As the environment says; the variable that is wrong, and why, otherwise.
    pub fn of_environment(variable: &dyn Fn(&str) -> Option<String>) -> Result<Self, (&'static str, ProxyError)> {
        // An empty one is as none, so that one in capitals can be hidden by nothing but another proxy.
        let find = |names: &[&'static str]| -> Result<Option<Proxy>, (&'static str, ProxyError)> {
            let found = names.iter().find_map(|name| Some((*name, variable(name).filter(|text| !text.is_empty())?)));
            found.map(|(name, text)| Proxy::parse(&text, name).map_err(|error| (name, error))).transpose()
        };
        let except = ["no_proxy", "NO_PROXY"].iter().find_map(|name| variable(name).filter(|text| !text.is_empty()));
        Ok(Self {
            https: find(&["https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"])?,
            http: find(&["http_proxy", "all_proxy", "ALL_PROXY"])?,
            except: Exceptions::parse(except.as_deref().unwrap_or_default()),
        })
    }

    /// The proxy on the way to `origin`.
    #[must_use]
    pub fn to(&self, origin: &Origin) -> Option<&Proxy> {
        let proxy = if origin.tls { &self.https } else { &self.http };
        proxy.as_ref().filter(|_| !self.except.holds(&origin.host))
    }
}

/// Where no proxy is used: `no_proxy`, read as curl reads it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Exceptions {
    everywhere: bool,
    names: Vec<String>,
    networks: Vec<(IpAddr, u32)>,
}

impl Exceptions {
    fn parse(text: &str) -> Self {
        let mut read = Self { everywhere: text.trim() == "*", ..Self::default() };
        for word in text.split([',', ' ', '\t']).filter(|word| !word.is_empty()) {
            let (address, bits) = match word.split_once('/') {
                Some((address, bits)) => (address, bits.parse().ok()),
                None => (word, Some(u32::MAX)),
            };
            let address = address.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(address);
            match (address.parse::<IpAddr>(), bits) {
                (Ok(address), Some(bits)) => read.networks.push((address, bits)),
                (Ok(_), None) => {}
                (Err(_), _) => {
                    let name = word.trim_start_matches('.').trim_end_matches('.').to_ascii_lowercase();
                    if !name.is_empty() {
                        read.names.push(name);
                    }
                }
            }
        }
        read
    }

    fn holds(&self, host: &str) -> bool {
        if self.everywhere {
            return true;
        }
        match host.parse::<IpAddr>() {
            Ok(address) => self.networks.iter().any(|network| is_within(address, *network)),
            Err(_) => {
                let host = host.trim_end_matches('.').to_ascii_lowercase();
                let within = |name: &String| host.strip_suffix(name.as_str()).is_some_and(|rest| rest.ends_with('.'));
                self.names.iter().any(|name| host == *name || within(name))
            }
        }
    }
}

/// Whether the first `bits` of both are the same.
fn is_within(address: IpAddr, (network, bits): (IpAddr, u32)) -> bool {
    let differ = match (address, network) {
        (IpAddr::V4(a), IpAddr::V4(b)) => (a.to_bits() ^ b.to_bits()).leading_zeros().min(32),
        (IpAddr::V6(a), IpAddr::V6(b)) => (a.to_bits() ^ b.to_bits()).leading_zeros(),
        _ => return false,
    };
    let whole = if network.is_ipv4() { 32 } else { 128 };
    differ >= bits.min(whole)
}

impl fmt::Display for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the proxy {}:{} ({})", self.origin.host, self.origin.port, self.named_by)
    }
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Proxy({}:{})", self.origin.host, self.origin.port)
    }
}

impl fmt::Display for ProxyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Scheme => "only http:// proxies are built (they carry https too), no https:// and no socks ones",
            Self::Address => "it is written http://[USER:PASSWORD@]HOST:PORT",
            Self::Credentials => {
                "what is not a letter or digit in its user name or password is written percent-encoded (`%40` for `@`)"
            }
        })
    }
}

impl std::error::Error for ProxyError {}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxies(variables: &[(&str, &str)]) -> Result<Proxies, (&'static str, ProxyError)> {
        let find = |name: &str| {
            let found = variables.iter().find(|(other, _)| *other == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        Proxies::of_environment(&find)
    }

    fn origin(url: &str) -> Origin {
        BaseUrl::parse(url).unwrap().origin
    }

    #[test]
    fn addresses() {
        for (text, shown, secret) in [
            ("http://p:3128", "p:3128", None),
            ("p", "p:1080", None),
            ("http://p/", "p:1080", None),
            ("HTTP://P:80", "p:80", None),
            ("http://[::1]:3128", "::1:3128", None),
            ("http://[::1]", "::1:1080", None),
            ("http://user:pa%20ss%40@p:1", "p:1", Some("user:pa ss@")),
            ("user@p:1", "p:1", Some("user:")),
            ("http://u:p@ss:w@p:1", "p:1", Some("u:p@ss:w")),
        ] {
            let proxy = Proxy::parse(text, "TEST").unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!(proxy.to_string(), format!("the proxy {shown} (TEST)"), "{text}");
            let expected = secret.map(|secret| Secret::new(format!("Basic {}", STANDARD.encode(secret)).into_bytes()));
            assert_eq!(proxy.authorization, expected, "{text}");
            for shown in [format!("{proxy:?}"), format!("{:?}", Proxies::only(proxy.clone()))] {
                assert!(!shown.contains("pa") && !shown.contains("Basic"), "{shown}");
            }
        }
        for (text, error) in [
            ("https://p:1", ProxyError::Scheme),
            ("socks5h://p:1", ProxyError::Scheme),
            ("", ProxyError::Address),
            ("http://", ProxyError::Address),
            ("http://p:1/x", ProxyError::Address),
            ("http://p:x", ProxyError::Address),
            ("http://p q:1", ProxyError::Address),
            ("http://p:1\r\nX: y", ProxyError::Address),
            ("http://u:%zz@p:1", ProxyError::Credentials),
            ("http://u:%0d%0a@p:1", ProxyError::Credentials),
            ("http://u%3a:p@p:1", ProxyError::Credentials),
        ] {
            assert_eq!(Proxy::parse(text, "TEST"), Err(error), "{text}");
        }
    }

    /// What curl does with the same variables (`url_proxy` and `noproxy` in its sources and tests).
    #[test]
    fn the_environment_as_curl_reads_it() {
        let to = |variables: &[(&str, &str)], url: &str| {
            proxies(variables).unwrap().to(&origin(url)).map(|proxy| proxy.origin.host.clone())
        };
        let some = |host: &str| Some(host.to_owned());
        assert_eq!(to(&[], "https://h"), None);
        assert_eq!(to(&[("HTTPS_PROXY", "a:1")], "https://h"), some("a"));
        assert_eq!(to(&[("HTTPS_PROXY", "a:1"), ("https_proxy", "b:1")], "https://h"), some("b"));
        assert_eq!(to(&[("HTTPS_PROXY", "a:1"), ("https_proxy", "")], "https://h"), some("a"));
        assert_eq!(to(&[("HTTPS_PROXY", "a:1")], "http://h"), None);
        assert_eq!(to(&[("HTTP_PROXY", "a:1")], "http://h"), None, "a caller's header of a CGI program");
        assert_eq!(to(&[("http_proxy", "a:1")], "http://h"), some("a"));
        assert_eq!(to(&[("http_proxy", "a:1")], "https://h"), None);
        for url in ["http://h", "https://h"] {
            assert_eq!(to(&[("ALL_PROXY", "a:1")], url), some("a"));
            assert_eq!(to(&[("ALL_PROXY", "a:1"), ("all_proxy", "b:1")], url), some("b"));
        }
        assert_eq!(to(&[("ALL_PROXY", "a:1"), ("HTTPS_PROXY", "b:1")], "https://h"), some("b"));
        assert_eq!(proxies(&[("ALL_PROXY", "socks5://a:1")]), Err(("ALL_PROXY", ProxyError::Scheme)));
    }

    #[test]
    fn exceptions_as_curl_reads_them() {
        let except = |list: &str, host: &str| Exceptions::parse(list).holds(host);
        for (list, host) in [
            ("*", "h"),
            ("h", "h"),
            ("H", "h"),
            ("a,h", "h"),
            ("a h", "h"),
            ("example.com", "git.example.com"),
            (".example.com", "git.example.com"),
            (".example.com", "example.com"),
            ("example.com.", "git.example.com"),
            ("example.com", "git.example.com."),
            ("127.0.0.1", "127.0.0.1"),
            ("127.0.0.0/8", "127.1.2.3"),
            ("10.0.0.0/31", "10.0.0.1"),
            ("[::1]", "::1"),
            ("fe80::/10", "fe80::1"),
        ] {
            assert!(except(list, host), "{list:?} holds {host}");
        }
        for (list, host) in [
            ("", "h"),
            ("*,", "h"),
            ("example.com", "badexample.com"),
            ("example.com", "example.org"),
            ("git.example.com", "example.com"),
            ("127.0.0.1", "127.0.0.11"),
            ("10.0.0.0/31", "10.0.0.2"),
            ("10.0.0.0/x", "10.0.0.0"),
            ("0.0.0.1", "1.0.0.0.1"),
        ] {
            assert!(!except(list, host), "{list:?} does not hold {host}");
        }
    }

    #[test]
    fn whole_addresses() {
        let proxy = Proxy::parse("http://u:p@p:1", "TEST").unwrap();
        let request = b"GET /a/info/refs?x HTTP/1.1\r\nHost: h:81\r\n\r\n";
        let sent = proxy.forwarded(&origin("http://h:81"), request);
        let expected =
            "GET http://h:81/a/info/refs?x HTTP/1.1\r\nProxy-Authorization: Basic dTpw\r\nHost: h:81\r\n\r\n";
        assert_eq!(String::from_utf8_lossy(&sent), expected);
        let sent = Proxy::parse("http://p:1", "TEST").unwrap().forwarded(&origin("http://h:81"), request);
        assert_eq!(String::from_utf8_lossy(&sent), expected.replace("Proxy-Authorization: Basic dTpw\r\n", ""));
    }
}
