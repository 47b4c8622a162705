#![allow(clippy::unwrap_used, clippy::panic)]

use super::*;

const SIZE: Size = Size { rows: 24, columns: 80 };

fn wish(role: Role) -> Wish {
    Wish { role, size: SIZE, raw: false, who: 7 }
}

fn running() -> (Arc<Hub>, mpsc::UnboundedReceiver<News>) {
    let (hub, news) = Hub::new(SIZE);
    hub.begin();
    (hub, news)
}

/// Everything that it is told without waiting, as its terminal would have it.
async fn look(viewer: &Viewer) -> (Vec<u8>, Option<Place>) {
    let (mut output, mut place) = (Vec::new(), None);
    loop {
        let told = tokio::select! {
            biased;
            told = viewer.next() => told,
            () = std::future::ready(()) => return (output, place),
        };
        match told {
            Some(Told::Output(data)) => output.extend(data),
            Some(Told::Place(now)) => place = Some(now),
            None => return (output, place),
        }
    }
}

fn screen(output: &[u8]) -> String {
    let mut model = Model::new(SIZE);
    model.feed(output);
    model.text()
}

#[tokio::test]
async fn the_first_writes_and_others_watch_until_they_take_over() {
    let (hub, mut news) = running();
    let first = hub.join(wish(Role::Any)).unwrap();
    let second = hub.join(wish(Role::Any)).unwrap();
    assert_eq!(hub.join(wish(Role::Write)).unwrap_err(), NotJoined::Written);
    first.type_in(Bytes::from_static(b"one")).await;
    second.type_in(Bytes::from_static(b"two")).await;
    assert_eq!(hub.input().await, Some(Input::Data(Bytes::from_static(b"one"))));
    let third = hub.join(wish(Role::Take)).unwrap();
    assert!(!look(&first).await.1.unwrap().writes);
    first.type_in(Bytes::from_static(b"no")).await;
    third.type_in(Bytes::from_static(b"three")).await;
    assert_eq!(hub.input().await, Some(Input::Data(Bytes::from_static(b"three"))));
    drop(third);
    // Whoever has waited longest.
    let place = look(&first).await.1.unwrap();
    assert!(place.writes && place.viewers == 2, "{place:?}");
    let told: Vec<_> = std::iter::from_fn(|| news.try_recv().ok()).map(|n| (n.viewer, n.what)).collect();
    use Happening::{Joined, Left, Watches, Writes};
    assert_eq!(
        told,
        [
            (1, Joined),
            (1, Writes),
            (2, Joined),
            (3, Joined),
            (1, Watches),
            (3, Writes),
            (3, Left),
            (1, Writes)
        ]
    );
}

#[tokio::test]
async fn one_who_only_watches_never_writes() {
    let (hub, _news) = running();
    let watcher = hub.join(wish(Role::Watch)).unwrap();
    let writer = hub.join(wish(Role::Write)).unwrap();
    drop(writer);
    assert!(!look(&watcher).await.1.unwrap().writes);
}

#[tokio::test]
async fn the_screen_has_the_writers_size_and_the_program_is_told() {
    let (hub, _news) = running();
    let small = Size { rows: 10, columns: 40 };
    let writer = hub.join(Wish { size: small, ..wish(Role::Any) }).unwrap();
    assert_eq!(hub.input().await, Some(Input::Resize(small)));
    let watcher = hub.join(wish(Role::Any)).unwrap();
    watcher.resize(Size { rows: 50, columns: 50 }).await;
    assert_eq!(hub.size(), small);
    writer.resize(SIZE).await;
    assert_eq!(hub.input().await, Some(Input::Resize(SIZE)));
    assert_eq!(look(&watcher).await.1.unwrap().size, SIZE);
}

#[tokio::test]
async fn who_joins_late_sees_what_is_there() {
    let (hub, _news) = running();
    hub.feed(b"\x1b[2;3Hhello \x1b[31mred");
    let viewer = hub.join(wish(Role::Any)).unwrap();
    let (mut output, _) = look(&viewer).await;
    assert!(screen(&output).contains("hello red"));
    hub.feed(b" more");
    output.extend(look(&viewer).await.0);
    assert!(screen(&output).contains("hello red more"));
}

#[tokio::test]
async fn a_slow_viewer_costs_a_bounded_amount_and_ends_with_the_right_screen() {
    let (hub, _news) = running();
    let slow = hub.join(wish(Role::Any)).unwrap();
    let mut output = look(&slow).await.0;
    for n in 0..20_000 {
        hub.feed(format!("line {n} {}\r\n", "x".repeat(60)).as_bytes());
        let inner = hub.inner();
        assert!(inner.viewers.values().all(|slot| slot.queued <= BEHIND));
    }
    // Not more under way than it may have, while it tells of nothing shown.
    let before = output.len();
    output.extend(look(&slow).await.0);
    assert!((output.len() - before) as u64 <= IN_FLIGHT + PIECE as u64);
    // As fast as it is shown, it comes to the end, without most of what came between.
    let mut all = output.len() as u64;
    loop {
        slow.shown(all);
        let (more, _) = look(&slow).await;
        if more.is_empty() {
            break;
        }
        all += more.len() as u64;
        output.extend(more);
    }
    assert!(output.len() < 1 << 20, "{} bytes", output.len());
    assert!(screen(&output).contains("line 19999"), "{}", screen(&output));
}

#[tokio::test]
async fn nothing_is_shown_before_the_program_runs_and_all_of_it_after_it_ended() {
    let (hub, _news) = Hub::new(SIZE);
    let viewer = hub.join(wish(Role::Any)).unwrap();
    assert_eq!(look(&viewer).await, (Vec::new(), None));
    hub.begin();
    hub.feed(b"last words");
    hub.end(Some(End { code: 3, failure: String::new() }));
    hub.end(None);
    let (output, _) = look(&viewer).await;
    assert!(screen(&output).contains("last words"));
    assert_eq!(viewer.next().await, None);
    assert_eq!(viewer.end().unwrap().code, 3);
    assert_eq!(hub.join(wish(Role::Any)).unwrap_err(), NotJoined::Over);
}

#[tokio::test]
async fn questions_are_answered_with_nobody_there_and_a_flood_of_them_costs_nothing() {
    let (hub, _news) = running();
    hub.feed(b"ab\x1b[6n");
    assert_eq!(hub.input().await, Some(Input::Data(Bytes::from_static(b"\x1b[1;3R"))));
    for _ in 0..10_000 {
        hub.feed(b"\x1b[6n");
    }
    assert!(hub.inputs.max_capacity() <= INPUTS);
}

#[tokio::test]
async fn a_loaded_terminal_goes_on() {
    let (hub, _news) = running();
    hub.feed(b"\x1b[?1049h\x1b[5;5Hinside\x1b[");
    let (size, saved) = hub.save();
    let (again, _news) = Hub::load(size, &saved);
    again.begin();
    again.feed(b"1mbold");
    let viewer = again.join(wish(Role::Any)).unwrap();
    assert!(screen(&look(&viewer).await.0).contains("insidebold"));
}
