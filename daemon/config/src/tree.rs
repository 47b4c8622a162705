//! YAML (and JSON, which is a part of it) as a tree with a place for every node.
//! Aliases share nodes; budgets count what they expand to, so that a small file
//! cannot stand for a huge one.

use serde_yaml::granit_parser::{Event, Marker, Parser, ScalarStyle, Span, Tag, options};
use std::{collections::HashMap, rc::Rc};

/// Nodes of a file, aliases expanded.
const MOST_NODES: u64 = 20_000;
/// Bytes of text in a file, aliases expanded.
const MOST_BYTES: u64 = 4 << 20;
/// Lists and maps in each other.
const DEEPEST: u32 = 48;

/// A stretch of the source; lines and columns count from 1, the end is exclusive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mark {
    pub(crate) line: u32,
    pub(crate) column: u32,
    pub(crate) end_line: u32,
    pub(crate) end_column: u32,
}

impl Mark {
    pub(crate) const NONE: Self = Self { line: 0, column: 0, end_line: 0, end_column: 0 };

    fn new(span: Span) -> Self {
        let (line, column) = place(span.start);
        let (end_line, end_column) = place(span.end);
        Self { line, column, end_line, end_column }
    }

    pub(crate) fn point(line: u32, column: u32) -> Self {
        Self { line, column, end_line: line, end_column: column }
    }
}

fn place(marker: Marker) -> (u32, u32) {
    let small = |n: usize| u32::try_from(n).unwrap_or(u32::MAX - 1);
    (small(marker.line()).max(1), small(marker.col()) + 1)
}

/// A value with its place.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) kind: Kind,
    pub(crate) mark: Mark,
    nodes: u64,
    bytes: u64,
    depth: u32,
}

#[derive(Debug)]
pub(crate) enum Kind {
    /// `plain`: neither quoted nor a block, so that it may be a number.
    Scalar {
        text: String,
        plain: bool,
    },
    List(Vec<Rc<Node>>),
    Map(Vec<Entry>),
}

#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) key: String,
    pub(crate) mark: Mark,
    pub(crate) value: Rc<Node>,
}

/// Why there is no tree, or what is wrong in it.
#[derive(Debug)]
pub(crate) struct Fault {
    pub(crate) reason: &'static str,
    pub(crate) mark: Mark,
    pub(crate) message: String,
    pub(crate) help: &'static str,
}

fn fault(reason: &'static str, span: Span, message: impl Into<String>, help: &'static str) -> Fault {
    Fault { reason, mark: Mark::new(span), message: message.into(), help }
}

enum Open {
    List(Vec<Rc<Node>>),
    Map { entries: Vec<Entry>, merges: Vec<(Mark, Rc<Node>)>, key: Option<(String, Mark, bool)> },
}

struct Builder {
    open: Vec<(Open, Span, usize)>,
    anchors: HashMap<usize, Rc<Node>>,
    root: Option<Rc<Node>>,
    duplicates: Vec<Fault>,
    nodes: u64,
    bytes: u64,
}

/// Reads a whole file. Duplicate keys come beside the tree: they do not stop the
/// search for other problems.
pub(crate) fn parse(text: &str) -> Result<(Rc<Node>, Vec<Fault>), Fault> {
    let options = options! {
        disallow_directives: true,
        emit_comments: false,
        flow_nesting_limit: DEEPEST as usize + 1,
        block_nesting_limit: DEEPEST as usize + 1,
    };
    let mut builder = Builder {
        open: Vec::new(),
        anchors: HashMap::new(),
        root: None,
        duplicates: Vec::new(),
        nodes: 0,
        bytes: 0,
    };
    for next in Parser::new_from_str_with_options(text, options) {
        let (event, span) = next.map_err(|e| {
            let (line, column) = place(*e.marker());
            Fault {
                reason: "syntax",
                mark: Mark::point(line, column),
                message: format!("not YAML: {}", crate::excerpt::shown(&crate::mask::words(&e.info()), 200)),
                help: "",
            }
        })?;
        builder.take(event, span)?;
    }
    let empty = || Fault {
        reason: "syntax",
        mark: Mark::NONE,
        message: "the file is empty".to_owned(),
        help: "an agent file has at least `agents` or `agent`",
    };
    Ok((builder.root.ok_or_else(empty)?, builder.duplicates))
}

