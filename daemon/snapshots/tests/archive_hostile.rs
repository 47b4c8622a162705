//! Archives made to escape, to exhaust or to deceive. Each is refused by the reason it has, and
//! nothing beside the store is ever touched.
#![allow(missing_docs, clippy::unwrap_used, clippy::panic)]

mod common;

use common::facts;
use cordon_snapshots::{
    NodeKind, SkipReason, Store, StoreOptions, Taken, TreeLimits, TreeSource as _,
    archive::{ArchiveError, ImportRequest, Refusal, export, import},
};
use proptest::{collection::vec, prelude::*};
use std::{fs, io::Read as _};
use tar::Header;

/// Entries as bytes; nothing is checked or completed.
#[derive(Default)]
struct Tar(Vec<u8>);

impl Tar {
    fn raw(mut self, kind: u8, name: &[u8], link: &[u8], size: u64, body: &[u8]) -> Self {
        let mut header = Header::new_gnu();
        let fields = header.as_gnu_mut().unwrap();
        fields.name[..name.len()].copy_from_slice(name);
        fields.linkname[..link.len()].copy_from_slice(link);
        fields.typeflag = [kind];
        header.set_mode(0o6755);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(1);
        header.set_size(size);
        header.set_cksum();
        self.0.extend_from_slice(header.as_bytes());
        self.0.extend_from_slice(body);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
        self
    }

    fn file(self, name: &str, body: &str) -> Self {
        self.raw(b'0', name.as_bytes(), b"", body.len() as u64, body.as_bytes())
    }

    fn dir(self, name: &str) -> Self {
        self.raw(b'5', name.as_bytes(), b"", 0, b"")
    }

    fn link(self, kind: u8, name: &str, to: &str) -> Self {
        self.raw(kind, name.as_bytes(), to.as_bytes(), 0, b"")
    }

    fn pax(self, kind: u8, records: &[(&str, &[u8])]) -> Self {
        let mut body = Vec::new();
        for (key, value) in records {
            let rest = key.len() + value.len() + 3;
            let length = (rest..).find(|n| *n == rest + n.to_string().len()).unwrap();
            body.extend_from_slice(format!("{length} {key}=").as_bytes());
            body.extend_from_slice(value);
            body.push(b'\n');
        }
        self.raw(kind, b"pax", b"", body.len() as u64, &body)
    }

    fn end(mut self) -> Vec<u8> {
        self.0.resize(self.0.len() + 1024, 0);
        self.0
    }
}

struct World {
    home: tempfile::TempDir,
    store: Store,
}

/// A store with canaries beside it: a file that names lead to, a directory, a link.
fn world() -> World {
    let home = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
    fs::create_dir(home.path().join("beside")).unwrap();
    fs::write(home.path().join("beside/canary"), "alive").unwrap();
    fs::write(home.path().join("canary"), "alive").unwrap();
    let store = Store::open(&home.path().join("store"), "", StoreOptions::default()).unwrap();
    World { home, store }
}

impl World {
    fn import(&self, archive: &[u8]) -> Result<Taken, ArchiveError> {
        self.bounded(archive, TreeLimits { bytes: 64 << 20, ..TreeLimits::default() })
    }

    fn bounded(&self, mut archive: &[u8], limits: TreeLimits) -> Result<Taken, ArchiveError> {
        let outside = || {
            let mut all = facts(self.home.path());
            all.retain(|path, _| !path.starts_with(b"store"));
            all
        };
        let here = || fs::read_dir(".").unwrap().map(|e| e.unwrap().file_name()).collect::<Vec<_>>();
        let (before, listed) = (outside(), here());
        let label = String::new();
        let done = import(&self.store, &mut archive, &ImportRequest { label, limits });
        assert!(outside() == before && here() == listed, "something outside of the store changed");
        if done.is_err() {
            assert!(self.store.list().unwrap().is_empty(), "an archive that was refused left a snapshot");
        }
        done
    }

    fn read(&self, taken: &Taken, path: &str) -> String {
        let mut text = String::new();
        self.store.tree(&taken.id).unwrap().read(path.as_bytes()).unwrap().read_to_string(&mut text).unwrap();
        text
    }

