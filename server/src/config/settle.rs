//! From what was written to what holds: defaults, overrides, and the checks that look at several settings at once.

use super::{
    Admin, Auth, Beside, Cache, Config, Http, Limits, Mirror, Mistake, Node, Origin, Overrides, Pattern, Store, Sync,
    Upstream, Webhook,
    file::{File, Section},
    taker::{Kind, Taker},
    together,
};
use crate::{
    auth::{check_hook_url, own::OwnCredential},
    http::client::Trusted,
    upstream::transport::trust,
};
use heliostat_core::{
    limits::{
        GENERATION_GRACE, GENERATIONS_KEPT, GENERATIONS_KEPT_MAX, HTTP_CONNECTIONS_MAX, PLANS_WAITING_MAX,
        SPOOL_BYTES_MIN,
    },
    refs::Shown,
    sync::Mode,
};
use std::{net::SocketAddr, path::PathBuf, time::Duration};

const LISTEN_DEFAULT: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 8080);
const ADMIN_LISTEN_DEFAULT: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 9090);
const DATA_DEFAULT: &str = "./heliostat-data";
const WAIT_DEFAULT: Duration = Duration::from_secs(20);
/// A client that waits longer has given up or holds a load balancer's connection for nothing.
const WAIT_MAX: Duration = Duration::from_secs(600);
const PARK_DEFAULT: Duration = Duration::from_secs(10);
const LEASE_DEFAULT: Duration = Duration::from_secs(30);
/// A lease of a day is an interval.
const LEASE_MAX: Duration = Duration::from_secs(86_400);
const INTERVAL_DEFAULT: Duration = Duration::from_secs(180);
/// Below this the interval itself is load on the upstream.
const INTERVAL_MIN: Duration = Duration::from_secs(1);
const CONCURRENCY_DEFAULT: usize = 4;
const CONCURRENCY_MAX: usize = 256;
const CORES_MAX: usize = 1_024;
const TOKEN_BYTES_MIN: usize = 16;
/// A store with less has room for no repository worth mirroring.
const STORE_BYTES_MIN: u64 = 1 << 20;
/// A hundred plans of a megabyte, of commits that CI asks for, and as much again in files.
const CACHE_BYTES_DEFAULT: u64 = 256 << 20;
/// With less, what is kept would be gone before it is used.
const CACHE_BYTES_MIN: u64 = 1 << 20;
const TTL_DEFAULT: Duration = Duration::from_secs(60);
/// Longer, and a right that is taken away is no longer taken away in any useful time.
const TTL_MAX: Duration = Duration::from_secs(86_400);
const NEGATIVE_TTL_DEFAULT: Duration = Duration::from_secs(5);
/// Longer, and a right that is given is not given.
const NEGATIVE_TTL_MAX: Duration = Duration::from_secs(3_600);
const STALE_IF_ERROR_MAX: Duration = Duration::from_secs(7 * 86_400);
/// There are no more workers than this.
const PLANS_PER_REPOSITORY_MAX: usize = CORES_MAX;
/// A client that waits longer for its turn has given up.
const PLAN_WAIT_MAX: Duration = Duration::from_secs(600);

/// What holds, with and without an upstream.
pub(super) struct Settled {
    /// Its `config` is still to be filled in.
    pub(super) beside: Beside,
    /// `None` if there is no usable upstream.
    pub(super) config: Option<Config>,
}

