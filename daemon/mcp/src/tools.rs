//! The tools that one server has, as far as they are taken.

use crate::{MOST_TOOLS, ServerError, error::words};
use rmcp::{
    RoleClient,
    model::{PaginatedRequestParams, Tool},
    service::Peer,
};
use std::{borrow::Cow, collections::BTreeSet};

const MOST_PAGES: usize = 100;
const LONGEST_DESCRIPTION: usize = 64 << 10;
const LARGEST_SCHEMA: usize = 256 << 10;
/// Of all schemas of one server together.
const LARGEST_SCHEMAS: usize = 8 << 20;

/// Asks for every page, within bounds.
pub(crate) async fn list(peer: &Peer<RoleClient>) -> Result<Vec<Tool>, ServerError> {
    let mut tools = Vec::new();
    let mut cursor = None;
    for _ in 0..MOST_PAGES {
        let mut page = PaginatedRequestParams::default();
        page.cursor = cursor;
        let page = peer.list_tools(Some(page)).await;
        let page = page.map_err(|e| ServerError::Protocol(words(&e.to_string())))?;
        tools.extend(page.tools);
        if tools.len() > MOST_TOOLS {
            return Err(ServerError::Protocol(format!("it has more than {MOST_TOOLS} tools")));
        }
        cursor = page.next_cursor;
        if cursor.is_none() {
            return Ok(tools);
        }
    }
    Err(ServerError::Protocol(format!("its tools have more than {MOST_PAGES} pages")))
}

/// What is taken of them, with what is said about the rest.
pub(crate) fn taken(tools: Vec<Tool>, fault: fn(&str) -> Option<&'static str>) -> (Vec<Tool>, Vec<String>) {
    let mut names = BTreeSet::new();
    let mut room = LARGEST_SCHEMAS;
    let (mut taken, mut told) = (Vec::new(), Vec::new());
    for mut tool in tools {
        let name = tool.name.to_string();
        if let Some(why) = fault(&name) {
            told.push(format!("the tool {:?} is left out: {why}", words(&name)));
            continue;
        }
        let size = size_of(&tool);
        let Some(rest) = room.checked_sub(size).filter(|_| size <= LARGEST_SCHEMA) else {
            told.push(format!("the tool {name:?} is left out: its schema is too large"));
            continue;
        };
        if !names.insert(name) {
            told.push(format!("the tool {:?} is there twice; the first one is taken", tool.name));
            continue;
        }
        room = rest;
        tool.description = tool.description.map(short);
        tool.title = tool.title.map(|title| short(title.into()).into_owned());
        // Pictures to be fetched from somewhere, and what no client of ours reads.
        tool.icons = None;
        tool.meta = None;
        taken.push(tool);
    }
    (taken, told)
}

fn size_of(tool: &Tool) -> usize {
    let size = |value: &rmcp::model::JsonObject| serde_json::to_string(value).map_or(usize::MAX, |t| t.len());
    size(&tool.input_schema).saturating_add(tool.output_schema.as_deref().map_or(0, size))
}

fn short(text: Cow<'static, str>) -> Cow<'static, str> {
    if text.len() <= LONGEST_DESCRIPTION {
        return text;
    }
    let end = (0..=LONGEST_DESCRIPTION).rev().find(|i| text.is_char_boundary(*i)).unwrap_or(0);
    Cow::Owned(format!("{} […]", &text[..end]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names;
    use rmcp::model::JsonObject;
    use std::sync::Arc;

    fn tool(name: &str, description: &str, schema: usize) -> Tool {
        let mut object = JsonObject::new();
        object.insert("type".to_owned(), "object".into());
        object.insert("x".to_owned(), "y".repeat(schema).into());
        Tool::new(name.to_owned(), description.to_owned(), Arc::new(object))
    }

    #[test]
    fn what_is_too_much_is_cut_or_left_out_and_said() {
        let (taken, told) = taken(
            vec![
                tool("good", &"ä".repeat(LONGEST_DESCRIPTION), 1),
                tool("connect", "", 1),
                tool("a\u{1b}[2J", "", 1),
                tool("large", "", LARGEST_SCHEMA),
                tool("good", "again", 1),
            ],
            names::fault,
        );
        assert_eq!(taken.iter().map(|t| t.name.as_ref()).collect::<Vec<_>>(), ["good"]);
        let description = taken[0].description.as_deref().unwrap();
        assert!(description.len() < LONGEST_DESCRIPTION + 8 && description.ends_with("[…]"));
        assert_eq!(told.len(), 4, "{told:?}");
        assert!(!told.concat().contains('\u{1b}'), "{told:?}");
    }

    #[test]
    fn schemas_are_bounded_together() {
        let many = (0..100).map(|n| tool(&format!("t{n}"), "", LARGEST_SCHEMA - 100)).collect();
        let (taken, told) = taken(many, names::fault);
        assert!(taken.len() <= LARGEST_SCHEMAS / (LARGEST_SCHEMA - 100));
        assert_eq!(taken.len() + told.len(), 100);
    }
}