    fn names(&self, taken: &Taken, path: &str) -> Vec<String> {
        let tree = self.store.tree(&taken.id).unwrap();
        let name = |e: cordon_snapshots::TreeEntry| String::from_utf8(e.name).unwrap();
        tree.children(path.as_bytes()).unwrap().into_iter().map(name).collect()
    }
}

fn refused(archive: Tar) -> Refusal {
    match world().import(&archive.end()) {
        Err(ArchiveError::Refused { why, .. }) => why,
        other => panic!("not refused: {other:?}"),
    }
}

fn malformed(archive: Vec<u8>) -> &'static str {
    match world().import(&archive) {
        Err(ArchiveError::Malformed { why, .. }) => why,
        other => panic!("not malformed: {other:?}"),
    }
}

#[test]
fn names_that_lead_out_are_refused() {
    let home = world();
    let absolute = format!("{}/canary", home.home.path().display());
    let absolute = Tar::default().pax(b'x', &[("path", absolute.as_bytes())]).file("x", "dead").end();
    let done = home.import(&absolute);
    assert!(matches!(done, Err(ArchiveError::Refused { why: Refusal::Absolute, .. })), "{done:?}");
    for (name, why) in [
        ("../canary", Refusal::Parent),
        ("a/../../canary", Refusal::Parent),
        ("a/..", Refusal::Parent),
        ("..", Refusal::Parent),
        ("/", Refusal::Absolute),
        ("//etc/passwd", Refusal::Absolute),
        ("", Refusal::Empty),
    ] {
        let body = if name.ends_with('/') { "" } else { "dead" };
        assert_eq!(refused(Tar::default().dir("a/").file(name, body)), why, "{name:?}");
        assert_eq!(refused(Tar::default().dir("a/").link(b'2', name, "x")), why, "{name:?}");
        assert_eq!(refused(Tar::default().dir(name)), why, "{name:?}");
        assert_eq!(refused(Tar::default().link(b'6', name, "")), why, "{name:?}");
        assert_eq!(refused(Tar::default().file("x", "").link(b'1', name, "x")), why, "{name:?}");
        // By a long name of GNU's, and by the name of a sparse file.
        if !name.is_empty() {
            let long = Tar::default().raw(b'L', b"", b"", name.len() as u64, name.as_bytes()).file("x", body);
            assert_eq!(refused(long), why, "{name:?}");
            let sparse: [(&str, &[u8]); 4] = [
                ("GNU.sparse.major", b"1"),
                ("GNU.sparse.minor", b"0"),
                ("GNU.sparse.name", name.as_bytes()),
                ("GNU.sparse.realsize", b"0"),
            ];
            let map = format!("{:\0<512}", "0\n");
            if !body.is_empty() {
                assert_eq!(refused(Tar::default().pax(b'x', &sparse).file("x", &map)), why, "{name:?}");
            }
        }
    }
    let part = "n".repeat(256);
    for (name, why) in
        [(b"a\0b".to_vec(), Refusal::Nul), (b"".to_vec(), Refusal::Empty), (part.into_bytes(), Refusal::Long)]
    {
        assert_eq!(refused(Tar::default().pax(b'x', &[("path", &name)]).file("x", "")), why);
    }
}

#[test]
fn no_name_leads_through_a_link() {
    for target in ["..", "/etc", ".", "d", "missing", "../beside"] {
        let link = || Tar::default().dir("d").link(b'2', "d/l", target);
        assert_eq!(refused(link().file("d/l/canary", "dead")), Refusal::ThroughLink);
        assert_eq!(refused(link().dir("d/l/x/y")), Refusal::ThroughLink);
        assert_eq!(refused(link().link(b'6', "d/l/x", "")), Refusal::ThroughLink);
        assert_eq!(refused(link().link(b'2', "d/l/x", "y")), Refusal::ThroughLink);
        assert_eq!(refused(link().link(b'1', "x", "d/l/canary")), Refusal::ThroughLink);
        assert_eq!(refused(link().file("f", "").link(b'1', "d/l/x", "f")), Refusal::ThroughLink);
        // By a second name of the link.
        assert_eq!(refused(link().link(b'1', "m", "d/l").file("m/canary", "dead")), Refusal::ThroughLink);
    }
    assert_eq!(refused(Tar::default().file("f", "").file("f/x", "dead")), Refusal::ThroughFile);
    assert_eq!(refused(Tar::default().file("f", "").link(b'1', "x", "f/x")), Refusal::ThroughFile);
}

