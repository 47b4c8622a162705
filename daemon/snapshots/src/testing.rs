//! A tree in memory, for tests: what stands at each path, put there by hand or at random.

use crate::{Content, ContentId, NodeKind, TreeEntry, TreeError, TreeSource, live::join};
use proptest::prelude::*;
use std::{cell::RefCell, collections::BTreeMap, io::Read, os::unix::ffi::OsStrExt as _, path::Path};

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Node {
    Dir(u32, BTreeMap<Vec<u8>, Node>),
    File(u32, Vec<u8>),
    Link(Vec<u8>),
}

#[derive(Debug)]
pub(crate) struct MemTree {
    pub(crate) root: Node,
    /// Without addresses, as a live tree is.
    pub(crate) unread: bool,
    /// What was listed and read.
    pub(crate) log: RefCell<Vec<String>>,
}

pub(crate) fn file(text: &str) -> Node {
    Node::File(0o644, text.as_bytes().to_vec())
}

pub(crate) fn dir<const N: usize>(entries: [(&str, Node); N]) -> Node {
    Node::Dir(0o755, entries.into_iter().map(|(name, node)| (name.as_bytes().to_vec(), node)).collect())
}

pub(crate) fn link(target: &str) -> Node {
    Node::Link(target.as_bytes().to_vec())
}

pub(crate) fn tree<const N: usize>(entries: [(&str, Node); N]) -> MemTree {
    MemTree::new(dir(entries))
}

impl Node {
    fn address(&self) -> ContentId {
        ContentId(*blake3::hash(format!("{self:?}").as_bytes()).as_bytes())
    }
}

impl MemTree {
    pub(crate) fn new(root: Node) -> Self {
        Self { root, unread: false, log: RefCell::default() }
    }

    pub(crate) fn unread(root: Node) -> Self {
        Self { unread: true, ..Self::new(root) }
    }

    fn find(&self, path: &[u8]) -> Result<&Node, TreeError> {
        let absent = || TreeError { path: path.to_vec(), reason: "absent".into(), absent: true };
        let names = path.split(|b| *b == b'/').filter(|n| !n.is_empty());
        names.into_iter().try_fold(&self.root, |node, name| match node {
            Node::Dir(_, children) => children.get(name).ok_or_else(absent),
            _ => Err(absent()),
        })
    }

    /// What really stands in a directory, by the plainest means.
    pub(crate) fn on_disk(path: &Path) -> Node {
        use std::os::unix::fs::PermissionsExt as _;
        let meta = std::fs::symlink_metadata(path).unwrap();
        let mode = meta.permissions().mode() & 0o7777;
        if meta.is_symlink() {
            Node::Link(std::fs::read_link(path).unwrap().as_os_str().as_bytes().to_vec())
        } else if meta.is_dir() {
            let names = std::fs::read_dir(path).unwrap().map(|e| e.unwrap().file_name());
            let node =
                |name: std::ffi::OsString| (name.as_bytes().to_vec(), Self::on_disk(&path.join(&name)));
            Node::Dir(mode, names.map(node).collect())
        } else {
            Node::File(mode, std::fs::read(path).unwrap())
        }
    }

    /// Makes a directory hold what a node says.
    pub(crate) fn write(node: &Node, path: &Path) {
        use std::os::unix::fs::PermissionsExt as _;
        let mode = |mode: u32| std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
        match node {
            Node::Dir(bits, children) => {
                if !path.is_dir() {
                    std::fs::create_dir(path).unwrap();
                }
                for (name, child) in children {
                    Self::write(child, &path.join(std::ffi::OsStr::from_bytes(name)));
                }
                mode(*bits);
            }
            Node::File(bits, bytes) => {
                std::fs::write(path, bytes).unwrap();
                mode(*bits);
            }
            Node::Link(target) => {
                std::os::unix::fs::symlink(std::ffi::OsStr::from_bytes(target), path).unwrap();
            }
        }
    }
}

impl TreeSource for MemTree {
    fn children(&self, path: &[u8]) -> Result<Vec<TreeEntry>, TreeError> {
        self.log.borrow_mut().push(format!("list {}", path.escape_ascii()));
        let Node::Dir(_, children) = self.find(path)? else {
            return Err(TreeError { path: path.to_vec(), reason: "no directory".into(), absent: true });
        };
        let entry = |(name, node): (&Vec<u8>, &Node)| {
            let address = || if self.unread { Content::Unread } else { Content::Address(node.address()) };
            let (kind, mode, size, content) = match node {
                Node::Dir(mode, _) => (NodeKind::Directory, *mode, 0, address()),
                Node::File(mode, bytes) => {
                    let plain = ContentId(*blake3::hash(bytes).as_bytes());
                    let content = if self.unread { Content::Unread } else { Content::Address(plain) };
                    (NodeKind::File, *mode, bytes.len(), content)
                }
                Node::Link(target) => {
                    (NodeKind::Symlink, 0o777, target.len(), Content::Target(target.clone()))
                }
            };
            let size = size as u64;
            TreeEntry { name: name.clone(), kind, mode, mtime: (0, 0), size, content, link_group: None }
        };
        Ok(children.iter().map(entry).collect())
    }

    fn read(&self, path: &[u8]) -> Result<Box<dyn Read + '_>, TreeError> {
        self.log.borrow_mut().push(format!("read {}", path.escape_ascii()));
        match self.find(path)? {
            Node::File(_, bytes) => Ok(Box::new(bytes.as_slice())),
            _ => Err(TreeError { path: path.to_vec(), reason: "no file".into(), absent: true }),
        }
    }
}

/// Every path of a tree with what stands there.
pub(crate) fn paths(node: &Node) -> BTreeMap<Vec<u8>, Node> {
    fn go(at: &[u8], node: &Node, out: &mut BTreeMap<Vec<u8>, Node>) {
        if let Node::Dir(_, children) = node {
            for (name, child) in children {
                let path = join(at, name);
                out.insert(path.clone(), child.clone());
                go(&path, child, out);
            }
        }
    }
    let mut out = BTreeMap::new();
    go(b"", node, &mut out);
    out
}

/// Few names, so that two random trees have much in common.
pub(crate) fn any_root() -> impl Strategy<Value = Node> {
    let text = prop::collection::vec(prop::sample::select(vec!["a\n", "b\n", "c\n", "d"]), 0..6);
    let mode = prop::sample::select(vec![0o644, 0o600, 0o640]);
    let leaf = prop_oneof![
        4 => (mode, text).prop_map(|(mode, text)| Node::File(mode, text.concat().into_bytes())),
        1 => prop::sample::select(vec!["a", "b/c", "nowhere"]).prop_map(link),
    ];
    let directory = |node: BoxedStrategy<Node>| {
        let name =
            prop::sample::select(vec![b"a".to_vec(), b"b".to_vec(), b"c-".to_vec(), b"\xff\n".to_vec()]);
        let mode = prop::sample::select(vec![0o755, 0o700]);
        (mode, prop::collection::btree_map(name, node, 0..4)).prop_map(|(mode, c)| Node::Dir(mode, c))
    };
    let node = leaf.prop_recursive(3, 40, 4, move |inner| directory(inner.boxed())).boxed();
    let name = prop::sample::select(vec![b"a".to_vec(), b"b".to_vec(), b"d".to_vec(), b"e e".to_vec()]);
    prop::collection::btree_map(name, node, 0..5).prop_map(|children| Node::Dir(0o755, children))
}
