//! The host's packet filter around one sandbox's bridge. Docker's own rules keep
//! bridges apart, but every service of the host that listens on a wildcard
//! address, or on any bridge's, would answer: the INPUT chain has to say no. Rules
//! go in before the container starts, are refused rather than dropped (so that
//! nothing denied looks like a hang), and name only interfaces, chains and
//! addresses made here: no text of a user, an agent or an image is in them.

use super::{engine::refuse, names::Names};
use crate::SandboxError;
use std::{
    fmt::Write as _,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};
use tokio::{io::AsyncWriteExt as _, process::Command, sync::Mutex};

const LIMIT: Duration = Duration::from_secs(30);
const PLACES: [&str; 4] = ["/usr/sbin", "/sbin", "/usr/bin", "/bin"];
const FIX: &str = "Use `network_mode: none` with `egress` in the agent file, or run cordond as root with iptables installed";

/// Link-local, where clouds answer with credentials, and what is never a
/// destination out there. One cloud uses an address of the shared range.
const NEVER: [&str; 5] = ["169.254.0.0/16", "100.100.100.200/32", "127.0.0.0/8", "0.0.0.0/8", "224.0.0.0/3"];
/// Interfaces behind which this machine's other containers and guests are.
const NEIGHBOURS: [&str; 9] =
    ["docker+", "br-+", "cdn+", "podman+", "cni+", "virbr+", "lxcbr+", "incusbr+", "vnet+"];

const FILTER: &str = "filter";
/// Comes after the filter table, and the engine leaves it alone. Whenever the engine makes a
/// network it takes its jump to DOCKER-USER out and puts it in again: for that moment our
/// refusals there are not asked, and this table's are.
const SECURITY: &str = "security";

/// The two families, each with programs of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Family {
    V4,
    V6,
}

impl Family {
    fn program(self) -> &'static str {
        match self {
            Self::V4 => "iptables",
            Self::V6 => "ip6tables",
        }
    }
}

// Two restores at a time would only wait for each other's lock inside iptables.
static ONE_AT_A_TIME: Mutex<()> = Mutex::const_new(());

/// Installs the rules of one sandbox.
pub(super) async fn install(names: &Names, granted: &[SocketAddr]) -> Result<(), SandboxError> {
    let v4 = rules_v4(names, granted)?;
    restore(Family::V4, &v4).await.map_err(cannot)?;
    if has_ipv6() {
        restore(Family::V6, &rules_v6(names)).await.map_err(cannot)?;
    }
    Ok(())
}

/// Removes what belongs to these chains and to this bridge. Nothing there is success.
pub(super) async fn remove(chains: &[String], bridge: &str) -> Result<(), SandboxError> {
    for (family, table) in tables() {
        let listing = match list(family, table).await {
            Ok(listing) => listing,
            // Where the table cannot even be listed, no sandbox with rules in it was ever made.
            Err(_) if table == SECURITY => continue,
            Err(why) => return Err(trouble("list the rules of", bridge, why)),
        };
        if let Some(input) = removal(table, &listing, |name| chains.iter().any(|c| c == name), Some(bridge)) {
            restore(family, &input).await.map_err(|why| trouble("remove the rules of", bridge, why))?;
        }
    }
    Ok(())
}

/// Removes the chains that begin with `prefix` and are not among `known`; says which.
pub(super) async fn reap(prefix: &str, known: &[String]) -> Result<Vec<String>, SandboxError> {
    let mut removed = Vec::new();
    for (family, table) in tables() {
        let listing = match list(family, table).await {
            Ok(listing) => listing,
            // Without the right to list, this daemon cannot have made any.
            Err(_) => continue,
        };
        let stale = |name: &str| name.starts_with(prefix) && !known.iter().any(|k| k == name);
        if let Some(input) = removal(table, &listing, stale, None) {
            restore(family, &input).await.map_err(|why| trouble("remove the rules of", prefix, why))?;
            removed.extend(chains_in(&listing).filter(|c| stale(c)).map(|c| format!("firewall chain {c}")));
        }
    }
    removed.sort();
    removed.dedup();
    Ok(removed)
}

/// Whether rules could be made; the reason why not.
pub(super) async fn usable() -> Result<(), String> {
    let listing = list(Family::V4, FILTER).await?;
    if !chains_in(&listing).any(|c| c == "DOCKER-USER") {
        return Err(
            "there is no DOCKER-USER chain: the engine does not keep its rules with iptables".to_owned()
        );
    }
    list(Family::V4, SECURITY).await?;
    if has_ipv6() { list(Family::V6, FILTER).await.map(drop) } else { Ok(()) }
}

/// Where rules of ours are.
fn tables() -> impl Iterator<Item = (Family, &'static str)> {
    [(Family::V4, FILTER), (Family::V4, SECURITY)]
        .into_iter()
        .chain(has_ipv6().then_some((Family::V6, FILTER)))
}

