//! The Docker wall: one hardened container per sandbox, behind the engine's API.
//! The engine makes and removes; all work goes through the guest's socket.

mod container;
mod doctor;
mod engine;
mod files;
mod firewall;
mod gvisor;
pub mod images;
mod life;
mod mounts;
mod names;
mod network;
mod provide;
mod sources;

use crate::{
    EgressRecord, HostCheck, Network, Runtime, Sandbox, SandboxError, SandboxRecord, SandboxSpec, Wall,
    WallKind, WallRecord,
    guest::{
        Guest,
        answer::{Key, Line},
    },
};
use cordon_policy::Denial;
use engine::Engine;
use files::Files;
use names::Names;
use std::{
    collections::HashSet,
    io,
    path::PathBuf,
    sync::{Mutex, PoisonError},
    time::Duration,
};
use tokio::sync::{OnceCell, mpsc};

/// How long a guest may take to call. gVisor starts more slowly than a process.
const CALLED: Duration = Duration::from_secs(20);
/// How this wall calls itself in errors.
const WALL: &str = "docker";

/// What the wall has to know of its daemon.
#[derive(Clone, Debug)]
pub struct DockerOptions {
    /// The daemon's state directory. The engine must see it at the same path.
    pub state: PathBuf,
    /// The guest's executable. A copy in the state directory is what is mounted.
    pub guest: PathBuf,
    /// As in `DOCKER_HOST`: `unix:///PATH`; none for the usual socket.
    pub docker_host: Option<String>,
    /// Whether an agent file may ask for the host's network.
    pub allow_host_network: bool,
}

/// The wall whose sandboxes are containers.
#[derive(Debug)]
pub struct DockerWall {
    options: DockerOptions,
    engine: OnceCell<Engine>,
    files: OnceCell<Files>,
    // Being made at this moment: a reaper that looked before they were remembered
    // must not take them for leftovers.
    making: Mutex<HashSet<String>>,
    // Runs that ask for the same image at the same time get one build.
    building: tokio::sync::Mutex<()>,
}

impl DockerWall {
    /// A wall over the engine that `options` name. Nothing is sent yet: an engine
    /// that is not there is an error when a sandbox is asked for.
    #[must_use]
    pub fn connect(options: DockerOptions) -> Self {
        Self {
            options,
            engine: OnceCell::new(),
            files: OnceCell::new(),
            making: Mutex::default(),
            building: tokio::sync::Mutex::default(),
        }
    }

    async fn engine(&self) -> Result<&Engine, SandboxError> {
        self.engine.get_or_try_init(|| Engine::connect(self.options.docker_host.as_deref())).await
    }

    async fn files(&self) -> Result<&Files, SandboxError> {
        let (state, guest) = (self.options.state.clone(), self.options.guest.clone());
        self.files
            .get_or_try_init(|| async {
                match tokio::task::spawn_blocking(move || Files::make(&state, &guest)).await {
                    Ok(made) => made,
                    Err(error) => Err(SandboxError::io("make", "files")(io::Error::other(error))),
                }
            })
            .await
    }

    fn provider<'a>(&'a self, engine: &'a Engine) -> provide::Provider<'a> {
        provide::Provider {
            docker_host: self.options.docker_host.as_deref(),
            engine,
            building: &self.building,
        }
    }

