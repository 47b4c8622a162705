//! Archives put together from hostile parts: they come in or are refused, and nothing beside the
//! store changes.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use cordon_fuzz::Feed;
use cordon_snapshots::{
    Store, StoreOptions,
    archive::{ImportRequest, import},
};
use std::{
    fs,
    sync::atomic::{AtomicU32, Ordering},
};

const KINDS: &[u8] = b"0001122355567SxxgLKV\0D";
const NAMES: [&str; 16] = [
    "a",
    "b",
    "a/b",
    "a/b/c",
    "./",
    "./a",
    "../canary",
    "a/..",
    "/canary",
    "",
    "a//b/",
    "b/c",
    ".",
    "a\\b",
    "\u{e4}",
    "a/./b",
];
const SIZES: [u64; 8] = [0, 1, 3, 511, 512, 513, 1 << 33, u64::MAX >> 1];
const RECORDS: [&str; 16] = [
    "path=../canary",
    "path=a",
    "linkpath=/canary",
    "linkpath=a",
    "size=3",
    "size=512",
    "mtime=-1.5",
    "mtime=x",
    "GNU.sparse.major=1",
    "GNU.sparse.minor=0",
    "GNU.sparse.name=a/b",
    "GNU.sparse.realsize=9",
    "GNU.sparse.map=0,3",
    "GNU.sparse.offset=4",
    "GNU.sparse.numbytes=3",
    "GNU.sparse.size=700",
];

fn octal(field: &mut [u8], value: u64) {
    let text = format!("{value:0width$o}", width = field.len() - 1);
    if text.len() < field.len() {
        field[..text.len()].copy_from_slice(text.as_bytes());
    } else {
        field.fill(0);
        field[0] = 0x80;
        let at = field.len() - 8;
        field[at..].copy_from_slice(&value.to_be_bytes());
    }
}

fn entry(feed: &mut Feed<'_>, out: &mut Vec<u8>) {
    let kind = feed.one(KINDS).unwrap();
    let body = match kind {
        b'x' | b'g' => {
            let records = feed.many(4, |feed| feed.one(&RECORDS).unwrap());
            let line = |r: &str| {
                let rest = r.len() + 2;
                let length = (rest..).find(|n| *n == rest + n.to_string().len()).unwrap();
                format!("{length} {r}\n")
            };
            records.into_iter().map(line).collect::<String>().into_bytes()
        }
        b'L' | b'K' => feed.one(&NAMES).unwrap().as_bytes().to_vec(),
        _ => match feed.below(4) {
            0 => format!("{:\0<512}abc", "1\n0\n3\n").into_bytes(),
            1 => b"abc".to_vec(),
            2 => feed.many(40, Feed::byte),
            _ => Vec::new(),
        },
    };
    let mut block = [0; 512];
    let (name, link) = (feed.one(&NAMES).unwrap(), feed.one(&NAMES).unwrap());
    block[..name.len()].copy_from_slice(name.as_bytes());
    block[157..157 + link.len()].copy_from_slice(link.as_bytes());
    block[156] = kind;
    block[257..265].copy_from_slice(feed.one(&[b"ustar\x0000", b"ustar  \0"]).unwrap());
    octal(&mut block[100..108], 0o7777);
    let size = if feed.below(6) == 0 { feed.one(&SIZES).unwrap() } else { body.len() as u64 };
    octal(&mut block[124..136], size);
    octal(&mut block[136..148], 1);
    if kind == b'S' {
        octal(&mut block[386..398], feed.below(8) as u64);
        octal(&mut block[398..410], feed.below(8) as u64);
        block[482] = feed.one(&[0, 0, 1]).unwrap();
        octal(&mut block[483..495], feed.one(&SIZES).unwrap());
    }
    if feed.below(12) == 0 {
        block[feed.below(256) * 2] = feed.byte();
    }
    block[148..156].fill(b' ');
    let sum: u64 = block.iter().map(|b| u64::from(*b)).sum();
    octal(&mut block[148..155], sum);
    out.extend_from_slice(&block);
    out.extend_from_slice(&body);
    out.resize(out.len().next_multiple_of(512), 0);
}

#[test]
fn import_archive() {
    let home = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
    fs::write(home.path().join("canary"), "alive").unwrap();
    let open = || Store::open(&home.path().join("store"), "", StoreOptions::default()).unwrap();
    let came = AtomicU32::new(0);
    bolero::check!().with_iterations(3000).for_each(|input: &[u8]| {
        let mut feed = Feed::new(input);
        let mut archive = Vec::new();
        while !feed.is_empty() && archive.len() < 1 << 16 {
            entry(&mut feed, &mut archive);
        }
        archive.resize(archive.len() + 1024, 0);
        let store = open();
        if let Ok(taken) = import(&store, &mut archive.as_slice(), &ImportRequest::default()) {
            came.fetch_add(1, Ordering::Relaxed);
            store.tree(&taken.id).unwrap();
            store.remove(&taken.id).unwrap();
        }
        assert!(store.list().unwrap().is_empty());
        assert_eq!(fs::read_dir(home.path()).unwrap().count(), 2);
        assert_eq!(fs::read_to_string(home.path().join("canary")).unwrap(), "alive");
    });
    assert!(came.into_inner() > 0, "every archive was refused: nothing was tried");
    assert!(open().verify().unwrap().faults.is_empty());
}