impl Builder {
    fn take(&mut self, event: Event<'_>, span: Span) -> Result<(), Fault> {
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                let quoted = style != ScalarStyle::Plain || is_text_tag(tag.as_deref(), span)?;
                let kind = Kind::Scalar { text: text.into_owned(), plain: !quoted };
                self.add(kind, span, anchor)
            }
            Event::SequenceStart(_, anchor, tag) => {
                is_text_tag(tag.as_deref(), span)?;
                self.start(Open::List(Vec::new()), span, anchor)
            }
            Event::MappingStart(_, anchor, tag) => {
                is_text_tag(tag.as_deref(), span)?;
                self.start(Open::Map { entries: Vec::new(), merges: Vec::new(), key: None }, span, anchor)
            }
            Event::SequenceEnd | Event::MappingEnd => self.end(span),
            Event::Alias(id) => match self.anchors.get(&id).cloned() {
                Some(node) => self.place(node, span, false),
                None => Err(fault("syntax", span, "an alias stands inside what it names", "")),
            },
            Event::DocumentStart(..) if self.root.is_some() => {
                Err(fault("syntax", span, "a second document begins here", "an agent file is one document"))
            }
            _ => Ok(()),
        }
    }

    fn start(&mut self, open: Open, span: Span, anchor: usize) -> Result<(), Fault> {
        if self.open.len() >= DEEPEST as usize {
            return Err(too_deep(span));
        }
        if let Some((Open::Map { key: None, .. }, ..)) = self.open.last() {
            return Err(fault("syntax", span, "a list or map cannot be a key", ""));
        }
        self.open.push((open, span, anchor));
        Ok(())
    }

    fn end(&mut self, span: Span) -> Result<(), Fault> {
        let Some((open, start, anchor)) = self.open.pop() else {
            return Err(fault("syntax", span, "an end without a beginning", ""));
        };
        let kind = match open {
            Open::List(items) => Kind::List(items),
            Open::Map { entries, merges, .. } => Kind::Map(self.merged(entries, merges)?),
        };
        // From its first character to its last.
        let whole = Span::new(start.start, span.end);
        self.add(kind, whole, anchor)
    }

    fn add(&mut self, kind: Kind, span: Span, anchor: usize) -> Result<(), Fault> {
        let (mut nodes, mut bytes, mut depth) = (1_u64, 0_u64, 0_u32);
        let mut count = |child: &Node| {
            nodes = nodes.saturating_add(child.nodes);
            bytes = bytes.saturating_add(child.bytes);
            depth = depth.max(child.depth);
        };
        match &kind {
            Kind::Scalar { text, .. } => bytes = text.len() as u64,
            Kind::List(items) => items.iter().for_each(|i| count(i)),
            Kind::Map(entries) => entries.iter().for_each(|e| count(&e.value)),
        }
        // Merging copies keys.
        if let Kind::Map(entries) = &kind {
            bytes = entries.iter().fold(bytes, |sum, e| sum.saturating_add(e.key.len() as u64));
        }
        if depth >= DEEPEST {
            return Err(too_deep(span));
        }
        // A value that is not written has the place of its key.
        let mark = match self.open.last() {
            Some((Open::Map { key: Some((_, key, _)), .. }, ..)) if span.start == span.end => *key,
            _ => Mark::new(span),
        };
        let node = Rc::new(Node { kind, mark, nodes, bytes, depth: depth + 1 });
        if anchor != 0 {
            self.anchors.insert(anchor, Rc::clone(&node));
        }
        self.place(node, span, true)
    }

    /// Puts a finished node where the parser stands.
    fn place(&mut self, node: Rc<Node>, span: Span, new: bool) -> Result<(), Fault> {
        // What lies inside a new node was counted when it was placed itself.
        self.nodes = self.nodes.saturating_add(if new { 1 } else { node.nodes });
        let bytes = if new && !matches!(node.kind, Kind::Scalar { .. }) { 0 } else { node.bytes };
        self.bytes = self.bytes.saturating_add(bytes);
        if self.nodes > MOST_NODES || self.bytes > MOST_BYTES {
            let message =
                format!("more than {MOST_NODES} values or {MOST_BYTES} bytes, aliases counted in full");
            return Err(fault("too-large", span, message, "an agent file is small; take aliases out"));
        }
        match self.open.last_mut() {
            None => self.root = Some(node),
            Some((Open::List(items), ..)) => items.push(node),
            Some((Open::Map { entries, merges, key }, ..)) => match key.take() {
                None => {
                    let Kind::Scalar { text, plain } = &node.kind else {
                        return Err(fault("syntax", span, "a list or map cannot be a key", ""));
                    };
                    *key = Some((text.clone(), Mark::new(span), *plain));
                }
                // Merged when the map ends: only then are its own keys known.
                Some((text, mark, true)) if text == "<<" => merges.push((mark, node)),
                Some((text, mark, _)) => entries.push(Entry { key: text, mark, value: node }),
            },
        }
        Ok(())
    }

    /// Own keys win over merged ones, and earlier merged ones over later ones.
    fn merged(&mut self, own: Vec<Entry>, merges: Vec<(Mark, Rc<Node>)>) -> Result<Vec<Entry>, Fault> {
        let mut seen: HashMap<String, Mark> = HashMap::with_capacity(own.len());
        let mut result = Vec::with_capacity(own.len());
        for entry in own {
            if let Some(first) = seen.get(&entry.key) {
                self.duplicates.push(Fault {
                    reason: "duplicate-key",
                    mark: entry.mark,
                    message: format!("the key stands on line {} already", first.line),
                    help: "take one of them out",
                });
                continue;
            }
            seen.insert(entry.key.clone(), entry.mark);
            result.push(entry);
        }
        for (mark, merge) in merges {
            let sources = match &merge.kind {
                Kind::Map(_) => vec![Rc::clone(&merge)],
                Kind::List(items) => items.clone(),
                Kind::Scalar { .. } => Vec::new(),
            };
            let bad = Fault {
                reason: "syntax",
                mark,
                message: "`<<` needs a map, or a list of maps".to_owned(),
                help: "",
            };
            if sources.is_empty() || sources.iter().any(|s| !matches!(s.kind, Kind::Map(_))) {
                return Err(bad);
            }
            for source in &sources {
                let Kind::Map(entries) = &source.kind else { continue };
                for entry in entries {
                    if !seen.contains_key(&entry.key) {
                        seen.insert(entry.key.clone(), entry.mark);
                        result.push(entry.clone());
                    }
                }
            }
        }
        Ok(result)
    }
}

fn too_deep(span: Span) -> Fault {
    fault("too-large", span, format!("more than {DEEPEST} lists and maps in each other"), "")
}

/// Whether a tag makes a scalar text; tags outside the core schema are refused.
fn is_text_tag(tag: Option<&Tag>, span: Span) -> Result<bool, Fault> {
    match tag.map(|t| (t, t.core_suffix())) {
        None => Ok(false),
        Some((_, Some(suffix))) => Ok(suffix == "str"),
        Some((tag, None)) if tag.handle().is_empty() && tag.suffix() == "!" => Ok(true),
        Some(_) => Err(fault("syntax", span, "a tag that YAML itself does not define", "take the tag out")),
    }
}
