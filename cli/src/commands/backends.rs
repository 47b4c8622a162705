//! The backends that an agent file may name.

use super::listing::print;
use crate::{
    args::Output, error::CliError, exit::Exit, neutral, render::table, screen::Look, session::Session,
};
use cordon_proto::v1::{BackendInfo, ListBackendsRequest, ModelFigures};
use serde_json::{Value, json};
use std::collections::BTreeMap;

pub(crate) async fn backends(
    session: &Session,
    only: Option<String>,
    output: Output,
) -> Result<Exit, CliError> {
    let mut found = session.agents().list_backends(ListBackendsRequest {}).await?.into_inner().backends;
    if let Some(name) = &only {
        found.retain(|b| b.r#type == *name || b.other_names.contains(name));
        if found.is_empty() {
            let name = neutral::word(name);
            return Err(CliError::Input(format!("there is no backend {name}: `cordon backends` lists them")));
        }
    }
    let document: Value = found.iter().map(document).collect();
    match (found.as_slice(), only, output) {
        ([one], Some(_), Output::Table) => show(one),
        (all, _, output) => {
            let heading = ["TYPE", "WHAT", "KEY", "MODEL", "WHERE"];
            print(output, &heading, &all.iter().map(row).collect::<Vec<_>>(), &document);
            if output == Output::Table {
                let keys: Vec<_> =
                    by_key(all).into_iter().map(|(key, who)| vec![key, who.join(", ")]).collect();
                outln!("");
                print(output, &["KEY OF AGENT FILES", "BACKENDS THAT HAVE IT"], &keys, &Value::Null);
                outln!(
                    "\nAll work behind both walls, docker and local. `cordon backends TYPE` has the models."
                );
            }
        }
    }
    Ok(Exit::Success)
}

fn row(b: &BackendInfo) -> Vec<String> {
    let names = std::iter::once(&b.r#type).chain(&b.other_names).map(|n| neutral::word(n));
    let key = match (b.key_variables.is_empty(), b.kind == "model-api" && !b.key_needed) {
        (true, _) => String::new(),
        (false, optional) => {
            let names: Vec<_> = b.key_variables.iter().map(|k| neutral::word(k)).collect();
            format!("{}{}", names.join(", "), if optional { " (if any)" } else { "" })
        }
    };
    let mut place = vec![neutral::word(&b.default_url)];
    place.extend(b.url_variables.iter().map(|v| neutral::word(v)));
    place.retain(|p| !p.is_empty());
    vec![
        names.collect::<Vec<_>>().join(", "),
        neutral::word(&b.what),
        key,
        neutral::word(&b.default_model),
        place.join(", or "),
    ]
}

/// What is not everywhere, and where it is.
fn by_key(all: &[BackendInfo]) -> BTreeMap<String, Vec<String>> {
    let mut keys: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for backend in all {
        for key in &backend.has {
            keys.entry(neutral::word(key)).or_default().push(neutral::word(&backend.r#type));
        }
    }
    keys
}

fn show(b: &BackendInfo) {
    let cells = row(b);
    let has: Vec<_> = b.has.iter().map(|key| neutral::word(key)).collect();
    let walls: Vec<_> = b.walls.iter().map(|w| neutral::word(w)).collect();
    let lines = ["type", "what", "key", "model", "where"].into_iter().map(str::to_owned).zip(cells);
    let more = [("has".to_owned(), has.join(", ")), ("walls".to_owned(), walls.join(", "))];
    for (what, text) in lines.chain(more).filter(|(_, text)| !text.is_empty()) {
        outln!("{what:<6} {text}");
    }
    if b.models.is_empty() {
        return;
    }
    outln!("");
    let heading = ["MODEL", "WINDOW", "ANSWER", "DOLLARS PER MILLION TOKENS READ, CACHED, WRITTEN"];
    let rows: Vec<_> = b.models.iter().map(model).collect();
    crate::out::write(format_args!("{}", table::render(&heading, &rows, Look::of(&std::io::stdout()))));
}

fn model(m: &ModelFigures) -> Vec<String> {
    let prices = [m.input_price, m.cached_price, m.output_price].map(dollars);
    vec![neutral::word(&m.model), m.window.to_string(), m.output.to_string(), prices.join(", ")]
}

/// Thousandths of a dollar.
pub(crate) fn dollars(thousandths: u64) -> String {
    let text = format!("{}.{:03}", thousandths / 1000, thousandths % 1000);
    // Cents stay.
    text.strip_suffix('0').map_or_else(|| text.clone(), str::to_owned)
}

fn document(b: &BackendInfo) -> Value {
    let model = |m: &ModelFigures| {
        json!({
            "model": m.model, "window": m.window, "output": m.output,
            "usd_per_million": {
                "input": thousandths(m.input_price), "cached": thousandths(m.cached_price),
                "output": thousandths(m.output_price),
            },
        })
    };
    json!({
        "type": b.r#type, "other_names": b.other_names, "kind": b.kind, "what": b.what,
        "default_url": b.default_url, "url_variables": b.url_variables,
        "key_variables": b.key_variables, "key_needed": b.key_needed,
        "default_model": b.default_model, "models": b.models.iter().map(model).collect::<Vec<_>>(),
        "has": b.has, "walls": b.walls,
    })
}

fn thousandths(of: u64) -> f64 {
    // Prices are far below what a double holds exactly.
    #[allow(clippy::cast_precision_loss)]
    let dollars = of as f64 / 1000.0;
    dollars
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info() -> BackendInfo {
        BackendInfo {
            r#type: "openai".into(),
            kind: "model-api".into(),
            what: "Responses\u{1b}[2J".into(),
            default_url: "https://api.test/v1".into(),
            url_variables: vec!["OPENAI_BASE_URL".into()],
            key_variables: vec!["OPENAI_API_KEY".into()],
            key_needed: true,
            default_model: "m".into(),
            has: vec!["enable_web_search".into()],
            models: vec![ModelFigures { model: "m".into(), input_price: 1250, ..Default::default() }],
            ..Default::default()
        }
    }

    #[test]
    fn a_backend_is_one_harmless_row() {
        let cells = row(&info());
        assert_eq!(cells[0], "openai");
        assert_eq!(cells[1], "Responses\\x1b[2J");
        assert_eq!(cells[4], "https://api.test/v1, or OPENAI_BASE_URL");
        let optional = row(&BackendInfo { key_needed: false, ..info() });
        assert_eq!(optional[2], "OPENAI_API_KEY (if any)");
        let other = BackendInfo { r#type: "grok".into(), ..info() };
        assert_eq!(by_key(&[info(), other])["enable_web_search"], ["openai", "grok"]);
    }

    #[test]
    fn prices_are_told_in_dollars() {
        for (thousandths, told) in [(0, "0.00"), (5, "0.005"), (1_250, "1.25"), (15_000, "15.00")] {
            assert_eq!(dollars(thousandths), told);
        }
        assert_eq!(document(&info())["models"][0]["usd_per_million"]["input"], 1.25);
    }
}
