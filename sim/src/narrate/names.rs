//! Nodes as people know them: *broker 2*, *coordinator 1*, *client 3*.
//!
//! Who judges knows a machine by its index alone: [`Node`] prints as a marker that nothing else
//! prints, and [`Names::render`] puts the name in its place, once, where a verdict is made.

use std::fmt::Display;

use crate::cluster::{name, parts};
use crate::file_error::nearest;
use crate::observed::Node;
use crate::scenario::{Plan, Workload};

/// What a node's marker begins with; the index follows.
pub const BEGIN: &str = "⟨node ";
/// What a node's marker ends with.
pub const END: char = '⟩';

/// The names of a run's machines.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names {
    /// By index.
    names: Vec<String>,
}

impl Names {
    /// The names of all machines, in the order of their indices.
    #[must_use]
    pub fn new(names: Vec<String>) -> Self {
        Names { names }
    }

    /// The names of the machines of `plan`.
    #[must_use]
    pub fn of_plan(plan: &Plan) -> Self {
        let clients = plan.workloads.iter().map(Workload::clients).sum::<u32>() as u16;
        Names::new(parts(&plan.cluster, clients).map(name).collect())
    }

    /// What people call `node`.
    #[must_use]
    pub fn of(&self, node: Node) -> String {
        self.names.get(usize::from(node.0)).cloned().unwrap_or_else(|| format!("node {}", node.0))
    }

    /// All of `nodes`, as one says them: *broker 1, broker 2 and broker 3*.
    #[must_use]
    pub fn list(&self, nodes: &[Node]) -> String {
        enumerate(nodes.iter().map(|node| self.of(*node)))
    }

    /// The node that `text` names; *broker-2*, *broker 2* and *broker(2)* name the same.
    pub fn find(&self, text: &str) -> Result<Node, String> {
        let plain = |name: &str| name.to_ascii_lowercase().replace(['-', '('], " ").replace(')', "");
        let found = self.names.iter().position(|name| plain(name) == plain(text));
        found.map(|at| Node(at as u16)).ok_or_else(|| {
            let known: Vec<&str> = self.names.iter().map(String::as_str).collect();
            match nearest(&plain(text), &known) {
                Some(name) => format!("no node is called '{text}'; did you mean '{}'?", name.replace(' ', "-")),
                None => format!("no node is called '{text}'; there are {}", enumerate(&known)),
            }
        })
    }

    /// `text` with names in the place of markers.
    #[must_use]
    pub fn render(&self, text: &str) -> String {
        let mut rendered = String::with_capacity(text.len());
        let mut rest = text;
        while let Some((before, marked)) = rest.split_once(BEGIN) {
            rendered.push_str(before);
            match marked.split_once(END).and_then(|(index, after)| Some((index.parse().ok()?, after))) {
                Some((index, after)) => {
                    rendered.push_str(&self.of(Node(index)));
                    rest = after;
                }
                None => {
                    rendered.push_str(BEGIN);
                    rest = marked;
                }
            }
        }
        rendered + rest
    }
}

/// Things as one says them: *a, b and c*.
#[must_use]
pub fn enumerate(all: impl IntoIterator<Item = impl Display>) -> String {
    let mut all: Vec<String> = all.into_iter().map(|one| one.to_string()).collect();
    match (all.pop(), all.is_empty()) {
        (Some(last), false) => format!("{} and {last}", all.join(", ")),
        (Some(last), true) => last,
        (None, _) => "nobody".to_owned(),
    }
}

#[cfg(test)]
pub(super) mod examples {
    use super::*;

    pub fn three_and_three() -> Names {
        let names =
            ["coordinator", "broker"].into_iter().flat_map(|part| (1..=3).map(move |id| format!("{part} {id}")));
        Names::new(names.chain((0..2).map(|number| format!("client {number}"))).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::examples::three_and_three;
    use super::*;

    #[test]
    fn a_marker_becomes_the_name_and_nothing_else_is_touched() {
        let text = format!("{} leads t-0; a path says node 4, ⟨node x⟩ is none", Node(4));
        assert_eq!(three_and_three().render(&text), "broker 2 leads t-0; a path says node 4, ⟨node x⟩ is none");
        let listed = format!("{:?}", [(Node(0), 7), (Node(6), 9)]);
        assert_eq!(three_and_three().render(&listed), "[(coordinator 1, 7), (client 0, 9)]");
    }

    #[test]
    fn a_node_is_found_however_it_is_written_and_a_typing_error_gets_the_nearest() {
        let names = three_and_three();
        for text in ["broker-2", "broker 2", "broker(2)", "Broker-2"] {
            assert_eq!(names.find(text), Ok(Node(4)), "{text}");
        }
        let error = names.find("brokr-2").expect_err("a typing error");
        assert!(error.ends_with("did you mean 'broker-2'?"), "{error}");
        let error = names.find("zookeeper").expect_err("no node");
        assert!(error.contains("coordinator 1, ") && error.ends_with(" and client 1"), "{error}");
    }

    #[test]
    fn things_are_listed_as_one_says_them() {
        assert_eq!(enumerate(["a"]), "a");
        assert_eq!(enumerate(["a", "b", "c"]), "a, b and c");
        assert_eq!(enumerate(Vec::<String>::new()), "nobody");
    }
}
