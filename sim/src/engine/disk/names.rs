//! The directory tree: visible names, durable names, and the changes between them.
//!
//! A power cut takes back either a suffix of all changes (a journaling file system) or each name's
//! independently (what the contract allows at worst). A rename is atomic either way: both names
//! change or none does. A directory that is itself not durable takes all below it along.

use std::collections::BTreeMap;
use std::io;
use std::path::{Component, Path};

use super::super::random::Stream;
use super::super::slab::Key;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Name {
    Directory,
    File(Key),
}

#[derive(Clone, Debug)]
enum Kind {
    Make {
        path: String,
        name: Name,
    },
    Rename {
        from: String,
        to: String,
        name: Name,
    },
    /// A file, or a directory with all that it holds.
    Remove {
        path: String,
    },
}

#[derive(Clone, Debug)]
struct Change {
    sequence: u64,
    at_ns: u64,
    kind: Kind,
}

pub(super) type Tree = BTreeMap<String, Name>;

/// The visible and the durable tree.
#[derive(Clone, Debug, Default)]
pub(super) struct Names {
    pub visible: Tree,
    pub durable: Tree,
    changes: Vec<Change>,
    sequence: u64,
}

/// The path below the disk's root, or `InvalidInput` where it leads out of it.
pub(super) fn normalise(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    for component in path.components() {
        match component {
            Component::CurDir => {}
            Component::Normal(name) => {
                let name = name.to_str().ok_or(io::ErrorKind::InvalidInput)?;
                if !text.is_empty() {
                    text.push('/');
                }
                text.push_str(name);
            }
            _ => return Err(io::ErrorKind::InvalidInput.into()),
        }
    }
    Ok(text)
}

pub(super) fn parent(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(directory, _)| directory)
}

fn is_below(path: &str, directory: &str) -> bool {
    directory.is_empty() || path.strip_prefix(directory).is_some_and(|rest| rest.starts_with('/'))
}

