//! Tokens, and the paths that they form: `use` trees are written out, and each path knows the
//! inline module that it stands in.

/// The smallest unit that rules look at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Token {
    /// An identifier or keyword.
    Word(String),
    /// `::`.
    Separator,
    /// Any other character that is not white space.
    Mark(char),
}

impl Token {
    /// Whether it is this identifier or keyword.
    pub fn is(&self, word: &str) -> bool {
        matches!(self, Token::Word(own) if own == word)
    }
}

/// A token and its line, from 1.
pub type Placed = (usize, Token);

/// A path as written, `use` groups written out; a glob ends in `*`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Path {
    /// The line of its first segment.
    pub line: usize,
    /// Its segments.
    pub segments: Vec<String>,
    /// The inline modules around it, outermost first.
    pub inside: Vec<String>,
}

impl Path {
    /// Whether it starts with the segments of `prefix`, written with `::`.
    pub fn starts_with(&self, prefix: &str) -> bool {
        let prefix: Vec<&str> = prefix.split("::").collect();
        self.segments.len() >= prefix.len() && self.segments.iter().zip(prefix).all(|(own, other)| own == other)
    }

    /// Whether it ends with the segments of `suffix`, written with `::`.
    pub fn ends_with(&self, suffix: &str) -> bool {
        let suffix: Vec<&str> = suffix.split("::").collect();
        let skipped = self.segments.len().checked_sub(suffix.len());
        skipped.is_some_and(|skipped| self.segments[skipped..].iter().zip(suffix).all(|(own, other)| own == other))
    }
}

/// The tokens of code without comments and strings.
pub fn tokens(code: &str) -> Vec<Placed> {
    let mut tokens = Vec::new();
    for (index, line) in code.lines().enumerate() {
        let mut rest = line.trim_start();
        while let Some(first) = rest.chars().next() {
            let is_word = |character: char| character.is_alphanumeric() || character == '_';
            let len = rest.find(|character| !is_word(character)).unwrap_or(rest.len());
            let (token, len) = if len > 0 {
                (Token::Word(rest[..len].to_owned()), len)
            } else if rest.starts_with("::") {
                (Token::Separator, 2)
            } else {
                (Token::Mark(first), first.len_utf8())
            };
            tokens.push((index + 1, token));
            rest = rest[len..].trim_start();
        }
    }
    tokens
}

/// Every identifier and keyword with its line.
pub fn words(code: &str) -> impl Iterator<Item = (usize, String)> {
    tokens(code).into_iter().filter_map(|(line, token)| match token {
        Token::Word(word) => Some((line, word)),
        Token::Separator | Token::Mark(_) => None,
    })
}

/// Every path of two segments or more.
pub fn paths(code: &str) -> Vec<Path> {
    let mut walk = Walk { tokens: tokens(code), at: 0, depth: 0, modules: Vec::new(), found: Vec::new() };
    walk.run();
    walk.found
}

struct Walk {
    tokens: Vec<Placed>,
    at: usize,
    depth: usize,
    /// Inline modules around the present token, each with the depth of its brace.
    modules: Vec<(String, usize)>,
    found: Vec<Path>,
}

impl Walk {
    fn run(&mut self) {
        while let Some(token) = self.peek(0) {
            match token {
                Token::Mark('{') => self.enter(),
                Token::Mark('}') => self.leave(),
                Token::Word(_) if matches!(self.peek(1), Some(Token::Separator)) => self.path(&[]),
                _ => self.at += 1,
            }
        }
    }

    fn peek(&self, ahead: usize) -> Option<&Token> {
        self.tokens.get(self.at + ahead).map(|(_, token)| token)
    }

    fn enter(&mut self) {
        self.depth += 1;
        let before = |back: usize| self.at.checked_sub(back).map(|index| &self.tokens[index].1);
        if let (Some(keyword), Some(Token::Word(name))) = (before(2), before(1))
            && keyword.is("mod")
        {
            self.modules.push((name.clone(), self.depth));
        }
        self.at += 1;
    }

    fn leave(&mut self) {
        if self.modules.last().is_some_and(|(_, depth)| *depth == self.depth) {
            self.modules.pop();
        }
        self.depth = self.depth.saturating_sub(1);
        self.at += 1;
    }

    /// Takes a path, with the group that may end it, whose first segments are `prefix`.
    fn path(&mut self, prefix: &[String]) {
        let line = self.tokens[self.at].0;
        let mut segments = prefix.to_vec();
        while let Some(token) = self.peek(0) {
            match token {
                Token::Word(word) => segments.push(word.clone()),
                Token::Mark('*') => segments.push("*".to_owned()),
                Token::Mark('{') => return self.group(&segments),
                _ => break,
            }
            self.at += 1;
            // `Vec::<T>` ends the path before its arguments.
            if !matches!((self.peek(0), self.peek(1)), (Some(Token::Separator), Some(next)) if *next != Token::Mark('<'))
            {
                break;
            }
            self.at += 1;
        }
        let inside = self.modules.iter().map(|(name, _)| name.clone()).collect();
        self.found.push(Path { line, segments, inside });
    }

    /// Takes `{a, b::c as d, e::{f, g}}`.
    fn group(&mut self, prefix: &[String]) {
        self.at += 1;
        while let Some(token) = self.peek(0) {
            match token {
                Token::Mark('}') => {
                    self.at += 1;
                    return;
                }
                Token::Word(_) if self.peek(0).is_some_and(|token| token.is("as")) => self.at += 2,
                Token::Word(_) | Token::Mark('*') => self.path(prefix),
                _ => self.at += 1,
            }
        }
    }
}