    fn being_made(&self) -> std::sync::MutexGuard<'_, HashSet<String>> {
        // The set is whole after every step.
        self.making.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Everything after the record was kept; what it leaves behind on an error, the
    /// caller removes.
    async fn make(
        &self,
        engine: &Engine,
        spec: &SandboxSpec,
        image: &life::Image,
        record: SandboxRecord,
        key: Option<Key>,
        denials: mpsc::Sender<Denial>,
    ) -> Result<Sandbox, SandboxError> {
        let names = Names::new(&spec.labels.daemon, &spec.id);
        let files = self.files().await?;
        let boot = crate::boot::boot(spec);
        crate::directory::write_boot(&record.directory, &boot)?;
        let table = crate::directory::write_table(&record.directory, &crate::boot::table(spec))?;
        let mut view = mounts::view(
            spec,
            &mounts::Fixed {
                directory: &record.directory,
                guest: &files.guest,
                table: &table,
                empty_directory: &files.empty_directory,
                empty_file: &files.empty_file,
                volumes: &image.volumes,
            },
        )?;
        let sources = std::mem::take(&mut view.sources);
        let container::Wanted { body, mut warnings } =
            container::wanted(spec, &names, &image.id, view, &engine.machine);
        let egress = crate::egress::start(spec, &record.directory, denials.clone())?;
        let bridge = matches!(spec.network, Network::Bridge { .. });
        if let Network::Bridge { granted } = &spec.network {
            tokio::try_join!(
                firewall::install(&names, granted),
                network::create(&engine.docker, &names, &spec.labels, &spec.id),
            )?;
        }
        let line = match &record.wall {
            WallRecord::Docker { key: Some(hash), .. } => {
                Some(Line::listen(&record.directory, spec.identity, key, hash)?)
            }
            _ => None,
        };
        let (_, said) = life::create(&engine.docker, &names.container, body).await?;
        warnings.extend(said);
        let words = life::Words::listen(&engine.docker, &names.container).await;
        life::start(&engine.docker, &names.container).await?;
        let guest = self.reach(engine, &record, words, line).await?;
        // Before the probe, which writes: not even that may happen in somebody else's tree.
        let same = sources::prove(&engine.docker, &names.container, &guest, spec, &sources).await?;
        drop(sources);
        let (mut findings, probe) = crate::verdict::verify(&guest, spec, WallKind::Docker).await?;
        findings.push(same);
        crate::calls::watch(&guest, denials);
        if bridge {
            findings.push(network::prove(&engine.docker, &names, &guest, &spec.id).await?);
        }
        Ok(Sandbox { record, guest, findings, probe: Some(probe), warnings, egress })
    }

    /// Connects to the guest of a container that was started, and gives up as soon
    /// as the container ends.
    async fn reach(
        &self,
        engine: &Engine,
        record: &SandboxRecord,
        words: life::Words,
        line: Option<Line>,
    ) -> Result<Guest, SandboxError> {
        let container = container_of(record)?;
        let ready = async {
            let pid = match life::first(&engine.docker, container).await? {
                life::First::Here(pid) => Some(pid),
                life::First::Elsewhere => None,
                // How it ended is about to be told.
                life::First::Ended => std::future::pending().await,
            };
            let guest = match line {
                Some(line) => Guest::called(&record.id, line, CALLED).await?,
                None => Guest::connect(&record.id, &record.directory, pid).await?,
            };
            guest.hello().await?;
            Ok(guest)
        };
        tokio::select! {
            guest = ready => guest,
            how = life::ended(&engine.docker, container) => Err(SandboxError::Guest {
                sandbox: record.id.clone(),
                why: format!(
                    "it ended before it was ready ({how}){}; `cordon doctor` shows what this host lacks",
                    words.last().await,
                ),
            }),
        }
    }

    /// Removes everything of one sandbox, and tells the first error. As long as there is a container,
    /// its rules stay.
    async fn discard(&self, record: &SandboxRecord) -> Result<(), SandboxError> {
        let engine = self.engine().await?;
        let container = container_of(record)?;
        let WallRecord::Docker { network, chains, .. } = &record.wall else { return Ok(()) };
        life::remove(&engine.docker, container).await?;
        // Nobody is there any more whom the rules would stop: neither waits for the other.
        let without_network = async {
            match network {
                Some(network) => network::remove(&engine.docker, network).await,
                None => Ok(()),
            }
        };
        let without_rules = async {
            if chains.is_empty() {
                return Ok(());
            }
            let bridge = Names::new(&record.labels.daemon, &record.id).bridge;
            firewall::remove(chains, &bridge).await
        };
        let (network, rules) = tokio::join!(without_network, without_rules);
        network?;
        rules?;
        // Its sockets go last: as long as they are there, it is not forgotten.
        crate::directory::remove(&record.directory)
    }
}

#[async_trait::async_trait]
impl Wall for DockerWall {
    fn kind(&self) -> WallKind {
        WallKind::Docker
    }

    async fn prepare(&self, spec: &SandboxSpec, said: mpsc::Sender<String>) -> Result<(), SandboxError> {
        container::check(spec, self.options.allow_host_network)?;
        let engine = self.engine().await?;
        self.provider(engine).image(spec, Some(&said)).await.map(drop)
    }