fn has_ipv6() -> bool {
    // When in doubt it is there.
    Path::new("/proc/net/if_inet6").try_exists().unwrap_or(true)
}

fn cannot(why: String) -> SandboxError {
    refuse("network_mode: bridge", why, FIX)
}

fn trouble(step: &'static str, what: &str, why: String) -> SandboxError {
    SandboxError::Io { step, path: what.into(), source: std::io::Error::other(why) }
}

fn rules_v4(names: &Names, granted: &[SocketAddr]) -> Result<String, SandboxError> {
    let Names { bridge, input, forward, .. } = names;
    let mut text = format!("*filter\n:{input} - [0:0]\n:{forward} - [0:0]\n");
    let mut line = |rule: std::fmt::Arguments<'_>| {
        let _ = text.write_fmt(rule);
        text.push('\n');
    };
    for address in granted {
        let IpAddr::V4(ip) = address.ip() else {
            return Err(refuse(
                format!("granted address {address}"),
                "a sandbox's bridge has no IPv6",
                "Grant an IPv4 address, or use egress",
            ));
        };
        if ip.is_loopback() || ip == Ipv4Addr::UNSPECIFIED {
            return Err(refuse(
                format!("granted address {address}"),
                "from inside it is the sandbox itself",
                "Grant an address of this host that a container can reach, or use egress",
            ));
        }
        for chain in [input, forward] {
            line(format_args!("-A {chain} -d {ip}/32 -p tcp -m tcp --dport {} -j ACCEPT", address.port()));
        }
    }
    line(format_args!("-A {input} -p tcp -j REJECT --reject-with tcp-reset"));
    line(format_args!("-A {input} -j REJECT --reject-with icmp-port-unreachable"));
    for net in NEVER {
        line(format_args!("-A {forward} -d {net} -j REJECT --reject-with icmp-port-unreachable"));
    }
    for interface in NEIGHBOURS {
        line(format_args!("-A {forward} -o {interface} -j REJECT --reject-with icmp-port-unreachable"));
    }
    // DOCKER-USER comes before everything that the engine accepts.
    line(format_args!("-I INPUT 1 -i {bridge} -j {input}"));
    line(format_args!("-I DOCKER-USER 1 -i {bridge} -j {forward}"));
    line(format_args!("-I DOCKER-USER 1 -o {bridge} -m conntrack --ctstate INVALID -j DROP"));
    line(format_args!(
        "-I DOCKER-USER 1 -o {bridge} -m conntrack --ctstate NEW -j REJECT --reject-with icmp-port-unreachable"
    ));
    text.push_str("COMMIT\n");
    text.push_str(&backstop(names, granted));
    Ok(text)
}

/// The same refusals once more, silent because they only speak when the others did not.
fn backstop(names: &Names, granted: &[SocketAddr]) -> String {
    let Names { bridge, forward, .. } = names;
    let mut text = format!("*{SECURITY}\n:{forward} - [0:0]\n");
    for address in granted {
        let _ = writeln!(
            text,
            "-A {forward} -d {}/32 -p tcp -m tcp --dport {} -j RETURN",
            address.ip(),
            address.port()
        );
    }
    for net in NEVER {
        let _ = writeln!(text, "-A {forward} -d {net} -j DROP");
    }
    for interface in NEIGHBOURS {
        let _ = writeln!(text, "-A {forward} -o {interface} -j DROP");
    }
    let _ = writeln!(text, "-I FORWARD 1 -i {bridge} -j {forward}");
    let _ = writeln!(text, "-I FORWARD 1 -o {bridge} -m conntrack --ctstate NEW,INVALID -j DROP");
    text.push_str("COMMIT\n");
    text
}

fn rules_v6(names: &Names) -> String {
    let Names { bridge, input, forward, .. } = names;
    format!(
        "*filter\n:{input} - [0:0]\n:{forward} - [0:0]\n\
         -A {input} -j DROP\n-A {forward} -j DROP\n\
         -I INPUT 1 -i {bridge} -j {input}\n\
         -I FORWARD 1 -i {bridge} -j {forward}\n\
         -I FORWARD 1 -o {bridge} -j {forward}\nCOMMIT\n"
    )
}

fn chains_in(listing: &str) -> impl Iterator<Item = &str> {
    listing.lines().filter_map(|line| line.strip_prefix("-N ")).map(str::trim)
}

