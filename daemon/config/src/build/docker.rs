use super::Build;
use crate::{BackendKind, DockerOptions, ExecutionMode, Runtime, check::Item, report::Quoted, suggest};
use cordon_policy::NetworkMode;

/// What the engine needs to start anything at all.
const LEAST_MEMORY: u64 = 6 << 20;
const MOST_MEMORY: u64 = 1 << 50;

impl Build<'_, '_> {
    /// None when the key is there and wrong.
    pub(super) fn mode(&mut self, backend: &Item) -> Option<ExecutionMode> {
        let Some(item) = backend.get("command_line_execution_mode") else {
            return Some(ExecutionMode::Local);
        };
        match item.text()? {
            "local" => Some(ExecutionMode::Local),
            "docker" => Some(ExecutionMode::Docker),
            "srt" => {
                let message = "the local sandbox is used: it holds every program of the agent".to_owned();
                let help = "write `local`: namespaces, Landlock and seccomp, with the same path rules";
                self.report.warn(&item.at(), "other-mode", message, help);
                Some(ExecutionMode::Local)
            }
            other => {
                let message =
                    format!("{} is no execution mode; it is one of docker, local", Quoted(&item.written));
                self.report.error(
                    &item.at(),
                    "bad-value",
                    message,
                    suggest::did_you_mean(other, ["docker", "local"]),
                );
                None
            }
        }
    }

    pub(super) fn docker(
        &mut self,
        backend: &Item,
        kind: Option<BackendKind>,
        mode: Option<ExecutionMode>,
    ) -> DockerOptions {
        let get = |key: &str| backend.get(&format!("command_line_docker_{key}"));
        DockerOptions {
            image: get("image").and_then(|i| self.image(i)),
            network: self.network(backend, get("network_mode"), kind, mode),
            memory_bytes: get("memory_limit").and_then(|m| self.memory(m)),
            cpus: get("cpu_limit").and_then(|c| self.cpus(c)),
            sudo: get("enable_sudo").is_some_and(|s| self.sudo(s, mode)),
            runtime: match get("runtime").and_then(Item::text) {
                Some("runsc") => Runtime::Runsc,
                _ => Runtime::Default,
            },
            packages: get("packages").map(|p| self.packages(p)).unwrap_or_default(),
        }
    }

    fn network(
        &mut self,
        backend: &Item,
        item: Option<&Item>,
        kind: Option<BackendKind>,
        mode: Option<ExecutionMode>,
    ) -> NetworkMode {
        const KEY: &str = "command_line_docker_network_mode";
        let docker = mode == Some(ExecutionMode::Docker);
        let is_cli = matches!(
            kind,
            Some(
                BackendKind::Codex | BackendKind::ClaudeCode | BackendKind::GeminiCli | BackendKind::Copilot
            )
        );
        let Some(item) = item else {
            if docker && is_cli {
                let name = kind.map_or("", BackendKind::name);
                let message = format!("`{KEY}` is required for {name} in docker");
                self.missing(backend, KEY, message, format!("add `{KEY}: bridge`"));
            }
            return NetworkMode::None;
        };
        let Some(text) = item.text() else { return NetworkMode::None };
        let Ok(network) = text.parse::<NetworkMode>() else {
            let message =
                format!("{} is no network mode; it is one of none, bridge, host", Quoted(&item.written));
            let mut help = suggest::did_you_mean(text, ["none", "bridge", "host"]);
            if help.is_empty() && kind == Some(BackendKind::Codex) {
                "codex needs bridge".clone_into(&mut help);
            }
            self.report.error(&item.at(), "bad-network-mode", message, help);
            return NetworkMode::None;
        };
        if docker && kind == Some(BackendKind::Codex) && network != NetworkMode::Bridge {
            let message = format!("codex in docker accepts only `bridge`, not {}", Quoted(&item.written));
            self.report.error(&item.at(), "bad-network-mode", message, format!("write `{KEY}: bridge`"));
        } else if docker && network == NetworkMode::Host {
            let message = "a weaker sandbox: the agent reaches every service of this host".to_owned();
            self.report.warn(&item.at(), "weaker-sandbox", message, "bridge reaches no service of the host");
        }
        network
    }

