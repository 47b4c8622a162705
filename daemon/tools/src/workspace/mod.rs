//! Work on whole trees: copying, deleting, comparing.

use crate::registry::Tool;

pub(crate) fn tools() -> Vec<Tool> {
    Vec::new()
}
