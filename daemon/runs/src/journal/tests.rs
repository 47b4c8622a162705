use super::*;
use cordon_proto::v1::{Event, MessageEvent, event::Kind};
use proptest::prelude::*;
use std::{fs, path::Path};

const NO_LIMIT: u64 = 1 << 40;

fn message(text: &str) -> Event {
    let kind = Some(Kind::Message(MessageEvent { text: text.to_owned() }));
    Event { kind, ..Event::default() }
}

fn texts(events: &[Event]) -> Vec<String> {
    let text = |e: &Event| match &e.kind {
        Some(Kind::Message(m)) => m.text.clone(),
        other => panic!("not a message: {other:?}"),
    };
    events.iter().map(text).collect()
}

fn write(path: &Path, batches: &[usize]) -> Vec<String> {
    let journal = Journal::create(path, NO_LIMIT).unwrap();
    let mut all = Vec::new();
    for (b, size) in batches.iter().enumerate() {
        let batch: Vec<String> = (0..*size).map(|i| format!("{b}.{i}")).collect();
        journal.append(batch.iter().map(|t| message(t)).collect(), Durability::Soon).unwrap();
        all.extend(batch);
    }
    journal.close();
    all
}

async fn read(path: &Path, from: u64) -> Result<Vec<Event>, (Vec<Event>, JournalError)> {
    let mut reader = JournalReader::open(path, from).unwrap();
    let mut all = Vec::new();
    loop {
        match reader.next(true).await {
            Ok(Some(events)) => all.extend(events),
            Ok(None) => return Ok(all),
            Err(e) => return Err((all, e)),
        }
    }
}

#[tokio::test]
async fn every_offset_can_be_read_from() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("journal");
    let all = write(&path, &[1, 3, 2, 1]);
    for from in 0..=all.len() {
        let events = read(&path, from as u64).await.unwrap();
        assert_eq!(texts(&events), all[from..]);
        assert!(events.iter().map(|e| e.seq).eq(from as u64..all.len() as u64));
    }
}

#[tokio::test]
async fn a_follower_sees_each_batch_and_the_end() {
    let dir = tempfile::tempdir().unwrap();
    let journal = Journal::create(&dir.path().join("journal"), NO_LIMIT).unwrap();
    let mut reader = journal.reader(1);
    journal.append(vec![message("a")], Durability::Soon).unwrap();
    let follower = tokio::spawn(async move {
        let mut all = Vec::new();
        while let Some(events) = reader.next(true).await.unwrap() {
            all.extend(texts(&events));
        }
        all
    });
    journal.append(vec![message("b"), message("c")], Durability::Now).unwrap();
    journal.append(vec![message("d")], Durability::Closing).unwrap();
    journal.close();
    assert_eq!(follower.await.unwrap(), ["b", "c", "d"]);
}

#[tokio::test]
async fn the_index_finds_late_events_of_a_long_journal() {
    let dir = tempfile::tempdir().unwrap();
    let journal = Journal::create(&dir.path().join("journal"), NO_LIMIT).unwrap();
    let big = "x".repeat(100_000);
    for _ in 0..64 {
        journal.append(vec![message(&big), message("small")], Durability::Soon).unwrap();
    }
    for from in [0, 1, 63, 126, 127] {
        let events = journal.reader(from).next(false).await.unwrap().unwrap();
        assert_eq!(events[0].seq, from);
    }
    assert!(journal.reader(128).next(false).await.unwrap().is_none());
}

#[test]
fn a_torn_end_is_cut_off_at_every_byte() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("journal");
    let all = write(&path, &[2, 1, 3]);
    let whole = fs::read(&path).unwrap();
    for length in 16..whole.len() {
        fs::write(&path, &whole[..length]).unwrap();
        let mut seen = Vec::new();
        let (journal, cut) = Journal::open(&path, NO_LIMIT, |e| seen.push(e)).unwrap();
        assert_eq!(texts(&seen), all[..seen.len()]);
        assert!([0, 2, 3].contains(&seen.len()), "a part of a batch was kept: {}", seen.len());
        assert_eq!(fs::metadata(&path).unwrap().len(), length as u64 - cut);
        journal.append(vec![message("after")], Durability::Now).unwrap();
        drop(journal);
        let mut again = Vec::new();
        let (_, cut) = Journal::open(&path, NO_LIMIT, |e| again.push(e)).unwrap();
        assert_eq!((again.len(), cut), (seen.len() + 1, 0));
        assert_eq!(again.last().map(|e| e.seq), Some(seen.len() as u64));
    }
}

#[test]
fn another_file_is_not_taken_for_a_journal() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("journal");
    for content in [&b""[..], b"cordon", b"cordon-journal\x00\x02 and more of it"] {
        fs::write(&path, content).unwrap();
        let error = Journal::open(&path, NO_LIMIT, |_| {}).unwrap_err();
        assert!(matches!(error, JournalError::Foreign { .. }), "{error}");
        assert_eq!(fs::read(&path).unwrap(), content, "it was changed");
    }
}