    fn image(&mut self, item: &Item) -> Option<String> {
        let image = item.text()?;
        let good = image.starts_with(|c: char| c.is_ascii_alphanumeric())
            && image.len() <= 512
            && image.bytes().all(|b| b.is_ascii_alphanumeric() || b"._/:@-".contains(&b));
        if !good {
            let message = format!("{} is no reference of an image", Quoted(&item.written));
            self.report.error(&item.at(), "bad-value", message, "for instance debian:bookworm-slim");
        }
        good.then(|| image.to_owned())
    }

    fn memory(&mut self, item: &Item) -> Option<u64> {
        let bytes = bytes(item.text()?);
        let good = bytes.filter(|b| (LEAST_MEMORY..=MOST_MEMORY).contains(b));
        if good.is_none() {
            let what = if bytes.is_some() { "is out of range" } else { "is no size" };
            let message = format!("{} {what}", Quoted(&item.written));
            self.report.error(&item.at(), "bad-value", message, "from 6m up, for instance 512m or 2g");
        }
        good
    }

    fn cpus(&mut self, item: &Item) -> Option<f64> {
        let cpus = item.number()?;
        let good = (0.01..=4096.0).contains(&cpus);
        if !good {
            let message = format!("{} is no number of processor cores", Quoted(&item.written));
            self.report.error(&item.at(), "bad-value", message, "from 0.01 up, for instance 1.5");
        }
        good.then_some(cpus)
    }

    fn sudo(&mut self, item: &Item, mode: Option<ExecutionMode>) -> bool {
        if item.flag() != Some(true) {
            return false;
        }
        if mode == Some(ExecutionMode::Local) {
            let message = "sudo is refused with command_line_execution_mode: local".to_owned();
            let help = "take it out, or use command_line_execution_mode: docker";
            self.report.error(&item.at(), "conflict", message, help);
        } else {
            let message = "a weaker sandbox: the agent can become root in its container".to_owned();
            self.report.warn(
                &item.at(),
                "weaker-sandbox",
                message,
                "put what the agent needs into an image instead",
            );
        }
        true
    }
}

/// A size as Docker writes it: a number and b, k, m, g or t, with an optional `b` or `ib` after it.
fn bytes(text: &str) -> Option<u64> {
    let text = text.trim().to_ascii_lowercase();
    let split = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let shift = match unit.trim_start() {
        "" | "b" => 0,
        "k" | "kb" | "kib" => 10,
        "m" | "mb" | "mib" => 20,
        "g" | "gb" | "gib" => 30,
        "t" | "tb" | "tib" => 40,
        _ => return None,
    };
    let unit = 1_u64 << shift;
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let mut bytes = whole.parse::<u64>().ok()?.checked_mul(unit)?;
    if !fraction.is_empty() {
        // Nine digits are exact enough for a tebibyte, and cannot overflow.
        let digits = &fraction[..fraction.len().min(9)];
        let part = u128::from(digits.parse::<u64>().ok()?) * u128::from(unit);
        bytes =
            bytes.checked_add(u64::try_from(part / 10_u128.pow(u32::try_from(digits.len()).ok()?)).ok()?)?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_as_docker_reads_them() {
        for (text, expected) in [
            ("2g", Some(2 << 30)),
            ("512m", Some(512 << 20)),
            ("512M", Some(512 << 20)),
            ("1.5g", Some(3 << 29)),
            ("64kb", Some(64 << 10)),
            ("1 GiB", Some(1 << 30)),
            ("1048576", Some(1 << 20)),
            ("7b", Some(7)),
            ("", None),
            ("g", None),
            ("-1g", None),
            ("1e3", None),
            ("1.2.3g", None),
            ("2gg", None),
            ("99999999999999999999", None),
            ("99999999999999t", None),
        ] {
            assert_eq!(bytes(text), expected, "{text:?}");
        }
    }
}
