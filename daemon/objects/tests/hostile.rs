//! A bucket that lies: damage, exchanged and foreign bytes, and servers that mislead.
#![allow(missing_docs, clippy::unwrap_used, clippy::panic)]

mod common;

use common::{ID, Server, noise, server};
use cordon_objects::{FetchRequest, Keys, Remote, RemoteError, Target, Times};
use cordon_snapshots::{Store, Taken};
use std::{
    fs,
    io::{Read as _, Write as _},
    net::TcpListener,
    os::unix::fs::FileExt as _,
    path::PathBuf,
    sync::mpsc,
};

struct World {
    server: Server,
    remote: Remote,
    store: Store,
    one: Taken,
    two: Taken,
}

fn world() -> Option<World> {
    let server = server()?;
    let dir = server.dir("tree");
    fs::write(dir.join("file"), noise(1, 400_000)).unwrap();
    let store = server.store("store");
    let one = server.take(&store, &dir);
    let remote = server.remote();
    remote.push(&store, &one.id).unwrap();
    fs::write(dir.join("more"), noise(2, 40_000)).unwrap();
    let two = server.take(&store, &dir);
    remote.push(&store, &two.id).unwrap();
    Some(World { server, remote, store, one, two })
}

impl World {
    /// From a program that knows nothing yet.
    fn fetch(&self, taken: &Taken) -> Result<Taken, RemoteError> {
        let store = self.server.store("fetched");
        let done = self.server.remote().fetch(&store, &taken.id, &FetchRequest::default());
        if done.is_err() {
            assert!(store.list().unwrap().is_empty());
        }
        done
    }

    fn file(&self, name: String) -> PathBuf {
        self.server.home.path().join("s3/team/one").join(name)
    }

    fn longest(&self) -> PathBuf {
        self.server.files("packs").into_iter().max_by_key(|p| fs::metadata(p).unwrap().len()).unwrap()
    }

    fn faults(&self) -> Vec<(String, usize)> {
        let verified = self.server.remote().verify().unwrap();
        verified.faults.into_iter().map(|f| (f.what, f.touches.len())).collect()
    }
}

fn name(path: &std::path::Path) -> String {
    format!("packs/{}", path.file_name().unwrap().to_str().unwrap())
}

#[test]
fn every_flipped_byte_is_found() {
    let Some(world) = world() else { return };
    let pack = world.longest();
    let whole = fs::read(&pack).unwrap();
    // The head, the content, the table, its length, the end.
    for at in [0, 3, 8, 200_000, whole.len() - 30, whole.len() - 16, whole.len() - 1] {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x10;
        fs::write(&pack, &bytes).unwrap();
        let faults = world.faults();
        assert!(faults.iter().any(|(what, _)| *what == name(&pack)), "{at}: {faults:?}");
        if at >= 8 {
            assert!(world.fetch(&world.one).is_err(), "{at}");
            assert!(faults.iter().map(|(_, touches)| touches).sum::<usize>() >= 2, "{at}: {faults:?}");
        }
    }
    for cut in [0, 10, 24, 1000, whole.len() - 1] {
        fs::write(&pack, &whole[..cut]).unwrap();
        assert!(world.fetch(&world.one).is_err(), "{cut}");
        assert!(world.faults().iter().any(|(what, _)| *what == name(&pack)), "{cut}");
        assert!(
            matches!(world.server.remote().gc(), Err(RemoteError::NotFound(_) | RemoteError::Damaged { .. })),
            "{cut}"
        );
    }
    fs::remove_file(&pack).unwrap();
    assert!(matches!(world.fetch(&world.one), Err(RemoteError::NotFound(_))));
    assert_eq!(world.faults().len(), 2);
    // Pushed again it is whole again, although the records are there.
    let healed = world.server.remote().push(&world.store, &world.two.id).unwrap();
    assert!(healed.was_there && healed.objects > 0, "{healed:?}");
    assert!(world.faults().is_empty());
    world.fetch(&world.one).unwrap();
}

#[test]
fn a_record_under_another_name_is_no_record() {
    let Some(world) = world() else { return };
    let (one, two) = (format!("snapshots/{}", world.one.id), format!("snapshots/{}", world.two.id));
    let record = fs::read(world.file(one.clone())).unwrap();
    fs::write(world.file(two.clone()), &record).unwrap();
    assert!(matches!(world.remote.get(&world.two.id), Err(RemoteError::Damaged { .. })));
    assert!(matches!(world.fetch(&world.two), Err(RemoteError::Damaged { .. })));
    assert_eq!(world.remote.list().unwrap().len(), 1);
    assert_eq!(world.faults(), [(two.clone(), 1)]);
    // Nobody knows what it referred to: nothing is freed.
    assert!(matches!(world.remote.gc(), Err(RemoteError::Damaged { .. })));
    assert!(world.server.files("condemned").is_empty());
    // A longer one than can be is not read to its end.
    fs::File::create(world.file(two.clone())).unwrap().set_len(3 << 30).unwrap();
    assert!(
        matches!(world.remote.get(&world.two.id), Err(RemoteError::Damaged { why, .. }) if why.contains("longer"))
    );
    fs::remove_file(world.file(two)).unwrap();
    // What nobody here gave a name to.
    fs::write(world.file("snapshots/NOT-A-NAME".into()), record).unwrap();
    fs::write(world.file("packs/junk".into()), noise(5, 1000)).unwrap();
    fs::create_dir(world.file("packs/deeper".into())).unwrap();
    fs::write(world.file("packs/deeper/junk".into()), "junk").unwrap();
    assert_eq!(world.server.remote().list().unwrap().len(), 1);
    assert_eq!(world.faults(), [("packs/junk".to_owned(), 0)]);
    world.fetch(&world.one).unwrap();
}

