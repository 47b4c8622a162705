//! A piece of a host: what an agent is given, and beside it what it must never get at.

use crate::{
    trap::Trap,
    watch::{self, Watch},
};
use std::{
    fs,
    io::Read as _,
    os::unix::{fs::PermissionsExt as _, process::CommandExt as _},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    thread::JoinHandle,
};
use tempfile::TempDir;

/// An ordinary user that no process of the host has.
const AGENT: u32 = 64_321;

/// The host around one attack. All of it belongs to the agent's own user and may be written by everybody: only a wall stands
/// between the agent and the canary, and never a permission bit.
#[derive(Debug)]
pub struct World {
    place: TempDir,
    root: PathBuf,
    id: String,
    token: String,
    /// Who the agent is.
    pub uid: u32,
    trap: Trap,
    port: u16,
    victim: Child,
    watched: Vec<Watch>,
    machine: Vec<(PathBuf, Vec<u8>)>,
    ended: Arc<AtomicBool>,
    helpers: Mutex<Vec<JoinHandle<()>>>,
}

impl World {
    /// Makes one.
    ///
    /// # Panics
    /// When it cannot be made.
    #[must_use]
    pub fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        // Not below /tmp: inside, that is the agent's own.
        let place = tempfile::Builder::new().prefix("cordon-attack-").tempdir_in("/var/tmp").unwrap();
        let root = place.path().canonicalize().unwrap();
        let token = format!("token-{}", random());
        let own = rustix::process::geteuid();
        let uid = if own.is_root() { AGENT } else { own.as_raw() };
        for name in ["state", "ws/keep", "ws/src", "ro", "outside/dir", "ws-secret", "bin"] {
            fs::create_dir_all(root.join(name)).unwrap();
        }
        for (name, content) in [
            ("ws/keep/file", "kept\n"),
            ("ws/held", ""),
            ("ws/hidden", token.as_str()),
            ("ws/src/main.rs", "fn main() {}\n"),
            ("ro/file", "read only\n"),
            ("outside/canary", token.as_str()),
            ("outside/dir/inner", token.as_str()),
            ("ws-secret/x", token.as_str()),
        ] {
            fs::write(root.join(name), content).unwrap();
        }
        fs::copy(guest(), root.join("bin/cordon-guest")).unwrap();
        let id = format!("x{}n{number}", std::process::id());
        let trap = Trap::default();
        trap.at_path("a socket outside", &root.join("outside/socket"), &token);
        trap.at_abstract_name("an abstract socket of the host", &format!("cordon-{id}"), &token);
        let port = trap.at_port("a port of the host", &token);
        for name in ["ws", "ro", "outside", "ws-secret"] {
            open_up(&root.join(name), uid);
        }
        fs::set_permissions(&root, fs::Permissions::from_mode(0o755)).unwrap();
        let victim = victim(&token, uid);
        let (ended, helpers) = (Arc::default(), Mutex::default());
        let (watched, machine) = (Vec::new(), machine());
        let mut world =
            Self { id, place, root, token, uid, trap, port, victim, watched, machine, ended, helpers };
        world.watch();
        world
    }

    /// Takes what is outside now for how it must stay. For after `prepare`.
    pub fn watch(&mut self) {
        let names = ["outside", "ro", "ws/keep", "ws/held", "ws/hidden", "ws-secret", "bin", "marker"];
        self.watched = names.iter().map(|name| Watch::new(&self.root.join(name))).collect();
    }

    /// Everything that is different from what it must be: the canary changed, read, or reached.
    #[must_use]
    pub fn harm(&mut self, said: &[u8]) -> Vec<String> {
        let mut harm: Vec<String> = self.watched.iter().flat_map(Watch::changes).collect();
        if watch::memory_holds(said, &self.token) {
            harm.push("the canary was read".to_owned());
        } else if watch::holds(&self.root.join("ws/src"), &self.token) {
            harm.push("the canary was copied".to_owned());
        }
        harm.extend(self.trap.visits());
        if self.victim.try_wait().unwrap().is_some() {
            harm.push("a process of the host was ended".to_owned());
        }
        for (path, before) in &self.machine {
            if fs::read(path).unwrap_or_default() != *before {
                harm.push(format!("{} was changed", path.display()));
            }
        }
        harm.sort();
        harm.dedup();
        harm
    }

    /// The directory of all of it.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// A name below it.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// The agent's workspace: writable. `keep` in it is read-only, `held` is a protected name, `hidden` is masked, and
    /// what an attack brings out goes to `src`.
    #[must_use]
    pub fn workspace(&self) -> PathBuf {
        self.root.join("ws")
    }

    /// A tree that may be read.
    #[must_use]
    pub fn read_only(&self) -> PathBuf {
        self.root.join("ro")
    }

    /// A tree that is nobody's business: with `canary`, `dir/inner` and `socket` in it.
    #[must_use]
    pub fn outside(&self) -> PathBuf {
        self.root.join("outside")
    }

    /// The file whose content nobody inside may see.
    #[must_use]
    pub fn canary(&self) -> PathBuf {
        self.root.join("outside/canary")
    }

    /// What a payload touches that was run by somebody outside.
    #[must_use]
    pub fn marker(&self) -> PathBuf {
        self.root.join("marker")
    }

    /// The secret.
    #[must_use]
    pub fn token(&self) -> &str {
        &self.token
    }

    /// An id for sandboxes, other for every world.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Adds a listener that nobody may reach.
    pub fn listen(&self, name: &'static str, path: &Path) {
        self.trap.at_path(name, path, &self.token);
        open_up(path, self.uid);
    }

    /// Does something again and again beside the attack, until the world ends.
    ///
    /// # Panics
    /// When there can be no thread.
    pub fn meanwhile(&self, step: impl Fn() + Send + 'static) {
        let ended = Arc::clone(&self.ended);
        let helper = std::thread::spawn(move || {
            while !ended.load(Ordering::Relaxed) {
                step();
            }
        });
        self.helpers.lock().unwrap().push(helper);
    }

    /// Makes a file of the agent's, with everything above it.
    ///
    /// # Panics
    /// When it cannot be made.
    pub fn put(&self, name: &str, content: impl AsRef<[u8]>) {
        let path = self.root.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        for made in path.ancestors().take_while(|made| *made != self.root) {
            open_up(made, self.uid);
        }
    }

    /// Variables and functions that every script begins with. Names in capitals are places and numbers; `NR_x` is the
    /// number of a system call.
    #[must_use]
    pub fn prelude(&self) -> String {
        let mut text = String::from("exec 2>&1\n");
        let mut set = |name: &str, value: String| {
            text.push_str(&format!("export {name}='{value}'\n"));
        };
        set("ROOT", self.root.display().to_string());
        set("WS", self.workspace().display().to_string());
        set("RO", self.read_only().display().to_string());
        set("OUTSIDE", self.outside().display().to_string());
        set("CANARY", self.canary().display().to_string());
        set("MARKER", self.marker().display().to_string());
        set("ABSTRACT", format!("cordon-{}", self.id));
        set("PORT", self.port.to_string());
        set("VICTIM", self.victim.id().to_string());
        for (name, number) in crate::kernel::NUMBERS {
            set(&format!("NR_{name}"), number.to_string());
        }
        text.push_str(PRELUDE);
        text
    }
}

