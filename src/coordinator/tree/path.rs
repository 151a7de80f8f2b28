//! Paths of znodes: which are valid, and an order in which siblings stand side by side.

use std::cmp::Ordering;
use std::sync::Arc;

/// The root.
pub const ROOT: &str = "/";
/// The nodes that always exist and cannot be deleted.
pub const PROTECTED: [&str; 4] = [ROOT, "/zookeeper", "/zookeeper/config", "/zookeeper/quota"];

/// Whether `path` is one of the nodes that cannot be deleted.
#[must_use]
pub fn is_protected(path: &str) -> bool {
    PROTECTED.contains(&path)
}

/// The path of the parent: what stands before the last slash. None without a slash.
#[must_use]
pub fn parent(path: &str) -> Option<&str> {
    match path.rfind('/')? {
        0 => Some(ROOT),
        slash => Some(&path[..slash]),
    }
}

/// Whether `path` is absolute, has no empty, `.` or `..` component, no slash at its end but the
/// root's, and no character that ZooKeeper refuses (control characters, surrogates, private use
/// and specials; characters beyond the basic plane are surrogates in its eyes).
#[must_use]
pub fn is_valid(path: &str) -> bool {
    let Some(rest) = path.strip_prefix('/') else { return false };
    rest.is_empty() || rest.split('/').all(|name| !matches!(name, "" | "." | "..") && !name.chars().any(is_refused))
}

fn is_refused(character: char) -> bool {
    matches!(character, '\u{0}'..='\u{1f}' | '\u{7f}'..='\u{9f}' | '\u{e000}'..='\u{f8ff}' | '\u{fff0}'..)
}

/// A valid path as a key. Ordered by depth and then by bytes, so that the children of a node are
/// one contiguous range and no node needs to hold a set of its children.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PathKey {
    depth: u32,
    path: Arc<str>,
}

impl PathKey {
    /// The key of `path`.
    #[must_use]
    pub fn new(path: Arc<str>) -> Self {
        PathKey { depth: depth(&path), path }
    }

    /// The path.
    #[must_use]
    pub fn path(&self) -> &Arc<str> {
        &self.path
    }

    /// How this key stands to `probe`.
    #[must_use]
    pub fn compare(&self, probe: Probe<'_>) -> Ordering {
        let (path, wanted) = (self.path.as_bytes(), probe.path.as_bytes());
        let (head, tail) = path.split_at(path.len().min(wanted.len()));
        let by_path = || head.cmp(wanted).then_with(|| tail.cmp(probe.suffix));
        self.depth.cmp(&probe.depth).then_with(by_path)
    }
}

impl PartialOrd for PathKey {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for PathKey {
    fn cmp(&self, other: &Self) -> Ordering {
        self.depth.cmp(&other.depth).then_with(|| self.path.cmp(&other.path))
    }
}

/// What to look for among keys, borrowed.
#[derive(Clone, Copy, Debug)]
pub struct Probe<'a> {
    depth: u32,
    path: &'a str,
    /// What follows `path`: the slash that separates it from its children's names.
    suffix: &'static [u8],
}

impl<'a> Probe<'a> {
    /// Looks for the node at `path`.
    #[must_use]
    pub fn node(path: &'a str) -> Self {
        Probe { depth: depth(path), path, suffix: b"" }
    }

    /// Looks for where the children of the node at `parent` begin.
    #[must_use]
    pub fn children_of(parent: &'a str) -> Self {
        let suffix: &[u8] = if parent == ROOT { b"" } else { b"/" };
        Probe { depth: depth(parent) + 1, path: parent, suffix }
    }
}

fn depth(path: &str) -> u32 {
    if path == ROOT { 0 } else { path.bytes().filter(|byte| *byte == b'/').count() as u32 }
}

/// The name of the node at `path` if its parent is at `parent`.
#[must_use]
pub fn child_name<'a>(path: &'a str, parent: &str) -> Option<&'a str> {
    let name = if parent == ROOT { path.strip_prefix('/')? } else { path.strip_prefix(parent)?.strip_prefix('/')? };
    (!name.is_empty() && !name.contains('/')).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zookeepers_valid_and_invalid_paths_are_told_apart() {
        for good in ["/", "/a", "/a/b", "/a.b/..c/d..", "/.a", "/ü/漢", "/a b", "/\u{ffef}"] {
            assert!(is_valid(good), "{good}");
        }
        let bad = ["", "a", "/a/", "//", "//a", "/a//b", "/.", "/..", "/a/./b", "/a/../b", "/a/..", "/\0", "/a\u{1}"];
        for bad in bad.into_iter().chain(["/\u{7f}", "/\u{9f}", "/\u{e000}", "/\u{f8ff}", "/\u{fff0}", "/\u{1f600}"]) {
            assert!(!is_valid(bad), "{bad}");
        }
    }

    #[test]
    fn a_parent_stands_before_the_last_slash() {
        assert_eq!(parent("/a/b"), Some("/a"));
        assert_eq!(parent("/a"), Some("/"));
        assert_eq!(parent("a"), None);
    }

    #[test]
    fn children_of_a_node_are_contiguous_even_where_names_sort_below_the_slash() {
        let paths = ["/", "/a", "/a-", "/a!", "/a/b", "/a/b-c", "/a/b/d", "/a-/x", "/a0/y", "/a!/z", "/!"];
        let mut keys: Vec<_> = paths.into_iter().map(|path| PathKey::new(path.into())).collect();
        keys.sort();
        let from = keys.partition_point(|key| key.compare(Probe::children_of("/a")).is_lt());
        let children: Vec<_> = keys[from..].iter().map_while(|key| child_name(key.path(), "/a")).collect();
        assert_eq!(children, ["b", "b-c"]);
        let from = keys.partition_point(|key| key.compare(Probe::children_of("/")).is_lt());
        let children: Vec<_> = keys[from..].iter().map_while(|key| child_name(key.path(), "/")).collect();
        assert_eq!(children, ["!", "a", "a!", "a-"]);
    }
}
