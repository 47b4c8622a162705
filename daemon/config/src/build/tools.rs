use super::Build;
use crate::{
    ToolOptions,
    check::{Item, Value},
    report::Quoted,
};
use cordon_policy::HostRule;

/// Entries of one list of tools or of patterns.
const MOST_ENTRIES: usize = 1000;
/// What a compiled pattern may take: patterns of people are far below.
const PATTERN_SIZE: usize = 1 << 20;

impl Build<'_, '_> {
    pub(super) fn tools(&mut self, backend: &Item, egress: Option<&[HostRule]>) -> ToolOptions {
        let defaults = ToolOptions::default();
        let flag = |key: &str, other: bool| backend.get(key).and_then(Item::flag).unwrap_or(other);
        let options = ToolOptions {
            offer_own: flag("enable_mcp_command_line", defaults.offer_own),
            read_before_delete: flag("enforce_read_before_delete", defaults.read_before_delete),
            only_writing_file_tools: flag("exclude_file_operation_mcps", defaults.only_writing_file_tools),
            servers: backend.get("mcp_servers").map(|s| self.servers(s, egress)).unwrap_or_default(),
            custom: backend.get("custom_tools").map(|l| self.custom_tools(l)).unwrap_or_default(),
            custom_python: backend.get("custom_tools_python").and_then(|p| self.custom_python(p)),
            allowed: backend.get("allowed_tools").map(|l| self.names(l)),
            excluded: backend.get("exclude_tools").map(|l| self.names(l)).unwrap_or_default(),
            allowed_commands: self.patterns(backend.get("command_line_allowed_commands")),
            blocked_commands: self.patterns(backend.get("command_line_blocked_commands")),
        };
        if !options.custom.is_empty() && options.servers.iter().any(|s| s.name == "custom_tools") {
            let message = "there is an MCP server `custom_tools`, as these are called, too".to_owned();
            let item = backend.get("custom_tools").unwrap_or(backend);
            self.report.error(&item.at(), "conflict", message, "give the server another name");
        }
        options
    }

    /// Names of tools, as they are or as `mcp__SERVER__TOOL`.
    pub(super) fn names(&mut self, list: &Item) -> Vec<String> {
        let mut names = Vec::new();
        for item in self.bounded(list) {
            let Some(name) = item.text() else { continue };
            if name.is_empty()
                || name.len() > 256
                || name.chars().any(|c| c.is_control() || c.is_whitespace())
            {
                let message = format!("{} is no name of a tool", Quoted(&item.written));
                self.report.error(&item.at(), "bad-value", message, "for instance read_text_file");
                continue;
            }
            names.push(name.to_owned());
        }
        names
    }

    /// Regular expressions that compile, as the tools compile them later.
    fn patterns(&mut self, list: Option<&Item>) -> Vec<String> {
        let Some(list) = list else { return Vec::new() };
        let mut patterns = Vec::new();
        for item in self.bounded(list) {
            let Some(pattern) = item.text() else { continue };
            match regex::RegexBuilder::new(pattern).size_limit(PATTERN_SIZE).build() {
                Ok(_) => patterns.push(pattern.to_owned()),
                Err(error) => {
                    // The last line says what is wrong; those above draw the pattern.
                    let why = error.to_string();
                    let why = why.lines().last().unwrap_or_default().trim_start_matches("error: ");
                    let message = format!("{} is no regular expression: {why}", Quoted(&item.written));
                    self.report.error(&item.at(), "bad-value", message, "for instance `git (status|diff)`");
                }
            }
        }
        if matches!(&list.value, Value::List(items) if items.is_empty()) {
            let message = "the list is empty and has no effect".to_owned();
            self.report.warn(&list.at(), "no-effect", message, "take it out to be rid of this warning");
        }
        patterns
    }

    pub(super) fn bounded<'i>(&mut self, list: &'i Item) -> &'i [Item] {
        let items = list.items();
        if items.len() > MOST_ENTRIES {
            let message = format!("{} entries; there are at most {MOST_ENTRIES}", items.len());
            self.report.error(&list.at(), "too-large", message, "");
            return &[];
        }
        items
    }
}