#[test]
fn a_pack_under_another_name_gives_nothing() {
    let Some(world) = world() else { return };
    let pack = world.longest();
    let other = world.server.files("packs").into_iter().find(|p| *p != pack).unwrap();
    fs::copy(&other, &pack).unwrap();
    assert!(matches!(world.fetch(&world.one), Err(RemoteError::NotFound(_))));
    assert!(world.faults().iter().any(|(what, _)| *what == name(&pack)));
}

#[test]
fn what_is_there_twice_may_be_damaged_once() {
    let Some(world) = world() else { return };
    // Condemned and put again, under another name.
    for taken in [&world.one, &world.two] {
        world.remote.remove(&taken.id).unwrap();
    }
    world.remote.gc().unwrap();
    let old = world.server.files("packs");
    world.remote.push(&world.store, &world.two.id).unwrap();
    for pack in world.server.files("packs").into_iter().filter(|p| !old.contains(p)) {
        let file = fs::File::options().write(true).open(pack).unwrap();
        file.write_all_at(b"!!!!", 20).unwrap();
    }
    world.fetch(&world.two).unwrap();
    assert!(!world.faults().is_empty());
}

#[test]
fn something_else_is_left_alone() {
    let Some(server) = server() else { return };
    let at = server.dir("s3/team/one");
    fs::write(at.join("report.pdf"), "theirs").unwrap();
    let open = || Remote::open(&server.target(), &common::keys(), Times::default());
    assert!(matches!(open(), Err(RemoteError::Format { .. })));
    assert_eq!(fs::read_dir(&at).unwrap().count(), 1);
    for format in [
        "cordon-objects 2\n",
        "",
        "cordon-objects 1\nwindow 5\ngrace 6\n",
        "cordon-objects 1\nwindow 0\ngrace 0\n",
    ] {
        fs::write(at.join("format"), format).unwrap();
        assert!(matches!(open(), Err(RemoteError::Format { .. })), "{format:?}");
    }
}

#[test]
fn no_key_is_in_an_error() {
    let Some(server) = server() else { return };
    let keys = Keys { id: ID.into(), secret: "CARGO_MANIFEST_DIR".into(), token: String::new() };
    let error = Remote::open(&server.target(), &keys, Times::default()).unwrap_err();
    let secret = std::env::var("CARGO_MANIFEST_DIR").unwrap();
    assert!(matches!(error, RemoteError::Bucket { .. }), "{error}");
    for text in [error.to_string(), format!("{error:?}")] {
        assert!(!text.contains(&secret) && !text.contains("Signature=") && text.len() < 1000, "{text}");
    }
}

/// Answers every request with these bytes, and tells what was asked.
fn liar(answer: String) -> (String, mpsc::Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (tell, told) = mpsc::channel();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut request = vec![0; 4096];
            let had = stream.read(&mut request).unwrap_or(0);
            let _ = tell.send(String::from_utf8_lossy(&request[..had]).into_owned());
            let _ = stream.write_all(answer.as_bytes());
        }
    });
    (url, told)
}

#[test]
fn keys_follow_no_redirect_and_words_of_a_server_stay_words() {
    let (elsewhere, asked) = liar("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n".into());
    let (moved, told) = liar(format!(
        "HTTP/1.1 307 Moved\r\nlocation: {elsewhere}/team\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
    ));
    let open = |url: &str| {
        let target = Target::parse(&format!("s3://team/one?endpoint={url}")).unwrap();
        Remote::open(&target, &common::keys(), Times::default()).unwrap_err().to_string()
    };
    open(&moved);
    assert!(told.recv().unwrap().contains("authorization"));
    assert!(asked.try_recv().is_err(), "the keys' signature went to somebody else");
    let words = "\u{1b}[2J\u{7}line\r\nline";
    let (rude, _) = liar(format!(
        "HTTP/1.1 403 Forbidden\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{words}",
        words.len()
    ));
    let error = open(&rude);
    assert!(!error.contains(char::is_control), "{error:?}");
}