#[test]
fn hard_links_stay_inside_and_look_back() {
    for (target, why) in [
        ("/etc/passwd", Refusal::LinkOutside),
        ("../canary", Refusal::LinkOutside),
        ("d/../../canary", Refusal::LinkOutside),
        ("later", Refusal::LinkMissing),
        ("d/missing", Refusal::LinkMissing),
        ("missing/x", Refusal::LinkMissing),
        ("x", Refusal::LinkMissing),
        ("d", Refusal::LinkDirectory),
        ("./", Refusal::LinkDirectory),
        ("", Refusal::Empty),
    ] {
        let archive = Tar::default().dir("d").link(b'1', "x", target).file("later", "");
        assert_eq!(refused(archive), why, "{target:?}");
    }
    // What is written to a later name of the same file reaches no other name of it.
    let world = world();
    let archive =
        Tar::default().file("a", "first").link(b'1', "b", "./a").link(b'1', "b", "b").file("a", "second");
    let taken = world.import(&archive.end()).unwrap();
    assert_eq!((world.read(&taken, "a"), world.read(&taken, "b")), ("second".into(), "first".into()));
    let entries = world.store.tree(&taken.id).unwrap().children(b"").unwrap();
    assert!(entries.iter().all(|e| e.link_group.is_none()), "{entries:?}");
}

#[test]
fn what_comes_later_counts_but_goes_through_nothing() {
    let world = world();
    let archive = Tar::default()
        .link(b'2', "l", "../canary")
        .file("l", "a file now")
        .link(b'2', "d", "../beside")
        .dir("d")
        .file("d/canary", "inside")
        .file("f", "one")
        .file("./f", "two")
        .file(".//f", "three")
        .dir("e")
        .link(b'2', "e", "gone")
        .file("g", "")
        .dir("g")
        .file("g/x", "");
    let taken = world.import(&archive.end()).unwrap();
    assert_eq!(world.names(&taken, ""), ["d", "e", "f", "g", "l"]);
    assert_eq!(world.read(&taken, "l"), "a file now");
    assert_eq!(world.read(&taken, "d/canary"), "inside");
    assert_eq!(world.read(&taken, "f"), "three");
    assert_eq!(fs::read_to_string(world.home.path().join("canary")).unwrap(), "alive");
    for last in [
        Tar::default().file("d/x", "").file("d", ""),
        Tar::default().file("d/x", "").link(b'2', "d", "x"),
        Tar::default().file("d/x", "").link(b'6', "d", ""),
    ] {
        assert_eq!(refused(last), Refusal::Replaces);
    }
    for last in [
        Tar::default().file(".", ""),
        Tar::default().link(b'2', "./", "x"),
        Tar::default().link(b'6', "./.", ""),
    ] {
        assert_eq!(refused(last), Refusal::Root);
    }
}

#[test]
fn devices_stay_behind_and_no_bit_of_another_user_comes_in() {
    let world = world();
    let archive = Tar::default()
        .dir("d")
        .link(b'3', "d/null", "")
        .link(b'4', "disk", "")
        .link(b'6', "pipe", "")
        .file("d/set", "uid")
        .link(b'6', "was", "")
        .file("was", "a file");
    let taken = world.import(&archive.end()).unwrap();
    let skipped: Vec<_> = taken.snapshot.skipped.iter().map(|s| (s.path.as_slice(), s.reason)).collect();
    assert_eq!(
        skipped,
        [
            (&b"d/null"[..], SkipReason::Device),
            (b"disk", SkipReason::Device),
            (b"pipe", SkipReason::Fifo),
            (b"was", SkipReason::Fifo),
        ]
    );
    assert_eq!(taken.snapshot.statistics.skipped, 4);
    assert_eq!(world.names(&taken, ""), ["d", "was"]);
    for entry in world.store.tree(&taken.id).unwrap().children(b"d").unwrap() {
        assert_eq!(entry.mode, 0o755);
    }
    for kind in [b'D', b'M', b'N', b'X', b'A', b'Z', b'8', 0xff] {
        assert_eq!(refused(Tar::default().raw(kind, b"x", b"", 0, b"")), Refusal::Kind);
    }
}