/// Puts file and overrides together.
pub(super) fn settle(mut file: File, flags: &Overrides, mistakes: &mut Vec<Mistake>) -> Settled {
    mistakes.extend(flags.not_built.iter().map(|flag| Mistake::new(Origin::Flag(flag), "not built yet")));
    let mut section = |name: &str| file.sections.remove(name).unwrap_or_default();
    let (node, http, admin, upstream, sync, store) =
        (section("node"), section("http"), section("admin"), section("upstream"), section("sync"), section("store"));
    let (limits, auth, cache) = (section("limits"), section("auth"), section("cache"));
    let webhook = section("webhook");

    let data_is_said = flags.data.is_some() || node.contains_key("data");
    let node = settle_node(Taker { section: node, mistakes }, flags);

    let mut doubts = Vec::new();
    let http = settle_http(Taker { section: http, mistakes }, flags, &mut doubts);
    let admin = settle_admin(Taker { section: admin, mistakes }, flags, http.listen);
    let mut upstream = Taker { section: upstream, mistakes };
    let hook = settle_hook(&mut upstream);
    let ca = upstream.text("ca").map(|(origin, ca)| (origin, PathBuf::from(ca)));
    let hook_ca = ca.as_ref().map(|(_, ca)| ca.clone()).filter(|_| hook.is_some());
    let (upstream_origin, upstream) = settle_upstream(upstream, ca, hook.is_some(), flags, &mut doubts).unzip();
    let auth = settle_auth(Taker { section: auth, mistakes }, hook, hook_ca);

    let mut sync = Taker { section: sync, mistakes };
    let sync = Sync {
        interval: sync.duration("interval", INTERVAL_DEFAULT, INTERVAL_MIN..=Duration::from_secs(86_400)),
        concurrency: sync.count("concurrency", 1..=CONCURRENCY_MAX).unwrap_or(CONCURRENCY_DEFAULT),
    };

    let mut store = Taker { section: store, mistakes };
    let bytes = store.size("bytes", STORE_BYTES_MIN);
    if let (Some((origin, _)), Some(Upstream::Directory(_))) = (&bytes, &upstream) {
        store.wrong(*origin, "`bytes` has no use with an upstream of kind directory: the whole folder is mirrored");
    }
    let store = Store {
        bytes: bytes.map(|(_, bytes)| bytes),
        generations_kept: store.count("generations_kept", 0..=GENERATIONS_KEPT_MAX).unwrap_or(GENERATIONS_KEPT),
        grace: store.duration("grace", GENERATION_GRACE, Duration::ZERO..=Duration::from_secs(30 * 86_400)),
    };

    let bytes = Taker { section: cache, mistakes }.size_or_nothing("bytes", CACHE_BYTES_MIN);
    let cache = Cache { bytes: bytes.unwrap_or(CACHE_BYTES_DEFAULT) };

    let limits = settle_limits(Taker { section: limits, mistakes });

    let webhook = settle_webhook(Taker { section: webhook, mistakes });
    let mirrors = settle_mirrors(file.mirrors, flags, upstream.as_ref(), mistakes);
    let beside = Beside {
        node: node.clone(),
        data_is_said,
        admin: admin.clone(),
        upstream: upstream.clone(),
        config: Err(Vec::new()),
    };
    let config = upstream.map(|upstream| Config {
        node,
        http,
        admin,
        upstream,
        mirrors,
        auth,
        sync,
        store,
        cache,
        limits,
        webhook,
        doubts,
    });
    if let (Some(origin), Some(config)) = (upstream_origin, &config) {
        mistakes.extend(together::upstream_is_apart(config).map(|text| Mistake::new(origin, text)));
    }
    Settled { beside, config }
}

fn settle_node(mut node: Taker<'_>, flags: &Overrides) -> Node {
    let data = node.overridden(flags.data.as_ref(), "--data", "data").map_or_else(|| DATA_DEFAULT.into(), |(_, d)| d);
    let mut cores = node.count("cores", 1..=CORES_MAX);
    if let Some(text) = &flags.cores {
        match text.parse() {
            Ok(number) if (1..=CORES_MAX).contains(&number) => cores = Some(number),
            _ => node.wrong(Origin::Flag("--cores"), format!("`{text}` is not a whole number from 1 to {CORES_MAX}")),
        }
    }
    Node { data: PathBuf::from(data), cores }
}

fn settle_http(mut http: Taker<'_>, flags: &Overrides, doubts: &mut Vec<Mistake>) -> Http {
    let listen = http.overridden(flags.listen.as_ref(), "--listen", "listen");
    let (_, listen) = http.address(listen, LISTEN_DEFAULT);
    let networks = http
        .texts("trusted_proxies")
        .into_iter()
        .filter_map(|(origin, text)| match text.parse() {
            Ok(network) => Some(network),
            Err(wrong) => {
                http.wrong(origin, format!("`trusted_proxies`: {wrong}"));
                None
            }
        })
        .collect();
    let proxy_protocol = http.truth("proxy_protocol").unwrap_or(false);
    let tls = http.identity(("tls.certificate", "tls.key"), doubts);
    Http { listen, proxy_protocol, trusted_proxies: Trusted::new(networks), tls }
}

