#![allow(unsafe_code)]

use cordon_proto::guest::{ProbeRequest, ProbeResponse, probe_response::ConnectResult};
use rustix::{
    event::{PollFd, PollFlags, Timespec},
    io::Errno,
    net::{AddressFamily, SocketFlags, SocketType},
};
use std::{
    fs,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    os::fd::OwnedFd,
    time::{Duration, Instant},
};

/// Where nothing answers there is no error either: this long is waited for all
/// addresses together.
const PATIENCE: Duration = Duration::from_millis(300);

/// Addresses, routes and the connections that are asked about, all at the same time.
pub(super) fn look(request: &ProbeRequest, response: &mut ProbeResponse) {
    response.addresses = addresses();
    response.routes = routes("/proc/net/route", 1).chain(routes("/proc/net/ipv6_route", 0)).collect();
    let mut started = Vec::new();
    for address in request.must_not_connect.iter().chain(&request.must_connect) {
        let attempt = match address.parse() {
            Ok(target) => start(target),
            Err(_) => Attempt::Ended(Err("not an address".to_owned())),
        };
        started.push((address.clone(), attempt));
    }
    let until = Instant::now() + PATIENCE;
    while started.iter().any(|(_, a)| matches!(a, Attempt::Pending(_))) && wait(&mut started, until) {}
    response.connects = started
        .into_iter()
        .map(|(address, attempt)| {
            let error = match attempt {
                Attempt::Ended(Ok(())) => String::new(),
                Attempt::Ended(Err(error)) => error,
                Attempt::Pending(_) => "no answer".to_owned(),
            };
            ConnectResult { address, connected: error.is_empty(), error }
        })
        .collect();
}

enum Attempt {
    Pending(OwnedFd),
    Ended(Result<(), String>),
}

fn start(target: SocketAddr) -> Attempt {
    let family = if target.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let socket = match rustix::net::socket_with(family, SocketType::STREAM, flags, None) {
        Ok(socket) => socket,
        Err(e) => return Attempt::Ended(Err(e.to_string())),
    };
    match rustix::net::connect(&socket, &target) {
        Ok(()) => Attempt::Ended(Ok(())),
        Err(Errno::INPROGRESS) => Attempt::Pending(socket),
        Err(e) => Attempt::Ended(Err(e.to_string())),
    }
}

/// Waits until something happened; false when the time is up.
fn wait(attempts: &mut [(String, Attempt)], until: Instant) -> bool {
    let left = until.saturating_duration_since(Instant::now());
    let Ok(timeout) = Timespec::try_from(left) else { return false };
    let mut polled: Vec<PollFd<'_>> = attempts
        .iter()
        .filter_map(|(_, a)| match a {
            Attempt::Pending(socket) => Some(PollFd::new(socket, PollFlags::OUT)),
            Attempt::Ended(_) => None,
        })
        .collect();
    match rustix::event::poll(&mut polled, Some(&timeout)) {
        Ok(0) => return false,
        Ok(_) | Err(Errno::INTR) => {}
        Err(_) => return false,
    }
    let ready: Vec<bool> = polled.iter().map(|p| !p.revents().is_empty()).collect();
    let pending = attempts.iter_mut().filter(|(_, a)| matches!(a, Attempt::Pending(_)));
    for ((_, attempt), _) in pending.zip(ready).filter(|(_, ready)| *ready) {
        if let Attempt::Pending(socket) = attempt {
            *attempt = Attempt::Ended(match rustix::net::sockopt::socket_error(&*socket) {
                Ok(Ok(())) => Ok(()),
                Ok(Err(e)) | Err(e) => Err(e.to_string()),
            });
        }
    }
    true
}

/// Every address of every interface of this network namespace.
fn addresses() -> Vec<String> {
    let mut first: *mut libc::ifaddrs = std::ptr::null_mut();
    // SAFETY: the pointer is valid for writing; on success it holds a list that is
    // freed below and not used after.
    if unsafe { libc::getifaddrs(&raw mut first) } != 0 {
        return vec!["unknown".to_owned()];
    }
    let mut found = Vec::new();
    let mut next = first;
    while !next.is_null() {
        // SAFETY: `next` is an element of the list that getifaddrs made.
        let element = unsafe { &*next };
        // SAFETY: the address, when there is one, belongs to the same list.
        if let Some(address) = unsafe { ip(element.ifa_addr) } {
            found.push(address.to_string());
        }
        next = element.ifa_next;
    }
    // SAFETY: `first` came from getifaddrs, and nothing refers to the list any more.
    unsafe { libc::freeifaddrs(first) };
    found
}

/// # Safety
/// The pointer is null or points at a socket address of the size its family says.
unsafe fn ip(address: *const libc::sockaddr) -> Option<IpAddr> {
    if address.is_null() {
        return None;
    }
    // SAFETY: every socket address starts with its family.
    match i32::from(unsafe { (*address).sa_family }) {
        libc::AF_INET => {
            // SAFETY: the family says that it is a sockaddr_in, perhaps unaligned.
            let v4 = unsafe { address.cast::<libc::sockaddr_in>().read_unaligned() };
            Some(Ipv4Addr::from(u32::from_be(v4.sin_addr.s_addr)).into())
        }
        libc::AF_INET6 => {
            // SAFETY: the family says that it is a sockaddr_in6, perhaps unaligned.
            let v6 = unsafe { address.cast::<libc::sockaddr_in6>().read_unaligned() };
            Some(Ipv6Addr::from(v6.sin6_addr.s6_addr).into())
        }
        _ => None,
    }
}

fn routes(file: &str, header: usize) -> impl Iterator<Item = String> {
    let text = fs::read_to_string(file).unwrap_or_default();
    text.lines()
        .skip(header)
        .map(|l| l.split_whitespace().collect::<Vec<_>>().join(" "))
        .collect::<Vec<_>>()
        .into_iter()
}
