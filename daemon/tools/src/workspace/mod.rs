//! Work on whole trees: copying, deleting, comparing.

mod batch;
mod compare_directories;
mod compare_files;
mod copy;
pub(crate) mod copying;
mod delete;
pub(crate) mod deleting;
mod exempt;
mod select;
mod tree;

use crate::registry::Tool;

pub(crate) fn tools() -> Vec<Tool> {
    let mut tools = copy::tools();
    tools.extend(delete::tools());
    tools.extend(batch::tools());
    tools.extend(compare_directories::tools());
    tools.extend(compare_files::tools());
    tools
}

#[cfg(test)]
mod tests;
