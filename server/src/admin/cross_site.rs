//! Requests that a web page makes in somebody's browser. The admin port without a token trusts whoever can reach the
//! loopback interface, and a browser on this machine can, on behalf of any page that it shows.
//!
//! Refused are requests that the browser marks as another site's (`Sec-Fetch-Site`, `Origin`), and requests to a name that
//! is not this machine's own: a page whose name was made to point here (DNS rebinding) is same-origin with itself. Programs
//! send neither mark. With a token none of this is needed: a page can't know it.

use crate::http::head::Head;
use std::net::{Ipv4Addr, Ipv6Addr};

/// Why a request is refused, in words, if it is.
pub fn refusal(head: &Head) -> Option<&'static str> {
    // `same-site` is not enough: `localhost` on another port is the same site.
    if head.fetch_site.as_deref().is_some_and(|site| !["same-origin", "none"].contains(&site)) {
        return Some("a web page of another site may not ask this of the admin port");
    }
    if head.host.as_deref().is_some_and(|host| !is_own(host)) {
        return Some(
            "without a token the admin port answers to localhost and loopback addresses only, not to this Host",
        );
    }
    let own = |origin: &str| {
        let authority = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
        authority.is_some_and(|authority| head.host.as_deref().is_some_and(|host| host.eq_ignore_ascii_case(authority)))
    };
    if head.origin.as_deref().is_some_and(|origin| !own(origin)) {
        return Some("a web page of another origin may not ask this of the admin port");
    }
    None
}

/// Whether a `Host` names the loopback interface. Any port: it may have been forwarded.
fn is_own(host: &str) -> bool {
    if let Some(bracketed) = host.strip_prefix('[') {
        let Some((address, port)) = bracketed.split_once(']') else { return false };
        return is_port(port) && address.parse::<Ipv6Addr>().is_ok_and(|address| address.is_loopback());
    }
    let (name, port) = host.split_at(host.find(':').unwrap_or(host.len()));
    let is_loopback = || name.parse::<Ipv4Addr>().is_ok_and(|address| address.is_loopback());
    is_port(port) && (name.eq_ignore_ascii_case("localhost") || is_loopback())
}

/// Nothing, or `:` and a number.
fn is_port(text: &str) -> bool {
    text.is_empty() || text.strip_prefix(':').is_some_and(|port| port.parse::<u16>().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::head::http_head;

    fn refused(lines: &str) -> bool {
        let head = format!("POST /api/v1/repositories/a/sync HTTP/1.1\r\n{lines}Content-Length: 0\r\n\r\n");
        refusal(&http_head(head.as_bytes()).unwrap().unwrap().0).is_some()
    }

    #[test]
    fn hosts() {
        for own in ["localhost", "LOCALHOST:9090", "127.0.0.1", "127.0.0.1:9090", "127.9.9.9:1", "[::1]", "[::1]:9090"]
        {
            assert!(!refused(&format!("Host: {own}\r\n")), "{own}");
        }
        for other in [
            "evil.example",
            "evil.example:9090",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "192.168.1.1:9090",
            "0.0.0.0:9090",
            "[::]:9090",
            "[::1",
            "[::1]x",
            "localhost:x",
            "user@localhost",
            "localhost, evil.example",
            "",
        ] {
            assert!(refused(&format!("Host: {other}\r\n")), "{other}");
        }
    }

    #[test]
    fn marks_of_browsers() {
        for lines in [
            "Origin: http://127.0.0.1:9090\r\n",
            "Origin: http://127.0.0.1:9090\r\nSec-Fetch-Site: same-origin\r\n",
            "Sec-Fetch-Site: none\r\n",
        ] {
            assert!(!refused(&format!("Host: 127.0.0.1:9090\r\n{lines}")), "{lines}");
        }
        for lines in [
            "Origin: https://evil.example\r\n",
            "Origin: null\r\n",
            "Origin: http://127.0.0.1:8080\r\n",
            "Origin: http://localhost:9090\r\n",
            "Origin: 127.0.0.1:9090\r\n",
            "Origin: \r\n",
            "Origin: http://127.0.0.1:9090\r\nOrigin: https://evil.example\r\n",
            "Sec-Fetch-Site: cross-site\r\n",
            "Sec-Fetch-Site: same-site\r\n",
            "sec-fetch-site: Cross-Site\r\n",
            "Sec-Fetch-Site: same-origin\r\nSec-Fetch-Site: cross-site\r\n",
        ] {
            assert!(refused(&format!("Host: 127.0.0.1:9090\r\n{lines}")), "{lines}");
        }
    }
}
