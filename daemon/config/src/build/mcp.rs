//! `mcp_servers`: a list of servers with names, or a map from names to servers.

use super::{Build, backend::url_fault};
use crate::{
    McpServer, McpTransport, Secret,
    check::{Item, Value},
    mask,
    report::Quoted,
};
use cordon_policy::HostRule;
use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    path::PathBuf,
    time::Duration,
};

const MOST_SERVERS: usize = 64;
/// With `mcp__`, `__` and a tool's name it stays below what model APIs take.
const LONGEST_NAME: usize = 50;
const MOST_ARGUMENTS: usize = 256;
const LONGEST_ARGUMENT: usize = 4096;
const LONGEST_HEADER: usize = 8192;
const LONGEST_WAIT: f64 = 300.0;
const READY: Duration = Duration::from_secs(30);
const CALL: Duration = Duration::from_secs(300);
/// Services that no MCP server is: a request there would be an attack on somebody.
const OTHER_PORTS: [u16; 13] = [22, 23, 25, 53, 135, 139, 445, 1433, 1521, 3306, 3389, 5432, 6379];
/// Set by HTTP or by the protocol itself.
const OWN_HEADERS: [&str; 10] = [
    "host",
    "connection",
    "content-length",
    "content-type",
    "transfer-encoding",
    "te",
    "upgrade",
    "accept",
    "mcp-session-id",
    "mcp-protocol-version",
];
const STDIO_KEYS: [&str; 4] = ["command", "args", "env", "cwd"];
const HTTP_KEYS: [&str; 4] = ["url", "headers", "http_read_timeout", "security"];

impl Build<'_, '_> {
    pub(super) fn servers(&mut self, item: &Item, egress: Option<&[HostRule]>) -> Vec<McpServer> {
        let entries: Vec<(Option<&str>, &Item)> = match &item.value {
            Value::List(items) => items.iter().map(|i| (None, i)).collect(),
            Value::Map(entries) => entries.iter().map(|(name, i)| (Some(name.as_str()), i)).collect(),
            _ => return Vec::new(),
        };
        if entries.len() > MOST_SERVERS {
            let message = format!("{} servers; an agent has at most {MOST_SERVERS}", entries.len());
            self.report.error(&item.at(), "too-large", message, "");
            return Vec::new();
        }
        let mut names = BTreeSet::new();
        let mut servers = Vec::new();
        for (key, entry) in entries {
            if !matches!(entry.value, Value::Map(_)) {
                continue;
            }
            let Some(name) = self.server_name(key, entry) else { continue };
            if !names.insert(name.clone()) {
                let message = format!("there is a server {} already", Quoted(&name));
                self.report.error(&entry.at(), "duplicate-id", message, "give every server its own name");
                continue;
            }
            servers.extend(self.server(name, entry, egress));
        }
        servers
    }

    fn server_name(&mut self, key: Option<&str>, entry: &Item) -> Option<String> {
        let own = entry.get("name");
        let name = match (key, own) {
            (Some(key), Some(own)) if own.text().is_some_and(|own| own != key) => {
                let message = format!("the server is {} and {} at once", Quoted(key), Quoted(&own.written));
                self.report.error(&own.at(), "conflict", message, "take `name` out: the key is the name");
                return None;
            }
            (Some(key), _) => key,
            (None, Some(own)) => own.text()?,
            (None, None) => {
                let message = "the server has no `name`".to_owned();
                self.missing(entry, "name", message, "its tools are `mcp__NAME__TOOL`");
                return None;
            }
        };
        if is_server_name(name) {
            return Some(name.to_owned());
        }
        let message = format!("{} is no name of a server", Quoted(name));
        let help = "at most 50 letters, digits, `_` and `-`; no `__`, and no `_` at an end";
        self.report.error(&own.unwrap_or(entry).at(), "bad-id", message, help);
        None
    }