#[test]
fn a_journal_at_its_limit_takes_only_the_end_of_the_run() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("journal");
    let journal = Journal::create(&path, 1000).unwrap();
    let error = journal.append(vec![message(&"x".repeat(2000))], Durability::Soon).unwrap_err();
    assert!(matches!(error, JournalError::Limit { limit: 1000, .. }), "{error}");
    journal.append(vec![message(&"x".repeat(2000))], Durability::Closing).unwrap();
    assert_eq!(journal.committed().next_seq, 1);
}

/// A real full disk: a small tmpfs in a mount namespace of this thread's own.
#[test]
fn a_full_disk_loses_nothing_and_leaves_room_for_the_end() {
    use nix::{mount, sched};
    if std::env::var("CORDON_TEST_SKIP").is_ok_and(|s| s.split(',').any(|n| n == "full-disk")) {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path().to_path_buf();
    std::thread::spawn(move || {
        sched::unshare(sched::CloneFlags::CLONE_NEWNS)
            .expect("this test mounts a tmpfs and needs root; CORDON_TEST_SKIP=full-disk skips it");
        let private = mount::MsFlags::MS_REC | mount::MsFlags::MS_PRIVATE;
        mount::mount(None::<&str>, "/", None::<&str>, private, None::<&str>).unwrap();
        let none = mount::MsFlags::empty();
        mount::mount(Some("tmpfs"), &at, Some("tmpfs"), none, Some("size=1m")).unwrap();
        let path = at.join("journal");
        let journal = Journal::create(&path, NO_LIMIT).unwrap();
        let big = "x".repeat(50_000);
        let mut written = 0;
        let error = loop {
            match journal.append(vec![message(&big)], Durability::Soon) {
                Ok(()) => written += 1,
                Err(e) => break e,
            }
        };
        assert!(matches!(error, JournalError::Full { .. }), "{error}");
        assert!(written > 5, "{written}");
        journal.append(vec![message("the end")], Durability::Closing).unwrap();
        journal.close();
        drop(journal);
        let mut seen = Vec::new();
        let (_, cut) = Journal::open(&path, NO_LIMIT, |e| seen.push(e)).unwrap();
        assert_eq!((seen.len(), cut), (written + 1, 0));
        assert_eq!(texts(&seen).last().map(String::as_str), Some("the end"));
    })
    .join()
    .unwrap();
}

#[derive(Clone, Debug)]
enum Harm {
    Cut(usize),
    Flip(usize, u8),
    Insert(usize, Vec<u8>),
    Swap(usize, usize, usize),
}

fn harm() -> impl Strategy<Value = Harm> {
    prop_oneof![
        any::<usize>().prop_map(Harm::Cut),
        (any::<usize>(), 1u8..).prop_map(|(at, bits)| Harm::Flip(at, bits)),
        (any::<usize>(), prop::collection::vec(any::<u8>(), 1..40)).prop_map(|(at, b)| Harm::Insert(at, b)),
        (any::<usize>(), any::<usize>(), 1usize..60).prop_map(|(a, b, n)| Harm::Swap(a, b, n)),
    ]
}

fn apply(bytes: &mut Vec<u8>, harm: &Harm) {
    let length = bytes.len().max(1);
    match harm {
        Harm::Cut(at) => bytes.truncate(at % length),
        Harm::Flip(at, bits) => {
            if let Some(byte) = bytes.get_mut(at % length) {
                *byte ^= bits;
            }
        }
        Harm::Insert(at, more) => {
            let at = at % length;
            bytes.splice(at..at.min(bytes.len()), more.iter().copied());
        }
        Harm::Swap(a, b, n) => {
            for i in 0..*n {
                let (a, b) = (a.wrapping_add(i) % length, b.wrapping_add(i) % length);
                if a < bytes.len() && b < bytes.len() {
                    bytes.swap(a, b);
                }
            }
        }
    }
}

proptest! {
    #[test]
    fn a_harmed_journal_never_shows_what_was_not_written(
        batches in prop::collection::vec(1usize..4, 0..6),
        harms in prop::collection::vec(harm(), 0..4),
    ) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal");
        let all = write(&path, &batches);
        let mut bytes = fs::read(&path).unwrap();
        harms.iter().for_each(|h| apply(&mut bytes, h));
        fs::write(&path, &bytes).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let events = match runtime.block_on(read(&path, 0)) {
            Ok(events) | Err((events, _)) => events,
        };
        prop_assert_eq!(texts(&events), &all[..events.len()]);
        let mut seen = 0;
        if let Ok((journal, _)) = Journal::open(&path, NO_LIMIT, |_| seen += 1) {
            prop_assert_eq!(seen, events.len());
            prop_assert_eq!(journal.committed().next_seq, seen as u64);
        }
    }

    #[test]
    fn any_bytes_can_be_read(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal");
        let mut file = b"cordon-journal\x00\x01".to_vec();
        file.extend(bytes);
        fs::write(&path, &file).unwrap();
        let mut seen = 0;
        Journal::open(&path, NO_LIMIT, |_| seen += 1).unwrap();
        prop_assert_eq!(seen, 0);
    }
}
