//! Licence expressions, as manifests write them: names, `AND`, `OR` (or `/`), `WITH` and parentheses.

use std::iter::Peekable;

/// A parsed expression.
#[derive(Debug)]
pub(crate) enum Expression {
    /// One licence, with its exception if it has one.
    Licence(String),
    /// All of them.
    And(Vec<Expression>),
    /// Any of them.
    Or(Vec<Expression>),
}

impl Expression {
    /// Whether it holds when exactly the licences that satisfy `allowed` do.
    pub(crate) fn holds(&self, allowed: &dyn Fn(&str) -> bool) -> bool {
        match self {
            Expression::Licence(name) => allowed(name),
            Expression::And(parts) => parts.iter().all(|part| part.holds(allowed)),
            Expression::Or(parts) => parts.iter().any(|part| part.holds(allowed)),
        }
    }
}

/// Parses an expression; `AND` binds more tightly than `OR`.
pub(crate) fn parse(text: &str) -> Option<Expression> {
    let spaced = text.replace('(', " ( ").replace(')', " ) ").replace('/', " OR ");
    let mut words = spaced.split_whitespace().peekable();
    let expression = any_of(&mut words)?;
    words.next().is_none().then_some(expression)
}

type Words<'a> = Peekable<std::str::SplitWhitespace<'a>>;

fn any_of(words: &mut Words<'_>) -> Option<Expression> {
    let mut parts = vec![all_of(words)?];
    while words.next_if_eq(&"OR").is_some() {
        parts.push(all_of(words)?);
    }
    Some(Expression::Or(parts))
}

fn all_of(words: &mut Words<'_>) -> Option<Expression> {
    let mut parts = vec![one(words)?];
    while words.next_if_eq(&"AND").is_some() {
        parts.push(one(words)?);
    }
    Some(Expression::And(parts))
}

fn one(words: &mut Words<'_>) -> Option<Expression> {
    match words.next()? {
        "(" => {
            let inner = any_of(words)?;
            words.next_if_eq(&")").map(|_| inner)
        }
        ")" | "AND" | "OR" | "WITH" => None,
        name if words.next_if_eq(&"WITH").is_some() => {
            Some(Expression::Licence(format!("{name} WITH {}", words.next()?)))
        }
        name => Some(Expression::Licence(name.to_string())),
    }
}
