//! What the store costs, beside a plain stat walk, `cp -a` and `tar | zstd -1`:
//! `measure DIRECTORY [small|many|large]… [--rounds N]`, or one operation over and over for a
//! profiler: `measure DIRECTORY SHAPE --only first|unchanged|restore --rounds N`.
#![allow(clippy::unwrap_used, clippy::panic)]

use cordon_snapshots::{SnapshotId, SnapshotRequest, Store, StoreOptions};
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, StatxFlags, openat, statx};
use std::{
    collections::BTreeMap,
    fs,
    io::Write as _,
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

struct Shape {
    name: &'static str,
    files: usize,
    bytes: usize,
    a_directory: usize,
}

const SHAPES: [Shape; 3] = [
    Shape { name: "small", files: 10_000, bytes: 20_000, a_directory: 50 },
    Shape { name: "many", files: 50_000, bytes: 4_000, a_directory: 25 },
    Shape { name: "large", files: 8, bytes: 128 << 20, a_directory: 8 },
];

struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// Half of it compresses, as sources do.
    fn fill(&mut self, content: &mut [u8]) {
        for (n, word) in content.chunks_mut(8).enumerate() {
            let next = if n % 2 == 0 { self.next() } else { 0x2074_7865_7420_6120 };
            word.copy_from_slice(&next.to_le_bytes()[..word.len()]);
        }
    }
}

fn make(shape: &Shape, root: &Path, dice: &mut Dice) -> Vec<PathBuf> {
    let mut content = vec![0; shape.bytes];
    let path = |number: usize| {
        let group = number / shape.a_directory;
        root.join(format!("d{}", group % 40)).join(format!("e{group}")).join(format!("file-{number}.txt"))
    };
    let files: Vec<_> = (0..shape.files).map(path).collect();
    for path in &files {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        dice.fill(&mut content);
        fs::write(path, &content).unwrap();
    }
    files
}

fn change(shape: &Shape, files: &[PathBuf], dice: &mut Dice) {
    if files.len() < 100 {
        let mut content = vec![0; shape.bytes * files.len() / 100];
        dice.fill(&mut content);
        let at = (dice.next() % (shape.bytes as u64 / 2)) / 4096 * 4096;
        fs::File::options().write(true).open(&files[0]).unwrap().write_all_at(&content, at).unwrap();
        return;
    }
    for _ in 0..files.len() / 100 {
        let at = usize::try_from(dice.next()).unwrap() % files.len();
        let mut file = fs::File::options().append(true).open(&files[at]).unwrap();
        writeln!(file, "{}", dice.next()).unwrap();
    }
}

/// The least that finding out costs.
fn walk(root: &Path) {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let mut waiting = vec![rustix::fs::open(root, flags, Mode::empty()).unwrap()];
    while let Some(fd) = waiting.pop() {
        for entry in Dir::read_from(&fd).unwrap() {
            let entry = entry.unwrap();
            let name = entry.file_name();
            if matches!(name.to_bytes(), b"." | b"..") {
                continue;
            }
            let stat = statx(&fd, name, AtFlags::SYMLINK_NOFOLLOW, StatxFlags::BASIC_STATS).unwrap();
            if FileType::from_raw_mode(u32::from(stat.stx_mode)) == FileType::Directory {
                waiting.push(openat(&fd, name, flags | OFlags::NOFOLLOW, Mode::empty()).unwrap());
            }
        }
    }
}

fn settle(root: &Path) {
    rustix::fs::syncfs(fs::File::open(root).unwrap()).unwrap();
    std::thread::sleep(Duration::from_millis(1100));
}

fn run(command: &mut Command) {
    assert!(command.status().unwrap().success(), "{command:?}");
}

fn take(store: &Store, tree: &Path) -> SnapshotId {
    store.snapshot(tree, &SnapshotRequest::default()).unwrap().id
}

