//! A plan as one number: whoever said yes to it said yes to this and to nothing else.

use super::{
    build::Step,
    parts::{Bytes, Part, Stand, Stands, Thing, Time},
    plan::Plan,
};

struct Print(blake3::Hasher);

impl Print {
    fn number(&mut self, number: u64) {
        self.0.update(&number.to_le_bytes());
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.number(bytes.len() as u64);
        self.0.update(bytes);
    }

    fn time(&mut self, time: Option<Time>) {
        self.bytes(&time.map(|(s, n)| format!("{s}.{n}")).unwrap_or_default().into_bytes());
    }

    fn part(&mut self, Part { depth, name, thing }: &Part) {
        self.number(*depth as u64);
        self.bytes(name);
        match thing {
            Thing::File { mode, time, bytes, group } => {
                self.bytes(b"file");
                self.number(u64::from(*mode));
                self.time(*time);
                self.number(group.map_or(u64::MAX, u64::from));
                match bytes {
                    Bytes::Merged(text) => self.bytes(text),
                    Bytes::From { path, size, digest } => {
                        self.bytes(path);
                        self.number(*size);
                        self.bytes(digest.as_bytes());
                    }
                }
            }
            Thing::Link { target, time } => {
                self.bytes(b"link");
                self.bytes(target);
                self.time(*time);
            }
            Thing::Directory { mode, time } => {
                self.bytes(b"directory");
                self.number(u64::from(*mode));
                self.time(*time);
            }
        }
    }

    fn stands(&mut self, stands: &[Stand]) {
        self.number(stands.len() as u64);
        for Stand { depth, name, what } in stands {
            self.number(*depth as u64);
            self.bytes(name);
            match what {
                Stands::File { mode, size, digest } => {
                    self.bytes(b"file");
                    self.number(u64::from(*mode));
                    self.number(*size);
                    self.bytes(digest.as_bytes());
                }
                Stands::Link(target) => {
                    self.bytes(b"link");
                    self.bytes(target);
                }
                Stands::Directory { mode } => {
                    self.bytes(b"directory");
                    self.number(u64::from(*mode));
                }
            }
        }
    }

    fn step(&mut self, step: &Step) {
        self.bytes(step.path());
        match step {
            Step::Put { parts, old, .. } => {
                self.bytes(b"put");
                self.number(parts.len() as u64);
                parts.iter().for_each(|part| self.part(part));
                self.stands(old.as_deref().unwrap_or_default());
            }
            Step::Remove { old, .. } => {
                self.bytes(b"remove");
                self.stands(old);
            }
            Step::RemoveDirectory { .. } => self.bytes(b"remove directory"),
            Step::Mode { from, to, .. } => self.bytes(format!("mode {from} {to}").as_bytes()),
            Step::Open { from, to, .. } => self.bytes(format!("open {from} {to}").as_bytes()),
            Step::Time { time, .. } => self.time(Some(*time)),
        }
    }
}

impl Plan {
    /// A digest of all it does and says: of each change with its verdict and classes, and of each
    /// step with the bytes that it puts and those that it expects. The same trees and options give
    /// the same digest.
    #[must_use]
    pub fn digest(&self) -> [u8; 32] {
        let mut print = Print(blake3::Hasher::new_derive_key("cordon 2026-11 plan of an apply"));
        print.number(self.changes.len() as u64);
        for change in &self.changes {
            print.bytes(&change.path);
            print.bytes(format!("{:?}", change.what).as_bytes());
            print.bytes(change.verdict.name().as_bytes());
            print.bytes(change.verdict.why().unwrap_or_default().as_bytes());
            print.number(change.findings.len() as u64);
            for finding in &change.findings {
                print.bytes(finding.class.name().as_bytes());
                print.bytes(finding.reason.as_bytes());
            }
        }
        print.number(self.steps.len() as u64);
        self.steps.iter().for_each(|step| print.step(step));
        *print.0.finalize().as_bytes()
    }
}