#[test]
fn targets_of_links_are_possible_ones() {
    let world = world();
    let taken = world.import(&Tar::default().link(b'2', "l", "../../etc/passwd").end()).unwrap();
    let entries = world.store.tree(&taken.id).unwrap().children(b"").unwrap();
    assert_eq!(entries[0].kind, NodeKind::Symlink);
    for bad in [b"".to_vec(), vec![b'x'; 4096], b"a\0b".to_vec()] {
        let archive = Tar::default().pax(b'x', &[("linkpath", &bad)]).link(b'2', "l", "x");
        assert_eq!(refused(archive), Refusal::Target);
    }
}

#[test]
fn an_archive_that_two_programs_read_differently_is_refused() {
    let twice = "an entry is named twice, in two ways";
    let long =
        |tar: Tar, kind, name: &str| tar.raw(kind, b"././@LongLink", b"", name.len() as u64, name.as_bytes());
    let pax = |key| Tar::default().pax(b'x', &[(key, b"one")]);
    assert_eq!(malformed(long(pax("path"), b'L', "two").file("x", "").end()), twice);
    assert_eq!(malformed(long(pax("linkpath"), b'K', "two").link(b'2', "x", "y").end()), twice);
    assert_eq!(malformed(long(long(Tar::default(), b'L', "one"), b'L', "two").file("x", "").end()), twice);
    // Bytes after what has none: one takes them for a header, another for content.
    for kind in [b'1', b'2', b'3', b'5', b'6'] {
        let hidden = Tar::default().file("hidden", "").0;
        let archive = Tar::default().raw(kind, b"x", b"y", 512, &hidden).end();
        assert_eq!(malformed(archive), "something that is no file has bytes", "{}", char::from(kind));
        let archive = Tar::default().pax(b'x', &[("size", b"512")]).raw(kind, b"x", b"y", 0, &hidden).end();
        assert_eq!(malformed(archive), "something that is no file has bytes");
    }
    for key in ["path", "linkpath", "size", "GNU.sparse.name"] {
        let archive = Tar::default().pax(b'g', &[(key, b"1")]).file("x", "").end();
        assert_eq!(malformed(archive), "a global header names or measures every file alike");
    }
    assert!(malformed(Tar::default().pax(b'x', &[("path", b"a")]).end()).contains("belongs to nothing"));
    // The size that counts is the extended header's.
    let world = world();
    let archive = Tar::default().pax(b'x', &[("size", b"3")]).raw(b'0', b"x", b"", 0, b"abc").file("y", "");
    let taken = world.import(&archive.end()).unwrap();
    assert_eq!(
        (world.read(&taken, "x"), world.names(&taken, "")),
        ("abc".into(), vec!["x".into(), "y".into()])
    );
}

