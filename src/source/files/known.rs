//! What the mirror knows of a directory: the files that it was told of, and the entries that it was told the problem of.

use super::aliases::Aliases;
use rustix::fs::Statx;
use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::ops::Bound;

/// Files and problems by key. Each walk marks what it finds; what a walk did not find is gone.
#[derive(Debug, Default)]
pub(super) struct Known {
    files: BTreeMap<Box<[u8]>, KnownFile>,
    problems: BTreeMap<Box<[u8]>, KnownProblem>,
    /// What may change without a notification of its path.
    pub(super) aliases: Aliases,
    /// The number of the present walk.
    walk: u32,
}

#[derive(Debug)]
struct KnownFile {
    /// The state of the file when it was read; `None` if it has to be read again.
    stamp: Option<Stamp>,
    /// The last walk that found it.
    walk: u32,
}

#[derive(Debug)]
struct KnownProblem {
    /// A hash of its text.
    text: u64,
    walk: u32,
}

/// What changes with the content of a file (identity, size and times), as a hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp(u64);

impl Stamp {
    /// The stamp of a file's state.
    pub(super) fn of(about: &Statx) -> Self {
        let (modified, changed) = (about.stx_mtime, about.stx_ctime);
        Self(hash(&(
            (about.stx_dev_major, about.stx_dev_minor, about.stx_ino, about.stx_size),
            (modified.tv_sec, modified.tv_nsec, changed.tv_sec, changed.tv_nsec),
        )))
    }
}

impl Known {
    /// Begins a walk.
    pub(super) fn begin_walk(&mut self) {
        self.walk = self.walk.wrapping_add(1);
    }

    /// Whether a file is known with this stamp; if so, this walk has found it.
    pub(super) fn find(&mut self, key: &[u8], stamp: Stamp) -> bool {
        let walk = self.walk;
        match self.files.get_mut(key) {
            Some(file) if file.stamp == Some(stamp) => {
                file.walk = walk;
                true
            }
            _ => false,
        }
    }

    /// Notes a file that was read; without a stamp it will be read again.
    pub(super) fn put(&mut self, key: &[u8], stamp: Option<Stamp>) {
        let walk = self.walk;
        self.files.insert(key.into(), KnownFile { stamp, walk });
    }

    /// Keeps what is known at a key and below it, which cannot be read now, to be read again; whether that is anything.
    pub(super) fn keep(&mut self, key: &[u8]) -> bool {
        let (walk, mut is_any) = (self.walk, false);
        for_each_below(&mut self.files, key, |file| {
            *file = KnownFile { stamp: None, walk };
            is_any = true;
        });
        for_each_below(&mut self.problems, key, |problem| {
            problem.walk = walk;
            is_any = true;
        });
        is_any
    }

    /// Notes the problem of a key; whether the text is new.
    pub(super) fn note_problem(&mut self, key: &[u8], text: &str) -> bool {
        let problem = KnownProblem { text: hash(text), walk: self.walk };
        let text = problem.text;
        self.problems.insert(key.into(), problem).is_none_or(|before| before.text != text)
    }

    /// Takes out what this walk did not find at a key and below it, and returns the keys.
    pub(super) fn take_gone(&mut self, key: &[u8]) -> Vec<Box<[u8]>> {
        let walk = self.walk;
        let mut gone = Vec::new();
        keys_below(&self.files, key, |file| file.walk != walk, &mut gone);
        for key in &gone {
            self.files.remove(key);
        }
        let mut solved = Vec::new();
        keys_below(&self.problems, key, |problem| problem.walk != walk, &mut solved);
        for key in &solved {
            self.problems.remove(key);
        }
        // What is wrong no more and is a file now was pushed as a file.
        gone.extend(solved.into_iter().filter(|key| !self.files.contains_key(key)));
        gone.sort();
        gone.dedup();
        gone
    }
}

fn hash(value: &(impl Hash + ?Sized)) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

/// The range of the keys below a key: the octet behind a slash ends it.
fn below(key: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let key = key.strip_suffix(b"/").unwrap_or(key);
    ([key, b"/"].concat(), [key, b"0"].concat())
}

fn for_each_below<T>(map: &mut BTreeMap<Box<[u8]>, T>, key: &[u8], mut change: impl FnMut(&mut T)) {
    map.get_mut(key).into_iter().for_each(&mut change);
    let (from, to) = below(key);
    let range = (Bound::Included(&*from), Bound::Excluded(&*to));
    map.range_mut::<[u8], _>(range).for_each(|(_, value)| change(value));
}

fn keys_below<T>(
    map: &BTreeMap<Box<[u8]>, T>,
    key: &[u8],
    is_wanted: impl Fn(&T) -> bool,
    keys: &mut Vec<Box<[u8]>>,
) {
    let (from, to) = below(key);
    let range = (Bound::Included(&*from), Bound::Excluded(&*to));
    let all = map.get_key_value(key).into_iter().chain(map.range::<[u8], _>(range));
    keys.extend(all.filter(|(_, value)| is_wanted(value)).map(|(key, _)| key.clone()));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gone(known: &mut Known, key: &str) -> Vec<String> {
        let gone = known.take_gone(key.as_bytes());
        gone.iter().map(|key| String::from_utf8_lossy(key).into_owned()).collect()
    }

    #[test]
    fn what_a_walk_does_not_find_at_or_below_a_key_is_gone() {
        let mut known = Known::default();
        known.begin_walk();
        for key in ["/s/a", "/s/a/b", "/s/a-b", "/s/a0", "/s/c/d"] {
            known.put(key.as_bytes(), Some(Stamp(1)));
        }
        assert!(gone(&mut known, "/s").is_empty());
        known.begin_walk();
        assert!(known.find(b"/s/a", Stamp(1)) && !known.find(b"/s/a", Stamp(2)));
        assert_eq!(gone(&mut known, "/s/a"), ["/s/a/b"]);
        known.keep(b"/s/c");
        assert!(!known.find(b"/s/c/d", Stamp(1)), "it is to be read again");
        assert_eq!(gone(&mut known, "/s/"), ["/s/a-b", "/s/a0"]);
    }

    #[test]
    fn problems_are_told_once_and_go_with_their_cause() {
        let mut known = Known::default();
        known.begin_walk();
        assert!(known.note_problem(b"/s/a", "x") && !known.note_problem(b"/s/a", "x"));
        assert!(known.note_problem(b"/s/a", "y") && known.note_problem(b"/s/b", "y"));
        known.begin_walk();
        known.put(b"/s/b", None);
        assert_eq!(gone(&mut known, "/s"), ["/s/a"], "b is a file now");
        known.begin_walk();
        assert!(known.note_problem(b"/s/b", "y"));
    }
}
