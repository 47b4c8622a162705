use super::*;
use crate::testing::context;
use cordon_config::{BackendKind, Secret};
use cordon_policy::{NetworkMode, Place};

fn place() -> Place {
    Place { file: "a.yaml".into(), line: 1, column: 1 }
}

fn server(name: &str, transport: McpTransport) -> McpServer {
    McpServer {
        name: name.into(),
        transport,
        ready_within: Duration::from_secs(30),
        allowed: None,
        excluded: Vec::new(),
        secrets: vec![Secret::new("hidden-value".into())],
        place: place(),
    }
}

fn http(url: &str, localhost: bool) -> McpTransport {
    McpTransport::Http {
        url: Secret::new(url.into()),
        headers: BTreeMap::from([("X-Key".to_owned(), Secret::new("v".into()))]),
        call_within: Duration::from_secs(9),
        allow_localhost: localhost,
        allow_private: false,
    }
}

fn stdio(argv: &[&str], cwd: Option<&str>) -> McpTransport {
    McpTransport::Stdio {
        argv: argv.iter().map(|a| (*a).to_owned()).collect(),
        env: BTreeMap::new(),
        cwd: cwd.map(PathBuf::from),
    }
}

fn of(servers: Vec<McpServer>) -> Context {
    let mut context = context(BackendKind::Codex, Path::new("/nowhere"));
    context.agent.tools.servers = servers;
    context
}

#[test]
fn filters_of_the_server_and_of_the_backend_are_joined() {
    let mut one = server("one", stdio(&["x"], None));
    one.allowed = Some(vec!["a".into(), "b".into(), "mcp__one__c".into()]);
    one.excluded = vec!["d".into()];
    let mut context = of(vec![one, server("two", stdio(&["y"], None))]);
    context.agent.tools.allowed = Some(vec!["b".into(), "mcp__one__c".into(), "mcp__two__z".into()]);
    context.agent.tools.excluded = vec!["mcp__two__e".into(), "f".into()];
    context.agent.tools.offer_own = true;
    let list = lower(&context).unwrap().list;
    let names = |set: &BTreeSet<String>| set.iter().cloned().collect::<Vec<_>>().join(" ");
    let said: Vec<_> = list
        .iter()
        .map(|s| (s.name.as_str(), names(s.allowed.as_ref().unwrap()), names(&s.excluded)))
        .collect();
    let expected = [("one", "b c", "d f"), ("two", "b z", "e f"), ("cordon", "b", "f")];
    assert_eq!(said, expected.map(|(n, a, e)| (n, a.to_owned(), e.to_owned())));
    context.agent.tools.allowed = None;
    assert_eq!(lower(&context).unwrap().list[1].allowed, None);
}

#[test]
fn the_own_server_is_the_guest_and_its_name_is_taken() {
    let mut context = of(Vec::new());
    assert_eq!(lower(&context).unwrap(), Servers::default());
    context.agent.tools.offer_own = true;
    let list = lower(&context).unwrap().list;
    let Reach::Stdio { command, args, .. } = &list[0].reach else { panic!() };
    assert_eq!((command.as_str(), args.as_slice()), ("/run/cordon-guest", &["mcp".to_owned()][..]));
    context.agent.tools.servers = vec![server("cordon", stdio(&["x"], None))];
    assert!(lower(&context).unwrap_err().to_string().contains("Cordon's own server"));
}

#[test]
fn a_directory_is_absolute_and_a_shell_goes_there_for_those_that_cannot() {
    let list = lower(&of(vec![server("s", stdio(&["run", "a b", "$(id)"], Some("sub dir")))])).unwrap().list;
    let (command, args) = list[0].without_cwd().unwrap();
    assert_eq!(command, "/bin/sh");
    assert_eq!(args[2..], ["sh", "/w/sub dir", "run", "a b", "$(id)"]);
    let list = lower(&of(vec![server("s", stdio(&["run", "x"], None))])).unwrap().list;
    assert_eq!(list[0].without_cwd(), Some(("run".to_owned(), vec!["x".to_owned()])));
}

#[test]
fn services_become_rules_grants_and_forwards() {
    let mut needs = Needs::default();
    let context = of(vec![
        server("public", http("https://mcp.example.com/v1/?key=x&y", false)),
        server("near", http("http://127.0.0.1:8080/mcp", true)),
        server("again", http("http://127.0.0.1:8080/other", true)),
        server("named", http("http://host.internal:81/mcp", false)),
    ]);
    let servers = lower(&context).unwrap();
    let urls: Vec<_> = servers
        .list
        .iter()
        .map(|s| match &s.reach {
            Reach::Http { url, .. } => url.as_str(),
            Reach::Stdio { .. } => panic!(),
        })
        .collect();
    assert_eq!(
        urls,
        [
            "https://mcp.example.com/v1/?key=x&y",
            "http://127.0.0.1:8080/mcp",
            "http://127.0.0.1:8080/other",
            "http://host.internal:81/mcp"
        ]
    );
    servers.join(&mut needs).unwrap();
    let hosts: Vec<_> = needs.hosts.iter().map(ToString::to_string).collect();
    // A name that may lead anywhere is no grant: the proxy lets it reach public addresses only.
    assert_eq!(hosts, ["mcp.example.com:443", "host.internal:81"]);
    assert!(needs.grants.iter().all(|g| *g == ("127.0.0.1".to_owned(), 8080)) && !needs.grants.is_empty());
    assert_eq!(needs.forwards.len(), 1);
    assert_eq!(needs.secrets, ["hidden-value"; 4]);
}

#[test]
fn two_services_at_one_port_inside_are_an_error() {
    let servers = lower(&of(vec![server("a", http("http://localhost/mcp", true))])).unwrap();
    let other = Forward { port: 20_080, host: "localhost".into(), target_port: 20_080 };
    let mut needs = Needs { forward: Some(other), ..Needs::default() };
    assert!(servers.join(&mut needs).unwrap_err().to_string().contains("port 20080"));
}

#[test]
fn with_the_hosts_network_loopback_is_the_hosts() {
    let mut context = of(vec![server("a", http("http://localhost:8080/mcp", true))]);
    context.agent.docker.network = NetworkMode::Host;
    let mut needs = Needs::default();
    lower(&context).unwrap().join(&mut needs).unwrap();
    assert_eq!(needs.grants, [("localhost".to_owned(), 8080)]);
    assert_eq!(needs.forwards, []);
}
