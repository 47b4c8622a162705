//! The bridge of one sandbox.

use super::{
    engine::{self, refuse},
    names::{self, Names},
};
use crate::{Finding, Labels, SandboxError, guest::Guest};
use bollard::{Docker, models::NetworkCreateRequest, query_parameters::InspectNetworkOptions};
use cordon_proto::guest::ProbeRequest;
use std::{collections::HashMap, net::IpAddr, path::Path, time::Duration};
use tokio::net::TcpListener;

const FIX: &str =
    "Run cordond on the engine's machine (in a container with --network=host), or use none with egress";

/// How long the engine may take to notice that a network's container is gone.
const BUSY: Duration = Duration::from_secs(10);

pub(super) async fn create(
    docker: &Docker,
    names: &Names,
    labels: &Labels,
    id: &str,
) -> Result<(), SandboxError> {
    let options = [
        // Known beforehand, so that the rules are there before the interface is.
        ("com.docker.network.bridge.name", names.bridge.as_str()),
        ("com.docker.network.bridge.enable_icc", "false"),
    ];
    let request = NetworkCreateRequest {
        name: names.network.clone(),
        driver: Some("bridge".to_owned()),
        internal: Some(false),
        attachable: Some(false),
        enable_ipv6: Some(false),
        options: Some(options.map(|(k, v)| (k.to_owned(), v.to_owned())).into()),
        labels: Some(names::labels(labels, id)),
        ..NetworkCreateRequest::default()
    };
    docker.create_network(request).await.map_err(|error| {
        let why = engine::describe(&error);
        // The engine's default pools hold some thirty bridges.
        let full = why.contains("address pool") || why.contains("subnet");
        let more =
            if full { "; end other runs, or give the engine more `default-address-pools`" } else { "" };
        SandboxError::Engine {
            step: "make a network for the sandbox".to_owned(),
            why: format!("{why}{more}"),
        }
    })?;
    // An engine in a virtual machine or in a network namespace of its own would make
    // the bridge there, and the rules here would guard nothing.
    if Path::new("/sys/class/net").join(&names.bridge).try_exists().unwrap_or(false) {
        return Ok(());
    }
    Err(refuse(
        "network_mode: bridge",
        "the engine's bridges are not in this daemon's network namespace, so they cannot be filtered",
        FIX,
    ))
}

/// Shows that this host is closed to a sandbox: a listener is put up where the
/// bridge reaches it, and the guest must not get through to it.
pub(super) async fn prove(
    docker: &Docker,
    names: &Names,
    guest: &Guest,
    sandbox: &str,
) -> Result<Finding, SandboxError> {
    let found = docker
        .inspect_network(&names.network, None::<InspectNetworkOptions>)
        .await
        .map_err(engine::failed(format!("look at network {}", names.network)))?;
    let gateways = found.ipam.and_then(|i| i.config).unwrap_or_default();
    let gateway: IpAddr =
        gateways.iter().find_map(|c| c.gateway.as_deref()?.parse().ok()).ok_or_else(|| {
            refuse("network_mode: bridge", "the engine does not tell the bridge's address", FIX)
        })?;
    let canary = TcpListener::bind((gateway, 0))
        .await
        .map_err(SandboxError::io("listen at the sandbox's bridge", &names.bridge))?;
    let address = canary
        .local_addr()
        .map_err(SandboxError::io("listen at the sandbox's bridge", &names.bridge))?
        .to_string();
    let request = ProbeRequest { must_not_connect: vec![address.clone()], ..ProbeRequest::default() };
    let answer = guest.probe(request).await?;
    // The guest is not believed alone: whether somebody came is seen here.
    let came = tokio::time::timeout(Duration::ZERO, canary.accept()).await.is_ok();
    let said = answer.connects.iter().find(|c| c.address == address);
    if !came && said.is_some_and(|c| !c.connected) {
        return Ok(Finding {
            check: "connection to a service of this host".to_owned(),
            expected: "not connected".to_owned(),
            found: "not connected".to_owned(),
            ok: true,
        });
    }
    Err(SandboxError::ProbeDisagrees {
        sandbox: sandbox.to_owned(),
        differences: vec![format!(
            "connection to a service of this host at {address}: expected not connected, found {}",
            if came { "connected" } else { "no answer of the guest" },
        )],
    })
}

/// Removes a network; one that is not there is success.
pub(super) async fn remove(docker: &Docker, network: &str) -> Result<(), SandboxError> {
    let deadline = tokio::time::Instant::now() + BUSY;
    loop {
        match docker.remove_network(network).await {
            Ok(()) => return Ok(()),
            Err(error) => match engine::status(&error) {
                Some(404) => return Ok(()),
                // Endpoints go a moment after their container.
                Some(403 | 409) if tokio::time::Instant::now() < deadline => {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
                _ => return Err(engine::failed(format!("remove network {network}"))(error)),
            },
        }
    }
}

/// The networks with this daemon's label: name and sandbox id.
pub(super) async fn of_daemon(docker: &Docker, daemon: &str) -> Result<Vec<(String, String)>, SandboxError> {
    let filters = HashMap::from([("label".to_owned(), vec![format!("{}={daemon}", names::LABEL_DAEMON)])]);
    let options = bollard::query_parameters::ListNetworksOptionsBuilder::default().filters(&filters).build();
    let found =
        docker.list_networks(Some(options)).await.map_err(engine::failed("list this daemon's networks"))?;
    Ok(found
        .into_iter()
        .filter_map(|n| {
            let mut labels = n.labels?;
            // The filter is the engine's; what is removed is decided here.
            (labels.get(names::LABEL_DAEMON).map(String::as_str) == Some(daemon)).then_some(())?;
            Some((n.name?, labels.remove(names::LABEL_SANDBOX)?))
        })
        .collect())
}
