//! Operating system commands: titles and links, and no other.

use super::{Filter, Step};

const LONGEST_TITLE: usize = 200;
/// Where a link may lead.
const SCHEMES: [&str; 3] = ["http://", "https://", "mailto:"];

impl Filter {
    /// A whole command, with its `ESC ]` and without its end.
    pub(super) fn osc(&mut self, held: &[u8], step: &mut dyn FnMut(Step<'_>)) {
        let Ok(text) = std::str::from_utf8(held.get(2..).unwrap_or_default()) else { return };
        let Some((number, rest)) = text.split_once(';') else { return };
        match number {
            "0" | "2" => {
                self.extras.title = plain(rest, LONGEST_TITLE);
                step(Step::Show(&title(&self.extras.title)));
            }
            "8" => {
                let Some((parameters, link)) = rest.split_once(';') else { return };
                let known = link.is_empty() || SCHEMES.iter().any(|s| link.starts_with(s));
                let harmless = |text: &str| text.bytes().all(|b| (0x20..0x7f).contains(&b));
                if known && harmless(link) && harmless(parameters) {
                    step(Step::Show(format!("\x1b]8;{parameters};{link}\x1b\\").as_bytes()));
                }
            }
            // Clipboards, colours, notifications, files, marks.
            _ => {}
        }
    }
}

/// Sets a title that holds no control character.
pub(crate) fn title(text: &str) -> Vec<u8> {
    format!("\x1b]2;{text}\x1b\\").into_bytes()
}

fn plain(text: &str, most: usize) -> String {
    text.chars().filter(|c| !c.is_control() && !matches!(c, '\u{80}'..='\u{9f}')).take(most).collect()
}
