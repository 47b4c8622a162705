//! The shell: commands that are waited for, and commands in the background.

use crate::registry::Tool;

/// Commands that run in the background, and the login environment.
#[derive(Debug, Default)]
pub(crate) struct Shells {}

pub(crate) fn tools() -> Vec<Tool> {
    Vec::new()
}
