//! The Merkle tree hash of RFC 6962, section 2.1, computed leaf by leaf. Pure: it knows no log and no checkpoint.
//!
//! Leaves and nodes are hashed under different first bytes, so a node can never be passed off as a leaf.

use ring::digest::{Context, SHA256};

/// A SHA-256 hash.
pub type Hash = [u8; 32];

/// The first byte of what is hashed for a leaf.
const LEAF: u8 = 0;
/// The first byte of what is hashed for a node.
const NODE: u8 = 1;

/// SHA-256 over parts, one after the other.
pub(super) fn sha256(parts: &[&[u8]]) -> Hash {
    let mut context = Context::new(&SHA256);
    for part in parts {
        context.update(part);
    }
    let mut out = [0; 32];
    out.copy_from_slice(context.finish().as_ref());
    out
}

/// A tree that grows at its right edge. Holds one hash per level: 64 at most.
#[derive(Clone, Debug, Default)]
pub struct Tree {
    /// The roots of the full subtrees so far, the widest first: the bits of `leaves`.
    edge: Vec<Hash>,
    leaves: u64,
}

impl Tree {
    /// Adds a leaf behind the others.
    pub fn push(&mut self, leaf: &[u8]) {
        let mut hash = sha256(&[&[LEAF], leaf]);
        // Two full subtrees of one width are one of the next: the carry of a binary counter.
        for _ in 0..self.leaves.trailing_ones() {
            if let Some(left) = self.edge.pop() {
                hash = sha256(&[&[NODE], &left, &hash]);
            }
        }
        self.edge.push(hash);
        self.leaves = self.leaves.saturating_add(1);
    }

    /// How many leaves it has.
    #[must_use]
    pub const fn leaves(&self) -> u64 {
        self.leaves
    }

    /// Its root. That of no leaves is the hash of nothing.
    #[must_use]
    pub fn root(&self) -> Hash {
        let mut edge = self.edge.iter().rev();
        let Some(last) = edge.next() else {
            return sha256(&[]);
        };
        edge.fold(*last, |right, left| sha256(&[&[NODE], left, &right]))
    }
}

#[cfg(test)]
mod tests {
    //! Against the definition, and against what somebody could do to the leaves.

    use proptest::prelude::*;

    use super::*;

    /// The definition of RFC 6962, word for word.
    fn defined(leaves: &[Vec<u8>]) -> Hash {
        match leaves {
            [] => sha256(&[]),
            [leaf] => sha256(&[&[LEAF], leaf]),
            _ => {
                // The greatest power of two below their number.
                let half = leaves.len().next_power_of_two() / 2;
                let (left, right) = leaves.split_at(half);
                sha256(&[&[NODE], &defined(left), &defined(right)])
            }
        }
    }

    fn root(leaves: &[Vec<u8>]) -> Hash {
        let mut tree = Tree::default();
        for leaf in leaves {
            tree.push(leaf);
        }
        assert_eq!(tree.leaves(), u64::try_from(leaves.len()).unwrap());
        tree.root()
    }

    fn some_leaves() -> impl Strategy<Value = Vec<Vec<u8>>> {
        prop::collection::vec(prop::collection::vec(any::<u8>(), 0..4), 0..70)
    }

    proptest! {
        #[test]
        fn it_is_the_tree_of_the_definition(leaves in some_leaves()) {
            prop_assert_eq!(root(&leaves), defined(&leaves));
        }

        #[test]
        fn whatever_is_done_to_the_leaves_shows(leaves in some_leaves(), other in some_leaves(), at in any::<prop::sample::Index>()) {
            prop_assert_eq!(root(&leaves) == root(&other), leaves == other);
            if !leaves.is_empty() {
                let at = at.index(leaves.len());
                let (mut changed, mut without, mut twice) = (leaves.clone(), leaves.clone(), leaves.clone());
                changed[at].push(0);
                without.remove(at);
                twice.insert(at, leaves[at].clone());
                for other in [changed, without, twice] {
                    prop_assert_ne!(root(&leaves), root(&other));
                }
            }
        }
    }

    #[test]
    fn the_published_vectors_of_certificate_transparency_hold() {
        let leaves: [&[u8]; 4] = [b"", b"\x00", b"\x10", b"\x20\x21"];
        let hex = |hash: Hash| {
            hash.iter()
                .map(|it| format!("{it:02x}"))
                .collect::<String>()
        };
        let roots = [
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
            "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
            "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
            "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
            "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        ];
        let mut tree = Tree::default();
        assert_eq!(hex(tree.root()), roots[0]);
        for (leaf, root) in leaves.iter().zip(&roots[1..]) {
            tree.push(leaf);
            assert_eq!(hex(tree.root()), *root);
        }
    }
}