    fn server(&mut self, name: String, entry: &Item, egress: Option<&[HostRule]>) -> Option<McpServer> {
        let kind = entry.get("type");
        let http = match kind.map(Item::text) {
            // What only one of them has says which it is.
            None => false,
            Some(Some("stdio")) => false,
            Some(Some("streamable-http" | "http")) => true,
            Some(Some("sse")) => {
                let at = kind.unwrap_or(entry).at();
                let message = "`sse`, the transport of 2024, is not supported".to_owned();
                self.report.error(&at, "not-supported-yet", message, "use `type: streamable-http`");
                return None;
            }
            Some(_) => {
                let item = kind.unwrap_or(entry);
                if item.text().is_some() {
                    let message =
                        format!("{} is none of stdio, streamable-http, http", Quoted(&item.written));
                    self.report.error(&item.at(), "bad-value", message, "");
                }
                return None;
            }
        };
        let (has, foreign) = if http { ("http", STDIO_KEYS) } else { ("stdio", HTTP_KEYS) };
        for key in &foreign {
            if let Some(item) = entry.get(key) {
                let message = format!("`{key}` means nothing for a server of type {has}");
                if *key == "security" {
                    // It lets a server be reached; one that runs inside the sandbox is not.
                    let help = "it runs inside the sandbox, whose `egress` says what it reaches";
                    self.report.warn(&item.at(), "no-effect", message, help);
                    continue;
                }
                let help = if http { "take it out" } else { "write `type: streamable-http`" };
                self.report.error(&item.at(), "conflict", message, help);
            }
        }
        let mut secrets = Vec::new();
        let transport =
            if http { self.http(entry, egress, &mut secrets) } else { self.stdio(entry, &mut secrets) };
        let ready_within = self.wait(entry.get("timeout")).unwrap_or(READY);
        let allowed = entry.get("allowed_tools").map(|l| self.names(l));
        let excluded = entry.get("exclude_tools").map(|l| self.names(l)).unwrap_or_default();
        let place = self.place(entry);
        Some(McpServer { name, transport: transport?, ready_within, allowed, excluded, secrets, place })
    }

    fn stdio(&mut self, entry: &Item, secrets: &mut Vec<Secret>) -> Option<McpTransport> {
        let Some(command) = entry.get("command") else {
            let message = "a server of type stdio has no `command`".to_owned();
            self.missing(entry, "command", message, "for instance `command: [node, server.js]`");
            return None;
        };
        let mut argv = self.words(command)?;
        let more = entry.get("args").map(|a| self.bounded(a)).unwrap_or_default();
        argv.extend(more.iter().filter_map(|a| a.text().map(str::to_owned)));
        let long = argv.iter().any(|a| a.len() > LONGEST_ARGUMENT);
        if argv.len() > MOST_ARGUMENTS || long {
            let message = format!(
                "a server is started with at most {MOST_ARGUMENTS} arguments of at most {LONGEST_ARGUMENT} bytes"
            );
            self.report.error(&command.at(), "too-large", message, "");
            return None;
        }
        let given = entry.get("env").map(|e| self.env(e)).unwrap_or_default();
        let secret = given.iter().filter(|(name, _)| mask::names_a_secret(name));
        secrets.extend(secret.map(|(_, value)| Secret::new(value.clone())));
        let env = given.into_iter().map(|(name, value)| (name, Secret::new(value))).collect();
        let cwd = match entry.get("cwd") {
            Some(item) => {
                let path = PathBuf::from(item.text().filter(|t| !t.is_empty())?);
                Some(self.no_parents(item, &path).then_some(path)?)
            }
            None => None,
        };
        Some(McpTransport::Stdio { argv, env, cwd })
    }

    /// A list is taken as it is. A text is cut at its spaces and never given to a shell.
    fn words(&mut self, item: &Item) -> Option<Vec<String>> {
        let argv: Vec<String> = match &item.value {
            Value::List(items) => items.iter().filter_map(|i| i.text().map(str::to_owned)).collect(),
            Value::Text(text) if text.contains(['\'', '"', '\\']) => {
                let message = "quotes in `command` are read by nobody: no shell is involved".to_owned();
                self.report.error(&item.at(), "bad-value", message, "write program and arguments as a list");
                return None;
            }
            Value::Text(text) => text.split_whitespace().map(str::to_owned).collect(),
            _ => return None,
        };
        if argv.first().is_none_or(String::is_empty) {
            self.report.error(&item.at(), "bad-value", "no program is named".to_owned(), "");
            return None;
        }
        Some(argv)
    }

