use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Whether an address is one of the public internet's: not loopback, private,
/// link-local, multicast, reserved or documentation, and not an IPv6 form that
/// carries such an IPv4 address.
#[must_use]
pub fn is_public(address: IpAddr) -> bool {
    special(address).is_none()
}

/// What an address is, when it is not public. The words name a class and no
/// address: a refusal tells an agent nothing about the network around it.
pub(crate) fn special(address: IpAddr) -> Option<&'static str> {
    match address {
        IpAddr::V4(v4) => special_v4(v4),
        IpAddr::V6(v6) => special_v6(v6),
    }
}

/// Whether an address is link-local: where clouds keep their metadata services.
#[must_use]
pub fn is_link_local(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_unicast_link_local() || embedded(v6).is_some_and(|v4| v4.is_link_local()),
    }
}

/// Metadata services whose addresses are not link-local: they look private, or like anybody's.
const METADATA: [&str; 6] =
    ["100.100.100.200", "168.63.129.16", "192.0.0.192", "fd00:ec2::254", "fd20:ce::254", "fd00:42::42"];

/// Whether an address is where a cloud tells its machines their secrets, or could be: all of what
/// is link-local counts.
#[must_use]
pub fn is_metadata(address: IpAddr) -> bool {
    let carried = match address {
        IpAddr::V6(v6) => embedded(v6).map(IpAddr::V4),
        IpAddr::V4(_) => None,
    };
    let named = |a: IpAddr| METADATA.iter().any(|m| m.parse() == Ok(a));
    is_link_local(address) || named(address) || carried.is_some_and(named)
}

fn special_v4(v4: Ipv4Addr) -> Option<&'static str> {
    // The host agent of one cloud has an address that looks public.
    if v4 == Ipv4Addr::new(168, 63, 129, 16) {
        return Some("a cloud metadata address");
    }
    Some(match v4.octets() {
        [0, ..] => "an unspecified address",
        [127, ..] => "a loopback address",
        [10, ..] | [172, 16..=31, ..] | [192, 168, ..] => "a private address",
        [100, 64..=127, ..] => "a shared (carrier) address",
        [169, 254, ..] => "a link-local or cloud metadata address",
        [192, 0, 2, _] | [198, 51, 100, _] | [203, 0, 113, _] => "a documentation address",
        [192, 0, 0, _] | [192, 88, 99, _] | [198, 18..=19, ..] => "a reserved address",
        [224..=239, ..] => "a multicast address",
        [255, 255, 255, 255] => "the broadcast address",
        [240..=255, ..] => "a reserved address",
        _ => return None,
    })
}

fn special_v6(v6: Ipv6Addr) -> Option<&'static str> {
    if v6.is_unspecified() {
        return Some("an unspecified address");
    }
    if v6.is_loopback() {
        return Some("a loopback address");
    }
    if let Some(v4) = embedded(v6) {
        return special_v4(v4);
    }
    match v6.segments() {
        // Before the general test: these lie inside 2000::/3.
        [0x2001, 0x0db8, ..] | [0x3fff, 0..=0x0fff, ..] => Some("a documentation address"),
        [0x2001, 0..=0x01ff, ..] => Some("a reserved address"),
        [0x2000..=0x3fff, ..] => None,
        [0xfc00..=0xfdff, ..] => Some("a private address"),
        [0xfe80..=0xfebf, ..] => Some("a link-local address"),
        [0xfec0..=0xfeff, ..] => Some("a private address"),
        [0xff00..=0xffff, ..] => Some("a multicast address"),
        _ => Some("a reserved address"),
    }
}

/// The IPv4 address that a translator or tunnel would send the packets to.
fn embedded(v6: Ipv6Addr) -> Option<Ipv4Addr> {
    let from = |high: u16, low: u16| {
        let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
        Ipv4Addr::new(a, b, c, d)
    };
    Some(match v6.segments() {
        // Mapped, NAT64, 6to4, ISATAP.
        [0, 0, 0, 0, 0, 0xffff, high, low] => from(high, low),
        [0x0064, 0xff9b, 0, 0, 0, 0, high, low] => from(high, low),
        [0x2002, high, low, ..] => from(high, low),
        [_, _, _, _, 0 | 0x0200, 0x5efe, high, low] => from(high, low),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn public_addresses_are_public() {
        for text in [
            "1.1.1.1",
            "8.8.8.8",
            "100.63.255.255",
            "100.128.0.0",
            "172.15.0.1",
            "172.32.0.1",
            "192.167.1.1",
            "198.17.0.1",
            "223.255.255.255",
            "2606:4700::1111",
            "2a00::1",
            "::ffff:8.8.8.8",
            "64:ff9b::8.8.8.8",
            "2002:0808:0808::1",
        ] {
            assert!(is_public(text.parse().unwrap()), "{text}");
        }
    }

    #[test]
    fn everything_else_is_not() {
        for text in [
            "0.0.0.0",
            "0.1.2.3",
            "10.0.0.1",
            "100.64.0.1",
            "100.100.100.200",
            "127.0.0.1",
            "127.255.255.254",
            "168.63.129.16",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.192",
            "192.0.2.1",
            "192.88.99.1",
            "192.168.0.1",
            "198.18.0.1",
            "198.51.100.1",
            "203.0.113.1",
            "224.0.0.251",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::7f00:1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "::ffff:0:127.0.0.1",
            "64:ff9b::127.0.0.1",
            "64:ff9b::a9fe:a9fe",
            "64:ff9b:1::8.8.8.8",
            "100::1",
            "2001::1",
            "2001:10::1",
            "2001:db8::1",
            "2002:7f00:1::1",
            "2002:a9fe:a9fe::1",
            "2a00::5efe:10.0.0.1",
            "3fff::1",
            "4000::1",
            "fc00::1",
            "fd00:ec2::254",
            "fe80::1",
            "fec0::1",
            "ff02::fb",
        ] {
            assert!(!is_public(text.parse().unwrap()), "{text}");
        }
    }

    #[test]
    fn metadata_services_are_known_however_they_are_written() {
        for text in [
            "169.254.169.254",
            "fe80::1",
            "100.100.100.200",
            "168.63.129.16",
            "fd00:ec2::254",
            "fd20:ce::254",
            "fd00:42::42",
            "192.0.0.192",
            "::ffff:169.254.169.254",
            "::ffff:100.100.100.200",
            "64:ff9b::168.63.129.16",
        ] {
            assert!(is_metadata(text.parse().unwrap()), "{text}");
        }
        for text in ["10.0.0.1", "127.0.0.1", "100.100.100.201", "fd00:ec2::253", "8.8.8.8"] {
            assert!(!is_metadata(text.parse().unwrap()), "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn a_carried_address_is_never_freer_than_itself(v4: [u8; 4]) {
            let v4 = Ipv4Addr::from(v4);
            let [a, b, c, d] = v4.octets().map(u16::from);
            let (high, low) = (a << 8 | b, c << 8 | d);
            for v6 in [
                v4.to_ipv6_mapped(),
                v4.to_ipv6_compatible(),
                Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, high, low),
                Ipv6Addr::new(0x2002, high, low, 0, 0, 0, 0, 1),
            ] {
                proptest::prop_assert!(!is_public(v6.into()) || is_public(v4.into()), "{v6}");
            }
        }
    }
}