#[test]
fn sparse_maps_that_lie_are_refused() {
    const LIES: &str = "a sparse map does not fit its file";
    let head = |real: &str| {
        let pairs = [
            ("GNU.sparse.major", "1"),
            ("GNU.sparse.minor", "0"),
            ("GNU.sparse.name", "s"),
            ("GNU.sparse.realsize", real),
        ];
        Tar::default().pax(b'x', &pairs.map(|(k, v)| (k, v.as_bytes())))
    };
    let body = |map: &str, data: &str| format!("{map:\0<512}{data}");
    let world = world();
    let taken = world.import(&head("10").file("x", &body("1\n4\n3\n", "abc")).end()).unwrap();
    assert_eq!(world.read(&taken, "s"), "\0\0\0\0abc\0\0\0");
    for (real, map, data) in [
        ("10", "1\n4\n3\n", "ab"),
        ("10", "1\n4\n3\n", "abcd"),
        ("6", "1\n4\n3\n", "abc"),
        ("10", "2\n4\n1\n4\n2\n", "abc"),
        ("10", "2\n4\n1\n0\n2\n", "abc"),
        ("10", "1\n4\n18446744073709551615\n", "abc"),
        ("10", "99999999\n", ""),
        ("10", "18446744073709551616\n", ""),
        ("10", "-1\n", ""),
        ("10", "x\n", ""),
        ("10", "2\n4\n3\n", "abc"),
        ("10", "", ""),
        ("10", "\n\n\n", ""),
        ("10", "000000000000000000000000001\n0\n0\n", ""),
    ] {
        assert_eq!(malformed(head(real).file("x", &body(map, data)).end()), LIES, "{map:?}");
    }
    assert_eq!(malformed(head("10").file("x", "1\n").end()), LIES);
    let vast = head("9223372036854775807").file("x", &body("1\n9223372036854775807\n0\n", ""));
    assert!(matches!(
        crate::world().import(&vast.end()),
        Err(ArchiveError::Limit { what: "bytes in one file", .. })
    ));
    let old: [(&str, &[u8]); 2] = [("GNU.sparse.size", b"10"), ("GNU.sparse.map", b"4,3")];
    let taken = world.import(&Tar::default().pax(b'x', &old).file("o", "abc").end()).unwrap();
    assert_eq!(world.read(&taken, "o"), "\0\0\0\0abc\0\0\0");
    for map in ["4", "4,3,", "4,3,5", "4,x", ",", "9,3"] {
        let records: [(&str, &[u8]); 2] = [("GNU.sparse.size", b"10"), ("GNU.sparse.map", map.as_bytes())];
        let done = crate::world().import(&Tar::default().pax(b'x', &records).file("o", "abc").end());
        assert!(map == "4,3," || matches!(done, Err(ArchiveError::Malformed { .. })), "{map:?} {done:?}");
    }
    assert!(malformed(head("10").link(b'5', "x", "").end()).contains("is sparse"));
}

#[test]
fn what_is_too_much_is_too_much_by_name() {
    let none = TreeLimits::default();
    let limited = |archive: Tar, limits: TreeLimits| match world().bounded(&archive.end(), limits) {
        Err(ArchiveError::Limit { what, .. }) => what,
        other => panic!("{other:?}"),
    };
    let files = |n: usize| (0..n).fold(Tar::default(), |tar, i| tar.file(&format!("f{i}"), "12345678"));
    assert_eq!(limited(files(11), TreeLimits { entries: 10, ..none }), "entries");
    assert_eq!(limited(files(11), TreeLimits { directory: 10, ..none }), "entries in one directory");
    assert_eq!(limited(files(11), TreeLimits { bytes: 80, ..none }), "bytes");
    assert!(world().bounded(&files(10).end(), TreeLimits { entries: 10, bytes: 80, ..none }).is_ok());
    let deep = "d/".repeat(11);
    assert_eq!(
        limited(Tar::default().dir(&deep), TreeLimits { depth: 10, ..none }),
        "directories below each other"
    );
    assert_eq!(
        limited(Tar::default().file(&format!("{deep}f"), ""), TreeLimits { depth: 10, ..none }),
        "directories below each other"
    );
    assert!(
        world()
            .bounded(
                &Tar::default().file(&format!("{}f", "d/".repeat(10)), "").end(),
                TreeLimits { depth: 10, ..none }
            )
            .is_ok()
    );
    // A size nobody has sent costs nothing, whatever it says.
    let claims = |kind, size| Tar::default().raw(kind, b"x", b"", size, b"");
    assert_eq!(limited(claims(b'0', 1 << 50), none), "bytes in one file");
    assert_eq!(limited(claims(b'0', 2 << 40), none), "bytes");
    for kind in [b'x', b'g', b'L', b'K'] {
        assert_eq!(limited(claims(kind, 1 << 40), none), "bytes of extended headers for one entry");
    }
    assert!(matches!(world().import(&claims(b'0', 60 << 20).0), Err(ArchiveError::Truncated { .. })));
    let target = "t".repeat(4000);
    let links = (0..68_000).fold(Tar::default(), |tar, i| {
        tar.raw(b'K', b"", b"", 4000, target.as_bytes()).link(b'2', &format!("l{i}"), "")
    });
    assert_eq!(limited(links, none), "bytes of names");
    // The same name a million times is one entry, and many headers before one are too many bytes.
    let again = (0..50).fold(Tar::default(), |tar, _| tar.file("f", ""));
    assert!(world().bounded(&again.end(), TreeLimits { entries: 1, ..none }).is_ok());
    let big = vec![b'x'; 1 << 20];
    let many = (0..9).fold(Tar::default(), |tar, _| tar.pax(b'x', &[("comment", &big)])).file("f", "");
    assert_eq!(limited(many, none), "bytes of extended headers for one entry");
}

