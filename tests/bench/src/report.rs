use std::{collections::BTreeMap, fmt::Write as _, time::Duration};

/// A case's name and its samples.
type Case = (String, Vec<f64>);

/// Samples by row and case, in the order in which they were first seen.
#[derive(Debug, Default)]
pub(crate) struct Report {
    rows: Vec<(String, Vec<Case>)>,
    units: BTreeMap<String, &'static str>,
}

impl Report {
    /// Adds one sample in milliseconds.
    pub(crate) fn time(&mut self, row: &str, case: &str, took: Duration) {
        self.add(row, case, took.as_secs_f64() * 1e3, "ms");
    }

    /// Adds one sample of any unit.
    pub(crate) fn add(&mut self, row: &str, case: &str, value: f64, unit: &'static str) {
        self.units.entry(row.to_owned()).or_insert(unit);
        let at = self.rows.iter().position(|(r, _)| r == row).unwrap_or_else(|| {
            self.rows.push((row.to_owned(), Vec::new()));
            self.rows.len() - 1
        });
        let cases = &mut self.rows[at].1;
        match cases.iter_mut().find(|(c, _)| c == case) {
            Some((_, samples)) => samples.push(value),
            None => cases.push((case.to_owned(), vec![value])),
        }
    }

    /// A table in Markdown.
    pub(crate) fn table(&self) -> String {
        let mut out = String::from("| operation | case | median | p95 | n |\n|---|---|---|---|---|\n");
        for (row, cases) in &self.rows {
            let unit = self.units[row];
            for (case, samples) in cases {
                let (median, p95) = (quantile(samples, 0.5), quantile(samples, 0.95));
                let _ = writeln!(
                    out,
                    "| {row} | {case} | {median:.2} {unit} | {p95:.2} {unit} | {} |",
                    samples.len()
                );
            }
        }
        out
    }

    /// Every sample.
    pub(crate) fn json(&self) -> String {
        let rows: Vec<_> = self
            .rows
            .iter()
            .map(|(row, cases)| {
                let cases: serde_json::Map<_, _> =
                    cases.iter().map(|(c, s)| (c.clone(), s.clone().into())).collect();
                serde_json::json!({ "operation": row, "unit": self.units[row], "cases": cases })
            })
            .collect();
        serde_json::to_string_pretty(&rows).unwrap()
    }
}

fn quantile(samples: &[f64], q: f64) -> f64 {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss)]
    let at = ((sorted.len() - 1) as f64 * q).round() as usize;
    sorted[at]
}