    fn http(
        &mut self,
        entry: &Item,
        egress: Option<&[HostRule]>,
        secrets: &mut Vec<Secret>,
    ) -> Option<McpTransport> {
        let security = entry.get("security");
        let flag = |key: &str| security.and_then(|s| s.get(key)).and_then(Item::flag).unwrap_or(false);
        let (allow_localhost, allow_private) = (flag("allow_localhost"), flag("allow_private_ips"));
        let Some(item) = entry.get("url") else {
            self.missing(entry, "url", "a server over HTTP has no `url`".to_owned(), "");
            return None;
        };
        let url = item.text()?;
        let base = url.split('?').next().unwrap_or_default();
        let fault = url_fault(base).or_else(|| {
            let odd = |c: char| c.is_whitespace() || c.is_control() || c == '#';
            (url.len() > 4096 || url.contains(odd)).then_some("it is too long, or has a fragment or spaces")
        });
        if let Some(fault) = fault {
            let message = format!("not a usable URL: {fault}");
            self.report.error(&item.at(), "bad-value", message, "for instance https://host.example/mcp");
            return None;
        }
        let (host, port) = authority(base);
        if OTHER_PORTS.contains(&port) {
            let message = format!("port {port} belongs to another service");
            self.report.error(&item.at(), "bad-value", message, "");
        }
        let granted = egress.unwrap_or_default().iter().any(|r| r.literal() == Some((host.as_str(), port)));
        let near = nearness(&host);
        let allowed = match near {
            Near::Loopback => allow_localhost || allow_private,
            Near::Private => allow_private,
            Near::Elsewhere => true,
        };
        if !allowed && !granted {
            let key = if matches!(near, Near::Loopback) { "allow_localhost" } else { "allow_private_ips" };
            let message = "the URL leads to this machine or a private network".to_owned();
            let help = format!("if that is meant, add `security: {{{key}: true}}`");
            self.report.error(&item.at(), "not-public", message, help);
        }
        let hosts = security.and_then(|s| s.get("allowed_hostnames"));
        if let Some(hosts) = hosts
            && !hosts.items().iter().filter_map(Item::text).any(|h| h.eq_ignore_ascii_case(&host))
        {
            let message = "the URL names none of `security.allowed_hostnames`".to_owned();
            self.report.error(&item.at(), "conflict", message, "");
        }
        if let Some((_, query)) = url.split_once('?') {
            let values = query.split('&').filter_map(|pair| pair.split_once('='));
            let secret = values.filter(|(name, _)| mask::names_a_secret(name));
            secrets.extend(secret.map(|(_, value)| Secret::new(value.to_owned())));
        }
        let headers = entry.get("headers").map(|h| self.headers(h, secrets)).unwrap_or_default();
        let call_within = self.wait(entry.get("http_read_timeout")).unwrap_or(CALL);
        let url = Secret::new(url.to_owned());
        Some(McpTransport::Http { url, headers, call_within, allow_localhost, allow_private })
    }

    fn headers(&mut self, item: &Item, secrets: &mut Vec<Secret>) -> BTreeMap<String, Secret> {
        let mut headers = BTreeMap::new();
        let Value::Map(entries) = &item.value else { return headers };
        for (name, value) in entries {
            let token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
            let lower = name.to_ascii_lowercase();
            if name.is_empty() || name.len() > 256 || !name.bytes().all(token) {
                let message = format!("{} is no name of a header", Quoted(name));
                self.report.error(&value.at(), "bad-value", message, "");
                continue;
            }
            if OWN_HEADERS.contains(&lower.as_str()) {
                let message = format!("the header {} is set by the protocol itself", Quoted(name));
                self.report.error(&value.at(), "conflict", message, "take it out");
                continue;
            }
            let Some(text) = value.text() else { continue };
            if text.len() > LONGEST_HEADER || !text.bytes().all(|b| b == b'\t' || (b' '..=b'~').contains(&b))
            {
                let message = "the header is too long or has characters that no header has".to_owned();
                self.report.error(&value.at(), "bad-value", message, "");
                continue;
            }
            // "Bearer" itself is no secret, and what follows it is.
            let bare = text.rsplit(' ').next().unwrap_or_default();
            if mask::names_a_secret(name) || value.written.contains("${") {
                secrets.push(Secret::new(bare.to_owned()));
            }
            headers.insert(name.clone(), Secret::new(text.to_owned()));
        }
        headers
    }

