//! XPath, as far as logs need it: steps by name, `*`, `text()`, `comment()`, `node()`, `@`, `.`, `..`, `//`, paths with `|`
//! between them, and conditions in brackets with comparisons, `and`, `or` and the functions of [`Function`]. `select` says
//! what a path finds. Refuses axes that are written out, variables and arithmetic, when the statement is compiled.

use super::tree::Name;

/// Conditions within one another.
const DEPTH_MAX: usize = 16;

/// Paths: what any of them finds.
#[derive(Debug)]
pub(super) struct Paths(pub(super) Vec<Path>);

#[derive(Debug)]
pub(super) struct Path {
    /// Begins at the document, wherever it stands.
    pub(super) absolute: bool,
    pub(super) steps: Vec<Step>,
}

#[derive(Debug)]
pub(super) struct Step {
    pub(super) axis: Axis,
    pub(super) test: Test,
    pub(super) conditions: Vec<Expression>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Axis {
    Child,
    /// The node itself, and all that is below it: `//`.
    Within,
    Attribute,
    Itself,
    Parent,
}

#[derive(Debug)]
pub(super) enum Test {
    Named(Name),
    /// Every element, or every attribute.
    Any,
    Text,
    Comment,
    Node,
}

#[derive(Debug)]
pub(super) enum Expression {
    Or(Box<(Expression, Expression)>),
    And(Box<(Expression, Expression)>),
    Compare(Comparison, Box<(Expression, Expression)>),
    Path(Path),
    Text(String),
    Number(f64),
    Call(Function, Vec<Expression>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Comparison {
    Equal,
    Unequal,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Function {
    Not,
    Contains,
    StartsWith,
    Position,
    Last,
    Count,
    Name,
    LocalName,
    StringLength,
    NormalizeSpace,
    Text,
    Number,
    True,
    False,
}

/// Names of functions, and how many arguments they take.
const FUNCTIONS: &[(&str, Function, usize, usize)] = &[
    ("not", Function::Not, 1, 1),
    ("contains", Function::Contains, 2, 2),
    ("starts-with", Function::StartsWith, 2, 2),
    ("position", Function::Position, 0, 0),
    ("last", Function::Last, 0, 0),
    ("count", Function::Count, 1, 1),
    ("name", Function::Name, 0, 0),
    ("local-name", Function::LocalName, 0, 0),
    ("string-length", Function::StringLength, 0, 1),
    ("normalize-space", Function::NormalizeSpace, 0, 1),
    ("string", Function::Text, 0, 1),
    ("number", Function::Number, 0, 1),
    ("true", Function::True, 0, 0),
    ("false", Function::False, 0, 0),
];

#[derive(Clone, Debug, PartialEq)]
enum Token {
    /// `/`, `//`, `|`, `(`, `)`, `[`, `]`, `@`, `,`, `.`, `..`, `*`, `=`, `!=`, `<`, `<=`, `>`, `>=`.
    Sign(&'static str),
    Name(String),
    Text(String),
    Number(f64),
}

/// Longer ones first.
const SIGNS: [&str; 18] = [
    "//", "..", "!=", "<=", ">=", "/", "|", "(", ")", "[", "]", "@", ",", ".", "*", "=", "<", ">",
];

fn tokens(text: &str) -> Result<Vec<Token>, String> {
    let mut found = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let is_number = |text: &str| text.starts_with(|letter: char| letter.is_ascii_digit());
        let length = if let quote @ ('"' | '\'') = first {
            let end = rest[1..].find(quote).ok_or("a quote is not closed")?;
            found.push(Token::Text(rest[1..=end].to_owned()));
            end + 2
        } else if is_number(rest) {
            let is_part = |letter: char| letter.is_ascii_digit() || letter == '.';
            let end = rest.find(|letter| !is_part(letter)).unwrap_or(rest.len());
            let number = rest[..end].parse();
            found.push(Token::Number(
                number.map_err(|_| format!("{:?} is no number", &rest[..end]))?,
            ));
            end
        } else if first.is_alphabetic() || first == '_' {
            let is_part = |letter: char| letter.is_alphanumeric() || matches!(letter, '_' | '-' | '.' | ':');
            let end = rest.find(|letter| !is_part(letter)).unwrap_or(rest.len());
            found.push(Token::Name(rest[..end].to_owned()));
            end
        } else {
            let sign = SIGNS.iter().find(|sign| rest.starts_with(**sign));
            let sign = sign.ok_or_else(|| format!("{first:?} is not read in a path"))?;
            found.push(Token::Sign(sign));
            sign.len()
        };
        rest = rest[length..].trim_start();
    }
    Ok(found)
}

struct Parser {
    tokens: std::vec::IntoIter<Token>,
    depth: usize,
}

impl Paths {
    pub(super) fn parse(text: &str) -> Result<Paths, String> {
        let mut parser = Parser {
            tokens: tokens(text)?.into_iter(),
            depth: 0,
        };
        let mut paths = vec![parser.path()?];
        while parser.takes("|") {
            paths.push(parser.path()?);
        }
        match parser.peek() {
            None => Ok(Paths(paths)),
            Some(token) => Err(format!("{} is not expected here", shown(token))),
        }
    }
}

fn shown(token: &Token) -> String {
    match token {
        Token::Sign(sign) => format!("`{sign}`"),
        Token::Name(name) => format!("`{name}`"),
        Token::Text(text) => format!("{text:?}"),
        Token::Number(number) => number.to_string(),
    }
}

impl Parser {
    fn peek(&self) -> Option<&Token> {
        self.tokens.as_slice().first()
    }

    fn is_sign(&self, wanted: &str) -> bool {
        matches!(self.peek(), Some(Token::Sign(sign)) if *sign == wanted)
    }

    fn takes(&mut self, wanted: &str) -> bool {
        let is_it = self.is_sign(wanted);
        if is_it {
            self.tokens.next();
        }
        is_it
    }

    fn must(&mut self, wanted: &str) -> Result<(), String> {
        match self.takes(wanted) {
            true => Ok(()),
            false => Err(format!("`{wanted}` is missing")),
        }
    }

    fn takes_word(&mut self, wanted: &str) -> bool {
        let is_it = matches!(self.peek(), Some(Token::Name(name)) if name == wanted);
        if is_it {
            self.tokens.next();
        }
        is_it
    }

    fn begins_step(&self) -> bool {
        match self.peek() {
            Some(Token::Name(_)) => true,
            Some(Token::Sign(sign)) => matches!(*sign, "@" | "." | ".." | "*"),
            _ => false,
        }
    }

    fn path(&mut self) -> Result<Path, String> {
        let mut steps = Vec::new();
        let within = || Step {
            axis: Axis::Within,
            test: Test::Node,
            conditions: Vec::new(),
        };
        let absolute = if self.takes("//") {
            steps.push(within());
            true
        } else if self.takes("/") {
            if !self.begins_step() {
                return Ok(Path {
                    absolute: true,
                    steps,
                });
            }
            true
        } else {
            false
        };
        loop {
            steps.push(self.step()?);
            if self.takes("//") {
                steps.push(within());
            } else if !self.takes("/") {
                return Ok(Path { absolute, steps });
            }
        }
    }

    fn step(&mut self) -> Result<Step, String> {
        let (axis, test) = if self.takes(".") {
            (Axis::Itself, Test::Node)
        } else if self.takes("..") {
            (Axis::Parent, Test::Node)
        } else {
            let axis = match self.takes("@") {
                true => Axis::Attribute,
                false => Axis::Child,
            };
            (axis, self.test()?)
        };
        let mut conditions = Vec::new();
        while self.takes("[") {
            conditions.push(self.expression()?);
            self.must("]")?;
        }
        Ok(Step {
            axis,
            test,
            conditions,
        })
    }

    fn test(&mut self) -> Result<Test, String> {
        if self.takes("*") {
            return Ok(Test::Any);
        }
        let name = match self.tokens.next() {
            Some(Token::Name(name)) => name,
            Some(other) => return Err(format!("{} is no name", shown(&other))),
            None => return Err("a path ends with the name of what it finds".to_owned()),
        };
        if name.contains("::") || name.ends_with(':') {
            return Err(format!(
                "`{name}`: axes are not read, but for `@`, `.`, `..` and `//`"
            ));
        }
        if self.takes("(") {
            self.must(")")?;
            return match name.as_str() {
                "text" => Ok(Test::Text),
                "comment" => Ok(Test::Comment),
                "node" => Ok(Test::Node),
                _ => Err(format!("`{name}()` finds nothing")),
            };
        }
        let (prefix, local) = name.split_once(':').unwrap_or(("", &name));
        Ok(Test::Named(Name {
            prefix: prefix.to_owned(),
            local: local.to_owned(),
        }))
    }

    fn expression(&mut self) -> Result<Expression, String> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err(format!("conditions are nested deeper than {DEPTH_MAX}"));
        }
        let mut left = self.all()?;
        while self.takes_word("or") {
            left = Expression::Or(Box::new((left, self.all()?)));
        }
        self.depth -= 1;
        Ok(left)
    }

    fn all(&mut self) -> Result<Expression, String> {
        let mut left = self.comparison()?;
        while self.takes_word("and") {
            left = Expression::And(Box::new((left, self.comparison()?)));
        }
        Ok(left)
    }

    fn comparison(&mut self) -> Result<Expression, String> {
        let left = self.operand()?;
        let comparison = match self.peek() {
            Some(Token::Sign("=")) => Comparison::Equal,
            Some(Token::Sign("!=")) => Comparison::Unequal,
            Some(Token::Sign("<")) => Comparison::Less,
            Some(Token::Sign("<=")) => Comparison::LessOrEqual,
            Some(Token::Sign(">")) => Comparison::Greater,
            Some(Token::Sign(">=")) => Comparison::GreaterOrEqual,
            _ => return Ok(left),
        };
        self.tokens.next();
        Ok(Expression::Compare(comparison, Box::new((left, self.operand()?))))
    }

    fn operand(&mut self) -> Result<Expression, String> {
        if self.takes("(") {
            let inner = self.expression()?;
            self.must(")")?;
            return Ok(inner);
        }
        match self.tokens.as_slice() {
            [Token::Text(text), ..] => {
                let text = text.clone();
                self.tokens.next();
                Ok(Expression::Text(text))
            }
            [Token::Number(number), ..] => {
                let number = *number;
                self.tokens.next();
                Ok(Expression::Number(number))
            }
            [Token::Name(name), Token::Sign("("), ..]
                if !matches!(name.as_str(), "text" | "comment" | "node") =>
            {
                let name = name.clone();
                self.call(&name)
            }
            _ => self.path().map(Expression::Path),
        }
    }

    fn call(&mut self, name: &str) -> Result<Expression, String> {
        let known = FUNCTIONS.iter().find(|(known, ..)| *known == name);
        let Some((_, function, least, most)) = known else {
            let names: Vec<&str> = FUNCTIONS.iter().map(|(name, ..)| *name).collect();
            return Err(format!("`{name}` is not read; there are {}", names.join(", ")));
        };
        self.tokens.next();
        self.must("(")?;
        let mut arguments = Vec::new();
        if !self.is_sign(")") {
            arguments.push(self.expression()?);
            while self.takes(",") {
                arguments.push(self.expression()?);
            }
        }
        self.must(")")?;
        match (*least..=*most).contains(&arguments.len()) {
            true => Ok(Expression::Call(*function, arguments)),
            false => Err(format!("`{name}` cannot have {} arguments", arguments.len())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_path_is_refused() {
        for text in [
            "",
            "/a/",
            "a b",
            "/a[",
            "/a[1",
            "//",
            "/a[@b=]",
            "child::a",
            "/a[$x]",
            "/a[1+1]",
            "/a[sum(b)]",
            "/a[not()]",
            "/text(",
            "'a'",
            "1",
            "/a[\"b]",
            "/a[1.2.3]",
            "|",
            "/a|",
        ] {
            assert!(Paths::parse(text).is_err(), "{text}");
        }
        let deep = format!("/a{}", "[b".repeat(100));
        assert!(Paths::parse(&deep).is_err());
        let deep = format!("/a[{}", "(".repeat(100_000));
        assert!(Paths::parse(&deep).is_err());
    }
}