#[test]
fn what_is_no_archive_is_told_from_a_torn_one() {
    let archive = Tar::default().dir("d").file("d/f", &"x".repeat(3000)).end();
    for cut in (1..archive.len() - 1023).chain([archive.len() - 600]) {
        let done = world().import(&archive[..cut]);
        let right = matches!(done, Err(ArchiveError::Truncated { .. })) || cut > archive.len() - 512;
        assert!(right || cut == archive.len() - 600, "{cut}: {done:?}");
    }
    assert!(matches!(world().import(b""), Err(ArchiveError::NotTar { .. })));
    assert!(matches!(world().import(&[b'#'; 4000]), Err(ArchiveError::NotTar { .. })));
    for (magic, how) in [
        (&b"\x1f\x8b\x08\0"[..], "gzip"),
        (b"\x28\xb5\x2f\xfd\x04", "zstd"),
        (b"BZh9", "bzip2"),
        (b"\xfd7zXZ\0", "xz"),
    ] {
        match world().import(magic) {
            Err(e @ ArchiveError::Compressed { how: told }) => {
                assert!(told == how && e.to_string().contains(&format!("{how} -dc")))
            }
            other => panic!("{other:?}"),
        }
    }
    let mut flipped = archive.clone();
    flipped[512 + 30] ^= 1;
    assert!(malformed(flipped).contains("checksum"));
    // What fills a block up is nothing to anybody.
    let mut filled = archive.clone();
    filled[1024 + 3000..1024 + 3072].fill(b'!');
    assert!(world().import(&filled).is_ok());
    // The end is the end, whatever follows.
    let after = [archive, Tar::default().file("../x", "").end()].concat();
    assert!(world().import(&after).is_ok());
}

#[test]
fn a_directory_without_rights_holds_what_it_holds() {
    let world = world();
    let mut header = Header::new_ustar();
    header.as_ustar_mut().unwrap().name[..2].copy_from_slice(b"d/");
    header.set_entry_type(tar::EntryType::Directory);
    header.set_mode(0);
    header.set_size(0);
    header.set_mtime(5);
    header.set_cksum();
    let mut archive = header.as_bytes().to_vec();
    archive.extend(Tar::default().file("d/f", "held").file("e/made/on/the/way", "").end());
    let taken = world.import(&archive).unwrap();
    let entries = world.store.tree(&taken.id).unwrap().children(b"").unwrap();
    assert_eq!(
        (entries[0].mode, entries[0].mtime, entries[1].mode, entries[1].mtime),
        (0, (5, 0), 0o755, (0, 0))
    );
    assert_eq!(world.read(&taken, "d/f"), "held");
}

#[derive(Clone, Debug)]
enum Damage {
    Flip(prop::sample::Index, u8),
    Cut(prop::sample::Index),
    Repeat(prop::sample::Index, prop::sample::Index),
    Field(prop::sample::Index, usize, Vec<u8>),
}

fn damage() -> impl Strategy<Value = Damage> {
    let at = any::<prop::sample::Index>;
    prop_oneof![
        1 => (at(), 1u8..).prop_map(|(a, b)| Damage::Flip(a, b)),
        1 => at().prop_map(Damage::Cut),
        1 => (at(), at()).prop_map(|(a, b)| Damage::Repeat(a, b)),
        3 => (at(), prop::sample::select(vec![0usize, 100, 124, 136, 156, 157, 257, 345, 386, 482]), vec(any::<u8>(), 1..13)).prop_map(|(a, f, b)| Damage::Field(a, f, b)),
        3 => (at(), prop::sample::select(vec![0usize, 124, 157]), "[./a-c0-7]{1,12}").prop_map(|(a, f, b)| Damage::Field(a, f, b.into_bytes())),
    ]
}