impl Default for World {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
        for helper in self.helpers.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
            let _ = helper.join();
        }
        let _ = self.victim.kill();
        let _ = self.victim.wait();
        // A control's agent was root, or took its own permissions away.
        let _ =
            Command::new("chmod").args(["-R", "u+rwX"]).arg(self.place.path()).stderr(Stdio::null()).status();
    }
}

const PRELUDE: &str = r#"
got() { echo "GOT $*"; }
# no NAME COMMAND...: when the command works, something was given that must not be.
no() { local name=$1; shift; if "$@" >/dev/null 2>&1; then got "$name"; fi; }
# call NAME ARGUMENTS [LABEL]: a system call, its arguments a perl list. When it works, or fails for a reason that only a kernel
# has that looked at it, it was given.
call() {
  perl -e '
    my ($name, $text, $label) = @ARGV;
    my $b = "\0" x 4096; my $p = "/nonexistent\0"; my $e = "\0";
    sub fd { open my $f, "<", $_[0] or return -1; push @main::kept, $f; fileno $f }
    sub pidfd { my $fd = syscall $ENV{NR_pidfd_open}, $_[0], 0; exit 0 if $fd < 0; $fd }
    my $number = $ENV{"NR_$name"};
    exit 0 unless defined $number;
    my @a = eval $text; print "BROKEN $name: $@\n" if $@;
    $! = 0; my $r = syscall $number, @a; my $errno = $! + 0;
    exit 0 if $name eq "clone" && $r == 0;
    my %refused = map { $_ => 1 } 1, 3, 13, 38, 93, 94, 95, 97;
    print "GOT ", $label || $name, $r == -1 ? " (errno $errno)" : "", "\n" unless $r == -1 && $refused{$errno};
  ' "$@"
}
# reach NAME PERL-ADDRESS: connects to a unix socket.
reach() {
  perl -MSocket -e 'socket S, PF_UNIX, SOCK_STREAM, 0 or exit 1; my $a = eval $ARGV[1]; die $@ if $@;
    connect S, $a and print "GOT $ARGV[0]\n" and sysread S, $b, 99 and print "$b\n"' "$1" "$2"
}
"#;

fn random() -> String {
    let mut bytes = [0u8; 12];
    fs::File::open("/dev/urandom").unwrap().read_exact(&mut bytes).unwrap();
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// A static guest, as the walls need one.
///
/// # Panics
/// When there is none.
#[must_use]
pub fn guest() -> PathBuf {
    if let Some(path) = std::env::var_os("CORDON_GUEST") {
        return path.into();
    }
    let built = cordon_tests::harness::bin().join("cordon-guest");
    assert!(built.is_file(), "there is no guest at {built:?}: run `make build` or set CORDON_GUEST");
    built
}

/// Gives a tree to the agent's user, and permits everything to everybody.
pub(crate) fn open_up(path: &Path, uid: u32) {
    let found = fs::symlink_metadata(path).unwrap();
    if rustix::process::geteuid().is_root() {
        std::os::unix::fs::lchown(path, Some(uid), Some(uid)).unwrap();
    }
    if found.is_symlink() {
        return;
    }
    let mode = if found.is_dir() { 0o777 } else { 0o666 };
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    if found.is_dir() {
        for inner in fs::read_dir(path).unwrap() {
            open_up(&inner.unwrap().path(), uid);
        }
    }
}

/// A process of the host that belongs to the agent's user and has the token in its environment.
fn victim(token: &str, uid: u32) -> Child {
    let mut command = Command::new("/bin/sleep");
    command.arg("3600").env_clear().env("SECRET", token).stdin(Stdio::null()).current_dir("/");
    if rustix::process::geteuid().is_root() {
        command.uid(uid).gid(uid);
    }
    command.spawn().expect("start a process of the host")
}

/// Of the kernel, and nobody's to change.
fn machine() -> Vec<(PathBuf, Vec<u8>)> {
    ["/proc/sys/kernel/core_pattern", "/proc/sys/kernel/hostname", "/proc/sys/kernel/modprobe"]
        .iter()
        .map(|path| (PathBuf::from(path), fs::read(path).unwrap_or_default()))
        .collect()
}
