//! The tree to steps that a run can stop between.

use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use crate::address::Part;
use crate::compare::{Comparator, Comparison, Match, Relation};
use crate::error::{CompileError, Problem};
use crate::functions::{FUNCTIONS, Function, Row, TESTS, Takes, Test, find};
use crate::parser::{Argument, Command, Source, Statement, Target, Tree, parse};
use crate::template::Template;
use postfleet_policy::Phase;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Expression {
    Text(Template),
    Number(u64),
    List(Vec<Template>),
    Tag(String),
    Variable { name: String, index: Option<Box<Expression>> },
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Call {
    pub(crate) function: Function,
    pub(crate) part: Part,
    pub(crate) arguments: Vec<Expression>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Condition {
    All(Vec<Condition>),
    Any(Vec<Condition>),
    Not(Box<Condition>),
    Constant(bool),
    Test { test: Test, comparison: Comparison, part: Part, over: bool, arguments: Vec<Expression> },
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Code {
    Call {
        target: Option<Target>,
        call: Call,
    },
    Assign {
        target: Target,
        value: Expression,
    },
    /// Goes to `otherwise` if the condition does not hold, to `end` if it cannot be told and the run goes on.
    Unless {
        condition: Condition,
        otherwise: usize,
        end: usize,
    },
    Jump(usize),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Step {
    pub(crate) line: u32,
    pub(crate) code: Code,
}

/// A compiled script.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Script {
    pub(crate) file: String,
    pub(crate) phase: Phase,
    pub(crate) steps: Vec<Step>,
}

impl Script {
    /// Reads a script for a phase. `file` is how messages name it.
    ///
    /// # Errors
    /// [`CompileError`] with the first problem.
    pub fn compile(file: &str, phase: Phase, text: &str) -> Result<Self, CompileError> {
        let mut compiler = Compiler { phase, steps: Vec::new() };
        parse(text).and_then(|statements| compiler.statements(&statements)).map_err(|problem| {
            CompileError { file: file.into(), line: problem.line, problem: problem.text }
        })?;
        Ok(Self { file: file.into(), phase, steps: compiler.steps })
    }

    /// How messages name it.
    #[must_use]
    pub fn file(&self) -> &str {
        &self.file
    }

    /// When it runs.
    #[must_use]
    pub fn phase(&self) -> Phase {
        self.phase
    }
}

struct Compiler {
    phase: Phase,
    steps: Vec<Step>,
}

/// What the tags of a command say.
struct Tags {
    comparison: Comparison,
    part: Part,
    over: Option<bool>,
}

/// Which tags a command may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Permitted {
    matching: bool,
    part: bool,
    size: bool,
}

const NO_TAGS: Permitted = Permitted { matching: false, part: false, size: false };

impl Compiler {
    fn statements(&mut self, statements: &[Statement]) -> Result<(), Problem> {
        for statement in statements {
            self.statement(statement)?;
        }
        Ok(())
    }

    fn push(&mut self, line: u32, code: Code) -> usize {
        self.steps.push(Step { line, code });
        self.steps.len().saturating_sub(1)
    }

    fn statement(&mut self, statement: &Statement) -> Result<(), Problem> {
        match statement {
            Statement::Act(command) => {
                let (call, _) = self.call(command)?;
                self.push(command.line, Code::Call { target: None, call });
            }
            Statement::Assign { line, target, source: Source::Value(value) } => {
                let value = expression(*line, value)?;
                self.push(*line, Code::Assign { target: target.clone(), value });
            }
            Statement::Assign { line, target, source: Source::Call(command) } => {
                let (call, has_result) = self.call(command)?;
                if !has_result {
                    let text = format!("'{}' has no result; expected a function that has one", command.name);
                    return Err(Problem::new(command.line, text));
                }
                self.push(*line, Code::Call { target: Some(target.clone()), call });
            }
            Statement::If { line, branches, otherwise } => {
                let mut jumps = Vec::new();
                let mut tests = Vec::new();
                for (tree, body) in branches {
                    let condition = self.condition(tree)?;
                    let test = self.push(*line, Code::Unless { condition, otherwise: 0, end: 0 });
                    self.statements(body)?;
                    jumps.push(self.push(*line, Code::Jump(0)));
                    tests.push((test, self.steps.len()));
                }
                self.statements(otherwise)?;
                let after = self.steps.len();
                for jump in jumps {
                    if let Some(step) = self.steps.get_mut(jump) {
                        step.code = Code::Jump(after);
                    }
                }
                for (test, next) in tests {
                    if let Some(Step { code: Code::Unless { otherwise, end, .. }, .. }) =
                        self.steps.get_mut(test)
                    {
                        *otherwise = next;
                        *end = after;
                    }
                }
            }
        }
        Ok(())
    }

    fn call(&self, command: &Command) -> Result<(Call, bool), Problem> {
        let row = find(FUNCTIONS, &command.name, "function", command.line)?;
        let permitted = Permitted { part: row.item == Function::Envelope, ..NO_TAGS };
        let (tags, arguments) = self.check(row, command, permitted)?;
        Ok((Call { function: row.item, part: tags.part, arguments }, row.has_result))
    }

    fn condition(&self, tree: &Tree) -> Result<Condition, Problem> {
        let all =
            |trees: &[Tree]| trees.iter().map(|tree| self.condition(tree)).collect::<Result<Vec<_>, _>>();
        Ok(match tree {
            Tree::All(trees) => Condition::All(all(trees)?),
            Tree::Any(trees) => Condition::Any(all(trees)?),
            Tree::Not(tree) => Condition::Not(Box::new(self.condition(tree)?)),
            Tree::Constant(value) => Condition::Constant(*value),
            Tree::Test(command) => {
                if let Some(row) = FUNCTIONS.iter().find(|row| row.name == command.name)
                    && !TESTS.iter().any(|test| test.name == row.name)
                {
                    let text =
                        format!("'{}' is not a test; assign its result and test the variable", row.name);
                    return Err(Problem::new(command.line, text));
                }
                let row = find(TESTS, &command.name, "test", command.line)?;
                let part = matches!(row.item, Test::Address | Test::Envelope);
                let matching = match row.item {
                    Test::Compare
                    | Test::Context(_)
                    | Test::Type
                    | Test::Header
                    | Test::Address
                    | Test::Envelope => true,
                    Test::IsSet
                    | Test::IsTrue
                    | Test::Exists
                    | Test::Size
                    | Test::ValidIp
                    | Test::Literal => false,
                };
                let size = row.item == Test::Size;
                let (tags, arguments) = self.check(row, command, Permitted { matching, part, size })?;
                if size && tags.over.is_none() {
                    return Err(Problem::new(command.line, "'size' needs ':over' or ':under'"));
                }
                let (comparison, over) = (tags.comparison, tags.over.unwrap_or(false));
                Condition::Test { test: row.item, comparison, part: tags.part, over, arguments }
            }
        })
    }

    fn check<T: Copy>(
        &self,
        row: &Row<T>,
        command: &Command,
        permitted: Permitted,
    ) -> Result<(Tags, Vec<Expression>), Problem> {
        let (line, name) = (command.line, &command.name);
        if !row.phases.contain(self.phase) {
            let (phase, allowed) = (self.phase.name(), row.phases.shown());
            return Err(Problem::new(
                line,
                format!("'{name}' is not permitted in {phase}; it is in {allowed}"),
            ));
        }
        let (tags, positional) = tags(command, permitted)?;
        let most = row.takes.len();
        if positional.len() < row.required || positional.len() > most {
            let expected =
                if row.required == most { format!("{most}") } else { format!("{} to {most}", row.required) };
            let text = format!("'{name}' takes {expected} arguments, found {}", positional.len());
            return Err(Problem::new(line, text));
        }
        let mut arguments = Vec::new();
        for (number, (argument, takes)) in positional.iter().zip(row.takes).enumerate() {
            let argument = expression(line, argument)?;
            if let Some(expected) = misfit(&argument, *takes) {
                let number = number.saturating_add(1);
                return Err(Problem::new(line, format!("argument {number} of '{name}' must be {expected}")));
            }
            arguments.push(argument);
        }
        Ok((tags, arguments))
    }
}

/// What was expected, if an argument can be known not to be that.
fn misfit(argument: &Expression, takes: Takes) -> Option<&'static str> {
    match (takes, argument) {
        (Takes::Text, Expression::List(_)) => Some("a string"),
        (Takes::Number, Expression::List(_)) => Some("a number"),
        (Takes::Number, Expression::Text(text)) => {
            let is_number = text.constant().is_none_or(|text| crate::number::Decimal::whole(text).is_ok());
            (!is_number).then_some("a number")
        }
        (Takes::Hash, Expression::Text(_) | Expression::Number(_) | Expression::List(_)) => {
            Some("a variable that holds a hash")
        }
        _ => None,
    }
}

/// A command's tags with their values, and its other arguments.
fn tags(command: &Command, permitted: Permitted) -> Result<(Tags, Vec<&Argument>), Problem> {
    let line = command.line;
    let mut kind = None;
    let mut comparator = None;
    let mut part = None;
    let mut over = None;
    let mut positional = Vec::new();
    let mut arguments = command.arguments.iter();
    while let Some(argument) = arguments.next() {
        let Argument::Tag(tag) = argument else {
            positional.push(argument);
            continue;
        };
        let mut value = |expected: &str| match arguments.next() {
            Some(Argument::Text(text)) => Ok(text.as_str()),
            _ => Err(Problem::new(line, format!("expected {expected} as a string after ':{tag}'"))),
        };
        let relations = "gt, ge, lt, le, eq, ne or bitwise-and";
        let relation = |name: &str| {
            let unknown = || Problem::new(line, format!("'{name}' is not a relation; expected {relations}"));
            Relation::from_name(name).ok_or_else(unknown)
        };
        let twice = match tag.as_str() {
            "is" if permitted.matching => kind.replace(Match::Is).is_some(),
            "contains" if permitted.matching => kind.replace(Match::Contains).is_some(),
            "matches" if permitted.matching => kind.replace(Match::Matches).is_some(),
            "regex" if permitted.matching => kind.replace(Match::Regex).is_some(),
            "value" if permitted.matching => {
                kind.replace(Match::Value(relation(value(relations)?)?)).is_some()
            }
            "count" if permitted.matching => {
                kind.replace(Match::Count(relation(value(relations)?)?)).is_some()
            }
            "comparator" if permitted.matching => {
                let known = "i;octet, i;ascii-casemap or i;ascii-numeric";
                let name = value(known)?;
                let unknown =
                    || Problem::new(line, format!("'{name}' is not a comparator; expected {known}"));
                comparator.replace(Comparator::from_name(name).ok_or_else(unknown)?).is_some()
            }
            "over" | "under" if permitted.size => over.replace(tag == "over").is_some(),
            name => match Part::from_name(name).filter(|_| permitted.part) {
                Some(found) => part.replace(found).is_some(),
                None => return Err(Problem::new(line, format!("'{}' has no tag ':{name}'", command.name))),
            },
        };
        if twice {
            return Err(Problem::new(line, format!("':{tag}' after another tag that says the same thing")));
        }
    }
    let comparison =
        Comparison { kind: kind.unwrap_or(Match::Is), comparator: comparator.unwrap_or(Comparator::Octet) };
    let in_part = matches!(comparison.kind, Match::Contains | Match::Matches | Match::Regex);
    if in_part && comparison.comparator == Comparator::AsciiNumeric {
        return Err(Problem::new(
            line,
            "i;ascii-numeric compares numbers; expected :is, :value or :count with it",
        ));
    }
    Ok((Tags { comparison, part: part.unwrap_or(Part::All), over }, positional))
}

fn expression(line: u32, argument: &Argument) -> Result<Expression, Problem> {
    let template = |text: &str| Template::parse(text).map_err(|text| Problem::new(line, text));
    Ok(match argument {
        Argument::Tag(name) => Expression::Tag(name.clone()),
        Argument::Text(text) => Expression::Text(template(text)?),
        Argument::Number(number) => Expression::Number(*number),
        Argument::List(list) => {
            Expression::List(list.iter().map(|text| template(text)).collect::<Result<_, _>>()?)
        }
        Argument::Variable { name, index } => {
            let index = index.as_ref().map(|index| expression(line, index).map(Box::new)).transpose()?;
            Expression::Variable { name: name.clone(), index }
        }
    })
}