/// Headers get a checksum that is right, so that more than the checksum is tried.
fn mend(archive: &mut [u8]) {
    for block in archive.chunks_exact_mut(512) {
        if &block[257..262] == b"ustar" {
            let mut header = Header::from_byte_slice(block).clone();
            header.set_cksum();
            block.copy_from_slice(header.as_bytes());
        }
    }
}

fn good() -> Vec<u8> {
    let long = "l/".repeat(80) + "f";
    Tar::default()
        .dir("./")
        .dir("a")
        .file("a/b", "content")
        .link(b'1', "a/c", "a/b")
        .link(b'2', "b", "a")
        .raw(b'L', b"././@LongLink", b"", 162, format!("{long}\0").as_bytes())
        .file("x", "long")
        .pax(b'x', &[("path", b"c/d"), ("mtime", b"1.5"), ("size", b"3")])
        .file("x", "pax")
        .pax(
            b'x',
            &[
                ("GNU.sparse.major", b"1"),
                ("GNU.sparse.minor", b"0"),
                ("GNU.sparse.name", b"s"),
                ("GNU.sparse.realsize", b"10"),
            ],
        )
        .file("x", &format!("{:\0<512}abc", "1\n4\n3\n"))
        .link(b'6', "pipe", "")
        .end()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn any_archive_is_imported_or_refused_and_touches_nothing(damages in vec(damage(), 1..5), mended in any::<bool>()) {
        let mut archive = good();
        for damage in damages {
            let blocks = (archive.len() / 512).max(1);
            match damage {
                _ if archive.is_empty() => {}
                Damage::Flip(at, bits) => {
                    let at = at.index(archive.len());
                    archive[at] ^= bits;
                }
                Damage::Cut(at) => archive.truncate(at.index(archive.len())),
                Damage::Repeat(from, to) => {
                    let (from, to) = (from.index(blocks) * 512, to.index(blocks) * 512);
                    let block = archive[from..archive.len().min(from + 512)].to_vec();
                    archive.splice(to..to, block);
                }
                Damage::Field(at, field, bytes) => {
                    let at = at.index(blocks) * 512 + field;
                    let end = archive.len().min(at + bytes.len());
                    if at < end {
                        archive[at..end].copy_from_slice(&bytes[..end - at]);
                    }
                }
            }
        }
        if mended {
            mend(&mut archive);
        }
        let world = world();
        if let Ok(taken) = world.import(&archive) {
            // What came in is whole, can be put back below a directory, and comes in again.
            let back = world.home.path().join("store-restored");
            fs::create_dir(&back).unwrap();
            world.store.restore(&taken.id, &back).unwrap();
            let mut out = Vec::new();
            export(&world.store, &taken.id, &mut out).unwrap();
            prop_assert_eq!(world.import(&out).unwrap().snapshot.root, taken.snapshot.root);
            prop_assert!(world.store.verify().unwrap().faults.is_empty());
            prop_assert_eq!(fs::read_to_string(world.home.path().join("canary")).unwrap(), "alive");
        }
    }
}

#[test]
fn five_thousand_levels_come_in_and_go_out() {
    let world = world();
    let path = format!("{}f", "d/".repeat(5_000));
    let archive = Tar::default().pax(b'x', &[("path", path.as_bytes())]).file("x", "deep").end();
    let taken = world.import(&archive).unwrap();
    assert_eq!((taken.snapshot.statistics.directories, world.read(&taken, &path)), (5_000, "deep".into()));
    let mut out = Vec::new();
    export(&world.store, &taken.id, &mut out).unwrap();
    assert_eq!(world.import(&out).unwrap().snapshot.root, taken.snapshot.root);
}

#[test]
fn a_good_one_is_good() {
    let world = world();
    let taken = world.import(&good()).unwrap();
    assert_eq!(world.names(&taken, ""), ["a", "b", "c", "l", "s"]);
    assert_eq!(world.read(&taken, "c/d"), "pax");
}