/// The names below `directory`, at any depth.
pub(super) fn below<'a>(tree: &'a Tree, directory: &str) -> impl Iterator<Item = (&'a String, Name)> + use<'a> {
    let prefix = if directory.is_empty() { String::new() } else { format!("{directory}/") };
    let bound = prefix.clone();
    tree.range(prefix..).take_while(move |(path, _)| path.starts_with(&bound)).map(|(path, name)| (path, *name))
}

fn move_all(tree: &mut Tree, from: &str, to: &str) {
    let moved: Vec<String> = below(tree, from).map(|(path, _)| path.clone()).collect();
    for path in moved {
        if let Some(name) = tree.remove(&path) {
            tree.insert(format!("{to}{}", &path[from.len()..]), name);
        }
    }
}

impl Kind {
    fn apply(&self, tree: &mut Tree) {
        match self {
            Kind::Make { path, name } => {
                tree.insert(path.clone(), *name);
            }
            Kind::Rename { from, to, name } => {
                tree.remove(from);
                if *name == Name::Directory {
                    move_all(tree, from, to);
                }
                tree.insert(to.clone(), *name);
            }
            Kind::Remove { path } => {
                let all: Vec<String> = below(tree, path).map(|(path, _)| path.clone()).collect();
                all.iter().for_each(|path| {
                    tree.remove(path);
                });
                tree.remove(path);
            }
        }
    }

    fn paths(&self) -> [&str; 2] {
        match self {
            Kind::Make { path, .. } | Kind::Remove { path } => [path, path],
            Kind::Rename { from, to, .. } => [from, to],
        }
    }

    fn is_in(&self, directory: &str) -> bool {
        self.paths().iter().any(|path| parent(path) == directory)
    }

    /// Whether what happened to one name of `self` decides what may happen to one of `other`.
    fn is_tied_to(&self, other: &Kind) -> bool {
        let moves_subtree = |kind: &Kind| !matches!(kind, Kind::Make { .. });
        self.paths().iter().any(|a| {
            other
                .paths()
                .iter()
                .any(|b| a == b || (moves_subtree(self) && is_below(b, a)) || (moves_subtree(other) && is_below(a, b)))
        })
    }

    fn file(&self) -> Option<Key> {
        match self {
            Kind::Make { name: Name::File(key), .. } | Kind::Rename { name: Name::File(key), .. } => Some(*key),
            _ => None,
        }
    }
}

impl Names {
    pub fn get(&self, path: &str) -> Option<Name> {
        if path.is_empty() { Some(Name::Directory) } else { self.visible.get(path).copied() }
    }

    pub fn check_parent(&self, path: &str) -> io::Result<()> {
        match self.get(parent(path)) {
            Some(Name::Directory) => Ok(()),
            Some(Name::File(_)) => Err(io::ErrorKind::NotADirectory.into()),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    fn change(&mut self, now_ns: u64, kind: Kind) {
        kind.apply(&mut self.visible);
        self.sequence += 1;
        self.changes.push(Change { sequence: self.sequence, at_ns: now_ns, kind });
    }

    pub fn make(&mut self, now_ns: u64, path: String, name: Name) {
        self.change(now_ns, Kind::Make { path, name });
    }

    pub fn rename(&mut self, now_ns: u64, from: String, to: String, name: Name) {
        self.change(now_ns, Kind::Rename { from, to, name });
    }

    pub fn remove(&mut self, now_ns: u64, path: String) {
        self.change(now_ns, Kind::Remove { path });
    }

    pub fn sequence(&self) -> u64 {
        self.sequence
    }

    /// Makes the names in `directory` durable as far as they were changed up to `sequence`, with
    /// the earlier changes that they are tied to.
    pub fn settle(&mut self, directory: &str, sequence: u64) {
        let mut settled = vec![false; self.changes.len()];
        for at in (0..self.changes.len()).rev() {
            let change = &self.changes[at];
            let is_covered = change.sequence <= sequence && change.kind.is_in(directory);
            let is_needed = || {
                (at + 1..settled.len()).any(|later| settled[later] && self.changes[later].kind.is_tied_to(&change.kind))
            };
            settled[at] = is_covered || is_needed();
        }
        self.take(|at| settled[at]);
    }

    /// The operating system has written back what is older than `before_ns`.
    pub fn settle_older(&mut self, before_ns: u64) {
        let count = self.changes.partition_point(|change| change.at_ns < before_ns);
        if count > 0 {
            self.take(|at| at < count);
        }
    }

    fn take(&mut self, is_settled: impl Fn(usize) -> bool) {
        for (at, change) in std::mem::take(&mut self.changes).into_iter().enumerate() {
            if is_settled(at) {
                change.kind.apply(&mut self.durable);
            } else {
                self.changes.push(change);
            }
        }
    }

    /// Decides what a power cut leaves. Returns how many changes were taken back.
    pub fn lose_power(&mut self, draws: &mut Stream) -> u64 {
        let changes = std::mem::take(&mut self.changes);
        let is_journaled = draws.happens(500_000);
        let kept_prefix = draws.up_to(changes.len() as u64) as usize;
        let mut lost: Vec<&Kind> = Vec::new();
        for (at, change) in changes.iter().enumerate() {
            let is_lost = if is_journaled { at >= kept_prefix } else { draws.happens(500_000) };
            if is_lost || lost.iter().any(|earlier| earlier.is_tied_to(&change.kind)) {
                lost.push(&change.kind);
            } else {
                change.kind.apply(&mut self.durable);
            }
        }
        let taken_back = lost.len() as u64;
        self.prune();
        self.visible = self.durable.clone();
        taken_back
    }

    /// Drops durable names of which a directory above is not durable.
    fn prune(&mut self) {
        let mut kept = Tree::new();
        // A directory sorts before what it holds.
        for (path, name) in std::mem::take(&mut self.durable) {
            let above = parent(&path);
            if above.is_empty() || kept.get(above) == Some(&Name::Directory) {
                kept.insert(path, name);
            }
        }
        self.durable = kept;
    }

    /// All files that a name leads to, or may lead to again.
    pub fn files(&self) -> impl Iterator<Item = Key> {
        let of = |name: &Name| if let Name::File(key) = name { Some(*key) } else { None };
        let named = self.visible.values().chain(self.durable.values()).filter_map(of);
        named.chain(self.changes.iter().filter_map(|change| change.kind.file()))
    }

    pub fn unsynced_changes(&self) -> usize {
        self.changes.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(place: u32) -> Name {
        Name::File(Key { place, generation: 0 })
    }

    fn paths(tree: &Tree) -> Vec<&str> {
        tree.keys().map(String::as_str).collect()
    }

    fn cut(names: &Names, seed: u64) -> Vec<String> {
        let mut names = names.clone();
        names.lose_power(&mut Stream::new(seed, "test", 0, 0, ""));
        names.visible.into_keys().collect()
    }

    #[test]
    fn a_rename_is_never_half_done() {
        let mut names = Names::default();
        names.make(0, "old".into(), file(1));
        names.make(0, "new".into(), file(2));
        names.settle("", names.sequence());
        names.rename(0, "new".into(), "old".into(), file(2));
        let mut outcomes: Vec<_> = (0..100).map(|seed| cut(&names, seed)).collect();
        outcomes.sort();
        outcomes.dedup();
        assert_eq!(outcomes, [vec!["new".to_owned(), "old".to_owned()], vec!["old".to_owned()]]);
    }

    #[test]
    fn a_synced_name_survives_and_an_unsynced_one_may_vanish() {
        let mut names = Names::default();
        names.make(0, "d".into(), Name::Directory);
        names.settle("", names.sequence());
        names.make(0, "d/synced".into(), file(1));
        names.settle("d", names.sequence());
        names.make(0, "d/unsynced".into(), file(2));
        let outcomes: Vec<_> = (0..50).map(|seed| cut(&names, seed)).collect();
        assert!(outcomes.iter().all(|names| names.contains(&"d/synced".to_owned())));
        assert!(outcomes.iter().any(|names| names.len() == 2) && outcomes.iter().any(|names| names.len() == 3));
    }

    #[test]
    fn a_directory_that_was_not_synced_takes_its_synced_names_along() {
        let mut names = Names::default();
        names.make(0, "d".into(), Name::Directory);
        names.make(0, "d/file".into(), file(1));
        names.settle("d", names.sequence());
        let outcomes: Vec<_> = (0..50).map(|seed| cut(&names, seed)).collect();
        assert!(outcomes.iter().any(Vec::is_empty) && outcomes.iter().any(|names| names.len() == 2));
        assert!(outcomes.iter().all(|names| names.len() != 1));
    }

    #[test]
    fn a_sync_of_the_target_directory_makes_a_moved_file_durable_once() {
        let mut names = Names::default();
        names.make(0, "a".into(), Name::Directory);
        names.make(0, "b".into(), Name::Directory);
        names.settle("", names.sequence());
        names.make(0, "a/x".into(), file(1));
        names.rename(0, "a/x".into(), "b/x".into(), file(1));
        names.settle("b", names.sequence());
        assert_eq!(paths(&names.durable), ["a", "b", "b/x"]);
        assert_eq!(names.unsynced_changes(), 0);
    }

    #[test]
    fn a_path_that_leads_out_is_refused() {
        for bad in ["/etc", "..", "a/../../b"] {
            assert_eq!(normalise(Path::new(bad)).map_err(|error| error.kind()), Err(io::ErrorKind::InvalidInput));
        }
        assert_eq!(normalise(Path::new("./a//b/")).ok().as_deref(), Some("a/b"));
    }
}
