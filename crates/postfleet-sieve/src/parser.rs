//! Tokens to the tree of statements. What the names mean is the compiler's affair.

use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use crate::error::Problem;
use crate::lexer::{Kind, Token, tokens};

/// How deep blocks and tests may nest. It bounds the stack of every later walk over the tree.
pub const DEPTH_MAX: usize = 64;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Argument {
    Tag(String),
    Text(String),
    Number(u64),
    List(Vec<String>),
    Variable { name: String, index: Option<Box<Argument>> },
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Command {
    pub(crate) line: u32,
    pub(crate) name: String,
    pub(crate) arguments: Vec<Argument>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Tree {
    All(Vec<Tree>),
    Any(Vec<Tree>),
    Not(Box<Tree>),
    Constant(bool),
    Test(Command),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    Call(Command),
    Value(Argument),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    One(String),
    Spread(Vec<String>),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Statement {
    Assign { line: u32, target: Target, source: Source },
    Act(Command),
    If { line: u32, branches: Vec<(Tree, Vec<Statement>)>, otherwise: Vec<Statement> },
}

struct Parser {
    tokens: Vec<Token>,
    at: usize,
    depth: usize,
}

pub(crate) fn parse(text: &str) -> Result<Vec<Statement>, Problem> {
    let mut parser = Parser { tokens: tokens(text)?, at: 0, depth: 0 };
    let mut statements = Vec::new();
    while *parser.peek() != Kind::End {
        parser.statement(&mut statements)?;
    }
    Ok(statements)
}

impl Parser {
    fn peek(&self) -> &Kind {
        self.tokens.get(self.at).map_or(&Kind::End, |token| &token.kind)
    }

    fn line(&self) -> u32 {
        self.tokens.get(self.at).or(self.tokens.last()).map_or(1, |token| token.line)
    }

    fn next(&mut self) -> Kind {
        let kind = self.peek().clone();
        self.at = self.at.saturating_add(1);
        kind
    }

    fn found(&mut self, mark: char) -> bool {
        let found = *self.peek() == Kind::Mark(mark);
        if found {
            self.next();
        }
        found
    }

    fn unexpected(&self, expected: &str) -> Problem {
        Problem::new(self.line(), format!("expected {expected}, found {}", self.peek().shown()))
    }

    fn expect(&mut self, mark: char, after: &str) -> Result<(), Problem> {
        if self.found(mark) { Ok(()) } else { Err(self.unexpected(&format!("'{mark}' {after}"))) }
    }

    fn deeper<T>(&mut self, inner: impl FnOnce(&mut Self) -> Result<T, Problem>) -> Result<T, Problem> {
        if self.depth >= DEPTH_MAX {
            return Err(Problem::new(self.line(), format!("nested deeper than {DEPTH_MAX} levels")));
        }
        self.depth = self.depth.saturating_add(1);
        let result = inner(self);
        self.depth = self.depth.saturating_sub(1);
        result
    }

    fn statement(&mut self, statements: &mut Vec<Statement>) -> Result<(), Problem> {
        let line = self.line();
        match self.peek().clone() {
            Kind::Mark(';') => {
                self.next();
            }
            Kind::Variable(name) => {
                self.next();
                statements.push(self.assignment(line, Target::One(name))?);
            }
            Kind::Mark('(') => {
                self.next();
                let target = Target::Spread(self.targets()?);
                statements.push(self.assignment(line, target)?);
            }
            Kind::Name(name) if name == "if" => {
                self.next();
                let statement = self.deeper(|parser| parser.conditions(line))?;
                statements.push(statement);
            }
            Kind::Name(name) if name == "elsif" || name == "else" => {
                return Err(Problem::new(line, format!("'{name}' without an 'if' before it")));
            }
            Kind::Name(name) => {
                self.next();
                let arguments = self.arguments()?;
                self.expect(';', &format!("after '{name}' and its arguments"))?;
                if name != "require" {
                    statements.push(Statement::Act(Command { line, name, arguments }));
                }
            }
            Kind::Tag(_) | Kind::Number(_) | Kind::Text(_) | Kind::Mark(_) | Kind::End => {
                return Err(self.unexpected("a statement"));
            }
        }
        Ok(())
    }

    fn targets(&mut self) -> Result<Vec<String>, Problem> {
        let mut names = Vec::new();
        loop {
            let Kind::Variable(name) = self.peek().clone() else { return Err(self.unexpected("a variable")) };
            self.next();
            names.push(name);
            if self.found(')') {
                return Ok(names);
            }
            self.expect(',', "or ')' after a variable of the list")?;
        }
    }

    fn assignment(&mut self, line: u32, target: Target) -> Result<Statement, Problem> {
        self.expect('=', "after what is assigned to")?;
        let at = self.line();
        let source = if let Kind::Name(name) = self.peek().clone() {
            self.next();
            Source::Call(Command { line: at, name, arguments: self.arguments()? })
        } else {
            let Some(value) = self.argument()? else { return Err(self.unexpected("a value or a function")) };
            Source::Value(value)
        };
        self.expect(';', "after the assigned value")?;
        Ok(Statement::Assign { line, target, source })
    }

    fn conditions(&mut self, line: u32) -> Result<Statement, Problem> {
        let mut branches = Vec::new();
        let mut otherwise = Vec::new();
        loop {
            let test = self.test()?;
            branches.push((test, self.block()?));
            match self.peek() {
                Kind::Name(name) if name == "elsif" => {
                    self.next();
                }
                Kind::Name(name) if name == "else" => {
                    self.next();
                    otherwise = self.block()?;
                    break;
                }
                Kind::Name(_)
                | Kind::Tag(_)
                | Kind::Number(_)
                | Kind::Text(_)
                | Kind::Variable(_)
                | Kind::Mark(_)
                | Kind::End => break,
            }
        }
        Ok(Statement::If { line, branches, otherwise })
    }

    fn block(&mut self) -> Result<Vec<Statement>, Problem> {
        self.expect('{', "before the statements of a branch")?;
        let mut statements = Vec::new();
        while !self.found('}') {
            if *self.peek() == Kind::End {
                return Err(self.unexpected("'}' after the statements of a branch"));
            }
            self.statement(&mut statements)?;
        }
        Ok(statements)
    }

    fn test(&mut self) -> Result<Tree, Problem> {
        let line = self.line();
        let Kind::Name(name) = self.peek().clone() else { return Err(self.unexpected("a test")) };
        self.next();
        match name.as_str() {
            "allof" => Ok(Tree::All(self.deeper(Self::tests)?)),
            "anyof" => Ok(Tree::Any(self.deeper(Self::tests)?)),
            "not" => Ok(Tree::Not(Box::new(self.deeper(Self::test)?))),
            "true" => Ok(Tree::Constant(true)),
            "false" => Ok(Tree::Constant(false)),
            _ => Ok(Tree::Test(Command { line, name, arguments: self.arguments()? })),
        }
    }

    fn tests(&mut self) -> Result<Vec<Tree>, Problem> {
        self.expect('(', "before the list of tests")?;
        let mut tests = Vec::new();
        loop {
            tests.push(self.test()?);
            if self.found(')') {
                return Ok(tests);
            }
            self.expect(',', "or ')' after a test of the list")?;
        }
    }

    fn arguments(&mut self) -> Result<Vec<Argument>, Problem> {
        let mut arguments = Vec::new();
        while let Some(argument) = self.argument()? {
            arguments.push(argument);
        }
        Ok(arguments)
    }

    fn argument(&mut self) -> Result<Option<Argument>, Problem> {
        let argument = match self.peek().clone() {
            Kind::Tag(name) => Argument::Tag(name),
            Kind::Text(text) => Argument::Text(text),
            Kind::Number(number) => Argument::Number(number),
            Kind::Variable(name) => {
                self.next();
                return Ok(Some(Argument::Variable { name, index: self.index()? }));
            }
            Kind::Mark('[') => {
                self.next();
                return Ok(Some(Argument::List(self.list()?)));
            }
            Kind::Name(_) | Kind::Mark(_) | Kind::End => return Ok(None),
        };
        self.next();
        Ok(Some(argument))
    }

    fn index(&mut self) -> Result<Option<Box<Argument>>, Problem> {
        let open = self.tokens.get(self.at).is_some_and(|token| token.glued && token.kind == Kind::Mark('['));
        if !open {
            return Ok(None);
        }
        self.next();
        let index = match self.peek().clone() {
            Kind::Text(text) => Argument::Text(text),
            Kind::Number(number) => Argument::Number(number),
            Kind::Name(_) | Kind::Tag(_) | Kind::Variable(_) | Kind::Mark(_) | Kind::End => {
                return Err(self.unexpected("a string or a number as index"));
            }
        };
        self.next();
        self.expect(']', "after the index")?;
        Ok(Some(Box::new(index)))
    }

    fn list(&mut self) -> Result<Vec<String>, Problem> {
        let mut list = Vec::new();
        if self.found(']') {
            return Ok(list);
        }
        loop {
            let Kind::Text(text) = self.peek().clone() else {
                return Err(self.unexpected("a string of the list"));
            };
            self.next();
            list.push(text);
            if self.found(']') {
                return Ok(list);
            }
            self.expect(',', "or ']' after a string of the list")?;
        }
    }
}
