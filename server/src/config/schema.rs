//! Every section and key that the design names, and whether it is built: what is not built is refused in words, never
//! accepted and ignored.

/// What is known of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Known {
    /// It works.
    Built,
    /// The design names it; this version does not have it.
    NotBuilt,
    /// Nothing of that name is planned.
    Unknown,
}

struct Section {
    name: &'static str,
    built: &'static [&'static str],
    not_built: &'static [&'static str],
}

const SECTIONS: &[Section] = &[
    Section { name: "node", built: &["data", "cores"], not_built: &["name"] },
    Section {
        name: "http",
        built: &["listen", "proxy_protocol", "trusted_proxies", "tls.certificate", "tls.key"],
        not_built: &["public_url"],
    },
    Section { name: "ssh", built: &[], not_built: &["listen", "host_keys", "ciphers"] },
    Section { name: "admin", built: &["listen", "token"], not_built: &[] },
    Section {
        name: "upstream",
        built: &["kind", "url", "ca", "client_certificate", "client_key", "credentials", "hook", "proxy"],
        not_built: &["ssh_url", "known_hosts"],
    },
    Section {
        name: "mirror",
        built: &["include", "exclude", "refs", "on_demand", "freshness", "serve_stale", "lease", "wait", "park"],
        not_built: &[],
    },
    Section { name: "sync", built: &["interval", "concurrency"], not_built: &[] },
    Section { name: "vet", built: &[], not_built: &["interval", "scrub_bytes_per_second"] },
    Section { name: "auth", built: &["ttl", "negative_ttl", "stale_if_error"], not_built: &[] },
    Section { name: "store", built: &["generations_kept", "grace", "bytes"], not_built: &[] },
    Section { name: "cache", built: &["bytes"], not_built: &["directory"] },
    Section {
        name: "limits",
        built: &[
            "connections",
            "connections_per_address",
            "plans_per_repository",
            "plans_waiting_per_repository",
            "plan_wait",
            "spool",
        ],
        not_built: &[],
    },
    Section { name: "farm", built: &[], not_built: &["engine", "endpoints", "peer_listen", "tls", "isolation_ttl"] },
    Section { name: "webhook", built: &["secret"], not_built: &[] },
];

/// What is known of a whole section. One without a built key is not built.
pub fn section(name: &str) -> Known {
    match SECTIONS.iter().find(|s| s.name == name) {
        Some(section) if section.built.is_empty() => Known::NotBuilt,
        Some(_) => Known::Built,
        None => Known::Unknown,
    }
}

/// What is known of a key of a section.
pub fn key(section: &str, key: &str) -> Known {
    let Some(section) = SECTIONS.iter().find(|s| s.name == section) else { return Known::Unknown };
    if section.built.contains(&key) {
        Known::Built
    } else if section.not_built.contains(&key) {
        Known::NotBuilt
    } else {
        Known::Unknown
    }
}

/// Whether a key of a section is a table of keys of its own, known as `key.name`.
pub fn is_table(section: &str, key: &str) -> bool {
    let within = |known: &&str| known.strip_prefix(key).is_some_and(|rest| rest.starts_with('.'));
    SECTIONS.iter().any(|s| s.name == section && s.built.iter().any(within))
}

/// The known section name closest to a misspelt one.
pub fn nearest_section(name: &str) -> Option<&'static str> {
    nearest(name, SECTIONS.iter().map(|s| s.name))
}

/// The known key closest to a misspelt one.
pub fn nearest_key(section: &str, key: &str) -> Option<&'static str> {
    let section = SECTIONS.iter().find(|s| s.name == section)?;
    nearest(key, section.built.iter().copied())
}

/// The candidate that a misspelt word was most likely meant to be.
pub fn nearest<'a>(word: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    candidates.map(|c| (distance(word, c), c)).filter(|&(d, c)| d <= c.len().div_ceil(3)).min().map(|(_, c)| c)
}

/// Levenshtein distance, for suggestions only; keys are short.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, ca) in a.chars().take(64).enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, cb) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(ca != *cb);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_and_nearest() {
        assert_eq!(section("http"), Known::Built);
        assert_eq!(section("farm"), Known::NotBuilt);
        assert_eq!(section("htttp"), Known::Unknown);
        assert_eq!(key("upstream", "ssh_url"), Known::NotBuilt);
        assert_eq!(nearest_section("htttp"), Some("http"));
        assert_eq!(nearest_key("sync", "intervall"), Some("interval"));
        assert_eq!(nearest_key("sync", "completely_else"), None);
    }
}
