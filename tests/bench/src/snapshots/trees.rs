use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, StatxFlags, openat, statx};
use std::{
    fs::{self, File, OpenOptions},
    io::{Seek as _, SeekFrom, Write as _},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    thread::sleep,
    time::Duration,
};

/// A kind of tree.
pub(crate) struct Shape {
    pub(crate) name: &'static str,
    files: usize,
    bytes: usize,
    a_directory: usize,
}

pub(crate) const SHAPES: &[Shape] = &[
    Shape { name: "10k files of 20 KB", files: 10_000, bytes: 20_000, a_directory: 50 },
    Shape { name: "50k files of 4 KB", files: 50_000, bytes: 4_000, a_directory: 25 },
    Shape { name: "8 files of 128 MB", files: 8, bytes: 128 << 20, a_directory: 8 },
];

/// A tree on the disk.
pub(crate) struct Tree {
    pub(crate) root: PathBuf,
    files: Vec<PathBuf>,
    bytes: usize,
    dice: u64,
}

impl Tree {
    /// Half of every file compresses, like sources; no two files share content.
    pub(crate) fn make(shape: &Shape, root: &Path, seed: u64) -> Self {
        let mut tree = Self {
            root: root.to_path_buf(),
            files: Vec::new(),
            bytes: shape.bytes,
            dice: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1,
        };
        let mut content = vec![0; shape.bytes];
        for number in 0..shape.files {
            let group = number / shape.a_directory;
            let directory = root.join(format!("d{}", group % 40)).join(format!("e{group}"));
            fs::create_dir_all(&directory).unwrap();
            let path = directory.join(format!("file-{number}.txt"));
            tree.fill(&mut content);
            fs::write(&path, &content).unwrap();
            tree.files.push(path);
        }
        tree
    }

    fn fill(&mut self, content: &mut [u8]) {
        for (n, word) in content.chunks_mut(8).enumerate() {
            let next = if n % 2 == 0 { self.next() } else { 0x2074_7865_7420_6120 };
            word.copy_from_slice(&next.to_le_bytes()[..word.len()]);
        }
    }

    fn next(&mut self) -> u64 {
        self.dice ^= self.dice << 13;
        self.dice ^= self.dice >> 7;
        self.dice ^= self.dice << 17;
        self.dice
    }

    /// 1 % of the files get longer; of a few large ones, 1 % of one is overwritten.
    pub(crate) fn change(&mut self) {
        if self.files.len() < 100 {
            let path = self.files[0].clone();
            let mut file = OpenOptions::new().write(true).open(path).unwrap();
            let mut content = vec![0; self.bytes * self.files.len() / 100];
            self.fill(&mut content);
            file.seek(SeekFrom::Start((self.next() % (self.bytes as u64 / 2)) / 4096 * 4096)).unwrap();
            file.write_all(&content).unwrap();
            return;
        }
        for _ in 0..self.files.len() / 100 {
            let at = usize::try_from(self.next()).unwrap() % self.files.len();
            let word = self.next();
            let mut file = OpenOptions::new().append(true).open(&self.files[at]).unwrap();
            writeln!(file, "{word}").unwrap();
        }
    }

    /// Everything is on the disk, and old enough that nobody has to take its time stamps for
    /// racy ones.
    pub(crate) fn settle(&self) {
        rustix::fs::syncfs(File::open(&self.root).unwrap()).unwrap();
        sleep(Duration::from_millis(1_100));
    }
}

/// The least that finding out costs: every directory listed, every entry looked at.
pub(crate) fn walk(root: &Path) {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let fd = rustix::fs::open(root, flags, Mode::empty()).unwrap();
    let mut waiting = vec![fd];
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

/// What a directory takes on the disk.
pub(crate) fn disk_megabytes(root: &Path) -> f64 {
    let mut blocks = 0;
    let mut waiting = vec![root.to_path_buf()];
    while let Some(path) = waiting.pop() {
        let meta = path.symlink_metadata().unwrap();
        blocks += meta.blocks();
        if meta.is_dir() {
            waiting.extend(fs::read_dir(path).unwrap().map(|e| e.unwrap().path()));
        }
    }
    #[allow(clippy::cast_precision_loss)]
    let bytes = blocks as f64 * 512.0;
    bytes / 1e6
}
