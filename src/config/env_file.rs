//! The file of variables, in the syntax that systemd reads for `EnvironmentFile=` (systemd.exec(5)).

/// What a file of variables holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VariablesFile {
    /// The assignments in the order of the file: the last one of a name counts.
    pub assignments: Vec<Assignment>,
    /// The lines that are no assignments, and are ignored.
    pub problems: Vec<LineProblem>,
}

/// A line that sets a variable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assignment {
    /// The number of its line, or of the first of several lines; the first line of a file is 1.
    pub line: usize,
    /// The name of the variable.
    pub name: String,
    /// Its value.
    pub value: String,
}

/// A line that is no assignment, and is ignored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LineProblem {
    /// The number of the line; the first line is 1.
    pub line: usize,
    /// What is wrong.
    pub reason: &'static str,
    /// What the line begins with, up to 64 characters; the name of a variable may be in there.
    pub words: String,
    /// Whether the rest of the file is lost with the line.
    pub ends_file: bool,
}

/// Reads the text of a file.
///
/// A line is `NAME=value`, or a comment that begins with `#` or `;`. A `\` at the end of a line continues the line.
/// Quotes count only at the beginning of a value and after another quoted part: in `it's`, the apostrophe is a letter
/// like others.
pub fn read(text: &str) -> VariablesFile {
    let mut reader = EnvFileReader::default();
    for c in text.chars() {
        reader.take(c);
    }
    reader.end();
    reader.read
}

/// Why a line is ignored that has no value.
const NO_VALUE: &str = "the line has no \"=\": it has to be NAME=value, or begin with \"#\"";

/// Why a line that opens a quote is ignored, with all that follows.
const OPEN_QUOTE: &str = "a quote is not closed";

/// Where in the text the reader is; the states are those of systemd's reader (its src/basic/env-file.c).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum EnvFileState {
    #[default]
    BeforeName,
    Name,
    BeforeValue,
    Value,
    Escape,
    Single,
    Double,
    DoubleEscape,
    Comment,
}

#[derive(Default)]
struct EnvFileReader {
    state: EnvFileState,
    line: usize,
    /// The line of the name, from 0.
    name_line: usize,
    name: String,
    value: String,
    /// The length of the value without unquoted blanks at its end.
    trimmed_len: usize,
    read: VariablesFile,
}

impl EnvFileReader {
    fn take(&mut self, c: char) {
        let newline = matches!(c, '\n' | '\r');
        let blank = newline || matches!(c, ' ' | '\t');
        match self.state {
            EnvFileState::BeforeName if matches!(c, '#' | ';') => self.state = EnvFileState::Comment,
            EnvFileState::BeforeName if blank => {}
            EnvFileState::BeforeName => {
                (self.state, self.name_line) = (EnvFileState::Name, self.line);
                self.name.push(c);
            }
            EnvFileState::Name if newline => self.pass_over(NO_VALUE),
            EnvFileState::Name if c == '=' => self.state = EnvFileState::BeforeValue,
            EnvFileState::Name => self.name.push(c),
            EnvFileState::BeforeValue | EnvFileState::Value if newline => self.push(),
            EnvFileState::BeforeValue if c == '\'' => self.state = EnvFileState::Single,
            EnvFileState::BeforeValue if c == '"' => self.state = EnvFileState::Double,
            EnvFileState::BeforeValue | EnvFileState::Value if c == '\\' => self.state = EnvFileState::Escape,
            EnvFileState::BeforeValue if blank => {}
            EnvFileState::BeforeValue | EnvFileState::Value => {
                self.state = EnvFileState::Value;
                self.add(c, !blank);
            }
            EnvFileState::Escape => {
                self.state = EnvFileState::Value;
                if !newline {
                    self.add(c, true);
                }
            }
            EnvFileState::Single if c == '\'' => self.state = EnvFileState::BeforeValue,
            EnvFileState::Double if c == '"' => self.state = EnvFileState::BeforeValue,
            EnvFileState::Double if c == '\\' => self.state = EnvFileState::DoubleEscape,
            EnvFileState::Single | EnvFileState::Double => self.add(c, true),
            EnvFileState::DoubleEscape => {
                self.state = EnvFileState::Double;
                match c {
                    '"' | '\\' | '`' | '$' => self.add(c, true),
                    '\n' => {}
                    c => {
                        self.add('\\', true);
                        self.add(c, true);
                    }
                }
            }
            EnvFileState::Comment if newline => self.state = EnvFileState::BeforeName,
            EnvFileState::Comment => {}
        }
        self.line += usize::from(c == '\n');
    }

