use super::Build;
use crate::{BackendKind, check::Item, honour, report::Quoted};

impl Build<'_, '_> {
    /// Keys that this type of backend cannot honour are never quietly left out.
    pub(super) fn honoured(&mut self, agent: &Item, backend: &Item, kind: Option<BackendKind>) {
        let Some(kind) = kind else { return };
        for row in honour::ROWS {
            let map = if row.key == "system_message" { agent } else { backend };
            let Some(item) = map.get(row.key) else { continue };
            // What asks for nothing is fine everywhere.
            let asks = item.flag() != Some(false) && row.value.is_none_or(|value| item.text() == Some(value));
            let honour::How::Not(instead) = row.of(kind) else { continue };
            if asks {
                let what = match row.value {
                    Some(value) => format!("{}: {}", row.key, value),
                    None => row.key.to_owned(),
                };
                let message = format!("{} cannot honour {}", kind.name(), Quoted(&what));
                self.report.error(&item.at(), "unsupported-key", message, *instead);
            }
        }
    }
}