fn settle_limits(mut limits: Taker<'_>) -> Limits {
    let default = Limits::default();
    let times = Duration::from_secs(1)..=PLAN_WAIT_MAX;
    Limits {
        connections: limits.bound("connections", HTTP_CONNECTIONS_MAX).unwrap_or(default.connections),
        connections_per_address: limits.bound("connections_per_address", HTTP_CONNECTIONS_MAX),
        plans_per_repository: limits
            .count("plans_per_repository", 1..=PLANS_PER_REPOSITORY_MAX)
            .unwrap_or(default.plans_per_repository),
        plans_waiting_per_repository: limits
            .count("plans_waiting_per_repository", 1..=PLANS_WAITING_MAX)
            .unwrap_or(default.plans_waiting_per_repository),
        plan_wait: limits.duration("plan_wait", default.plan_wait, times),
        spool: limits.size("spool", SPOOL_BYTES_MIN).map_or(default.spool, |(_, bytes)| bytes),
    }
}

fn settle_admin(mut admin: Taker<'_>, flags: &Overrides, http_listen: SocketAddr) -> Admin {
    let token = admin.text("token");
    let given = admin.overridden(flags.admin_listen.as_ref(), "--admin-listen", "listen");
    let (origin, listen) = admin.address(given, ADMIN_LISTEN_DEFAULT);
    if let Some((origin, token)) = &token
        && token.len() < TOKEN_BYTES_MIN
    {
        admin.wrong(*origin, format!("`token` is shorter than {TOKEN_BYTES_MIN} characters"));
    }
    if token.is_none() && !listen.ip().is_loopback() {
        admin.wrong(
            origin,
            format!("without a `token` in [admin] the admin port binds loopback addresses only, not {listen}"),
        );
    }
    if together::is_one_port(listen, http_listen) {
        let words =
            format!("the admin port and the main port are one, {listen} and {http_listen}: give one another number");
        admin.wrong(origin, words);
    }
    Admin { listen, token: token.map(|(_, token)| token) }
}

fn settle_webhook(mut webhook: Taker<'_>) -> Webhook {
    let secret = webhook.text("secret");
    if let Some((origin, secret)) = &secret
        && secret.len() < TOKEN_BYTES_MIN
    {
        webhook.wrong(*origin, format!("`secret` is shorter than {TOKEN_BYTES_MIN} characters"));
    }
    Webhook { secret: secret.map(|(_, secret)| secret) }
}

fn settle_hook(upstream: &mut Taker<'_>) -> Option<String> {
    let (origin, hook) = upstream.text("hook")?;
    if let Err(why) = check_hook_url(&hook) {
        upstream.wrong(origin, format!("`hook`: {why}"));
    }
    Some(hook)
}

fn settle_auth(mut auth: Taker<'_>, hook: Option<String>, hook_ca: Option<PathBuf>) -> Auth {
    const SECOND: Duration = Duration::from_secs(1);
    Auth {
        ttl: auth.duration("ttl", TTL_DEFAULT, SECOND..=TTL_MAX),
        negative_ttl: auth.duration("negative_ttl", NEGATIVE_TTL_DEFAULT, Duration::ZERO..=NEGATIVE_TTL_MAX),
        stale_if_error: auth.duration("stale_if_error", Duration::ZERO, Duration::ZERO..=STALE_IF_ERROR_MAX),
        hook,
        hook_ca,
    }
}