struct Times(BTreeMap<&'static str, Vec<Duration>>);

impl Times {
    fn time<T>(&mut self, what: &'static str, work: impl FnOnce() -> T) -> T {
        let from = Instant::now();
        let done = work();
        self.0.entry(what).or_default().push(from.elapsed());
        done
    }

    fn show(mut self, shape: &str) {
        for (what, times) in &mut self.0 {
            times.sort_unstable();
            let (half, worst) = (times[times.len() / 2], times[times.len() - 1]);
            println!("{shape:>6} {what:<28} median {half:>10.1?}   worst {worst:>10.1?}");
        }
    }
}

fn rounds(shape: &Shape, home: &Path, count: u64) {
    let mut times = Times(BTreeMap::new());
    let mut stored = 0;
    for round in 0..count {
        let dir = tempfile::tempdir_in(home).unwrap();
        let at = |name: &str| dir.path().join(name);
        let (tree, mut dice) = (at("tree"), Dice(round * 0x9e37_79b9 + 1));
        let files = make(shape, &tree, &mut dice);
        settle(&tree);
        let open = || Store::open(&at("store"), "measure", StoreOptions::default()).unwrap();
        let script = r#"tar -C "$1" -cf - . | zstd -q -1 -T2 -o "$2""#;
        let mut tar = Command::new("bash");
        tar.args(["-o", "pipefail", "-c", script, "-"]).arg(&tree).arg(at("tar.zst"));
        times.time("first: tar | zstd -1", || run(&mut tar));
        let base = times.time("first", || take(&open(), &tree));
        for _ in 0..5 {
            times.time("unchanged: stat walk", || walk(&tree));
            times.time("unchanged", || take(&open(), &tree));
        }
        for n in 0..10 {
            change(shape, &files, &mut dice);
            if n == 0 {
                settle(&tree);
                times.time("1 % changed", || take(&open(), &tree));
            } else {
                take(&open(), &tree);
            }
        }
        stored = open().usage().unwrap();
        for n in 0..3 {
            times.time("restore: cp -a", || {
                run(Command::new("cp").arg("-a").arg(&tree).arg(at(&format!("copy{n}"))));
            });
            let back = at(&format!("back{n}"));
            fs::create_dir(&back).unwrap();
            times.time("restore", || open().restore(&base, &back).unwrap());
            fs::remove_dir_all(at(&format!("copy{n}"))).unwrap();
            fs::remove_dir_all(back).unwrap();
        }
    }
    times.show(shape.name);
    println!("{:>6} stored after 10 at 1 %       {} KB", shape.name, stored / 1000);
}

fn only(shape: &Shape, home: &Path, count: u64, what: &str) {
    let dir = tempfile::tempdir_in(home).unwrap();
    let tree = dir.path().join("tree");
    make(shape, &tree, &mut Dice(1));
    settle(&tree);
    let at = |n: u64, name: &str| dir.path().join(format!("{name}{n}"));
    let open = |n| Store::open(&at(n, "store"), "measure", StoreOptions::default()).unwrap();
    let base = if what == "first" { None } else { Some(take(&open(0), &tree)) };
    let mut times = Times(BTreeMap::new());
    for n in 0..count {
        match base {
            None => drop(times.time("first", || take(&open(n), &tree))),
            Some(_) if what == "walk" => times.time("walk", || walk(&tree)),
            Some(_) if what == "unchanged" => drop(times.time("unchanged", || take(&open(0), &tree))),
            Some(base) => {
                fs::create_dir(at(n, "back")).unwrap();
                times.time("restore", || open(0).restore(&base, &at(n, "back")).unwrap());
                fs::remove_dir_all(at(n, "back")).unwrap();
            }
        }
    }
    times.show(shape.name);
}

fn main() {
    let mut args = std::env::args().skip(1);
    let home = PathBuf::from(args.next().unwrap());
    let (mut shapes, mut count, mut one) = (Vec::new(), 3, None);
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--rounds" => count = args.next().unwrap().parse().unwrap(),
            "--only" => one = args.next(),
            name => shapes.extend(SHAPES.iter().filter(|s| s.name == name)),
        }
    }
    for shape in if shapes.is_empty() { SHAPES.iter().collect() } else { shapes } {
        match &one {
            None => rounds(shape, &home, count),
            Some(what) => only(shape, &home, count, what),
        }
    }
}