    fn wait(&mut self, item: Option<&Item>) -> Option<Duration> {
        let item = item?;
        let seconds = item.number()?;
        if seconds > 0.0 && seconds <= LONGEST_WAIT {
            return Some(Duration::from_secs_f64(seconds));
        }
        let message = format!("{} seconds: expected more than 0 and at most 300", Quoted(&item.written));
        self.report.error(&item.at(), "bad-value", message, "");
        None
    }
}

/// Whether a text can be the name of a server: one that cannot be taken for a part of
/// `mcp__SERVER__TOOL`.
fn is_server_name(name: &str) -> bool {
    (1..=LONGEST_NAME).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
        && !name.contains("__")
        && !name.starts_with('_')
        && !name.ends_with('_')
}

/// Host, without brackets, and port of a URL that `url_fault` has nothing against.
fn authority(base: &str) -> (String, u16) {
    let secure = base.starts_with("https://");
    let rest = base.split_once("://").map_or(base, |(_, rest)| rest);
    let authority = rest.split('/').next().unwrap_or_default();
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, port.parse().unwrap_or(0)),
        _ => (authority, if secure { 443 } else { 80 }),
    };
    (host.trim_matches(['[', ']']).trim_end_matches('.').to_ascii_lowercase(), port)
}

enum Near {
    Loopback,
    Private,
    Elsewhere,
}

/// What a URL says by itself. Names are only known when they are resolved: that is
/// checked again then, and on the address that is dialled.
fn nearness(host: &str) -> Near {
    if host == "localhost" || host.ends_with(".localhost") {
        return Near::Loopback;
    }
    match host.parse::<IpAddr>().map(|a| a.to_canonical()) {
        Ok(address) if address.is_loopback() || address.is_unspecified() => Near::Loopback,
        Ok(IpAddr::V4(v4)) if v4.is_private() || v4.is_link_local() => Near::Private,
        Ok(IpAddr::V6(v6)) if v6.is_unique_local() || v6.is_unicast_link_local() => Near::Private,
        _ => Near::Elsewhere,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_cannot_be_taken_for_others() {
        for good in ["a", "git-hub_2", "A", &"x".repeat(50)] {
            assert!(is_server_name(good), "{good}");
        }
        for bad in ["", "a__b", "_a", "a_", "a b", "a.b", "ä", &"x".repeat(51)] {
            assert!(!is_server_name(bad), "{bad}");
        }
    }

    #[test]
    fn a_url_is_cut_as_a_client_cuts_it() {
        for (url, host, port) in [
            ("https://a.test/mcp", "a.test", 443),
            ("http://A.test.", "a.test", 80),
            ("http://[::1]:8/x", "::1", 8),
            ("https://[2a00::1]", "2a00::1", 443),
            ("http://127.0.0.1:81/a:b", "127.0.0.1", 81),
        ] {
            assert_eq!(authority(url), (host.to_owned(), port), "{url}");
        }
    }

    #[test]
    fn what_is_near_is_known_in_every_spelling() {
        for host in
            ["localhost", "a.localhost", "127.0.0.1", "127.9.9.9", "::1", "0.0.0.0", "::ffff:127.0.0.1"]
        {
            assert!(matches!(nearness(host), Near::Loopback), "{host}");
        }
        for host in ["10.0.0.1", "192.168.1.1", "169.254.169.254", "fd00::1", "fe80::1", "::ffff:10.0.0.1"] {
            assert!(matches!(nearness(host), Near::Private), "{host}");
        }
        for host in ["a.test", "8.8.8.8", "2a00::1"] {
            assert!(matches!(nearness(host), Near::Elsewhere), "{host}");
        }
    }

    proptest! {
        /// `mcp__SERVER__TOOL` has one reading: the server ends at the first `__`.
        #[test]
        fn a_composed_name_has_one_reading(server in "[A-Za-z0-9_-]{1,20}", tool in "[A-Za-z0-9_.-]{1,20}") {
            prop_assume!(is_server_name(&server));
            let name = format!("mcp__{server}__{tool}");
            let (read, rest) = name["mcp__".len()..].split_once("__").unwrap();
            prop_assert_eq!(read, server.as_str());
            prop_assert_eq!(rest, tool.as_str());
        }
    }
}