fn settle_upstream(
    mut section: Taker<'_>,
    ca: Option<(Origin, PathBuf)>,
    has_hook: bool,
    flags: &Overrides,
    doubts: &mut Vec<Mistake>,
) -> Option<(Origin, Upstream)> {
    let kind = section.overridden(flags.kind.as_ref(), "--kind", "kind").map(|(origin, kind)| match kind.as_str() {
        "git" => Some(Kind::Git),
        "directory" => Some(Kind::Directory),
        "gitolite" | "bitbucket" => {
            section.wrong(origin, format!("upstream kind `{kind}` is not built yet"));
            None
        }
        _ => {
            section.wrong(origin, format!("unknown upstream kind `{kind}`: write git or directory"));
            None
        }
    });
    let given = section.section.contains_key("url") || flags.upstream.is_some();
    let url = section.overridden(flags.upstream.as_ref(), "--upstream", "url");
    if !given {
        section.wrong(Origin::Nowhere, "no upstream: give --upstream URL, or `url` in [upstream]");
    }
    let looks_like_url = url.as_ref().map(|(_, url)| url.contains("://"));
    // Under a kind that nobody knows, the rest is read as what it looks like, so that its mistakes show too.
    let read_as = match (kind.flatten(), looks_like_url) {
        (Some(kind), _) => Some(kind),
        (None, Some(true)) => Some(Kind::Git),
        (None, Some(false)) => Some(Kind::Directory),
        (None, None) => None,
    };
    if let Some((origin, ca)) = &ca {
        match trust::authorities(ca) {
            _ if read_as == Some(Kind::Directory) && !has_hook => {
                section.wrong(*origin, "`ca` has no use with an upstream of kind directory, but for a `hook`");
            }
            Err(why) => section.wrong(*origin, format!("`ca`: {why}")),
            Ok(_) => {}
        }
    }
    let given = ["client_certificate", "proxy"].map(|key| Some((key, section.section.get(key)?.origin)));
    let client = section.identity(("client_certificate", "client_key"), doubts);
    let proxies = section.proxies(flags, read_as);
    if read_as == Some(Kind::Directory) {
        for (key, origin) in given.into_iter().flatten() {
            section.wrong(origin, format!("`{key}` has no use with an upstream of kind directory"));
        }
    }
    let credentials = section.text("credentials").map(|(origin, file)| (origin, PathBuf::from(file)));
    if let Some((origin, file)) = &credentials {
        match OwnCredential::read(file) {
            _ if read_as == Some(Kind::Directory) => {
                section.wrong(*origin, "`credentials` has no use with an upstream of kind directory");
            }
            Err(why) => section.wrong(*origin, format!("`credentials`: {why}")),
            Ok(_) => {}
        }
    }
    let (origin, url) = url?;
    let is_guessed = kind.is_none();
    let upstream = match read_as? {
        Kind::Git => {
            let url = with_lower_scheme(&url);
            if let Err(text) = check_url(&url) {
                section.wrong(origin, text);
            }
            Upstream::Git {
                url: url.trim_end_matches('/').to_owned(),
                ca: ca.map(|(_, ca)| ca),
                client,
                proxies: proxies.into(),
                credentials: credentials.map(|(_, file)| file),
            }
        }
        Kind::Directory => {
            if url.contains("://") {
                section.wrong(origin, format!("`{url}` is an address; an upstream of kind directory is a path"));
            }
            if is_guessed && together::looks_like_a_host(&url) {
                section.wrong(
                    origin,
                    format!(
                        "`{}` is neither an address (https://…) nor a folder that is there; if it is to be one, write \
                         kind = \"directory\"",
                        url.escape_debug()
                    ),
                );
            }
            Upstream::Directory(url.into())
        }
    };
    Some((origin, upstream))
}

/// Schemes are written in any case (RFC 3986, 3.1).
fn with_lower_scheme(url: &str) -> String {
    match url.split_once("://") {
        Some((scheme, rest)) => format!("{}://{rest}", scheme.to_ascii_lowercase()),
        None => url.to_owned(),
    }
}

fn check_url(url: &str) -> Result<(), String> {
    let Some(rest) = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://")) else {
        let scheme = url.split("://").next().unwrap_or_default();
        return Err(format!("an upstream of kind git is an http:// or https:// address, not `{scheme}`"));
    };
    let authority = rest.split('/').next().unwrap_or_default();
    // The address itself is not repeated: it may hold a password.
    if authority.contains('@') {
        return Err("the upstream's address must not hold a user name or password: it would end up in logs".into());
    }
    if authority.is_empty() || authority.starts_with(':') {
        return Err(format!("`{url}` names no host"));
    }
    if url.contains(['?', '#']) || url.bytes().any(|b| b <= b' ' || b == 0x7f || b == b'\\') {
        return Err(format!(
            "{url:?} is not an address of repositories: it holds a space, control character, `\\`, `?` or `#`"
        ));
    }
    let after_host = if authority.starts_with('[') { authority.rsplit(']').next() } else { Some(authority) };
    if let Some((_, port)) = after_host.and_then(|a| a.rsplit_once(':'))
        && port.parse::<u16>().map_or(true, |p| p == 0)
    {
        return Err(format!("`{port}` is not a port"));
    }
    Ok(())
}