    async fn create(
        &self,
        spec: &SandboxSpec,
        remember: &(dyn for<'r> Fn(&'r SandboxRecord) -> io::Result<()> + Send + Sync),
        denials: mpsc::Sender<Denial>,
    ) -> Result<Sandbox, SandboxError> {
        container::check(spec, self.options.allow_host_network)?;
        let engine = self.engine().await?;
        let key = match spec.runtime {
            Runtime::Engine => None,
            Runtime::Gvisor => {
                gvisor::check(engine).await?;
                Some(Key::new())
            }
        };
        let image = self.provider(engine).image(spec, None).await?;
        let names = Names::new(&spec.labels.daemon, &spec.id);
        let bridge = matches!(spec.network, Network::Bridge { .. });
        self.being_made().insert(spec.id.clone());
        let _made = Made { wall: self, id: &spec.id };
        let directory = crate::directory::create(&self.options.state, &spec.id, spec.identity)?;
        let record = SandboxRecord {
            id: spec.id.clone(),
            labels: spec.labels.clone(),
            identity: spec.identity,
            directory,
            wall: WallRecord::Docker {
                // The name, known before the container is: a daemon that dies half-way finds it.
                container: names.container.clone(),
                network: bridge.then(|| names.network.clone()),
                chains: if bridge { names.chains() } else { Vec::new() },
                key: key.as_ref().map(Key::hash),
            },
            egress: spec.egress.as_ref().map(EgressRecord::from),
        };
        let result = match remember(&record) {
            Ok(()) => self.make(engine, spec, &image, record.clone(), key, denials).await,
            Err(error) => Err(SandboxError::io("remember sandbox", &record.id)(error)),
        };
        if result.is_err()
            && let Err(error) = self.discard(&record).await
        {
            tracing::warn!(sandbox = %record.id, %error, "a sandbox that failed could not be removed whole");
        }
        result
    }

    async fn reattach(
        &self,
        record: &SandboxRecord,
        denials: mpsc::Sender<Denial>,
    ) -> Result<Sandbox, SandboxError> {
        let engine = self.engine().await?;
        let egress = crate::egress::restart(record, denials.clone())?;
        let line = match &record.wall {
            WallRecord::Docker { key: Some(hash), .. } => {
                Some(Line::listen(&record.directory, record.identity, None, hash)?)
            }
            _ => None,
        };
        let guest = self.reach(engine, record, life::Words::none(), line).await?;
        crate::calls::watch(&guest, denials);
        Ok(Sandbox {
            record: record.clone(),
            guest,
            findings: Vec::new(),
            probe: None,
            warnings: Vec::new(),
            egress,
        })
    }

    async fn destroy(&self, record: &SandboxRecord) -> Result<(), SandboxError> {
        self.discard(record).await
    }

    async fn reap(&self, daemon: &str, known: &[String]) -> Result<Vec<String>, SandboxError> {
        let engine = self.engine().await?;
        let mut kept: HashSet<String> = known.iter().cloned().collect();
        kept.extend(self.being_made().iter().cloned());
        let mut removed = Vec::new();
        for (container, sandbox) in life::of_daemon(engine, daemon).await? {
            if !kept.contains(&sandbox) {
                life::remove(&engine.docker, &container).await?;
                removed.push(format!("container of sandbox {sandbox}"));
            }
        }
        for (network, sandbox) in network::of_daemon(&engine.docker, daemon).await? {
            if !kept.contains(&sandbox) {
                network::remove(&engine.docker, &network).await?;
                removed.push(format!("network of sandbox {sandbox}"));
            }
        }
        let chains: Vec<String> = kept.iter().flat_map(|id| Names::new(daemon, id).chains()).collect();
        removed.extend(firewall::reap(&Names::chain_prefix(daemon), &chains).await?);
        Ok(removed)
    }

    async fn doctor(&self) -> Vec<HostCheck> {
        doctor::doctor(self.options.docker_host.as_deref(), &self.options.guest).await
    }
}

/// Ends a sandbox's time as one being made.
struct Made<'a> {
    wall: &'a DockerWall,
    id: &'a str,
}

impl Drop for Made<'_> {
    fn drop(&mut self) {
        self.wall.being_made().remove(self.id);
    }
}

fn container_of(record: &SandboxRecord) -> Result<&str, SandboxError> {
    match &record.wall {
        WallRecord::Docker { container, .. } => Ok(container),
        WallRecord::Local { .. } => Err(engine::refuse(
            format!("sandbox {}", record.id),
            "it was made by the local wall",
            "This is a fault of the caller; report it",
        )),
    }
}
