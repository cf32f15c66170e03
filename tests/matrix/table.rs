//! The table of what clients heard, beside what the agent itself says.

use super::outcome::Outcome;
use super::questions::Question;
use std::fmt::Write as _;
use std::time::Duration;

/// How much longer than the agent itself a client may take: less than the first time at which one asks again.
const SLOW: Duration = Duration::from_millis(900);

/// What came of a question.
#[derive(Clone, Debug)]
pub struct Heard {
    pub outcome: Outcome,
    pub took: Duration,
}

/// What a client heard to all questions of a table.
struct Column {
    client: String,
    marks: Vec<Mark>,
}

/// How an answer compares to the agent's own.
#[derive(Clone, Copy, PartialEq)]
enum Mark {
    Same,
    NotAsked,
    /// It differs, but that is the client's own way.
    Known,
    Differs,
    Slow,
}

/// A difference that has nothing to do with the agent: client, question, and why. A star at the end stands for any end.
pub type KnownDifference = (&'static str, &'static str, &'static str);

/// One table: a row for each question, a column for each client.
pub struct Table<'a> {
    title: String,
    questions: &'a [Question],
    columns: Vec<Column>,
    told: String,
    known: &'a [KnownDifference],
    differences: usize,
}

impl<'a> Table<'a> {
    pub fn new(title: String, questions: &'a [Question], known: &'a [KnownDifference]) -> Self {
        Self { title, questions, columns: Vec::new(), told: String::new(), known, differences: 0 }
    }

    /// Adds what a client heard, beside what it should have heard.
    pub fn add(&mut self, client: &str, expected: &[Heard], heard: &[Heard]) {
        let rows = self.questions.iter().zip(expected.iter().zip(heard));
        let marks: Vec<_> = rows.map(|(question, (right, heard))| (question, right, heard)).collect();
        let marks =
            marks.into_iter().map(|(question, right, heard)| self.judge(client, question, right, heard));
        let marks = marks.collect();
        self.columns.push(Column { client: client.to_owned(), marks });
    }

    fn judge(&mut self, client: &str, question: &Question, right: &Heard, heard: &Heard) -> Mark {
        let is_slow = heard.took > right.took + SLOW;
        match right.outcome.allows(&heard.outcome) {
            _ if heard.outcome == Outcome::NotAsked => return Mark::NotAsked,
            true if !is_slow => return Mark::Same,
            _ => {}
        }
        let matches = |pattern: &str, text: &str| match pattern.strip_suffix('*') {
            Some(beginning) => text.starts_with(beginning),
            None => text == pattern,
        };
        let known = self.known.iter().find(|(of, what, _)| {
            matches(of, client) && (matches(what, &question.text()) || matches(what, question.what))
        });
        let why = known.map_or(String::new(), |(_, _, why)| format!(" ({why})"));
        writeln!(
            self.told,
            "{client}: {} [{}]: {} in {} ms, the agent says {} in {} ms{why}",
            question.text(),
            question.what,
            heard.outcome,
            heard.took.as_millis(),
            right.outcome,
            right.took.as_millis(),
        )
        .expect("written");
        match known {
            Some(_) => Mark::Known,
            None => {
                self.differences += 1;
                if is_slow { Mark::Slow } else { Mark::Differs }
            }
        }
    }

    /// Prints the table, and gives how many differences there are that nobody knows.
    pub fn print(&self) -> usize {
        println!("\n## {}\n\n{}{}", self.title, self.text(), self.told);
        self.differences
    }

    fn text(&self) -> String {
        let mut text = String::from(". as the agent says  - not asked  k its own way  X differs  s slow\n");
        for (at, column) in self.columns.iter().enumerate() {
            writeln!(text, "{:44}{}{}", "", "| ".repeat(at), column.client).expect("written");
        }
        for (at, question) in self.questions.iter().enumerate() {
            let marks: String = self.columns.iter().map(|column| column.marks[at].shown()).collect();
            writeln!(text, "{:44.44}{marks}", question.text()).expect("written");
        }
        text
    }
}

impl Mark {
    fn shown(self) -> &'static str {
        match self {
            Self::Same => ". ",
            Self::NotAsked => "- ",
            Self::Known => "k ",
            Self::Differs => "X ",
            Self::Slow => "s ",
        }
    }
}