fn settle_mirrors(
    sections: Vec<(Origin, Section)>,
    flags: &Overrides,
    upstream: Option<&Upstream>,
    mistakes: &mut Vec<Mistake>,
) -> Vec<Mirror> {
    let mut rules = Vec::new();
    let flag = flags.freshness.as_ref().and_then(|text| {
        let mode = mode(text, LEASE_DEFAULT);
        mode.map_err(|wrong| mistakes.push(Mistake::new(Origin::Flag("--freshness"), wrong))).ok()
    });
    let freshness = flag.unwrap_or(Mode::Strict);
    if !flags.mirrors.is_empty() {
        let given = flags.mirrors.iter().map(|text| (Origin::Flag("--mirror"), text.clone())).collect();
        let include = patterns(given, mistakes);
        // Flags override the file: its rules are still read, so that their mistakes show, but do not count.
        rules.push(plain_rule(include, freshness));
    }
    let flags_rule = !rules.is_empty();
    for (origin, section) in sections {
        let mut section = Taker { section, mistakes };
        let (include, exclude) = (section.texts("include"), section.texts("exclude"));
        let freshness = settle_freshness(&mut section, flag);
        let wait = section.duration("wait", WAIT_DEFAULT, Duration::ZERO..=WAIT_MAX);
        let park = section.duration("park", PARK_DEFAULT, Duration::ZERO..=WAIT_MAX);
        let refs = section.refs();
        let on_demand = section.truth("on_demand").unwrap_or(true);
        let serve_stale = section.truth("serve_stale").unwrap_or(true);
        if include.is_empty() {
            section.wrong(origin, "a [[mirror]] needs `include`, a list of patterns");
        }
        let (include, exclude) = (patterns(include, mistakes), patterns(exclude, mistakes));
        let rule = Mirror { include, exclude, on_demand, freshness, serve_stale, wait, park, refs };
        if !flags_rule {
            rules.push(rule);
        }
    }
    if rules.is_empty() {
        match upstream {
            Some(Upstream::Git { .. }) => mistakes.push(Mistake::new(
                Origin::Nowhere,
                "an upstream of kind git needs at least one pattern: give --mirror PATTERN, or a [[mirror]] section",
            )),
            // A folder is mirrored whole.
            Some(Upstream::Directory(_)) => {
                rules.push(plain_rule(patterns(vec![(Origin::Nowhere, "*".into())], mistakes), freshness));
            }
            None => {}
        }
    }
    rules
}

/// A rule that no section has written.
fn plain_rule(include: Vec<Pattern>, freshness: Mode) -> Mirror {
    Mirror {
        include,
        exclude: Vec::new(),
        on_demand: true,
        freshness,
        serve_stale: true,
        wait: WAIT_DEFAULT,
        park: PARK_DEFAULT,
        refs: Shown::default(),
    }
}

/// The mode of one rule; `flag` is what `--freshness` says.
fn settle_freshness(section: &mut Taker<'_>, flag: Option<Mode>) -> Mode {
    let written = section.text("freshness");
    let lease_origin = section.section.get("lease").map(|setting| setting.origin);
    let lease = section.duration("lease", LEASE_DEFAULT, Duration::from_secs(1)..=LEASE_MAX);
    let of_file = match written.map(|(origin, text)| (origin, mode(&text, lease))) {
        Some((_, Ok(mode))) => mode,
        Some((origin, Err(wrong))) => {
            section.wrong(origin, wrong);
            Mode::Lease(lease)
        }
        None => Mode::Strict,
    };
    let is_lease = |mode: Mode| matches!(mode, Mode::Lease(_));
    if let Some(origin) = lease_origin
        && !is_lease(of_file)
        && !flag.is_some_and(is_lease)
    {
        section.wrong(origin, "`lease` has no use without freshness = \"lease\"");
    }
    match flag {
        Some(Mode::Lease(_)) => Mode::Lease(lease),
        flag => flag.unwrap_or(of_file),
    }
}

fn mode(text: &str, lease: Duration) -> Result<Mode, String> {
    match text {
        "strict" => Ok(Mode::Strict),
        "lease" => Ok(Mode::Lease(lease)),
        "eventual" => Ok(Mode::Eventual),
        _ => Err(format!("unknown freshness `{text}`: write strict, lease or eventual")),
    }
}

fn patterns(texts: Vec<(Origin, String)>, mistakes: &mut Vec<Mistake>) -> Vec<Pattern> {
    texts
        .into_iter()
        .filter_map(|(origin, text)| {
            Pattern::new(&text).map_err(|wrong| mistakes.push(Mistake::new(origin, wrong))).ok()
        })
        .collect()
}
