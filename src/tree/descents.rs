//! Many look-ups at once: while the memory that one of them needs is on its way, the others go on.
//!
//! In a large tree nearly all of a look-up is waiting for memory: for each array of children, for the node, for the entry. Here
//! all look-ups of a batch take the same small step, then all take the next one, so that the processor fetches for many of them
//! at the same time.

use super::children::{Children, Step};
use super::label_path::LabelPath;
use super::node::Node;
use smallvec::SmallVec;
use std::hint::black_box;

/// Maximum number of look-ups at once.
pub const MAX_DESCENTS: usize = 32;

/// One look-up on its way down.
#[derive(Clone, Copy)]
struct Descent<'t, 'p> {
    path: &'p LabelPath<'p>,
    /// How many labels lead to the part or the node.
    depth: usize,
    at: At<'t>,
}

/// How far a look-up is.
#[derive(Clone, Copy)]
enum At<'t> {
    /// In a part of the children of a node, among which the next label is.
    Part(&'t Children<Node>),
    /// At the node that it is for.
    Node(&'t Node),
    /// There is no such node.
    Nowhere,
}

/// Look-ups, each of which may find a node.
#[derive(Default)]
pub struct Descents<'t, 'p>(SmallVec<[Descent<'t, 'p>; MAX_DESCENTS]>);

impl<'t, 'p> Descents<'t, 'p> {
    /// Look-ups that are still to be added.
    pub fn new() -> Self {
        Self(SmallVec::new())
    }

    /// Adds the look-up of a path whose first labels, so many of them, lead to a node, if there is one.
    pub fn push(&mut self, from: Option<&'t Node>, depth: usize, path: &'p LabelPath<'p>) {
        let at = from.map_or(At::Nowhere, At::Node);
        self.0.push(Descent { path, depth, at }.enter());
    }

    /// Finds the node of each path.
    pub fn run(&mut self) {
        let Self(descents) = self;
        while descents.iter().any(|descent| matches!(descent.at, At::Part(_))) {
            // Each of the two loops reads what the one before has had fetched.
            descents.iter().map(Descent::lines).for_each(|lines| _ = black_box(lines));
            descents.iter_mut().for_each(Descent::step);
        }
        // What an answer reads first.
        for descent in descents {
            if let At::Node(node) = descent.at {
                black_box(node.visible());
                black_box(node.entry().map(|entry| (entry.service.ttl, entry.lease.is_some())));
            }
        }
    }

    /// The nodes that were found, in the order in which the paths were added.
    pub fn nodes(&self) -> impl Iterator<Item = Option<&'t Node>> {
        self.0.iter().map(|descent| if let At::Node(node) = descent.at { Some(node) } else { None })
    }
}

impl Descent<'_, '_> {
    /// Goes from a node in among its children, if labels are left.
    fn enter(mut self) -> Self {
        if let At::Node(node) = self.at
            && self.depth < self.path.count()
        {
            self.at = node.children().map_or(At::Nowhere, At::Part);
        }
        self
    }

    /// Something of each cache line of the array that is searched next.
    fn lines(&self) -> u64 {
        if let At::Part(part) = self.at { part.lines() } else { 0 }
    }

    /// Searches one array.
    fn step(&mut self) {
        let (At::Part(part), Some(label)) = (self.at, self.path.get(self.depth)) else { return };
        match part.step(label) {
            Step::Part(part) => self.at = At::Part(part),
            Step::Child(node) => {
                *self = Self { depth: self.depth + 1, at: At::Node(node), ..*self }.enter();
            }
            Step::None => self.at = At::Nowhere,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::{Key, Service};
    use crate::tree::{Entry, Layer, Tree};
    use hickory_proto::rr::Name;
    use hickory_proto::serialize::binary::BinEncodable;

    #[test]
    fn many_lookups_find_what_one_finds() {
        let mut tree = Tree::new();
        let mut names = vec!["local.".to_owned(), ".".to_owned(), "no.".to_owned()];
        for n in 0..3_000 {
            names.push(format!("s{n}.a.skydns.local."));
            names.push(format!("a-long-label-{n}.b{}.skydns.local.", n % 7));
            if n % 3 > 0 {
                for name in &names[names.len() - 2..] {
                    let key = Key::from_name(&Name::from_ascii(name).expect("a name"));
                    tree.put(&key, Layer(0), Entry::new(Service::default()));
                }
            }
        }
        for names in names.chunks(MAX_DESCENTS) {
            let names: Vec<_> = names.iter().map(|name| Name::from_ascii(name).expect("a name")).collect();
            let octets: Vec<_> = names.iter().map(|name| name.to_bytes().expect("octets")).collect();
            let paths: Vec<_> = octets.iter().map(|octets| LabelPath::new(octets).expect("a path")).collect();
            let mut descents = Descents::new();
            for path in &paths {
                descents.push(Some(&tree.root), 0, path);
            }
            descents.run();
            for (found, path) in descents.nodes().zip(&paths) {
                let one = tree.node(path.iter()).map(|node| std::ptr::from_ref(&**node));
                assert_eq!(found.map(std::ptr::from_ref), one, "{path:?}");
            }
        }
    }
}
