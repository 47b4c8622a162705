//! Listeners outside. Nobody inside may reach one; whoever does is recorded.

use std::{
    io::{Read, Write},
    net::{TcpListener, UdpSocket},
    os::{
        linux::net::SocketAddrExt as _,
        unix::net::{SocketAddr, UnixListener},
    },
    path::Path,
    sync::{Arc, Mutex},
    time::Duration,
};

/// Who came, and to which listener. Threads end with the test's process.
#[derive(Clone, Debug, Default)]
pub(crate) struct Trap {
    visits: Arc<Mutex<Vec<String>>>,
}

impl Trap {
    /// A listener on a path.
    pub(crate) fn at_path(&self, name: &'static str, path: &Path, greeting: &str) {
        let listener = UnixListener::bind(path).unwrap_or_else(|e| panic!("listen on {path:?}: {e}"));
        self.take(name, greeting, move || listener.accept().map(|(stream, _)| stream));
    }

    /// A listener on a name that is no path.
    pub(crate) fn at_abstract_name(&self, name: &'static str, address: &str, greeting: &str) {
        let address = SocketAddr::from_abstract_name(address).expect("a name");
        let listener = UnixListener::bind_addr(&address).expect("listen on an abstract name");
        self.take(name, greeting, move || listener.accept().map(|(stream, _)| stream));
    }

    /// A listener on every address of this machine; its port.
    pub(crate) fn at_port(&self, name: &'static str, greeting: &str) -> u16 {
        let listener = TcpListener::bind("0.0.0.0:0").expect("listen");
        let port = listener.local_addr().expect("an address").port();
        // The same number, so that one variable is enough inside.
        if let Ok(datagrams) = UdpSocket::bind(("0.0.0.0", port)) {
            let visits = Arc::clone(&self.visits);
            std::thread::spawn(move || {
                let mut byte = [0; 1];
                while datagrams.recv_from(&mut byte).is_ok() {
                    visits.lock().unwrap().push(format!("{name} was sent a datagram"));
                }
            });
        }
        self.take(name, greeting, move || listener.accept().map(|(stream, _)| stream));
        port
    }

    fn take<S: Read + Write>(
        &self,
        name: &'static str,
        greeting: &str,
        mut accept: impl FnMut() -> std::io::Result<S> + Send + 'static,
    ) {
        let (visits, greeting) = (Arc::clone(&self.visits), greeting.to_owned());
        std::thread::spawn(move || {
            while let Ok(mut stream) = accept() {
                visits.lock().unwrap().push(format!("{name} was reached"));
                let _ = stream.write_all(greeting.as_bytes());
            }
        });
    }

    /// What was recorded. A connection that the kernel has taken is seen a moment later.
    pub(crate) fn visits(&self) -> Vec<String> {
        std::thread::sleep(Duration::from_millis(2));
        let mut visits = self.visits.lock().unwrap().clone();
        visits.sort();
        visits.dedup();
        visits
    }
}