    fn add(&mut self, c: char, counts: bool) {
        self.value.push(c);
        if counts {
            self.trimmed_len = self.value.len();
        }
    }

    fn end(&mut self) {
        match self.state {
            EnvFileState::BeforeName | EnvFileState::Comment => {}
            EnvFileState::Name => self.pass_over(NO_VALUE),
            EnvFileState::BeforeValue | EnvFileState::Value | EnvFileState::Escape => self.push(),
            EnvFileState::Single | EnvFileState::Double | EnvFileState::DoubleEscape => {
                self.pass_over(OPEN_QUOTE);
            }
        }
    }

    fn push(&mut self) {
        let name = self.name.trim_end().to_owned();
        let legal = |c: char| c.is_ascii_alphanumeric() || c == '_';
        if !name.chars().all(legal) || name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) {
            return self.pass_over("what stands before \"=\" is not the name of a variable");
        }
        self.value.truncate(self.trimmed_len);
        let (line, value) = (self.name_line + 1, std::mem::take(&mut self.value));
        self.read.assignments.push(Assignment { line, name, value });
        self.reset();
    }

    fn pass_over(&mut self, reason: &'static str) {
        let words = self.name.chars().take(64).collect();
        let ends_file = reason == OPEN_QUOTE;
        let problem = LineProblem { line: self.name_line + 1, reason, words, ends_file };
        if self.read.problems.last() != Some(&problem) {
            self.read.problems.push(problem);
        }
        self.reset();
    }

    fn reset(&mut self) {
        (self.state, self.trimmed_len) = (EnvFileState::BeforeName, 0);
        self.name.clear();
        self.value.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_read_as_systemd_reads_them() {
        let text = "# A=1\n; B=2\n\nD = plain words  \nE=\"a \\\"b\\\" \\x\"\nF='single $x \\'\nG=one\\\n two\nH=\n\
                    I='b c'\"d\"\nJ=back\\slash\nK=it's\nL=pa\"ss\"\nM=\"a\" \"b\"\nN=\" x \"  \nO=a=b\n P=1";
        let VariablesFile { assignments, problems } = read(text);
        assert_eq!(problems, []);
        let read: Vec<_> = assignments.iter().map(|line| format!("{}={}", line.name, line.value)).collect();
        assert_eq!(
            read,
            [
                "D=plain words",
                "E=a \"b\" \\x",
                "F=single $x \\",
                "G=one two",
                "H=",
                "I=b cd",
                "J=backslash",
                "K=it's",
                "L=pa\"ss\"",
                "M=ab",
                "N= x ",
                "O=a=b",
                "P=1"
            ]
        );
    }

    #[test]
    fn problems_name_their_line() {
        let VariablesFile { assignments, problems } =
            read("A=1\nexport\n2B=x\nB=2\\\n3\nA=2\nC=\"open\nD=1\n");
        let lines: Vec<_> = problems.iter().map(|problem| problem.line).collect();
        assert_eq!(lines, [2, 3, 7]);
        let assignments: Vec<_> = assignments.iter().map(|a| (a.line, &*a.name, &*a.value)).collect();
        assert_eq!(assignments, [(1, "A", "1"), (4, "B", "23"), (6, "A", "2")]);
    }
}
