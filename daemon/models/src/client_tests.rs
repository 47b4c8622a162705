use super::*;
use crate::testing::{ask, model_at, with_client};
use async_trait::async_trait;
use std::{io, sync::Mutex};
use tokio::net::TcpStream;

/// A network in which every name has these addresses, and 8.8.4.4 is this machine's.
struct Names(Vec<&'static str>);

#[async_trait]
impl Network for Names {
    async fn resolve(&self, _: &str) -> io::Result<Vec<IpAddr>> {
        Ok(self.0.iter().map(|a| a.parse().unwrap()).collect())
    }

    async fn connect(&self, _: SocketAddr) -> io::Result<TcpStream> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn is_own(&self, address: IpAddr) -> bool {
        address == "8.8.4.4".parse::<IpAddr>().unwrap()
    }
}

#[test]
fn a_host_has_the_addresses_that_its_name_lets_expect() {
    for (host, reach) in [
        ("localhost", Reach::Here),
        ("LocalHost.", Reach::Here),
        ("models.localhost", Reach::Here),
        ("api.openai.com", Reach::Public),
        ("API.Anthropic.com.", Reach::Public),
        ("eu.openrouter.ai", Reach::Public),
        // Its customers may have a private way to it.
        ("ours.openai.azure.com", Reach::Named),
        ("gpu.example.net", Reach::Named),
        ("localhost.example.net", Reach::Named),
    ] {
        assert_eq!(Reach::of(host), reach, "{host}");
    }
    for (address, here, public, named) in [
        ("93.184.216.34", false, true, true),
        ("127.0.0.1", true, false, true),
        ("::1", true, false, true),
        ("::ffff:127.0.0.1", true, false, true),
        // This machine's public address is this machine.
        ("8.8.4.4", false, false, true),
        ("10.0.0.1", false, false, true),
        ("fd00::1", false, false, true),
        ("0.0.0.0", false, false, true),
        ("169.254.169.254", false, false, false),
        ("fe80::1", false, false, false),
        ("::ffff:169.254.169.254", false, false, false),
        ("64:ff9b::169.254.169.254", false, false, false),
        ("fd00:ec2::254", false, false, false),
        ("100.100.100.200", false, false, false),
    ] {
        let address: IpAddr = address.parse().unwrap();
        for (reach, let_in) in [(Reach::Here, here), (Reach::Public, public), (Reach::Named, named)] {
            let fault = reach.fault(address, &Names(vec![]));
            assert_eq!(fault.is_none(), let_in, "{address} {reach:?}: {fault:?}");
        }
    }
}

#[tokio::test]
async fn what_must_not_be_reached_is_refused_before_it_is_dialled() {
    let refused = async |url: &str, addresses: Vec<&'static str>| {
        let client = Client::within(Arc::new(Names(addresses))).unwrap();
        let outcome = ask(&with_client(url, &client)).await;
        assert!(outcome.again().is_empty(), "{:?}", outcome.again());
        outcome.error()
    };
    for url in [
        "http://169.254.169.254/v1",
        "http://2852039166/v1",
        "http://[::ffff:a9fe:a9fe]/v1",
        "http://[fe80::1]/",
    ] {
        let error = refused(url, vec![]).await;
        assert!(error.contains("metadata"), "{url}: {error}");
    }
    let error = refused("http://gpu.example.net/v1", vec!["93.184.216.34", "169.254.169.254"]).await;
    assert_eq!(
        error,
        "gpu.example.net:80 cannot be reached: it leads to a link-local or cloud metadata address"
    );
    let error = refused("https://api.openai.com/v1", vec!["127.0.0.1"]).await;
    assert!(error.contains("it is a public service, and its name leads to this machine"), "{error}");
    let error = refused("http://gpu.example.net/v1", vec![]).await;
    assert!(error.contains("no address"), "{error}");
}

/// A network in which the names have other addresses each time that they are asked for.
struct Rebinding(Mutex<Vec<&'static str>>);

#[async_trait]
impl Network for Rebinding {
    async fn resolve(&self, _: &str) -> io::Result<Vec<IpAddr>> {
        let mut addresses = self.0.lock().unwrap();
        Ok(vec![addresses.remove(0).parse().unwrap()])
    }

    async fn connect(&self, _: SocketAddr) -> io::Result<TcpStream> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn is_own(&self, _: IpAddr) -> bool {
        false
    }
}

#[tokio::test]
async fn a_name_that_changes_its_mind_is_looked_at_each_time() {
    let mut does = crate::testing::whole("here");
    // So that the next question needs a connection of its own.
    does.push(crate::testing::Does::Closes);
    let server = crate::testing::Server::always(does).await;
    let names = Arc::new(Rebinding(Mutex::new(vec!["127.0.0.1", "169.254.169.254", "127.0.0.1"])));
    let client = Client::within(names.clone()).unwrap();
    let model = with_client(&format!("http://gpu.example.net:{}/v1", server.port), &client);
    assert_eq!(ask(&model).await.text(), "here");
    let refused = ask(&model).await;
    assert!(refused.error().contains("metadata") && refused.again().is_empty(), "{}", refused.error());
    assert_eq!(server.heard().len(), 1);
    assert_eq!(ask(&model).await.text(), "here");
    // Asked once for each connection: nothing is checked that is not dialled.
    assert!(names.0.lock().unwrap().is_empty());
    // A public service's name does not become this machine's between two questions.
    let names = Arc::new(Rebinding(Mutex::new(vec!["127.0.0.1"; 4])));
    let client = Client::within(names).unwrap();
    let public = with_client(&format!("http://api.openai.com:{}/v1", server.port), &client);
    assert!(ask(&public).await.error().contains("leads to this machine"));
    assert_eq!(server.heard().len(), 2);
}

#[tokio::test]
async fn the_address_that_was_checked_is_the_one_that_is_dialled() {
    let server = crate::testing::Server::always(crate::testing::whole("here")).await;
    let client = Client::within(Arc::new(Names(vec!["127.0.0.1"]))).unwrap();
    let url = format!("http://a.name.that.nobody.has.example:{}/v1", server.port);
    assert_eq!(ask(&with_client(&url, &client)).await.text(), "here");
    let host = format!("host: a.name.that.nobody.has.example:{}", server.port);
    assert!(server.heard()[0].1.contains(&host), "{:?}", server.heard());
    // Numbers are no names.
    assert_eq!(ask(&model_at(&server.url())).await.text(), "here");
}
