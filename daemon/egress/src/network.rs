use async_trait::async_trait;
use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket},
};
use tokio::net::TcpStream;

/// The two things that the proxy needs of the network around it. Tests put their
/// own in; the product has [`SystemNetwork`].
#[async_trait]
pub trait Network: Send + Sync + 'static {
    /// The addresses of a name, asked once per connection.
    async fn resolve(&self, name: &str) -> io::Result<Vec<IpAddr>>;
    /// A connection to exactly this address.
    async fn connect(&self, address: SocketAddr) -> io::Result<TcpStream>;
    /// Whether an address is one of this machine's own.
    fn is_own(&self, address: IpAddr) -> bool;
}

/// The daemon's own resolver and routes.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemNetwork;

#[async_trait]
impl Network for SystemNetwork {
    async fn resolve(&self, name: &str) -> io::Result<Vec<IpAddr>> {
        // The port is put aside again; the caller has its own.
        Ok(tokio::net::lookup_host((name, 0)).await?.map(|a| a.ip()).collect())
    }

    async fn connect(&self, address: SocketAddr) -> io::Result<TcpStream> {
        TcpStream::connect(address).await
    }

    /// The kernel's choice of a source tells: to reach itself, a machine uses the
    /// very address it reaches. Connecting a datagram socket sends nothing.
    fn is_own(&self, address: IpAddr) -> bool {
        let any: IpAddr = match address {
            IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        };
        UdpSocket::bind((any, 0))
            .and_then(|s| s.connect((address, 9)).and_then(|()| s.local_addr()))
            .is_ok_and(|own| own.ip() == address)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_is_this_machine() {
        assert!(SystemNetwork.is_own("127.0.0.1".parse().unwrap()));
        assert!(!SystemNetwork.is_own("8.8.8.8".parse().unwrap()));
    }
}
