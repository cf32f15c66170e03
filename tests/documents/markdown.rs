//! Markdown, as far as the tests of documents have to understand it: headings, links, code spans and code blocks.

use super::shipped;
use std::collections::BTreeSet;

/// Documents of the repository's root.
const ROOT: [&str; 4] = ["README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md"];

/// Documents of `docs/` that are written for operators. All others there are for developers.
pub(crate) const GUIDES: [&str; 16] = [
    "README.md",
    "announce.md",
    "ask.md",
    "backup.md",
    "configure.md",
    "containers.md",
    "etcd-v2.md",
    "external-dns.md",
    "forward.md",
    "image.md",
    "migrate.md",
    "operate.md",
    "sign.md",
    "speed.md",
    "troubleshooting.md",
    "zones.md",
];

/// One document.
pub(crate) struct Document {
    /// Its path below the repository's root.
    pub(crate) file: String,
    /// The whole text.
    pub(crate) text: String,
    /// The text without code blocks.
    pub(crate) prose: String,
    pub(crate) blocks: Vec<Block>,
}

/// A fenced code block.
pub(crate) struct Block {
    pub(crate) language: String,
    /// The number of its first line in the document.
    pub(crate) line: usize,
    pub(crate) lines: Vec<String>,
}

/// All documents that exist. The test of links fails for documents that are missing.
pub(crate) fn all() -> Vec<Document> {
    let present = ROOT.iter().filter(|file| std::path::Path::new(file).exists());
    let mut documents: Vec<_> = present.map(|file| Document::read(file)).collect();
    let files = std::fs::read_dir("docs").expect("docs/").map(|entry| entry.expect("an entry").path());
    let mut files: Vec<_> = files.filter(|file| file.extension().is_some_and(|end| end == "md")).collect();
    files.sort();
    documents.extend(files.iter().map(|file| Document::read(&file.display().to_string())));
    documents
}

/// The documents for operators.
pub(crate) fn guides() -> Vec<Document> {
    let files = GUIDES.iter().map(|file| format!("docs/{file}"));
    ["README.md".to_owned()].into_iter().chain(files).map(|file| Document::read(&file)).collect()
}

impl Document {
    pub(crate) fn read(file: &str) -> Self {
        let text = shipped(file);
        let (mut prose, mut blocks) = (String::new(), Vec::new());
        let mut open: Option<Block> = None;
        for (at, line) in text.lines().enumerate() {
            match (line.trim_start().strip_prefix("```"), &mut open) {
                (Some(language), None) => {
                    open =
                        Some(Block { language: language.trim().to_owned(), line: at + 2, lines: Vec::new() });
                }
                (Some(_), Some(_)) => blocks.extend(open.take()),
                (None, Some(block)) => block.lines.push(line.trim_start().to_owned()),
                (None, None) => {
                    prose.push_str(line);
                    prose.push('\n');
                }
            }
        }
        assert!(open.is_none(), "{file}: a code block is not closed");
        Self { file: file.to_owned(), text, prose, blocks }
    }

    /// The code spans of the prose; one may go over the end of a line.
    pub(crate) fn spans(&self) -> Vec<String> {
        let paragraphs = self.prose.split("\n\n").flat_map(|paragraph| paragraph.split("\n|"));
        let spans = paragraphs.flat_map(|paragraph| paragraph.split('`').skip(1).step_by(2));
        spans.map(|span| span.split_whitespace().collect::<Vec<_>>().join(" ")).collect()
    }

    /// Code spans, and the lines of code blocks.
    pub(crate) fn code(&self) -> Vec<String> {
        let lines = self.blocks.iter().flat_map(|block| block.lines.iter().cloned());
        self.spans().into_iter().chain(lines).collect()
    }

    /// The targets of the links.
    pub(crate) fn links(&self) -> Vec<String> {
        let prose = without_spans(&self.prose);
        let targets = prose.split("](").skip(1).filter_map(|rest| rest.split_once(')'));
        targets.map(|(target, _)| target.to_owned()).collect()
    }

    /// The anchors that GitHub makes of the headings.
    pub(crate) fn anchors(&self) -> BTreeSet<String> {
        let mut anchors = BTreeSet::new();
        for heading in self.prose.lines().filter(|line| line.starts_with('#')) {
            let anchor = anchor(heading.trim_start_matches('#').trim());
            let free = (0..).map(|n| if n == 0 { anchor.clone() } else { format!("{anchor}-{n}") });
            let free = free.into_iter().find(|anchor| !anchors.contains(anchor));
            anchors.extend(free);
        }
        anchors
    }
}

/// A heading in lower case, with `-` for blanks and without punctuation.
fn anchor(heading: &str) -> String {
    let kept = |c: char| match c {
        ' ' => Some('-'),
        '-' | '_' => Some(c),
        c if c.is_alphanumeric() => Some(c),
        _ => None,
    };
    heading.to_lowercase().chars().filter_map(kept).collect()
}

fn without_spans(prose: &str) -> String {
    prose.split('`').step_by(2).collect::<Vec<_>>().join("`")
}

#[test]
fn anchors_are_those_of_github() {
    assert_eq!(anchor("The key /skydns/config"), "the-key-skydnsconfig");
    assert_eq!(anchor("`EDE: 3 (Stale Answer)`"), "ede-3-stale-answer");
}
