use super::PlanError;
use cordon_backends::Needs;
use cordon_config::{Agent, BackendKind};
use cordon_egress::{EgressPolicy, Grant};
use cordon_policy::NetworkMode;
use cordon_sandbox::{Network, WallKind};
use std::net::{SocketAddr, ToSocketAddrs as _};

/// The network of one sandbox.
pub(super) struct Chosen {
    pub(super) mode: Network,
    pub(super) egress: Option<EgressPolicy>,
    pub(super) warnings: Vec<String>,
}

/// With egress, and always in the local wall, there is no network but the proxy; a plain
/// bridge otherwise has the proxy only for a `base_url` on this machine's loopback.
pub(super) fn choose(agent: &Agent, wall: WallKind, needs: &Needs) -> Result<Chosen, PlanError> {
    let literal = agent.egress.iter().flatten().filter_map(|rule| rule.literal());
    let grants: Vec<Grant> = needs
        .grant
        .iter()
        .chain(&needs.grants)
        .map(|(host, port)| (host.as_str(), *port))
        .chain(literal)
        .map(|(host, port)| Grant { host: host.to_owned(), port })
        .collect();
    let proxied = EgressPolicy {
        allow: needs.hosts.iter().chain(agent.egress.iter().flatten()).cloned().collect(),
        grants: grants.clone(),
    };
    let only_grant = || EgressPolicy { allow: Vec::new(), grants: grants.clone() };
    let forwarded = needs.forward.is_some() || !needs.forwards.is_empty();
    let mut warnings = Vec::new();
    let (mode, egress) = match (wall, agent.docker.network) {
        (WallKind::Local, _) => (Network::Isolated, Some(proxied)),
        (WallKind::Docker, NetworkMode::Host) => {
            warnings.push(
                "the host's network is not a wall: every service of this machine is reachable".to_owned(),
            );
            (Network::Host, None)
        }
        (WallKind::Docker, mode) => {
            if agent.backend == BackendKind::Codex && mode != NetworkMode::Bridge {
                return Err(PlanError::Setting {
                    setting: "command_line_docker_network_mode",
                    why: format!("codex in Docker needs bridge, not {mode}"),
                    fix: "Set command_line_docker_network_mode: bridge; add egress.allow to narrow it"
                        .to_owned(),
                });
            }
            if agent.egress.is_some() {
                (Network::Isolated, Some(proxied))
            } else if mode == NetworkMode::Bridge {
                (Network::Bridge { granted: granted(needs)? }, forwarded.then(only_grant))
            } else {
                (Network::Isolated, forwarded.then(only_grant))
            }
        }
    };
    Ok(Chosen { mode, egress, warnings })
}

/// Addresses that a bridge lets through: of what is granted and not carried by a forward.
fn granted(needs: &Needs) -> Result<Vec<SocketAddr>, PlanError> {
    let carried = |(host, port): &(String, u16)| {
        let mut forwards = needs.forward.iter().chain(&needs.forwards);
        forwards.any(|forward| forward.host == *host && forward.target_port == *port)
    };
    let mut addresses = Vec::new();
    for (setting, grant) in
        needs.grant.iter().map(|g| ("base_url", g)).chain(needs.grants.iter().map(|g| ("mcp_servers", g)))
    {
        if carried(grant) {
            continue;
        }
        let (host, port) = grant;
        let found = (host.as_str(), *port).to_socket_addrs().map_err(|e| PlanError::Setting {
            setting,
            why: format!("{host} cannot be resolved: {e}"),
            fix: "Check the host name".to_owned(),
        })?;
        addresses.extend(found);
    }
    Ok(addresses)
}