/// What removes the chosen chains and every rule that leads to one, or that names
/// the bridge; none when there is nothing.
fn removal(table: &str, listing: &str, ours: impl Fn(&str) -> bool, bridge: Option<&str>) -> Option<String> {
    let mut rules = String::new();
    for rule in listing.lines().filter_map(|line| line.strip_prefix("-A ")) {
        let words: Vec<&str> = rule.split(' ').collect();
        let names = |flag: &str, matches: &dyn Fn(&str) -> bool| {
            words.windows(2).any(|pair| pair[0] == flag && matches(pair[1]))
        };
        let at_bridge = |word: &str| Some(word) == bridge;
        let inside = words.first().is_some_and(|chain| ours(chain));
        if !inside && (names("-j", &ours) || names("-i", &at_bridge) || names("-o", &at_bridge)) {
            let _ = writeln!(rules, "-D {rule}");
        }
    }
    let chains: Vec<&str> = chains_in(listing).filter(|c| ours(c)).collect();
    if rules.is_empty() && chains.is_empty() {
        return None;
    }
    let mut text = format!("*{table}\n{rules}");
    for step in ["-F", "-X"] {
        for chain in &chains {
            let _ = writeln!(text, "{step} {chain}");
        }
    }
    text.push_str("COMMIT\n");
    Some(text)
}

fn program(name: &str) -> Result<PathBuf, String> {
    PLACES
        .iter()
        .map(|place| Path::new(place).join(name))
        .find(|path| path.is_file())
        .ok_or_else(|| format!("{name} is not installed in {}", PLACES.join(", ")))
}

async fn list(family: Family, table: &str) -> Result<String, String> {
    run(&program(family.program())?, &["-w", "-t", table, "-S"], "").await
}

async fn restore(family: Family, rules: &str) -> Result<(), String> {
    let program = program(&format!("{}-restore", family.program()))?;
    let _turn = ONE_AT_A_TIME.lock().await;
    run(&program, &["-w", "--noflush"], rules).await.map(drop)
}

async fn run(program: &Path, args: &[&str], input: &str) -> Result<String, String> {
    let fault = |error: std::io::Error| format!("{}: {error}", program.display());
    let mut child = Command::new(program)
        .args(args)
        .env_clear()
        .env("PATH", PLACES.join(":"))
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(fault)?;
    let stdin = child.stdin.take();
    let work = async {
        if let Some(mut stdin) = stdin {
            // A program that ended early says why on its standard error.
            let _ = stdin.write_all(input.as_bytes()).await;
        }
        child.wait_with_output().await
    };
    let output = tokio::time::timeout(LIMIT, work)
        .await
        .map_err(|_| format!("{} did not end within {} s", program.display(), LIMIT.as_secs()))?
        .map_err(fault)?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let said = said.lines().find(|l| !l.trim().is_empty()).unwrap_or("it said nothing");
    Err(format!("{} ended with {}: {said}", program.display(), output.status))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names() -> Names {
        Names::new("daemon", "sandbox")
    }

    #[test]
    fn a_grant_comes_before_the_refusal_of_all_else() {
        let granted = ["172.17.0.1:8080".parse().unwrap()];
        let text = rules_v4(&names(), &granted).unwrap();
        let chain = names().input;
        let at = |rule: String| text.find(&rule).unwrap_or_else(|| panic!("{rule} is not in {text}"));
        let grant = at(format!("-A {chain} -d 172.17.0.1/32 -p tcp -m tcp --dport 8080 -j ACCEPT"));
        assert!(grant < at(format!("-A {chain} -p tcp -j REJECT")));
        assert!(text.ends_with("COMMIT\n"));
        let backstop = &text[text.find("*security").unwrap()..];
        let grant = backstop.find("-d 172.17.0.1/32 -p tcp -m tcp --dport 8080 -j RETURN").unwrap();
        assert!(grant < backstop.find("-d 169.254.0.0/16 -j DROP").unwrap());
    }

    #[test]
    fn grants_that_cannot_mean_the_host_are_refused() {
        for address in ["[fd00::1]:80", "127.0.0.1:80", "0.0.0.0:80"] {
            let error = rules_v4(&names(), &[address.parse().unwrap()]).unwrap_err();
            assert!(error.is_refusal(), "{address}: {error}");
        }
    }

    #[test]
    fn removal_takes_our_rules_and_no_others() {
        let Names { bridge, input, forward, .. } = names();
        let listing = format!(
            "-P INPUT ACCEPT\n-N DOCKER-USER\n-N {input}\n-N {forward}\n-N {input}x\n\
             -A INPUT -i {bridge} -j {input}\n-A INPUT -i {bridge}x -j {input}x\n\
             -A DOCKER-USER -o {bridge} -m conntrack --ctstate INVALID -j DROP\n\
             -A DOCKER-USER -j RETURN\n-A {input} -j REJECT --reject-with icmp-port-unreachable\n"
        );
        let chains = names().chains();
        let text = removal(FILTER, &listing, |c| chains.iter().any(|k| k == c), Some(&bridge)).unwrap();
        assert_eq!(
            text,
            format!(
                "*filter\n-D INPUT -i {bridge} -j {input}\n\
                 -D DOCKER-USER -o {bridge} -m conntrack --ctstate INVALID -j DROP\n\
                 -F {input}\n-F {forward}\n-X {input}\n-X {forward}\nCOMMIT\n"
            )
        );
        assert_eq!(removal(FILTER, "-P INPUT ACCEPT\n", |_| true, Some(&bridge)), None);
    }
}
